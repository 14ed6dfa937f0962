"""Tiny configurations whose steps compile in seconds."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import (
    base,
    cyclegan,
    dcgan,
    gan,
    ganomaly,
    inpaint,
    mle,
    mocogan,
    seqgan,
    stackgan,
    stylegan2,
    textgan,
    wgan_gp,
)
from gan_jax.data import captions
from gan_jax.data import spec as specs
from gan_jax.data.sources.draws import random_arrays
from gan_jax.data.spec import Spec
from gan_jax.runs import build, preemption
from gan_jax.training import optimizers

CLASSES = 3
WORDS = {"the": 0, "red": 1, "crimson": 1, "blue": 2, "disc": 3}
# Sums over a batch in another order: float32 rounding, grown over three steps.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}
CAPTION = captions.field(3, WORDS, np.array([[2, 5, 0]], np.int32))


def stop_at(
    monkeypatch: pytest.MonkeyPatch, when: int | None, killed: BaseException | None = None
) -> None:
    """Let every run to come that begins anew, a train step per call, stop before a train step.

    Args:
      monkeypatch: the fixture.
      when: the train step; ``None``: no run stops.
      killed: what is raised then; ``None``: it is stopped as by SIGTERM.
    """

    def reason(self: preemption.StopRequest) -> str | None:
        steps = self.__dict__["steps"] = self.__dict__.get("steps", -1) + 1
        if steps != when:
            return None
        if killed is not None:
            raise killed
        return "SIGTERM"

    monkeypatch.setattr(preemption.StopRequest, "reason", reason)


@pytest.fixture(scope="module")
def shared_steps() -> Iterator[None]:
    """Let a file's runs of one configuration share the traced and compiled train step.

    States, data and directories remain each run's own.
    """
    make, made = build.make_training, {}

    def shared(config: ConfigDict, spec: Spec) -> build.Training:
        key = config.to_json(), repr(spec)
        if key not in made:
            made[key] = make(config, spec)
        # What is compiled ahead of time belongs to a run, which knows the shapes of its data.
        return dataclasses.replace(made[key], parallel=copy.copy(made[key].parallel))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "make_training", shared)
        yield


def make_optimizer(
    name: str,
    learning_rate: float,
    *,
    schedule: Mapping[str, Any] | None = None,
    clip_norm: float | None = None,
    total_steps: int = 9,
    steps_per_train_step: int = 1,
    **options: Any,
) -> optimizers.Optimizer:
    """Return an optimizer of a name with some options, as a configuration makes it."""
    chosen = {"name": "constant", "warmup_steps": 0, **(schedule or {})}
    own = {k: v for k, v in chosen.items() if k not in ("name", "warmup_steps")}
    group = ConfigDict(
        {
            "name": name,
            "learning_rate": learning_rate,
            "clip_norm": clip_norm,
            "freeze_first": 0,
            "freeze": (),
            "schedule": {**chosen, chosen["name"]: own},
            name: options,
        }
    )
    return optimizers.make_optimizer(
        group, total_steps=total_steps, steps_per_train_step=steps_per_train_step
    )


def sgd(config: ConfigDict, learning_rate: float = 0.05) -> ConfigDict:
    """Give every network plain SGD: Adam hides gradients that are off by a factor."""
    for optimizer in config.optimizer.values():
        optimizer.update(name="sgd", learning_rate=learning_rate)
    return config


def image_config(critic_steps: int = 2) -> ConfigDict:
    """WGAN-GP at 8x8 with batch-norm in the generator and none in the critic."""
    config = wgan_gp.get_config("smoke")
    config.game.discriminator_steps = critic_steps
    base.learning_rate(config, 5e-4)
    base.schedule(config, "constant")
    config.generator.latent_dim = 4
    config.discriminator.dcgan.normalization = "none"
    config.data.resolution = 8
    config.train.update(batch_size=16, steps=6)
    return config


def batch_norm_config() -> ConfigDict:
    """DCGAN at 16x16, the smallest size where both networks have batch-norm."""
    config = dcgan.get_config("smoke")
    base.learning_rate(config, 2e-4)
    base.schedule(config, "constant")
    config.generator.latent_dim = 4
    config.train.update(batch_size=16, steps=6)
    return config


def point_config() -> ConfigDict:
    """MLPs on points of the plane: the fastest of all to compile."""
    config = gan.get_config("smoke")
    base.schedule(config, "constant")
    config.generator.latent_dim = 2
    config.generator.mlp.update(features=(16,), output="linear")
    config.discriminator.mlp.features = (16,)
    config.data.update(name="ring", toy_size=512)
    config.train.update(batch_size=16, steps=6)
    return config


def penalized_config() -> ConfigDict:
    """MLPs whose discriminator takes two steps under WGAN-GP's penalty."""
    config = point_config()
    config.game.discriminator_steps = 2
    config.penalty.update(name="wgan_gp", weight=1.0)
    return config


