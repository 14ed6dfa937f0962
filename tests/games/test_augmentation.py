"""Augmentations in the adversarial game: what is shown, gradients, memory on 1 and 8 devices."""

import dataclasses
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax import augment, errors
from gan_jax.augment import diffaug, instance_noise
from gan_jax.data import spec as specs
from gan_jax.runs import build
from tests.training import tiny

SHAPE = (8, 8, 1)
# The sums over a batch are associated differently: float32 rounding, grown over three steps.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}


def configuration(**fields):
    config = tiny.image_config(critic_steps=1)
    config.penalty.name = "none"
    config.loss.name = "non_saturating"
    config.update_from_flattened_dict(fields)
    return config


def discriminator_metrics(play, **fields):
    """Return the discriminator's loss, its outcome, the game and the turn."""
    game, params, turn = play(configuration(**fields), SHAPE, batch=8)
    own = {"discriminator": params["discriminator"]}
    loss, outcome = game.discriminator_loss(own, turn)
    return loss, outcome, game, turn


def scores(game, turn, images):
    return game.discriminator.apply(
        turn.variables["discriminator"], images, turn.condition, train=True
    )


def fakes(game, turn):
    z = game.latents(turn.keys("latent"))
    # The generator has batch-norm that names the mapped axis: one device of it.
    return jax.vmap(
        lambda _: game.sample(turn.variables, z, turn.condition, train=True), axis_name="data"
    )(jnp.zeros(1))[0]


@pytest.fixture
def play(play, monkeypatch):
    """Let the generator of a game that is played by hand normalise by itself."""
    make = build.make_game
    monkeypatch.setattr(build, "make_game", lambda config, spec, axis: make(config, spec, None))
    return play


def test_the_discriminator_is_shown_augmented_images_of_both_kinds(play):
    policy = ("color", "translation", "cutout")
    _, outcome, game, turn = discriminator_metrics(play, **{"augment.diffaug.policy": policy})
    for kind, images in (("real", turn.batch["image"]), ("fake", fakes(game, turn))):
        shown = diffaug.diff_augment(turn.keys(f"augment/{kind}"), images, policy)
        expected = scores(game, turn, shown).mean()
        np.testing.assert_allclose(outcome.metrics[f"{kind}_score"], expected, rtol=1e-4)
        assert abs(expected - scores(game, turn, images).mean()) > 1e-5


def test_the_generators_gradient_passes_through_the_augmentation(play):
    def gradient(policy):
        config = configuration(**{"augment.diffaug.policy": policy})
        game, params, turn = play(config, SHAPE, batch=8)
        loss = lambda p: game.generator_loss({"generator": p}, turn)[0]  # noqa: E731
        return jax.grad(loss)(params["generator"])

    plain, augmented = gradient(()), gradient(("color", "translation", "cutout"))
    sizes = [float(np.abs(leaf).max()) for leaf in jax.tree.leaves(augmented)]
    assert min(sizes) > 0
    assert np.isfinite(sizes).all()
    pairs = zip(jax.tree.leaves(plain), jax.tree.leaves(augmented), strict=True)
    assert all(bool((a != b).any()) for a, b in pairs)


@pytest.mark.parametrize(("count", "level"), [(0, 0.4), (5, 0.2), (10, 0.0), (20, 0.0)])
def test_instance_noise_fades(play, count, level):
    config = configuration(**{"augment.noise.deviation": 0.4, "augment.noise.steps": 10})
    game, params, turn = play(config, SHAPE, batch=8, count=count)
    _, outcome = game.discriminator_loss({"discriminator": params["discriminator"]}, turn)
    shown = instance_noise.add_noise(turn.keys("noise/real"), turn.batch["image"], level)
    expected = scores(game, turn, shown).mean()
    np.testing.assert_allclose(outcome.metrics["real_score"], expected, rtol=1e-4)


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """A shift whose size follows the share of real data that the discriminator recognises."""

    rate: float = 0.0

    draws: ClassVar[str] = "adaptive"
    shared: ClassVar[bool] = False

    @property
    def enabled(self):
        return self.rate > 0

    def check_data(self, kind):
        pass

    def init(self):
        return jnp.float32(0.25)

    def __call__(self, keys, x, memory, step):
        return x + memory * jax.vmap(jax.random.normal)(keys)[:, None]

    def update(self, memory, real, fake, axis_name):
        signs = jnp.mean(jnp.sign(jax.lax.stop_gradient(real)))
        if axis_name is not None:
            signs = jax.lax.pmean(signs, axis_name)
        return jnp.clip(memory + self.rate * jnp.sign(signs - 0.6), 0.0, 1.0)


@pytest.fixture
def adaptive(monkeypatch):
    """Return a function that makes a configuration of points with that augmentation."""
    monkeypatch.setitem(augment.AUGMENTATIONS, "adaptive", Adaptive)

    def make(devices):
        config = tiny.sgd(tiny.point_config())
        config.num_devices = devices
        config.augment.adaptive.rate = 0.125
        return config

    return make


def test_an_augmentation_with_memory_is_played_with_it(adaptive, play):
    game, params, turn = play(adaptive(1))
    assert turn.memory["augment/adaptive"] == 0.25
    own = {"discriminator": params["discriminator"]}
    _, outcome = game.discriminator_loss(own, turn)
    keys = turn.keys("adaptive/real")
    shown = turn.batch["points"] + 0.25 * jax.vmap(jax.random.normal)(keys)[:, None]
    np.testing.assert_allclose(
        outcome.metrics["real_score"], scores(game, turn, shown).mean(), rtol=1e-4
    )
    up = np.sign(scores(game, turn, shown)).mean() > 0.6
    assert outcome.memory["augment/adaptive"] == (0.375 if up else 0.125)
    assert (
        "augment/adaptive"
        not in game.generator_loss({"generator": params["generator"]}, turn)[1].memory
    )


def test_an_augmentations_memory_is_the_same_on_all_devices(adaptive):
    one, _ = tiny.run(adaptive(1), 3)
    assert one.game["augment/adaptive"] != 0.25
    eight, _ = tiny.run(adaptive(8), 3)
    both = (jax.device_get((state.networks, state.game)) for state in (eight, one))
    chex.assert_trees_all_close(*both, **TOLERANCE)


@pytest.mark.slow
def test_eight_devices_train_like_one():
    def final(devices):
        policy = ("color", "translation", "cutout")
        fields = {"augment.diffaug.policy": policy, "augment.noise.deviation": 0.1}
        config = tiny.sgd(configuration(**fields))
        config.num_devices = devices
        state, metrics, _ = tiny.run_with_metrics(config, 3)
        return jax.device_get((state.networks, state.game, metrics))

    chex.assert_trees_all_close(final(8), final(1), **TOLERANCE)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"augment.diffaug.policy": ("colour",)}, r"augment\.diffaug\.policy.*colour"),
        ({"augment.noise.deviation": -1.0}, r"augment\.noise\.deviation = -1\.0"),
    ],
)
def test_what_cannot_work_is_refused(fields, message):
    config = configuration(**fields)
    config.num_devices = 1
    with pytest.raises(errors.ConfigError, match=message):
        build.make_training(config, specs.images(SHAPE))


def test_diffaugment_is_refused_for_points():
    config = tiny.point_config()
    config.num_devices = 1
    config.augment.diffaug.policy = ("color",)
    with pytest.raises(errors.ConfigError, match=r"augment\.diffaug\.policy.* for images"):
        build.make_training(config, specs.points())
