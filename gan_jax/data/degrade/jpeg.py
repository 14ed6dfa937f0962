"""JPEG compression: the lossy steps of baseline coding, without the lossless ones.

Recommendation ITU-T T.81 (JPEG) with its example tables of Annex K, in the colour space of JFIF,
with the quality scale from 1 to 100 and the arithmetic of the Independent JPEG Group's library.
Values are rounded to integers wherever that library does so, except in the discrete cosine
transform, which is float32 here.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from typing_extensions import override

from gan_jax.data.degrade.degradation import Degradation, Degraded, within
from gan_jax.data.device import to_float, to_uint8
from gan_jax.errors import ConfigError

# T.81, tables K.1 and K.2: steps of quantisation by frequency, vertical by horizontal.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.int32,
)
_CHROMINANCE = np.full((8, 8), 99, np.int32)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

# JFIF: luminance, blue difference, red difference of R, G, B.
_TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.299, -0.587, 0.886], [0.701, -0.587, -0.114]], np.float64
) / np.array([[1.0], [1.772], [1.402]])
_TO_RGB = np.linalg.inv(_TO_YCC)

# Row u holds the cosine of frequency u at the eight pixels. Rows are orthogonal, with squares that
# sum to 8, because so those of frequencies 0 and 4 are exact, being +1 and -1: many of a byte
# image's coefficients lie halfway between two steps there, and must all be rounded the same way.
_COSINES = np.cos(np.pi * np.outer(np.arange(8), np.arange(8) + 0.5) / 8) * np.sqrt(2.0)
_COSINES[0] = 1.0


@dataclasses.dataclass(frozen=True)
class Jpeg(Degradation):
    """The image that comes back from a JPEG file, of one channel or three.

    Colour differences are kept at half the resolution (4:2:0) and enlarged smoothly, the default of
    the Independent JPEG Group's library.

    Attributes:
      quality: inclusive range of integers from 1, the worst, to 100.
    """

    name: ClassVar[str] = "jpeg"
    quality: tuple[int, int] = (10, 40)

    def __post_init__(self) -> None:
        self._check_range("quality", 1, 100, whole=True)

    @override
    def inputs(self, channels: int) -> int:
        """Return ``channels``, which must be 1 or 3."""
        if channels not in (1, 3):
            raise ConfigError(
                f"degrade.name = 'jpeg' with images of {channels} channels; accepted: 1 or 3."
            )
        return channels

    @override
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        low, high = self.quality
        quality = jax.random.randint(key, (), low, high + 1, jnp.int32)
        values = jpeg(to_uint8(image).astype(jnp.float32), quality)
        return Degraded(within(to_float(values.astype(jnp.uint8))), None)


def jpeg(values: jax.Array, quality: jax.Array) -> jax.Array:
    """Return what a JPEG file keeps of an image.

    Args:
      values: float32 ``[height, width, 1 or 3]``, whole numbers from 0 to 255.
      quality: int32 scalar from 1 to 100.

    Returns:
      The same shape and dtype, whole numbers from 0 to 255.
    """
    height, width, channels = values.shape
    luminance_steps = scaled_table(_LUMINANCE, quality)
    if channels == 1:
        return _coded(values[:, :, 0], luminance_steps)[:, :, None]
    ycc = _rounded(_mixed(values, _TO_YCC) + np.array([0.0, 128.0, 128.0], np.float32))
    luminance = _coded(ycc[:, :, 0], luminance_steps)
    steps = scaled_table(_CHROMINANCE, quality)
    differences = [
        _doubled(_coded(_halved(ycc[:, :, i]), steps))[:height, :width] - 128.0 for i in (1, 2)
    ]
    rgb = _mixed(jnp.stack([luminance, *differences], axis=-1), _TO_RGB)
    return jnp.clip(_rounded(rgb), 0.0, 255.0)


def scaled_table(table: np.ndarray, quality: jax.Array) -> jax.Array:
    """Return the steps of quantisation of a quality, as the IJG's library scales them.

    Args:
      table: int32 ``[8, 8]``, of quality 50.
      quality: int32 scalar from 1 to 100.

    Returns:
      float32 ``[8, 8]``, whole numbers from 1 to 255.
    """
    percent = jnp.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return jnp.clip((jnp.asarray(table) * percent + 50) // 100, 1, 255).astype(jnp.float32)


def _rounded(x: jax.Array) -> jax.Array:
    return jnp.floor(x + 0.5)


def _mixed(image: jax.Array, matrix: np.ndarray) -> jax.Array:
    """Return the channels' products with the rows of a matrix."""
    return jnp.einsum(
        "hwc,dc->hwd", image, matrix.astype(np.float32), precision=lax.Precision.HIGHEST
    )


def _coded(plane: jax.Array, steps: jax.Array) -> jax.Array:
    """Quantise the frequencies of a plane's 8x8 blocks, the last of which repeat its edge."""
    height, width = plane.shape
    padded = jnp.pad(plane - 128.0, ((0, -height % 8), (0, -width % 8)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8)
    cosines = _COSINES.astype(np.float32)
    frequencies = 0.125 * jnp.einsum(
        "aibj,ui,vj->abuv", blocks, cosines, cosines, precision=lax.Precision.HIGHEST
    )
    levels = jnp.floor(jnp.abs(frequencies) / steps + 0.5)
    kept = 0.125 * jnp.sign(frequencies) * levels * steps
    blocks = jnp.einsum("abuv,ui,vj->aibj", kept, cosines, cosines, precision=lax.Precision.HIGHEST)
    values = _rounded(blocks.reshape(padded.shape)[:height, :width] + 128.0)
    return jnp.clip(values, 0.0, 255.0)


def _halved(plane: jax.Array) -> jax.Array:
    """Return the rounded means of 2x2 values; of an odd side the last is repeated."""
    height, width = plane.shape
    # Whole blocks are completed to the right before the means are taken, and below after it: a
    # repeated column changes no mean, but a repeated mean of two rows is not that of the last row.
    plane = jnp.pad(plane, ((0, height % 2), (0, -width % 16)), mode="edge")
    squares = plane.reshape(plane.shape[0] // 2, 2, plane.shape[1] // 2, 2)
    # Halves go down and up in turn, so that they cancel.
    bias = jnp.asarray(np.resize([1.0, 2.0], plane.shape[1] // 2), jnp.float32)
    return jnp.floor((squares.sum((1, 3)) + bias) / 4.0)[:, : (width + 1) // 2]


def _doubled(plane: jax.Array) -> jax.Array:
    """Return a plane of twice the size: three parts the nearest value, one part the next."""
    rows = _interleaved(plane, 0)
    return jnp.floor(
        (
            _interleaved(rows, 1)
            + jnp.asarray(np.resize([8.0, 7.0], 2 * plane.shape[1]), jnp.float32)
        )
        / 16.0
    )


def _interleaved(plane: jax.Array, axis: int) -> jax.Array:
    """Return, along an axis, four times the values a quarter before and behind each one."""
    length = plane.shape[axis]
    padded = jnp.pad(plane, [(int(i == axis),) * 2 for i in range(2)], mode="edge")
    before = 3.0 * plane + lax.slice_in_dim(padded, 0, length, axis=axis)
    behind = 3.0 * plane + lax.slice_in_dim(padded, 2, length + 2, axis=axis)
    pairs = jnp.stack([before, behind], axis=axis + 1)
    shape = list(plane.shape)
    shape[axis] *= 2
    return pairs.reshape(shape)
