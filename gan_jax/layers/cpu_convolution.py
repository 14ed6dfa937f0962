"""Convolution and transposed convolution on CPU, with fast derivatives of any order.

XLA runs a convolution on its fast library only if its operands' axes are in the order of a forward
convolution: batch, space, channels, and space, inputs, outputs. JAX's derivatives are convolutions
of other orders, which XLA rearranges at the top level of a program, but not inside loops and
branches; there they take 40 to 150 times as long. So this module writes the derivatives itself,
with the axes exchanged. It uses that a convolution is bilinear: the three maps

    convolve(x, w),    gradient of x from (dy, w),    gradient of w from (x, dy)

are closed under differentiation (the derivatives of each are the other two), so one lowering of
each covers derivatives of any order. A transposed convolution is the second map.

- The first is XLA's convolution. With few outputs, or a 1x1 kernel, it is one matrix product for
  all taps, whose results are added where they belong.
- The second convolves `dy`, dilated by the strides, with the kernel rotated. Where the kernel is a
  whole number of strides wide, it is instead a convolution of stride one whose channels are all
  pixels of a block, and no zeros are multiplied (Shi et al., "Is the deconvolution layer the same
  as a convolutional layer?", 2016, https://arxiv.org/abs/1609.07009).
- The third convolves `x` with `dy`, dilated by the strides, as a large kernel: inputs take the
  place of the batch, and the batch that of channels. With few outputs, `x` and `dy` exchange their
  places. Of a small batch it is for every row of taps one matrix product over all pixels,
  `[out, pixels] @ [pixels, kw * in]`, with the image unfolded along its width.

A convolution of videos is the sum of those of their frames, one for each tap in time.

Reverse-mode derivatives alone: `jax.jvp` is not supported.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Sizes = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]

# Bounds, by measurement. Up to this number of outputs, a convolution is faster tap by tap.
_FEW_OUTPUTS = 4
# Strided windows of fewer channels are convolved faster in blocks of pixels, and their image's
# gradient is slower; of at least as many as the second, the zeros that fill up blocks are costly.
_FEW, _MANY = 8, 32
# The kernel's gradient of a smaller batch is faster row by row.
_SMALL_BATCH = 8


class _Windows(NamedTuple):
    """The windows of an image that a convolution looks at; everything is along the axes of space.

    Attributes:
      image: size of the image.
      kernel: size of a window.
      strides: steps between windows.
      pads: low and high zero padding of the image; negative ones crop it.
    """

    image: Sizes
    kernel: Sizes
    strides: Sizes
    pads: Pads

    @property
    def dense(self) -> bool:
        """Whether the windows are one step apart."""
        return set(self.strides) == {1}

    @property
    def out(self) -> Sizes:
        """Numbers of windows."""
        axes = zip(self.image, self.kernel, self.strides, self.pads, strict=True)
        return tuple((size + sum(pads) - k) // s + 1 for size, k, s, pads in axes)

    @property
    def blocks(self) -> "_Windows":
        """The windows one step apart in an image of which each pixel is a block of this one."""
        kernel = tuple(-(-k // s) for k, s in zip(self.kernel, self.strides, strict=True))
        image = tuple(n - 1 + k for n, k in zip(self.out, kernel, strict=True))
        return _Windows(image, kernel, (1,) * len(kernel), ((0, 0),) * len(kernel))

    @property
    def used(self) -> Pads:
        """The padding without what no window reaches; negative where the image's end is unused."""
        axes = zip(self.image, self.out, self.kernel, self.strides, self.pads, strict=True)
        return tuple((low, (n - 1) * s + k - size - low) for size, n, k, s, (low, _) in axes)

    @property
    def turned(self) -> Pads:
        """The padding with which dilated outputs and a rotated kernel give the whole image."""
        axes = zip(self.kernel, self.used, strict=True)
        return tuple((k - 1 - low, k - 1 - high) for k, (low, high) in axes)


def _padded(x: jax.Array, pads: Pads) -> jax.Array:
    """Pad an image with zeros, or crop it."""
    edges = [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges)