def conditional_config() -> ConfigDict:
    """A projection discriminator with spectral normalization, and conditional batch-norm."""
    config = batch_norm_config()
    config.data.resolution = 8
    config.generator.conditioning = "batch_norm"
    config.discriminator.conditioning = "projection"
    config.discriminator.dcgan.normalization = "spectral"
    config.game.discriminator_steps = 2
    return config


def minibatch_config() -> ConfigDict:
    """MLPs whose discriminator compares the examples of a batch."""
    config = point_config()
    config.discriminator.mlp.minibatch = "discrimination"
    return config


def style_config() -> ConfigDict:
    """StyleGAN2 at 8x8, with both of its penalties at every step."""
    config = stylegan2.get_config("smoke")
    config.generator.latent_dim = 4
    config.generator.stylegan2.update(features=4, style_dim=4, mapping_layers=1)
    config.discriminator.stylegan2.features = 4
    config.penalty.every = config.terms.path_length.every = 1
    config.data.resolution = 8
    config.train.update(batch_size=16, steps=6)
    return config


def auxiliary_config() -> ConfigDict:
    """AC-GAN of MLPs."""
    config = point_config()
    config.terms.classification.weight = 1.0
    config.generator.conditioning = "concat"
    return config


def info_config() -> ConfigDict:
    """InfoGAN of MLPs."""
    config = point_config()
    config.terms.information.weight = 1.0
    config.terms.information.update(categorical=(3, 2), continuous=1, hidden=8)
    return config


def _images_of_images(config: ConfigDict) -> ConfigDict:
    """Shrink a game of images to grey digits, cut out of 16x16 and mirrored at random."""
    config.data.update(name="digits", resolution=16, resize="resize", channels=1)
    config.data.update(crop=8, flip=True)
    # One level less would have no dropout.
    config.generator.unet.update(levels=2, dropout_levels=1, features=4, normalization="instance")
    config.discriminator.patchgan.update(features=4, layers=1)
    config.ema.half_life = 0.0
    config.train.update(batch_size=16, steps=6)
    config.sample.num = 4
    config.eval.update(every=0, num_real=32, split=None)
    return config


def paired_config() -> ConfigDict:
    """Inpainting of boxes by a U-Net with dropout, judged beside its input."""
    config = _images_of_images(inpaint.get_config("smoke"))
    config.game.paired.update(conditional=True, pixel_weight=10.0, adversarial_weight=1.0)
    config.degrade.mask.kind = "boxes"
    return config


def cycle_config() -> ConfigDict:
    """CycleGAN of U-Nets between zeros and ones; a second step fills the pools."""
    config = _images_of_images(cyclegan.get_config("smoke"))
    config.data.update(a="0", b="1")
    config.generator.name = "unet"
    config.game.cycle.history = 20
    return config


def anomaly_config() -> ConfigDict:
    """GANomaly at 8x8, with batch-norm in the encoders and the generator."""
    config = ganomaly.get_config("smoke")
    for network in (config.encoder, config.generator, config.discriminator):
        network.dcgan.features = 4
    config.generator.latent_dim = 4
    config.data.update(resolution=8, flip=True)
    config.train.update(batch_size=16, steps=6)
    config.sample.num = 4
    config.eval.update(every=0, num_real=64)
    return config


def mlp_anomaly_config() -> ConfigDict:
    """GANomaly of MLPs: the fastest to compile."""
    config = anomaly_config()
    for network in (config.encoder, config.generator, config.discriminator):
        network.name = "mlp"
        network.mlp.features = (16,)
    return config


def stacked_config() -> ConfigDict:
    """StackGAN at 4x4 and 8x8, of grey images of three words."""
    config = stackgan.get_config("smoke")
    config.generator.latent_dim = 3
    config.generator.stackgan.update(normalization="none", condition_dim=3, blocks=0)
    config.discriminator.stackgan.normalization = config.penalty.name = "none"
    config.data.update(resolution=8, channels=1)
    config.train.update(batch_size=16, steps=6)
    return config


