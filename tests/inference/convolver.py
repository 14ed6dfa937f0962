"""A game that translates by one fixed convolution of known reach, runs of it, and their outputs."""

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gan_jax.data import device
from gan_jax.data import spec as specs
from gan_jax.data.degrade import Degradation, Degraded
from gan_jax.games.translation import A_TO_B, Direction
from gan_jax.runs.run import Weights
from gan_jax.runs.run_directory import choose_step
from tests.inference.stand_in import StandIn

REACH = 3
STEP = 4
CONFIG = {
    "variant": "convolver",
    "ema": {"half_life": 1.0},
    "sample": {"batch_norm": "ema", "standing_images": 8, "truncation": None},
}
PLAIN = Direction(3, 3, 4)
GREY = Direction(1, 1, 4)
COLOURED = Direction(1, 3, 4)
DOUBLE = Direction(3, 3, 2, scale=2)
HOLES = Direction(3, 3, 4, masked=True)


def kernel(inputs, outputs):
    """Return a random kernel, which keeps about the brightness."""
    size = 2 * REACH + 1
    taps = np.random.default_rng(0).normal(size=(size, size, inputs, outputs))
    taps[REACH, REACH] += 4.0
    return (taps / np.abs(taps).sum((0, 1, 2))).astype(np.float32)


def convolve(x, taps):
    """Return the convolution of images with zeros beyond their edges, by NumPy."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (REACH, REACH), (REACH, REACH), (0, 0)))
    total = np.zeros((*x.shape[:3], taps.shape[3]), np.float32)
    for i in range(taps.shape[0]):
        for j in range(taps.shape[1]):
            # One product after the other: the order of a matrix product's sums may depend on size.
            for k in range(x.shape[3]):
                total += padded[:, i : i + height, j : j + width, k, None] * taps[i, j, k]
    return total


@dataclasses.dataclass(frozen=True)
class Convolver(StandIn):
    """Convolves, enlarges by repetition, times its one parameter; keys add some noise."""

    ways: Mapping[str, Direction] = dataclasses.field(
        default_factory=lambda: {A_TO_B: Direction(3, 3, 4)}
    )
    spec: Any = dataclasses.field(default_factory=lambda: specs.images((8, 8, 3)))

    @property
    def directions(self):
        return self.ways

    def render(self, variables, seen, direction, keys):
        way = self.directions[direction]
        assert seen.shape[-1] == way.inputs + way.masked
        assert seen.shape[1] % way.multiple == seen.shape[2] % way.multiple == 0
        made = jax.lax.conv_general_dilated(
            seen[..., : way.inputs],
            jnp.asarray(kernel(way.inputs, way.outputs)),
            window_strides=(1, 1),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )
        made = made * variables["generator"]["params"]["gain"]
        made = made.repeat(way.scale, 1).repeat(way.scale, 2)
        if keys is not None:
            made = made + jax.vmap(lambda key: jax.random.normal(key, made.shape[1:]))(keys) / 10
        return made


@dataclasses.dataclass(frozen=True)
class OpenConvolver:
    """Stands in for an opened run; counts how often its weights are asked for."""

    game: Convolver
    path: Path = Path("run")
    levels: None = None
    data: Any = dataclasses.field(default_factory=lambda: {"name": "photos"})
    restored: list = dataclasses.field(default_factory=list)
    config: Any = dataclasses.field(default_factory=lambda: ConfigDict(CONFIG))

    def precision(self):
        """Return a context that changes nothing."""
        return contextlib.nullcontext()

    def load(self, step, how):
        """Return the weights; the moving average is twice the raw ones."""
        self.restored.append(step)
        gain = np.float32(0.5 if how.raw else 1.0)
        return Weights(
            choose_step(self.path, step) or STEP, {"generator": {"params": {"gain": gain}}}
        )


@dataclasses.dataclass(frozen=True)
class Torn(Degradation):
    """The left half is gone."""

    name: ClassVar[str] = "torn"
    masked: ClassVar[bool] = True
    fill: float = -1.0

    def of_one(self, key, image):
        known = (jnp.arange(image.shape[1]) >= image.shape[1] // 2).astype(jnp.float32)
        known = jnp.broadcast_to(known[None, :, None], (*image.shape[:2], 1))
        return Degraded(jnp.where(known > 0, image, jnp.float32(self.fill)), known)


def make_run(direction=PLAIN, degradation=None, **others):
    """Return a run of a game of these directions."""
    return OpenConvolver(Convolver({"AtoB": direction, **others}, spoils=degradation))


def expected(array, direction=PLAIN, known=None, fill=0.0, gain=1.0):
    """Return what the game makes of an image that is padded and cut by hand."""
    height, width = array.shape[:2]
    around = ((0, -height % direction.multiple), (0, -width % direction.multiple), (0, 0))
    x = device.to_float(jnp.asarray(np.pad(array, around, mode="reflect")))[None]
    if known is not None:
        known = np.pad(known.astype(np.float32)[:, :, None], around, mode="reflect")[None]
        x = jnp.where(known > 0.5, x, fill)
    variables = {"generator": {"params": {"gain": gain}}}
    game = Convolver({"AtoB": direction})
    made = jax.jit(lambda x: game.translate(variables, x, "AtoB", known=known))(x)
    made = np.asarray(device.to_uint8(made))[0]
    return made[: direction.scale * height, : direction.scale * width]
