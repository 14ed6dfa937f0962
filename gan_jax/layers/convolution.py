"""Two-dimensional convolution and transposed convolution as Flax modules, also fast on CPU.

Drop-in replacements for `flax.linen.Conv` and `flax.linen.ConvTranspose` on NHWC images: the same
parameters (`kernel` as HWIO, `bias`), the same numbers up to the order of float additions.

On GPU and TPU a convolution is one `lax.conv_general_dilated`. On CPU, XLA runs forward
convolutions well but takes several times longer for gradients with respect to the kernel, for input
gradients of strided convolutions, and for the second derivatives of a gradient penalty. There, this
module uses that a convolution is bilinear: the three maps

    convolve(x, w),    gradient of x from (dy, w),    gradient of w from (x, dy)

are closed under differentiation (the derivatives of each are the other two), so one efficient
lowering of each covers derivatives of any order. The first two are forward convolutions of stride
one. The third is, for every row of taps, one matrix product over all pixels,
`[out, pixels] @ [pixels, kw * in]`, with the image unfolded along its width (or in and out
exchanged, where there are more in). Strides are folded into channels (space to depth); transposed
convolutions are stride-one convolutions followed by depth to space (the "sub-pixel" form of Shi et
al., "Is the deconvolution layer the same as a convolutional layer?", 2016,
https://arxiv.org/abs/1609.07009). Groups are convolved one after the other: XLA takes 100 to 400
times as long for the gradient of a grouped kernel. Many groups take long to compile.

The CPU lowering supports reverse-mode derivatives of any order, but not forward mode (`jax.jvp`);
`implementation="xla"` supports both.
"""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from gan_jax.errors import lookup

Pads = tuple[tuple[int, int], tuple[int, int]]

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def _plain(x: jax.Array, w: jax.Array, pads: Pads) -> jax.Array:
    """Stride-one convolution by XLA; negative pads crop."""
    return lax.conv_general_dilated(x, w, (1, 1), pads, dimension_numbers=_DIMENSIONS)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, w: jax.Array, pads: Pads) -> jax.Array:
    """Convolves `x` [n, h, w, in] with `w` [kh, kw, in, out] at stride one."""
    return _plain(x, w, pads)


def _convolve_forward(x: jax.Array, w: jax.Array, pads: Pads) -> Any:
    return _convolve(x, w, pads), (x, w)


def _convolve_backward(pads: Pads, saved: Any, dy: jax.Array) -> Any:
    x, w = saved
    return _image_gradient(dy, w, pads), _kernel_gradient(x, dy, pads)


_convolve.defvjp(_convolve_forward, _convolve_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _image_gradient(dy: jax.Array, w: jax.Array, pads: Pads) -> jax.Array:
    """Transpose of `_convolve` in `x`: a convolution with the kernel rotated by 180 degrees."""
    turned = jnp.flip(w, (0, 1)).swapaxes(2, 3)
    (top, bottom), (left, right) = pads
    kh, kw = w.shape[:2]
    full = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right))
    return _plain(dy, turned, full)


def _image_gradient_forward(dy: jax.Array, w: jax.Array, pads: Pads) -> Any:
    return _image_gradient(dy, w, pads), (dy, w)


def _image_gradient_backward(pads: Pads, saved: Any, dx: jax.Array) -> Any:
    dy, w = saved
    return _convolve(dx, w, pads), _kernel_gradient(dx, dy, pads)


_image_gradient.defvjp(_image_gradient_forward, _image_gradient_backward)


def _products(x: jax.Array, dy: jax.Array, pads: Pads) -> jax.Array:
    """Return the kernel's gradient by one matrix product over all pixels per row of taps."""
    (top, bottom), (left, right) = pads
    height, width, channels = x.shape[1:]
    out_height, out_width, features = dy.shape[1:]
    kh, kw = height + top + bottom - out_height + 1, width + left + right - out_width + 1
    zero = jnp.zeros((), x.dtype)

    def unfolded(i: int) -> jax.Array:
        """Return the input windows of tap row i: [n, out height, out width, kw * in]."""
        rows = (top - i, out_height - height - top + i, 0)
        copies = [
            lax.pad(
                x,
                zero,
                (
                    (0, 0, 0),
                    rows,
                    (left - j, out_width - width - left + j, 0),
                    (j * channels, (kw - 1 - j) * channels, 0),
                ),
            )
            for j in range(kw)
        ]
        # A sum of padded copies, which XLA fuses into one loop; a concatenation is slower.
        return reduce(jnp.add, copies)

    # The matrix product transposes its left operand, shared by all rows.
    taps = [
        lax.dot_general(
            dy,
            unfolded(i),
            (((0, 1, 2), (0, 1, 2)), ((), ())),
            preferred_element_type=x.dtype if x.dtype.itemsize >= 4 else jnp.float32,
        )
        for i in range(kh)
    ]
    dw = jnp.stack(taps).astype(x.dtype).reshape(kh, features, kw, channels)
    return dw.transpose(0, 2, 3, 1)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel_gradient(x: jax.Array, dy: jax.Array, pads: Pads) -> jax.Array:
    """Transpose of `_convolve` in `w`: `_products`, in which the narrower image is unfolded."""
    if x.shape[-1] <= dy.shape[-1]:
        return _products(x, dy, pads)
    # The same pairs of pixels, seen from the other image: every distance is negative.
    (top, bottom), (left, right) = pads
    kh, kw = (x.shape[a] + sum(pads[a - 1]) - dy.shape[a] + 1 for a in (1, 2))
    turned = ((kh - 1 - top, kh - 1 - bottom), (kw - 1 - left, kw - 1 - right))
    return jnp.flip(_products(dy, x, turned), (0, 1)).swapaxes(2, 3)


