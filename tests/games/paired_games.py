"""Games on pairs and on images with holes, with the networks of `tests.games.stub`."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from gan_jax.data import spec as specs
from gan_jax.data.degrade import Degradation, Degraded
from gan_jax.games.paired import PairedGame
from gan_jax.losses import adversarial
from tests.games import stub

# What a discriminator weighs each channel by, of inputs (two) and of images (two).
BESIDE, ALONE = (0.5, -1.0, 2.0, 3.0), (2.0, 3.0)


def pairs(conditional=True, **fields):
    """Return a game on pairs in the data, of images of two channels."""
    options = {
        "generator": stub.Affine(0.5, 0.1),
        "discriminator": stub.Patches(BESIDE if conditional else ALONE, 0.25),
        "spec": specs.pairs((4, 6, 2)),
        "loss": adversarial.make("non_saturating"),
        "conditional": conditional,
    }
    return PairedGame(**{**options, **fields})


@dataclasses.dataclass(frozen=True)
class Hole(Degradation):
    """The left half of every image is a hole, filled with -0.5."""

    name: ClassVar[str] = "hole"
    masked: ClassVar[bool] = True

    def of_one(self, key, image):
        columns = jnp.arange(image.shape[1]) >= image.shape[1] // 2
        known = jnp.broadcast_to(columns[None, :, None], (*image.shape[:2], 1))
        return Degraded(jnp.where(known, image, -0.5), known.astype(jnp.float32))


def holes(**fields):
    """Return a game that fills `Hole`."""
    options = {
        "generator": stub.Affine(0.5, 0.1, outputs=2),
        "discriminator": stub.Patches(ALONE),
        "spec": specs.images((4, 6, 2)),
        "loss": adversarial.make("non_saturating"),
        "degradation": Hole(),
        "conditional": False,
    }
    return PairedGame(**{**options, **fields})
