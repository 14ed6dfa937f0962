"""Two-dimensional toy mixtures, which show whether a game finds every mode.

The ring is that of "Unrolled Generative Adversarial Networks" (Metz et al., 2017,
https://arxiv.org/abs/1611.02163), the grid that of "VEEGAN" (Srivastava et al., 2017,
https://arxiv.org/abs/1705.07761), the Swiss roll that of the toy experiments in "Improved Training
of Wasserstein GANs" (Gulrajani et al., 2017, https://arxiv.org/abs/1704.00028).
"""

import numpy as np

from gan_jax.data import spec as specs
from gan_jax.data.sources.base import ArraySource
from gan_jax.data.sources.draws import uniform
from gan_jax.errors import ConfigError, lookup


class ToySource(ArraySource):
    """Points float32 [2], drawn once from a fixed seed; labels are the modes, which take turns.

    Args:
      name: "ring", "grid" or "swiss_roll".
      points: float32 [n, 2].
      modes: the centres, float32 [k, 2]; None for the Swiss roll, which has no labels.
      std: standard deviation of the noise about a centre (or about the roll).
    """

    def __init__(self, name: str, points: np.ndarray, modes: np.ndarray | None, std: float):
        arrays = {"points": points}
        if modes is not None:
            arrays["label"] = (np.arange(len(points)) % len(modes)).astype(np.int32)
        spec = specs.points(None if modes is None else len(modes))
        super().__init__(name, "all", arrays, spec)
        self.modes = modes
        self.std = std


def _ring() -> np.ndarray:
    angles = np.arange(8) * (2 * np.pi / 8)
    return 2.0 * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _grid() -> np.ndarray:
    ticks = np.arange(-4.0, 5.0, 2.0)
    return np.stack(np.meshgrid(ticks, ticks, indexing="ij"), axis=-1).reshape(-1, 2)


# name -> (modes, default standard deviation)
MIXTURES = {"ring": (_ring, 0.02), "grid": (_grid, 0.05)}
SWISS_ROLL_STD = 0.25 / 7.5
NAMES = (*MIXTURES, "swiss_roll")


def toy(name: str, size: int, noise: float | None, seed: int = 0) -> ToySource:
    """Draw a toy data set; the same on every machine, because only raw random bits are drawn.

    Args:
      name: "ring": 8 Gaussians on a circle of radius 2 (noise 0.02); "grid": 25 Gaussians on
        {-4, -2, 0, 2, 4}^2 (noise 0.05); "swiss_roll": within about [-2, 2]^2 (noise 0.033).
      size: number of points. In a mixture the modes take turns, so that all are equally frequent.
      noise: standard deviation; None takes the one in brackets.
      seed: another seed gives other points of the same distribution.

    Raises:
      ConfigError: the name is unknown, or a number is out of range.
    """
    lookup(dict.fromkeys(NAMES), name, "data.name")
    if size < 1:
        raise ConfigError(f"data.toy_size = {size}; accepted: 1 or more")
    if noise is not None and not 0 <= noise < np.inf:
        raise ConfigError(f"data.toy_noise = {noise}; accepted: 0 or more, or None")
    drawn = uniform(seed, (3, size))
    # The Box-Muller transform; 1 - u keeps the logarithm finite for u in [0, 1).
    radius = np.sqrt(-2.0 * np.log(1.0 - drawn[0]))
    angle = 2.0 * np.pi * drawn[1]
    normal = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    if name == "swiss_roll":
        std = SWISS_ROLL_STD if noise is None else noise
        turn = 1.5 * np.pi * (1.0 + 2.0 * drawn[2])
        roll = turn[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1) / 7.5
        return ToySource(name, (roll + std * normal).astype(np.float32), None, std)
    make_modes, default = MIXTURES[name]
    std = default if noise is None else noise
    modes = make_modes()
    points = modes[np.arange(size) % len(modes)] + std * normal
    return ToySource(name, points.astype(np.float32), modes.astype(np.float32), std)
