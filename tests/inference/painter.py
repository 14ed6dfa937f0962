"""A game that paints: a small random generator, smooth and nearly one-to-one, with no training."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.games import draws
from tests.training.tiny import spec_of


class Painter:
    """Makes 8x8 pictures of two layers of random weights; a class shifts the hidden layer."""

    latent_dim = 4
    attributes = None
    networks: ClassVar = {}

    def __init__(self, num_classes=None, shape=(8, 8, 1)):
        self.num_classes, self.shape = num_classes, shape
        self.spec = spec_of(shape, num_classes)
        rng = np.random.default_rng(0)
        size = int(np.prod(shape))
        self.variables = {
            "generator": {
                "inner": rng.normal(size=(4, 32)).astype(np.float32) / 2,
                "outer": rng.normal(size=(32, size)).astype(np.float32) / 4,
                "classes": rng.normal(size=(num_classes or 1, 32)).astype(np.float32),
            }
        }

    def latents(self, keys):
        """Return normal latents."""
        return draws.latents(keys, self.latent_dim)

    def sample(self, variables, z, condition=None, *, keys=None, truncation=None, train=False):
        """Return pictures; in train mode they have the mean that the batch has in the end."""
        own = variables["generator"]
        if truncation is not None:
            z = draws.truncate(z, truncation)
        hidden = z @ own["inner"]
        if condition is not None:
            hidden = hidden + own["classes"][condition["label"]]
        data = jnp.tanh(jnp.tanh(hidden) @ own["outer"])
        if train:
            data = data - jax.lax.pmean(data.mean(), "data")
        return data.reshape(-1, *self.shape)
