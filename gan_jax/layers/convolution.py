"""Convolution and transposed convolution as Flax modules, also fast on CPU.

Drop-in replacements for `flax.linen.Conv` and `flax.linen.ConvTranspose` on NHWC images: the same
parameters (`kernel` as HWIO, `bias`), the same numbers up to the order of float additions.

On GPU and TPU a convolution is one `lax.conv_general_dilated`. On CPU, XLA runs a convolution on
its fast library only if its operands' axes are in the order of a forward convolution: batch, space,
channels, and space, inputs, outputs. JAX's derivatives are convolutions of other orders, which XLA
rearranges at the top level of a program, but not inside loops and branches; there they take 40 to
150 times as long. So this module writes the derivatives itself, with the axes exchanged. It uses
that a convolution is bilinear: the three maps

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

Groups are convolved one after the other: XLA takes 100 to 400 times as long for the gradient of a
grouped kernel. Many groups take long to compile.

The CPU lowering supports reverse-mode derivatives of any order, but not forward mode (`jax.jvp`);
`implementation="xla"` supports both.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from gan_jax.errors import lookup

Pair = tuple[int, int]
Pads = tuple[Pair, Pair]

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
# Bounds, by measurement. Up to this number of outputs, a convolution is faster tap by tap.
_FEW_OUTPUTS = 4
# Strided windows of fewer channels are convolved faster in blocks of pixels, and their image's
# gradient is slower; of at least as many as the second, the zeros that fill up blocks are costly.
_FEW, _MANY = 8, 32
# The kernel's gradient of a smaller batch is faster row by row.
_SMALL_BATCH = 8


class _Windows(NamedTuple):
    """The windows of an image that a convolution looks at, each along (height, width).

    Attributes:
      image: size of the image.
      kernel: size of a window.
      strides: steps between windows.
      pads: low and high zero padding of the image; negative ones crop it.
    """

    image: Pair
    kernel: Pair
    strides: Pair
    pads: Pads

    @property
    def out(self) -> Pair:
        """Numbers of windows."""
        axes = zip(self.image, self.kernel, self.strides, self.pads, strict=True)
        rows, columns = ((size + sum(pads) - k) // s + 1 for size, k, s, pads in axes)
        return rows, columns

    @property
    def blocks(self) -> "_Windows":
        """The windows of stride one in an image of which each pixel is a block of this one."""
        axes = zip(self.kernel, self.strides, self.out, strict=True)
        (kh, rows), (kw, columns) = ((-(-k // s), n - 1 + -(-k // s)) for k, s, n in axes)
        return _Windows((rows, columns), (kh, kw), (1, 1), ((0, 0), (0, 0)))

    @property
    def used(self) -> Pads:
        """The padding without what no window reaches; negative where the image's end is unused."""
        axes = zip(self.image, self.out, self.kernel, self.strides, self.pads, strict=True)
        rows, columns = ((low, (n - 1) * s + k - size - low) for size, n, k, s, (low, _) in axes)
        return rows, columns

    @property
    def turned(self) -> Pads:
        """The padding with which dilated outputs and a rotated kernel give the whole image."""
        axes = zip(self.kernel, self.pads, self.used, strict=True)
        rows, columns = ((k - 1 - low, k - 1 - high) for k, (low, _), (_, high) in axes)
        return rows, columns


def _fold(x: jax.Array, windows: _Windows) -> jax.Array:
    """Pad or crop an image to whole blocks, which become its pixels (space to depth)."""
    n, channels, (sh, sw) = x.shape[0], x.shape[3], windows.strides
    rows, columns = windows.blocks.image
    (top, _), (left, _) = windows.pads
    high = (rows * sh - x.shape[1] - top, columns * sw - x.shape[2] - left)
    edges = ((0, 0, 0), (top, high[0], 0), (left, high[1], 0), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), edges)
    x = x.reshape(n, rows, sh, columns, sw, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, rows, columns, -1)