def _grouped(sizes: Sizes, blocks: Sizes) -> tuple[list[int], list[int], list[int]]:
    """Return how axes of space are split into blocks.

    Returns:
      The split shape; the order that brings the axes of blocks before those in blocks; and the
      inverse order. Both count from the first axis of space.
    """
    split = [n for size, block in zip(sizes, blocks, strict=True) for n in (size // block, block)]
    order = [*range(0, len(split), 2), *range(1, len(split), 2)]
    return split, order, [order.index(axis) for axis in range(len(split))]


def _fold(x: jax.Array, windows: _Windows) -> jax.Array:
    """Pad or crop an image to whole blocks, which become its pixels (space to depth)."""
    whole = tuple(n * s for n, s in zip(windows.blocks.image, windows.strides, strict=True))
    axes = zip(whole, windows.image, windows.pads, strict=True)
    x = _padded(x, tuple((low, n - size - low) for n, size, (low, _) in axes))
    split, order, _ = _grouped(whole, windows.strides)
    x = x.reshape(len(x), *split, x.shape[-1])
    x = x.transpose(0, *(1 + axis for axis in order), x.ndim - 1)
    return x.reshape(len(x), *windows.blocks.image, -1)


def _unfold(x: jax.Array, windows: _Windows) -> jax.Array:
    """Return the transpose of `_fold`: blocks become pixels (depth to space)."""
    whole = tuple(n * s for n, s in zip(windows.blocks.image, windows.strides, strict=True))
    _, _, order = _grouped(whole, windows.strides)
    x = x.reshape(*x.shape[:-1], *windows.strides, -1)
    x = x.transpose(0, *(1 + axis for axis in order), x.ndim - 1)
    x = x.reshape(len(x), *whole, -1)
    axes = zip(whole, windows.image, windows.pads, strict=True)
    return _padded(x, tuple((-low, size + low - n) for n, size, (low, _) in axes))


def _fold_kernel(w: jax.Array, windows: _Windows) -> jax.Array:
    """Return the kernel of the convolution of blocks; taps beyond `w` are zero."""
    blocks = windows.blocks.kernel
    whole = tuple(n * s for n, s in zip(blocks, windows.strides, strict=True))
    beyond = [(0, n - k) for n, k in zip(whole, windows.kernel, strict=True)]
    split, order, _ = _grouped(whole, windows.strides)
    features = w.shape[-1]
    w = jnp.pad(w, (*beyond, (0, 0), (0, 0))).reshape(*split, -1, features)
    return w.transpose(*order, w.ndim - 2, w.ndim - 1).reshape(*blocks, -1, features)


def dimensions(rank: int) -> lax.ConvDimensionNumbers:
    """Return the order of axes: batch, space, channels; space, inputs, outputs."""
    image = (0, rank + 1, *range(1, rank + 1))
    return lax.ConvDimensionNumbers(image, (rank + 1, rank, *range(rank)), image)


def _plain(
    x: jax.Array,
    w: jax.Array,
    pads: Pads,
    *,
    strides: Sizes | None = None,
    x_dilation: Sizes | None = None,
    w_dilation: Sizes | None = None,
) -> jax.Array:
    """Convolution by XLA; negative pads crop."""
    rank = x.ndim - 2
    strides = strides or (1,) * rank
    return lax.conv_general_dilated(x, w, strides, pads, x_dilation, w_dilation, dimensions(rank))


def _sum_dtype(dtype: Any) -> Any:
    """Return the dtype in which sums of products are formed."""
    return dtype if dtype.itemsize >= 4 else jnp.float32


def _dense(x: jax.Array, w: jax.Array, pads: Pads) -> jax.Array:
    """Convolution of stride one; negative pads crop."""
    *kernel, channels, features = w.shape
    if math.prod(kernel) > 1 and (features > _FEW_OUTPUTS or features >= channels):
        return _plain(x, w, pads)
    x = _padded(x, pads)
    out = [n - k + 1 for n, k in zip(x.shape[1:-1], kernel, strict=True)]
    dimensions = (((x.ndim - 1,), (len(kernel),)), ((), ()))
    products = lax.dot_general(x, w, dimensions, preferred_element_type=_sum_dtype(x.dtype))

    def seen(tap: Sizes) -> jax.Array:
        window = [slice(i, i + n) for i, n in zip(tap, out, strict=True)]
        return products[:, *window, *tap]

    return reduce(jnp.add, map(seen, _taps(kernel))).astype(x.dtype)


def _taps(kernel: Sequence[int]) -> Iterator[Sizes]:
    """Return the places in a kernel, row by row."""
    return itertools.product(*map(range, kernel))


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, w: jax.Array, windows: _Windows) -> jax.Array:
    """Convolves `x` [n, *space, in] with `w` [*kernel, in, out]."""
    if windows.dense:
        return _dense(x, w, windows.pads)
    if x.shape[-1] < _FEW:
        return _dense(_fold(x, windows), _fold_kernel(w, windows), windows.blocks.pads)
    return _plain(x, w, windows.pads, strides=windows.strides)


def _convolve_forward(x: jax.Array, w: jax.Array, windows: _Windows) -> Any:
    return _convolve(x, w, windows), (x, w)


def _convolve_backward(windows: _Windows, saved: Any, dy: jax.Array) -> Any:
    return _gradients(*saved, dy, windows)


@partial(jax.jit, static_argnums=3)
def _gradients(x: jax.Array, w: jax.Array, dy: jax.Array, windows: _Windows) -> Any:
    """Return both gradients; compiled in place, and traced once for each shape."""
    return _image_gradient(dy, w, windows), _kernel_gradient(x, dy, windows)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _in_blocks(channels: int, windows: _Windows) -> bool:
    """Return whether an image's gradient takes less time block by block.

    Where kernels are not whole numbers of strides wide, blocks multiply the zeros that fill them.
    """
    if windows.dense or channels < _FEW:
        return False
    whole = all(k % s == 0 for k, s in zip(windows.kernel, windows.strides, strict=True))
    return whole or channels < _MANY


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _image_gradient(dy: jax.Array, w: jax.Array, windows: _Windows) -> jax.Array:
    """Transpose of `_convolve` in `x`: a convolution with the kernel rotated."""
    if _in_blocks(w.shape[-2], windows):
        blocks = _image_gradient(dy, _fold_kernel(w, windows), windows.blocks)
        return _unfold(blocks, windows)
    rotated = _rotated(w).swapaxes(-2, -1)
    if windows.dense:
        return _dense(dy, rotated, windows.turned)
    return _plain(dy, rotated, windows.turned, x_dilation=windows.strides)


def _rotated(w: jax.Array) -> jax.Array:
    """Reverse a kernel along all axes of space."""
    return jnp.flip(w, range(w.ndim - 2))


def _image_gradient_forward(dy: jax.Array, w: jax.Array, windows: _Windows) -> Any:
    return _image_gradient(dy, w, windows), (dy, w)


def _image_gradient_backward(windows: _Windows, saved: Any, dx: jax.Array) -> Any:
    dy, w = saved
    return _convolve(dx, w, windows), _kernel_gradient(dx, dy, windows)


_image_gradient.defvjp(_image_gradient_forward, _image_gradient_backward)


def _products(x: jax.Array, dy: jax.Array, windows: _Windows) -> jax.Array:
    """Return a kernel's gradient by a matrix product over all pixels per row of taps."""
    *rows, width = windows.kernel
    strides, channels, features = windows.strides, x.shape[-1], dy.shape[-1]
    x, zero = _padded(x, windows.used), jnp.zeros((), x.dtype)

    def seen(tap: Sizes) -> jax.Array:
        """Return the pixels that a tap sees, among zeros for the other taps of its row."""
        steps = zip(tap, windows.out, strides, strict=True)
        ends = [i + (n - 1) * s + 1 for i, n, s in steps]
        pixels = lax.slice(x, (0, *tap, 0), (len(x), *ends, channels), (1, *strides, 1))
        edges = (tap[-1] * channels, (width - 1 - tap[-1]) * channels, 0)
        return lax.pad(pixels, zero, [*[(0, 0, 0)] * (x.ndim - 1), edges])

    pixels = tuple(range(x.ndim - 1))
    # The matrix product transposes its left operand, shared by all rows.
    gradients = [
        lax.dot_general(
            dy,
            # A sum of padded copies, which XLA fuses into one loop; a concatenation is slower.
            reduce(jnp.add, [seen((*row, column)) for column in range(width)]),
            ((pixels, pixels), ((), ())),
            preferred_element_type=_sum_dtype(x.dtype),
        )
        for row in _taps(rows)
    ]
    dw = jnp.stack(gradients).astype(x.dtype).reshape(*rows, features, width, channels)
    return jnp.moveaxis(dw, len(rows), -1)


def _large_kernel(x: jax.Array, dy: jax.Array, windows: _Windows) -> jax.Array:
    """Return a kernel's gradient as the convolution of `x` with `dy` as its kernel."""
    inputs, outputs = jnp.swapaxes(x, 0, -1), jnp.moveaxis(dy, 0, -2)
    dw = _plain(inputs, outputs, windows.used, w_dilation=windows.strides)
    return jnp.moveaxis(dw, 0, -2)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel_gradient(x: jax.Array, dy: jax.Array, windows: _Windows) -> jax.Array:
    """Transpose of `_convolve` in `w`."""
    channels, features = x.shape[-1], dy.shape[-1]
    small = len(x) < _SMALL_BATCH or math.prod(windows.kernel) == 1
    gradient = _products if small else _large_kernel
    few = features < channels and (small or features < _MANY)
    if not few or not windows.dense:
        return gradient(x, dy, windows)
    # The same pairs of pixels, seen from the other image: every distance is negative.
    seen = windows._replace(image=windows.out, pads=windows.turned)
    return _rotated(gradient(dy, x, seen)).swapaxes(-2, -1)


def _kernel_gradient_forward(x: jax.Array, dy: jax.Array, windows: _Windows) -> Any:
    return _kernel_gradient(x, dy, windows), (x, dy)


def _kernel_gradient_backward(windows: _Windows, saved: Any, dw: jax.Array) -> Any:
    x, dy = saved
    return _image_gradient(dy, dw, windows), _convolve(x, dw, windows)


_kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)


