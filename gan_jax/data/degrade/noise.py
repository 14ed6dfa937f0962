"""Gaussian noise of a sensor, and shot noise of light."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.data.degrade.degradation import BYTE, Degradation, Degraded, Range, draw, within


@dataclasses.dataclass(frozen=True)
class GaussianNoise(Degradation):
    """Additive white Gaussian noise, the same in every channel and at every brightness.

    The standard test of denoisers, as in "Beyond a Gaussian Denoiser", Zhang et al. 2016,
    https://arxiv.org/abs/1608.03981 (sigma 15, 25 or 50; blind: 0 to 55).

    Attributes:
      sigma: range of its standard deviation, in units of 0 ... 255.
      clip: whether values are clipped to [-1, 1], as those of an image file are; papers that add
        noise to arrays do not.
    """

    name: ClassVar[str] = "gaussian"
    sigma: Range = (25.0, 25.0)
    clip: bool = True

    def __post_init__(self) -> None:
        self._check_range("sigma", 0.0, float("inf"))
        self._check_flag("clip")

    @override
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        sigma_key, noise_key = jax.random.split(key)
        noisy = add_gaussian(noise_key, image, draw(sigma_key, self.sigma))
        return Degraded(within(noisy) if self.clip else noisy, None)


@dataclasses.dataclass(frozen=True)
class PoissonNoise(Degradation):
    """Shot noise: an intensity ``x`` in [0, 1] becomes ``Poisson(peak x) / peak``.

    The mean is ``x`` and the variance ``x / peak``, before clipping at white.

    Attributes:
      peak: range of the expected number of photons of a white value.
    """

    name: ClassVar[str] = "poisson"
    peak: Range = (30.0, 30.0)

    def __post_init__(self) -> None:
        # float32 counts exactly up to 2^24; at the bound the noise is 0.1 % of the range.
        self._check_range("peak", 0.01, 1e6)

    @override
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        peak_key, count_key = jax.random.split(key)
        peak = draw(peak_key, self.peak)
        expected = peak * (within(image) + 1.0) / 2.0
        counts = jax.random.poisson(count_key, expected, dtype=jnp.int32)
        return Degraded(within(2.0 * counts.astype(jnp.float32) / peak - 1.0), None)


def add_gaussian(key: jax.Array, image: jax.Array, sigma: jax.Array) -> jax.Array:
    """Return a float32 image in [-1, 1] plus white noise; ``sigma`` is in units of 0 ... 255."""
    return image + (BYTE * sigma) * jax.random.normal(key, image.shape, jnp.float32)