def _fold_kernel(w: jax.Array, windows: _Windows) -> jax.Array:
    """Return the kernel of the convolution of blocks; taps beyond ``w`` are zero."""
    (bh, bw), (sh, sw) = windows.blocks.kernel, windows.strides
    kh, kw, channels, features = w.shape
    w = jnp.pad(w, ((0, bh * sh - kh), (0, bw * sw - kw), (0, 0), (0, 0)))
    w = w.reshape(bh, sh, bw, sw, channels, features).transpose(0, 2, 1, 3, 4, 5)
    return w.reshape(bh, bw, -1, features)


def _unfold(x: jax.Array, windows: _Windows) -> jax.Array:
    """Return the transpose of `_fold`: blocks become pixels (depth to space)."""
    n, rows, columns = x.shape[:3]
    sh, sw = windows.strides
    x = x.reshape(n, rows, columns, sh, sw, -1).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(n, rows * sh, columns * sw, -1)
    edges = [(0, 0, 0)]
    for size, (low, _), given in zip(windows.image, windows.pads, x.shape[1:3], strict=True):
        edges.append((-low, size + low - given, 0))
    return lax.pad(x, jnp.zeros((), x.dtype), [*edges, (0, 0, 0)])


def _plain(
    x: jax.Array,
    w: jax.Array,
    pads: Pads,
    strides: Pair = (1, 1),
    x_dilation: Pair = (1, 1),
    w_dilation: Pair = (1, 1),
) -> jax.Array:
    """Convolution by XLA, of axes in the order that it is fast for; negative pads crop."""
    return lax.conv_general_dilated(x, w, strides, pads, x_dilation, w_dilation, _DIMENSIONS)


def _sum_dtype(dtype: Any) -> Any:
    """Return the dtype in which sums of products are formed."""
    return dtype if dtype.itemsize >= 4 else jnp.float32


def _dense(x: jax.Array, w: jax.Array, pads: Pads) -> jax.Array:
    """Convolution of stride one; negative pads crop."""
    kh, kw, channels, features = w.shape
    if (kh, kw) != (1, 1) and (features > _FEW_OUTPUTS or features >= channels):
        return _plain(x, w, pads)
    edges = ((0, 0, 0), *((*pair, 0) for pair in pads), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), edges)
    rows, columns = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    products = lax.dot_general(
        x, w, (((3,), (2,)), ((), ())), preferred_element_type=_sum_dtype(x.dtype)
    )
    taps = [(i, j) for i in range(kh) for j in range(kw)]
    seen = [products[:, i : i + rows, j : j + columns, i, j] for i, j in taps]
    return reduce(jnp.add, seen).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, w: jax.Array, windows: _Windows) -> jax.Array:
    """Convolves `x` [n, h, w, in] with `w` [kh, kw, in, out]."""
    if windows.strides == (1, 1):
        return _dense(x, w, windows.pads)
    if x.shape[3] < _FEW:
        return _dense(_fold(x, windows), _fold_kernel(w, windows), windows.blocks.pads)
    return _plain(x, w, windows.pads, windows.strides)


def _convolve_forward(x: jax.Array, w: jax.Array, windows: _Windows) -> Any:
    return _convolve(x, w, windows), (x, w)


def _convolve_backward(windows: _Windows, saved: Any, dy: jax.Array) -> Any:
    x, w = saved
    return _image_gradient(dy, w, windows), _kernel_gradient(x, dy, windows)


_convolve.defvjp(_convolve_forward, _convolve_backward)


def _in_blocks(channels: int, windows: _Windows) -> bool:
    """Return whether an image's gradient takes less time block by block.

    Where kernels are not whole numbers of strides wide, blocks multiply the zeros that fill them.
    """
    if windows.strides == (1, 1) or channels < _FEW:
        return False
    return channels < _MANY or all(
        k % s == 0 for k, s in zip(windows.kernel, windows.strides, strict=True)
    )


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _image_gradient(dy: jax.Array, w: jax.Array, windows: _Windows) -> jax.Array:
    """Transpose of `_convolve` in `x`: a convolution with the kernel rotated by 180 degrees."""
    if _in_blocks(w.shape[2], windows):
        blocks = _image_gradient(dy, _fold_kernel(w, windows), windows.blocks)
        return _unfold(blocks, windows)
    turned = jnp.flip(w, (0, 1)).swapaxes(2, 3)
    if windows.strides == (1, 1):
        return _dense(dy, turned, windows.turned)
    return _plain(dy, turned, windows.turned, x_dilation=windows.strides)