def strided(x: jax.Array, w: jax.Array, strides: Sizes, padding: str) -> jax.Array:
    """Convolve `x` [n, *space, in] with `w` [*kernel, in, out], at any stride."""
    if x.ndim > 4:
        return _strided_frames(x, w, strides, padding)
    kernel, space = w.shape[:-2], x.shape[1:-1]
    pads: Pads = ((0, 0),) * len(kernel)
    if math.prod(kernel) == 1:
        x = x[:, *(slice(None, None, s) for s in strides)]
        return _convolve(x, w, _Windows(x.shape[1:-1], kernel, kernel, pads))
    found = lax.padtype_to_pads(space, kernel, strides, padding)
    pads = tuple((int(low), int(high)) for low, high in found)
    return _convolve(x, w, _Windows(space, kernel, strides, pads))


def _strided_frames(x: jax.Array, w: jax.Array, strides: Sizes, padding: str) -> jax.Array:
    """Convolution of videos: for each tap in time one of the frames that it sees."""
    taps, step = len(w), strides[0]
    ((low, high),) = lax.padtype_to_pads(x.shape[1:2], (taps,), (step,), padding)
    x = _padded(x, ((int(low), int(high)), *[(0, 0)] * (x.ndim - 3)))
    last = x.shape[1] - taps

    def seen(tap: int) -> jax.Array:
        frames = x[:, tap : tap + last + 1 : step]
        y = strided(frames.reshape(-1, *x.shape[2:]), w[tap], strides[1:], padding)
        return y.reshape(*frames.shape[:2], *y.shape[1:])

    return reduce(jnp.add, map(seen, range(taps)))