def _kernel_gradient_forward(x: jax.Array, dy: jax.Array, pads: Pads) -> Any:
    return _kernel_gradient(x, dy, pads), (x, dy)


def _kernel_gradient_backward(pads: Pads, saved: Any, dw: jax.Array) -> Any:
    x, dy = saved
    return _image_gradient(dy, dw, pads), _convolve(x, dw, pads)


_kernel_gradient.defvjp(_kernel_gradient_forward, _kernel_gradient_backward)


def _padding(
    padding: str, size: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
) -> Pads:
    """XLA's low and high padding of both image axes."""
    pads = lax.padtype_to_pads(size, kernel, strides, padding)
    (top, bottom), (left, right) = ((int(low), int(high)) for low, high in pads)
    return (top, bottom), (left, right)


def _strided(x: jax.Array, w: jax.Array, strides: tuple[int, int], padding: str) -> jax.Array:
    """Strided convolution as a stride-one convolution of blocks of pixels (space to depth)."""
    n, height, width, channels = x.shape
    kh, kw, _, features = w.shape
    (top, bottom), (left, right) = _padding(padding, (height, width), (kh, kw), strides)
    if strides == (1, 1):
        return _convolve(x, w, ((top, bottom), (left, right)))
    sh, sw = strides
    out = ((height + top + bottom - kh) // sh + 1, (width + left + right - kw) // sw + 1)
    if (kh, kw) == (1, 1):
        return _convolve(x[:, ::sh, ::sw], w, ((0, 0), (0, 0)))
    # Pad or crop to whole blocks: taps beyond the kernel are zero.
    bh, bw = -(-kh // sh), -(-kw // sw)
    rows, cols = out[0] + bh - 1, out[1] + bw - 1
    w = jnp.pad(w, ((0, bh * sh - kh), (0, bw * sw - kw), (0, 0), (0, 0)))
    w = w.reshape(bh, sh, bw, sw, channels, features).transpose(0, 2, 1, 3, 4, 5)
    high = (rows * sh - height - top, cols * sw - width - left)
    x = lax.pad(
        x,
        jnp.zeros((), x.dtype),
        ((0, 0, 0), (top, high[0], 0), (left, high[1], 0), (0, 0, 0)),
    )
    x = x.reshape(n, rows, sh, cols, sw, channels).transpose(0, 1, 3, 2, 4, 5)
    return _convolve(
        x.reshape(n, rows, cols, -1), w.reshape(bh, bw, -1, features), ((0, 0), (0, 0))
    )


def _transposed_pads(kernel: int, stride: int, padding: str) -> tuple[int, int]:
    """Low and high padding of the dilated image, as `lax.conv_transpose` defines them."""
    if padding == "SAME":
        total = kernel + stride - 2
        low = kernel - 1 if stride > kernel - 1 else -(-total // 2)
    else:
        total = kernel + stride - 2 + max(kernel - stride, 0)
        low = kernel - 1
    return low, total - low


def _transposed(x: jax.Array, w: jax.Array, strides: tuple[int, int], padding: str) -> jax.Array:
    """Transposed convolution as a stride-one convolution to blocks of pixels (depth to space).

    Along one axis, output pixel `s * q + p` takes input `q + t` through tap `low - p + s * t`. With
    `low` raised to -1 modulo s, all s phases p read the same inputs, through `ceil(k / s)` taps
    each; the outputs that this adds at the start are cropped.
    """
    n, channels, features = x.shape[0], x.shape[3], w.shape[3]
    pads, blocks, crops, sizes = [], [], [], []
    for axis in (0, 1):
        size, k, s = x.shape[axis + 1], w.shape[axis], strides[axis]
        low, high = _transposed_pads(k, s, padding)
        extra = (s - 1 - low) % s
        first = (low + extra) // s  # inputs read before the first
        taps = -(-k // s)
        out = (size - 1) * s + 1 + low + high - k + 1
        cells = -(-(out + extra) // s)
        pads.append((first, cells + taps - 1 - size - first))
        blocks.append(taps)
        crops.append(extra)
        sizes.append(out)
    sh, sw = strides
    spare = [b * s - k for b, s, k in zip(blocks, strides, w.shape[:2], strict=True)]
    w = jnp.pad(w, ((0, spare[0]), (0, spare[1]), (0, 0), (0, 0)))
    # Phase p uses tap s * t + (s - 1 - p).
    w = jnp.flip(w.reshape(blocks[0], sh, blocks[1], sw, channels, features), (1, 3))
    w = w.transpose(0, 2, 4, 1, 3, 5).reshape(*blocks, channels, sh * sw * features)
    y = _convolve(x, w, (pads[0], pads[1]))
    rows, cols = y.shape[1:3]
    y = y.reshape(n, rows, cols, sh, sw, features).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(n, rows * sh, cols * sw, features)
    return y[:, crops[0] : crops[0] + sizes[0], crops[1] : crops[1] + sizes[1]]


def _fast(implementation: str | None) -> bool:
    """Return whether to use the CPU lowering; None: depending on the default backend."""
    if implementation is None:
        return jax.default_backend() == "cpu"
    return lookup({"xla": False, "cpu": True}, implementation, "implementation")


def convolve(
    x: jax.Array,
    w: jax.Array,
    strides: tuple[int, int] = (1, 1),
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
    strides: tuple[int, int] = (2, 2),
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