def _image_gradient_forward(dy: jax.Array, w: jax.Array, windows: _Windows) -> Any:
    return _image_gradient(dy, w, windows), (dy, w)


def _image_gradient_backward(windows: _Windows, saved: Any, dx: jax.Array) -> Any:
    dy, w = saved
    return _convolve(dx, w, windows), _kernel_gradient(dx, dy, windows)


_image_gradient.defvjp(_image_gradient_forward, _image_gradient_backward)


def _products(x: jax.Array, dy: jax.Array, windows: _Windows) -> jax.Array:
    """Return a kernel's gradient by a matrix product over all pixels per row of taps."""
    (n, _, _, channels), features = x.shape, dy.shape[3]
    (kh, kw), (sh, sw), (rows, columns) = windows.kernel, windows.strides, windows.out
    zero = jnp.zeros((), x.dtype)
    x = lax.pad(x, zero, ((0, 0, 0), *((*pads, 0) for pads in windows.used), (0, 0, 0)))

    def tap(i: int, j: int) -> jax.Array:
        """Return the pixels that tap (i, j) sees, among zeros for the other taps of its row."""
        high = (n, i + (rows - 1) * sh + 1, j + (columns - 1) * sw + 1, channels)
        seen = lax.slice(x, (0, i, j, 0), high, (1, sh, sw, 1))
        edges = (j * channels, (kw - 1 - j) * channels, 0)
        return lax.pad(seen, zero, ((0, 0, 0), (0, 0, 0), (0, 0, 0), edges))

    # The matrix product transposes its left operand, shared by all rows.
    taps = [
        lax.dot_general(
            dy,
            # A sum of padded copies, which XLA fuses into one loop; a concatenation is slower.
            reduce(jnp.add, [tap(i, j) for j in range(kw)]),
            (((0, 1, 2), (0, 1, 2)), ((), ())),
            preferred_element_type=_sum_dtype(x.dtype),
        )
        for i in range(kh)
    ]
    dw = jnp.stack(taps).astype(x.dtype).reshape(kh, features, kw, channels)
    return dw.transpose(0, 2, 3, 1)


def _large_kernel(x: jax.Array, dy: jax.Array, windows: _Windows) -> jax.Array:
    """Return a kernel's gradient as the convolution of `x` with `dy` as its kernel."""
    inputs, outputs = x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)
    dw = _plain(inputs, outputs, windows.used, w_dilation=windows.strides)
    return dw.transpose(1, 2, 0, 3)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel_gradient(x: jax.Array, dy: jax.Array, windows: _Windows) -> jax.Array:
    """Transpose of `_convolve` in `w`."""
    (n, _, _, channels), features = x.shape, dy.shape[3]
    small = n < _SMALL_BATCH or windows.kernel == (1, 1)
    gradient = _products if small else _large_kernel
    few = features < channels and (small or features < _MANY)
    if not few or windows.strides != (1, 1):
        return gradient(x, dy, windows)
    # The same pairs of pixels, seen from the other image: every distance is negative.
    seen = _Windows(windows.out, windows.kernel, (1, 1), windows.turned)
    return jnp.flip(gradient(dy, x, seen), (0, 1)).swapaxes(2, 3)


def _kernel_gradient_forward(x: jax.Array, dy: jax.Array, windows: _Windows) -> Any:
    return _kernel_gradient(x, dy, windows), (x, dy)


def _kernel_gradient_backward(windows: _Windows, saved: Any, dw: jax.Array) -> Any:
    x, dy = saved
    return _image_gradient(dy, dw, windows), _convolve(x, dw, windows)


_kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)


def _strided(x: jax.Array, w: jax.Array, strides: Pair, padding: str) -> jax.Array:
    """Convolution of any stride."""
    kernel = (w.shape[0], w.shape[1])
    (top, bottom), (left, right) = lax.padtype_to_pads(x.shape[1:3], kernel, strides, padding)
    pads = ((int(top), int(bottom)), (int(left), int(right)))
    if kernel == (1, 1):
        x, strides = x[:, :: strides[0], :: strides[1]], (1, 1)
        pads = ((0, 0), (0, 0))
    return _convolve(x, w, _Windows((x.shape[1], x.shape[2]), kernel, strides, pads))