def _transposed_pads(kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """Low and high padding of the dilated image, as `lax.conv_transpose` defines them."""
    if padding == "SAME":
        total = kernel + stride - 2
        low = kernel - 1 if stride > kernel - 1 else -(-total // 2)
    else:
        total = kernel + stride - 2 + max(kernel - stride, 0)
        low = kernel - 1
    return low, total - low


def transposed(x: jax.Array, w: jax.Array, strides: Sizes, padding: str) -> jax.Array:
    """Enlarge `x` [n, *space, in] by `w` [*kernel, in, out]: an image's gradient at that stride."""
    if x.ndim > 4:
        return _transposed_frames(x, w, strides, padding)
    pads, image, kernel = [], [], w.shape[:-2]
    for size, k, s in zip(x.shape[1:-1], kernel, strides, strict=True):
        low, high = _transposed_pads(k, s, padding)
        image.append((size - 1) * s + 1 + low + high - k + 1)
        pads.append((k - 1 - low, k - 1 - high))
    windows = _Windows(tuple(image), kernel, strides, tuple(pads))
    return _image_gradient(x, _rotated(w).swapaxes(-2, -1), windows)


def _transposed_frames(x: jax.Array, w: jax.Array, strides: Sizes, padding: str) -> jax.Array:
    """Transposed convolution of videos: frames enlarged by each tap in time, where they belong."""
    frames, taps, step = x.shape[1], len(w), strides[0]
    low, high = _transposed_pads(taps, step, padding)
    total = (frames - 1) * step + 1 + low + high - taps + 1
    flat = x.reshape(-1, *x.shape[2:])

    def placed(tap: int) -> jax.Array:
        y = transposed(flat, w[tap], strides[1:], padding)
        y = y.reshape(len(x), frames, *y.shape[1:])
        after = total - (frames - 1) * step - 1 - (low - tap)
        edges = [(0, 0, 0), (low - tap, after, step - 1), *[(0, 0, 0)] * (y.ndim - 2)]
        return lax.pad(y, jnp.zeros((), y.dtype), edges)

    return reduce(jnp.add, map(placed, range(taps)))