def motion_config() -> ConfigDict:
    """MoCoGAN of three frames of 8x8, whose discriminator sees one of them at random."""
    config = mocogan.get_config("smoke")
    config.generator.latent_dim = 3 + 3 * 2
    config.data.update(resolution=8)
    config.data.video.frames = 3
    config.penalty.name = "none"
    config.train.update(batch_size=16, steps=6)
    return config


def text_config() -> ConfigDict:
    """TextGAN, whose temperature falls within three steps."""
    config = textgan.get_config("smoke")
    config.generator.latent_dim = 3
    config.generator.textgan.anneal_images = 96
    config.train.update(batch_size=16, steps=6)
    return config


def likelihood_config() -> ConfigDict:
    """The generator of TextGAN by maximum likelihood."""
    config = mle.get_config("smoke")
    config.generator.latent_dim = 3
    config.train.update(batch_size=16, steps=6)
    return config


def policy_config() -> ConfigDict:
    """SeqGAN of tiny networks."""
    config = seqgan.get_config("smoke")
    config.generator.latent_dim = 3
    config.train.update(batch_size=16, steps=6)
    return config


def spec(config: ConfigDict, classes: int | None = CLASSES) -> Spec:
    """Return the specification of the stored data of one of the configurations above."""
    if config.data.name == "ring":
        return specs.points(classes)
    if config.data.name == "grammar":
        return {"text": specs.text(5, ["a", "b", "c"])}
    if config.data.name == "tones":
        sound = config.data.sound
        shape, rate = (sound.samples, sound.channels), sound.sample_rate
        return {"audio": specs.Field("audio", shape, "int16", sample_rate=rate)}
    size = config.data.resolution
    shape = (size, size, config.data.channels or 1)
    if config.data.name == "bouncing":
        video = specs.Field("video", (config.data.video.frames, *shape), "uint8")
        return specs.labelled("video", video, classes)
    if config.data.name == "shapes":
        return {"image": specs.image(shape), specs.LABEL: CAPTION}
    return specs.images(shape, classes) if config.data.pairing == "none" else specs.pairs(shape)


def spec_of(shape: tuple[int, ...], classes: int | None = None) -> Spec:
    """Return the specification of points ``(2,)``, or of images of a shape."""
    return specs.points(classes) if shape == (2,) else specs.images(shape, classes)


def data(config: ConfigDict, size: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a random resident data set."""
    return random_arrays(spec(config), size, seed)


def index_batch(
    config: ConfigDict, training: build.Training, step: int, calls: int = 1, size: int = 64
) -> dict[str, np.ndarray]:
    """Return the random indices of one call."""
    rng = np.random.default_rng([7, step])
    dims = (calls, build.data_batches(training), config.train.batch_size)
    names = ["a", "b"] if config.data.pairing == "domains" else ["index"]
    return {name: rng.integers(0, size, dims).astype(np.int32) for name in names}


def run(config: ConfigDict, steps: int, training: build.Training | None = None):
    """Return the state after ``steps`` train steps on random data, and the training."""
    state, _, training = run_with_metrics(config, steps, training)
    return state, training


def run_with_metrics(config: ConfigDict, steps: int, training: build.Training | None = None):
    """Return the state after ``steps`` train steps, the metrics of each, and the training."""
    training = training or build.make_training(config, spec(config))
    mapped = training.parallel
    state = training.init_state()
    resident = mapped.put_replicated(data(config))
    metrics = []
    for step in range(steps):
        batch = mapped.put_batch(index_batch(config, training, step))
        state, means = mapped(state, resident, batch)
        metrics.append(means)
    return state, metrics, training


def final(config: ConfigDict, devices: int, mode: str = "shard_map", steps: int = 3):
    """Return the state, as NumPy arrays, after train steps on a number of devices."""
    config = config.copy_and_resolve_references()
    config.parallel, config.num_devices = mode, devices
    return host(run(config, steps)[0])


def host(state):
    """Return a state as NumPy arrays, with its key as numbers."""
    return jax.device_get(state.replace(key=jax.random.key_data(state.key)))


def bits(state) -> dict[str, bytes]:
    """Return every leaf of a state by name, as bytes."""
    return {
        jax.tree_util.keystr(name): np.asarray(leaf).tobytes()
        for name, leaf in jax.tree.leaves_with_path(host(state))
    }
