"""Tiny configurations whose steps compile in seconds."""

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import dcgan, gan, wgan_gp
from gan_jax.training import build

CLASSES = 3


def sgd(config: ConfigDict, learning_rate: float = 0.05) -> ConfigDict:
    """Give both networks plain SGD: Adam hides gradients that are off by a factor."""
    for optimizer in (config.optimizer.generator, config.optimizer.discriminator):
        optimizer.update(name="sgd", learning_rate=learning_rate)
    return config


def image_config(critic_steps: int = 2) -> ConfigDict:
    """WGAN-GP at 8x8 with batch-norm in the generator and none in the critic."""
    config = wgan_gp.get_config("smoke")
    config.game.discriminator_steps = critic_steps
    config.generator.name = config.discriminator.name = "dcgan"
    config.generator.latent_dim = 4
    config.discriminator.dcgan.normalization = "none"
    config.data.resolution = 8
    config.train.update(batch_size=16, steps=6)
    return config


def batch_norm_config() -> ConfigDict:
    """DCGAN at 16x16, the smallest size where both networks have batch-norm."""
    config = dcgan.get_config("smoke")
    config.generator.latent_dim = 4
    config.train.update(batch_size=16, steps=6)
    return config


def point_config() -> ConfigDict:
    """Perceptrons on points of the plane: the fastest of all to compile."""
    config = gan.get_config("smoke")
    config.generator.latent_dim = 2
    config.generator.mlp.update(features=(16,), output="linear")
    config.discriminator.mlp.features = (16,)
    config.data.update(name="ring", toy_size=512)
    config.train.update(batch_size=16, steps=6)
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
    """Perceptrons whose discriminator compares the examples of a batch."""
    config = point_config()
    config.discriminator.mlp.minibatch = "discrimination"
    return config


def auxiliary_config() -> ConfigDict:
    """AC-GAN of perceptrons."""
    config = point_config()
    config.game.name = "auxiliary"
    config.generator.conditioning = "concat"
    return config


def info_config() -> ConfigDict:
    """InfoGAN of perceptrons."""
    config = point_config()
    config.game.name = "info"
    config.game.info.update(categorical=(3, 2), continuous=1, hidden=8)
    return config


def shape(config: ConfigDict) -> tuple[int, ...]:
    """Return the shape of a data point of one of the configurations above."""
    size = config.data.resolution
    return (2,) if config.data.name == "ring" else (size, size, 1)


def data(config: ConfigDict, size: int = 64, seed: int = 0) -> dict[str, np.ndarray]:
    """Return a random resident data set."""
    rng = np.random.default_rng(seed)
    if config.data.name == "ring":
        image = rng.normal(size=(size, 2)).astype(np.float32)
    else:
        image = rng.integers(0, 256, (size, *shape(config))).astype(np.uint8)
    return {"image": image, "label": rng.integers(0, CLASSES, size).astype(np.int32)}


def index_batch(
    config: ConfigDict, training: build.Training, step: int, calls: int = 1, size: int = 64
) -> dict[str, np.ndarray]:
    """Return the random indices of one call."""
    rng = np.random.default_rng([7, step])
    dims = (calls, build.data_batches(training), config.train.batch_size)
    return {"index": rng.integers(0, size, dims).astype(np.int32)}


def run(config: ConfigDict, steps: int, training: build.Training | None = None):
    """Return the state after ``steps`` train steps on random data, and the training."""
    training = training or build.make_training(config, shape(config), CLASSES)
    mapped = training.parallel
    state = training.init_state()
    resident = mapped.put_replicated(data(config))
    for step in range(steps):
        state = mapped(state, resident, mapped.put_batch(index_batch(config, training, step)))
    return state, training


def bits(state) -> dict[str, bytes]:
    """Return every leaf of a state by name, as bytes."""
    state = state.replace(key=jax.random.key_data(state.key))
    return {
        jax.tree_util.keystr(name): np.asarray(leaf).tobytes()
        for name, leaf in jax.tree.leaves_with_path(state)
    }
