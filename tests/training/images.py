"""Games of images with networks of a few numbers, and images for them."""

import jax
import numpy as np

from gan_jax.data import sources
from gan_jax.data import spec as specs
from gan_jax.data.degrade import make as degradation
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.games.cycle import CycleGame
from gan_jax.games.paired import PairedGame
from gan_jax.games.translation import A_TO_B
from gan_jax.losses import adversarial
from gan_jax.networks import registry
from gan_jax.runs import build
from gan_jax.training import sampling, step, translating
from gan_jax.training.ema import EMA
from tests.games import stub
from tests.training import tiny

CONFIGS = {
    "paired": tiny.paired_config,
    "cycle": tiny.cycle_config,
    "anomaly": tiny.mlp_anomaly_config,
}


class Noisy(stub.Affine):
    """A translator with noise, as a configuration makes it."""

    slope: float = 0.5
    offset: float = 0.1
    noise: float = 0.2
    shape: tuple[int, ...] = ()


def with_stubs(config, monkeypatch):
    """Register networks that compile fast, and return a configuration that has chosen them."""
    monkeypatch.setitem(registry.TRANSLATORS, "stub", Noisy)
    monkeypatch.setitem(registry.PATCH_DISCRIMINATORS, "stub", stub.Patches)
    config.generator.name = config.discriminator.name = "stub"
    return config


def unpaired(**fields):
    """Return CycleGAN with random draws and a history buffer."""
    options = {
        "generator": stub.Affine(0.5, 0.1, noise=0.2),
        "discriminator": stub.Patches((2.0,), 0.25),
        "spec": specs.pairs((8, 8, 1)),
        "loss": adversarial.make("least_squares"),
        "history": 20,
    }
    return CycleGame(**{**options, **fields})


def photographs(count=24, size=16, channels=3, seed=0):
    """Return smooth random images, uint8."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, size // 4, size // 4, channels)).astype(np.float32)
    large = small.repeat(4, axis=1).repeat(4, axis=2)
    blurred = sum(np.roll(large, (i, j), (1, 2)) for i in range(3) for j in range(3)) / 9
    return blurred.astype(np.uint8)


def source_of(images, labels=None, names=None):
    return sources.image_source("random", "train", images, labels, names)


def restorer(how="gaussian", scale=1, channels=3, crop=16, **options):
    """Return a game whose generator gives back its input, enlarged as it must be."""
    return PairedGame(
        generator=stub.Affine(factor=scale, outputs=channels),
        discriminator=None,
        spec=specs.images((crop, crop, channels)),
        loss=adversarial.make("hinge"),
        degradation=degradation(how, **options),
        conditional=False,
    )


def state_of(game, config=None):
    """Return a game's first state, which keeps no moving average."""
    optimizers = build.make_optimizers(config or tiny.paired_config(), game)
    return jax.jit(lambda: step.init_state(game, optimizers, EMA(), 0))()


def variables_of(game, config=None):
    """Return the variables of a game's first state."""
    return sampling.chosen_variables(state_of(game, config), sampling.Sampling())


def evaluator(game, source, config=None, devices=1, how=None, **changes):
    """Return an evaluator of a game, ``config.eval`` changed."""
    config = config or tiny.paired_config()
    config.eval.num_real = None
    config.eval.update(changes)
    return evaluators.make_evaluator(
        config,
        make_settings(config),
        game=game,
        source=source,
        devices=jax.devices()[:devices],
        sampling=how or sampling.make_sampling(config),
    )


def spoiled(game, images, seed=0):
    """Return what the evaluation degrades images to, by the game and the keys of their numbers."""
    translator = translating.Translator(game, A_TO_B, batch_size=8)
    return translator(translator.place(variables_of(game)), {"image": images}, seed=seed)
