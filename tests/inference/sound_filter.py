"""A game whose generator filters sounds, and a stand-in for an opened run of it."""

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from gan_jax.data.spec import Field
from gan_jax.games.translation import A_TO_B, Direction
from gan_jax.runs.run import Run, Weights
from gan_jax.runs.run_directory import choose_step
from tests.inference import convolver
from tests.inference.stand_in import StandIn

RATE = 8_000
REACH = 2
TAPS = (0.1, -0.2, 0.5, 0.2, -0.1)
RNG = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True)
class Filter(StandIn):
    """Filters each channel of a sound by `TAPS`, times its one parameter; zeros beyond the ends."""

    channels: int = 1

    @property
    def spec(self):
        return {"audio": Field("audio", (64, self.channels), "int16", sample_rate=RATE)}

    @property
    def directions(self):
        return {A_TO_B: Direction(self.channels, self.channels, 4)}

    def render(self, variables, seen, direction, keys):
        assert seen.shape[1] % 4 == 0
        assert seen.shape[2] == self.channels
        wide = jnp.pad(seen, ((0, 0), (REACH, REACH), (0, 0)))
        made = sum(tap * wide[:, i : i + seen.shape[1]] for i, tap in enumerate(TAPS))
        return made * variables["gain"]


@dataclasses.dataclass(frozen=True)
class OpenFilter:
    """Stands in for an opened run."""

    game: Any = dataclasses.field(default_factory=Filter)
    path: Path = Path("run")
    config: Any = dataclasses.field(default_factory=lambda: ConfigDict(convolver.CONFIG))

    def load(self, step, how):
        """Return the weights; the moving average is twice the raw ones."""
        return Weights(choose_step(self.path, step) or 4, {"gain": np.float32(1.0 - how.raw / 2)})


class Opened(OpenFilter):
    """Stands in for an opened run whose method is called."""

    translate = Run.translate
    precision = contextlib.nullcontext


def noise(samples, channels=1):
    return RNG.uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


def filtered(sound, samples):
    """Return the filter's output for a sound that is padded by reflection to a multiple of 4."""
    padded = np.pad(sound, ((0, -samples % 4), (0, 0)), mode="reflect")
    columns = [np.convolve(column, TAPS[::-1], "same") for column in padded.T]
    return np.stack(columns, axis=1)[:samples]