def _transposed_pads(kernel: int, stride: int, padding: str) -> Pair:
    """Low and high padding of the dilated image, as `lax.conv_transpose` defines them."""
    if padding == "SAME":
        total = kernel + stride - 2
        low = kernel - 1 if stride > kernel - 1 else -(-total // 2)
    else:
        total = kernel + stride - 2 + max(kernel - stride, 0)
        low = kernel - 1
    return low, total - low


def _transposed(x: jax.Array, w: jax.Array, strides: Pair, padding: str) -> jax.Array:
    """Transposed convolution: what the image's gradient is of a convolution of that stride."""
    pads, image = [], []
    for size, k, s in zip(x.shape[1:3], w.shape[:2], strides, strict=True):
        low, high = _transposed_pads(k, s, padding)
        image.append((size - 1) * s + 1 + low + high - k + 1)
        pads.append((k - 1 - low, k - 1 - high))
    kernel = (w.shape[0], w.shape[1])
    windows = _Windows((image[0], image[1]), kernel, strides, (pads[0], pads[1]))
    return _image_gradient(x, jnp.flip(w, (0, 1)).swapaxes(2, 3), windows)


def _fast(implementation: str | None) -> bool:
    """Return whether to use the CPU lowering; None: depending on the default backend."""
    if implementation is None:
        return jax.default_backend() == "cpu"
    return lookup({"xla": False, "cpu": True}, implementation, "implementation")


def convolve(
    x: jax.Array,
    w: jax.Array,
    strides: Pair = (1, 1),
    padding: str = "SAME",
    implementation: str | None = None,
    *,
    groups: int = 1,
) -> jax.Array:
    """Convolve images with a kernel (a cross-correlation, as usual in deep learning).

    Args:
      x: images, [batch, height, width, in].
      w: kernel, [kernel height, kernel width, in / groups, out], of the same dtype.
      strides: steps between windows, (vertical, horizontal).
      padding: `"SAME"` or `"VALID"`.
      implementation: `"xla"` (one XLA convolution), `"cpu"` (the lowering that this module
        describes), or None to choose by `jax.default_backend()` when the function is traced.
      groups: parts of the channels: output part i depends on input part i alone.

    Returns:
      [batch, height', width', out].
    """
    if not _fast(implementation):
        return lax.conv_general_dilated(
            x,
            w,
            strides,
            padding,
            dimension_numbers=_DIMENSIONS,
            feature_group_count=groups,
        )
    if groups == 1:
        return _strided(x, w, strides, padding)
    parts = zip(jnp.split(x, groups, axis=-1), jnp.split(w, groups, axis=-1), strict=True)
    return jnp.concatenate([_strided(*part, strides, padding) for part in parts], axis=-1)


def convolve_transpose(
    x: jax.Array,
    w: jax.Array,
    strides: Pair = (2, 2),
    padding: str = "SAME",
    implementation: str | None = None,
) -> jax.Array:
    """Enlarge images by a transposed convolution, as `jax.lax.conv_transpose` does.

    Args:
      x: images, [batch, height, width, in].
      w: kernel, [kernel height, kernel width, in, out], of the same dtype; not rotated.
      strides: enlargement, (vertical, horizontal).
      padding: `"SAME"` (the output is exactly `strides` times larger) or `"VALID"`.
      implementation: as for `convolve`.

    Returns:
      [batch, height', width', out].
    """
    if _fast(implementation):
        return _transposed(x, w, strides, padding)
    return lax.conv_transpose(x, w, strides, padding)


def convolve_pooled(x: jax.Array, w: jax.Array, implementation: str | None = None) -> jax.Array:
    """Convolve images at stride one with "SAME" padding, and average 2x2 squares.

    The mean of four neighbouring outputs is one output of the kernel averaged over four shifts: a
    convolution of stride two. For a 3x3 kernel this needs 16 multiplications instead of 36, and
    the full-size output is never computed.

    Args:
      x: images, [batch, height, width, in], height and width even.
      w: kernel, [kernel size, kernel size, in, out], of odd size and the same dtype.
      implementation: as for `convolve`.

    Returns:
      [batch, height / 2, width / 2, out].

    Raises:
      ValueError: the kernel's size is even, or the height or width is odd.
    """
    if x.shape[1] % 2 or x.shape[2] % 2 or not (w.shape[0] % 2 and w.shape[1] % 2):
        raise ValueError(
            f"images of {x.shape[1]}x{x.shape[2]} and a kernel of {w.shape[0]}x{w.shape[1]}; "
            "accepted: an even height and width, and a kernel of odd size"
        )
    shifts = [
        jnp.pad(w, ((top, 1 - top), (left, 1 - left), (0, 0), (0, 0)))
        for top in (0, 1)
        for left in (0, 1)
    ]
    return convolve(x, sum(shifts[1:], shifts[0]) * 0.25, (2, 2), "SAME", implementation)


class Conv(nn.Module):
    """Convolution layer for NHWC images; see `convolve`.

    Attributes:
      features: number of output channels.
      kernel_size: (height, width) of the kernel.
      strides: (vertical, horizontal).
      padding: `"SAME"` or `"VALID"`.
      use_bias: whether a bias per output channel is added.
      dtype: dtype of the computation; None: that of the inputs and parameters.
      param_dtype: dtype of the parameters.
      kernel_init: initializer of the kernel.
      bias_init: initializer of the bias.
      implementation: as for `convolve`.
      pool: average 2x2 squares of the output, fused with the convolution (see `convolve_pooled`);
        requires stride one, "SAME" padding and one group.
      groups: as for `convolve`; the numbers of input and output channels are multiples of it.
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros
    implementation: str | None = None
    pool: bool = False
    groups: int = 1

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., height, width, in] to [..., height', width', features]."""
        if not self.pool:
            return _layer(self, partial(convolve, groups=self.groups), inputs, self.groups)
        if tuple(self.strides) != (1, 1) or self.padding != "SAME" or self.groups != 1:
            raise ValueError(
                f"pool with strides {self.strides}, padding {self.padding!r} and groups = "
                f"{self.groups}; accepted: strides (1, 1), 'SAME' and 1"
            )

        def pooled(x: jax.Array, w: jax.Array, *_: Any, implementation: str | None) -> jax.Array:
            return convolve_pooled(x, w, implementation)

        return _layer(self, pooled, inputs)


class ConvTranspose(nn.Module):
    """Transposed convolution layer for NHWC images; see `convolve_transpose` and `Conv`."""

    features: int
    kernel_size: tuple[int, int] = (4, 4)
    strides: tuple[int, int] = (2, 2)
    padding: str = "SAME"
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros
    implementation: str | None = None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., height, width, in] to [..., height', width', features]."""
        return _layer(self, convolve_transpose, inputs)


def _layer(
    module: "Conv | ConvTranspose",
    function: Callable[..., jax.Array],
    inputs: jax.Array,
    groups: int = 1,
) -> jax.Array:
    """Apply a layer: declare parameters, promote dtypes, flatten batch axes, add the bias."""
    if inputs.shape[-1] % groups or module.features % groups:
        raise ValueError(
            f"groups = {groups} for {inputs.shape[-1]} input and {module.features} output "
            "channels; accepted: a divisor of both"
        )
    shape = (*module.kernel_size, inputs.shape[-1] // groups, module.features)
    kernel = module.param("kernel", module.kernel_init, shape, module.param_dtype)
    bias = None
    if module.use_bias:
        bias = module.param("bias", module.bias_init, (module.features,), module.param_dtype)
    inputs, kernel, bias = promote_dtype(inputs, kernel, bias, dtype=module.dtype)
    batch = inputs.shape[:-3]
    x = inputs.reshape(-1, *inputs.shape[-3:])
    y = function(
        x, kernel, tuple(module.strides), module.padding, implementation=module.implementation
    )
    if bias is not None:
        y = y + bias
    return y.reshape(*batch, *y.shape[1:])
