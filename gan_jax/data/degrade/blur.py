"""Blur: a lens out of focus, motion of the camera."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.data.degrade.degradation import Degradation, Degraded, Range, draw, within
from gan_jax.data.degrade.noise import add_gaussian

# Radius of a Gaussian kernel in standard deviations: 6e-5 of its weight lie beyond.
_REACH = 4.0
# Points per pixel of a line of motion.
_POINTS = 8


@dataclasses.dataclass(frozen=True)
class Blur(Degradation):
    """A Gaussian blur, a straight blur of motion, then noise; each may be absent.

    Beyond its edges an image is mirrored about its outermost pixels, which are not repeated
    (``d c b | a b c d``: "reflect" in NumPy, "mirror" in SciPy). Convolutions are products of
    Fourier transforms, so their cost hardly depends on the size of the kernels.

    Attributes:
      sigma: range of the Gaussian's standard deviation in pixels; 0: none.
      motion: range of the length in pixels of the straight line of motion, in a random direction;
        0: none.
      noise: range of the standard deviation of Gaussian noise added last, in units of 0 ... 255.
    """

    name: ClassVar[str] = "blur"
    sigma: Range = (1.6, 1.6)
    motion: Range = (0.0, 0.0)
    noise: Range = (0.0, 0.0)

    def __post_init__(self) -> None:
        for option in ("sigma", "motion", "noise"):
            self._check_range(option, 0.0, math.inf)

    @property
    def radius(self) -> int:
        """How many pixels away a pixel can have an influence, in rows and in columns."""
        return self._gaussian_radius + self._motion_radius

    @property
    def _gaussian_radius(self) -> int:
        return math.ceil(_REACH * self.sigma[1])

    @property
    def _motion_radius(self) -> int:
        return math.ceil(self.motion[1] / 2.0)

    @override
    def check(self, shape: tuple[int, ...]) -> None:
        """Check that a kernel's arm is shorter than the image, so that one mirror is enough."""
        height, width, _ = shape
        if min(height, width) <= self.radius:
            longest = "sigma" if self._gaussian_radius >= self._motion_radius else "motion"
            raise self._refuse(
                longest,
                getattr(self, longest),
                f"kernels that reach less far than the image's size; these reach {self.radius} "
                f"pixels, and images are {height}x{width}",
            )

    @override
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        sigma_key, length_key, angle_key, level_key, noise_key = jax.random.split(key, 5)
        kernels = []
        if self.sigma[1] > 0.0:
            kernels.append(gaussian_kernel(draw(sigma_key, self.sigma), self._gaussian_radius))
        if self.motion[1] > 0.0:
            angle = jax.random.uniform(angle_key, (), jnp.float32, 0.0, math.pi)
            length = draw(length_key, self.motion)
            kernels.append(motion_kernel(length, angle, self._motion_radius))
        blurred = convolve(image, kernels) if kernels else image
        if self.noise[1] > 0.0:
            blurred = add_gaussian(noise_key, blurred, draw(level_key, self.noise))
        return Degraded(within(blurred), None)


def gaussian_kernel(sigma: jax.Array, radius: int) -> jax.Array:
    """Return an isotropic Gaussian, sampled at the pixels.

    Args:
      sigma: float32 scalar, standard deviation in pixels; 0: the kernel changes nothing.
      radius: pixels from its centre to its edge.

    Returns:
      float32 ``[2 radius + 1, 2 radius + 1]``, of sum 1.
    """
    places = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    # A Gaussian of that minimum is 0 at the next pixel.
    taps = jnp.exp(-0.5 * jnp.square(places / jnp.maximum(sigma, 1e-3)))
    taps = taps / jnp.sum(taps)
    return taps[:, None] * taps[None, :]


def motion_kernel(length: jax.Array, angle: jax.Array, radius: int) -> jax.Array:
    """Return the trace of a point that moves evenly along a straight line about the centre.

    Args:
      length: float32 scalar, of the line in pixels, at most ``2 radius``; 0: the kernel changes
        nothing.
      angle: float32 scalar, radians from the row's direction towards growing rows.
      radius: pixels from its centre to its edge.

    Returns:
      float32 ``[2 radius + 1, 2 radius + 1]``, of sum 1: each of many points on the line is shared
      by the four pixels about it, as in bilinear interpolation.
    """
    count = max(_POINTS * 2 * radius, 1)
    along = (jnp.arange(count, dtype=jnp.float32) + 0.5) / count - 0.5
    places = jnp.arange(-radius, radius + 1, dtype=jnp.float32)

    def shares(direction: jax.Array) -> jax.Array:
        points = length * direction * along
        return jnp.maximum(0.0, 1.0 - jnp.abs(places[:, None] - points[None, :]))

    rows, columns = shares(jnp.sin(angle)), shares(jnp.cos(angle))
    return jnp.matmul(rows, columns.T, precision=lax.Precision.HIGHEST) / count


def convolve(image: jax.Array, kernels: list[jax.Array]) -> jax.Array:
    """Convolve every channel of an image with one kernel after the other.

    Args:
      image: float32 ``[height, width, channels]``; beyond its edges it is mirrored.
      kernels: float32, square with an odd size; the sum of their radii is below the image's size.

    Returns:
      The same shape and dtype.
    """
    radius = sum(kernel.shape[0] // 2 for kernel in kernels)
    padded = jnp.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    height, width, _ = padded.shape
    product = jnp.fft.rfft2(padded, axes=(0, 1))
    for kernel in kernels:
        product = product * jnp.fft.rfft2(kernel, (height, width))[:, :, None]
    # The convolution is circular: the first 2 radius rows and columns are wrapped around.
    return jnp.fft.irfft2(product, (height, width), axes=(0, 1))[2 * radius :, 2 * radius :]
