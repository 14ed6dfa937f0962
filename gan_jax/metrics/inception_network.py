"""The Inception network of the FID, as published on 2015-12-05.

The architecture is that of "Rethinking the Inception Architecture for Computer Vision", Szegedy et
al. 2015, https://arxiv.org/abs/1512.00567, in the frozen graph by which the Inception Score
(Salimans et al. 2016, https://arxiv.org/abs/1606.03498) and the FID (Heusel et al. 2017,
https://arxiv.org/abs/1706.08500) were defined. That graph has peculiarities: 1008 classes; average
pools that exclude padding from the count; and a maximum in the pool branch of the last block. Batch
normalization is folded into the convolutions.

Blocks, branches and weights are named as in torchvision's Inception v3:
``Mixed_5b.branch5x5_2/kernel`` [height, width, in, out], ``Mixed_5b.branch5x5_2/bias`` [out].
"""

import functools
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict
from jax import lax

from gan_jax.errors import MetricError, lookup, suggestion
from gan_jax.metrics.resize import resize_tf1

SIZE = 299
WIDTHS = {"64": 64, "192": 192, "768": 768, "2048": 2048, "logits_unbiased": 1008, "logits": 1008}
PRECISIONS = ("highest", "default")


class Inception(nn.Module):
    """The network for inference; its initial weights are zeros and must be replaced.

    Attributes:
      precision: precision of convolutions and products: ``"highest"`` (float32), or ``"default"``,
        which allows accelerators the faster, less precise TF32 or bfloat16.
      floats: whether images are floats in 0 ... 255 instead of bytes.
    """

    precision: str = "highest"
    floats: bool = False

    @nn.compact
    def __call__(self, images: jax.Array, layers: tuple[str, ...]) -> dict[str, jax.Array]:
        """Return the named layers of images; deeper layers are not computed.

        Args:
          images: uint8, or floats in 0 ... 255, ``[n, h, w, c]`` with 1 or 3 channels, grey or RGB.
          layers: keys of ``WIDTHS``.

        Returns:
          By layer, its mean over the pixels, ``[n, width]`` float32.

        Raises:
          MetricError: shape or dtype of the images is wrong, or a layer does not exist.
          ConfigError: the precision is unknown.
        """
        for layer in layers:
            check_layer(layer, tuple(WIDTHS))
        lookup(dict.fromkeys(PRECISIONS), self.precision, "precision")
        found: dict[str, jax.Array] = {}
        with jax.default_matmul_precision(self.precision):
            stages = _stages(_prepared(images, self.floats))
            while missing := set(layers) - set(found):
                name, features = next(stages)
                if name in missing:
                    found[name] = features
        return {layer: found[layer] for layer in layers}


@functools.cache
def shapes(layer: str) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every array of the network up to a layer."""
    image = jax.ShapeDtypeStruct((1, 1, 1, 3), jnp.uint8)
    init = functools.partial(Inception().init, layers=(layer,))
    params = jax.eval_shape(init, jax.random.key(0), image)["params"]
    return {name: value.shape for name, value in flatten_dict(params, sep="/").items()}


def check_layer(layer: str, available: tuple[str, ...]) -> None:
    """Check that a layer is one of those available.

    Raises:
      MetricError: it is not.
    """
    if layer in available:
        return
    reason = "needs weights that are not in the file" if layer in WIDTHS else "is unknown"
    raise MetricError(
        f"inception layer {layer!r} {reason}; accepted: {', '.join(available)}."
        f"{suggestion(layer, available)}"
    )


def _prepared(images: jax.Array, floats: bool) -> jax.Array:
    """Return the input of the first convolution: float32 ``[n, 299, 299, 3]`` in [-1, 1)."""
    fits = jnp.issubdtype(images.dtype, jnp.floating) if floats else images.dtype == jnp.uint8
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or not fits:
        raise MetricError(
            f"inception images have shape {images.shape} and dtype {images.dtype}; "
            "accepted: [n, height, width, channels] with 1 or 3 channels, "
            f"{'floats in 0 ... 255' if floats else 'uint8'}."
        )
    x = (resize_tf1(images, SIZE, SIZE) - 128.0) / 128.0
    return jnp.broadcast_to(x, (*x.shape[:3], 3))


def _stages(x: jax.Array) -> Iterator[tuple[str, jax.Array]]:
    """Yield the layers one by one, each computed on demand."""
    x = _conv(x, "Conv2d_1a_3x3", 32, stride=2, padding="VALID")
    x = _conv(x, "Conv2d_2a_3x3", 32, padding="VALID")
    x = _conv(x, "Conv2d_2b_3x3", 64)
    x = _halving_max(x)
    yield "64", _pixel_mean(x)

    x = _conv(x, "Conv2d_3b_1x1", 80, (1, 1))
    x = _conv(x, "Conv2d_4a_3x3", 192, padding="VALID")
    x = _halving_max(x)
    yield "192", _pixel_mean(x)

    x = _block35(x, "Mixed_5b", 32)
    x = _block35(x, "Mixed_5c", 64)
    x = _block35(x, "Mixed_5d", 64)
    x = _from35_to17(x, "Mixed_6a")
    x = _block17(x, "Mixed_6b", 128)
    x = _block17(x, "Mixed_6c", 160)
    x = _block17(x, "Mixed_6d", 160)
    x = _block17(x, "Mixed_6e", 192)
    yield "768", _pixel_mean(x)

    x = _from17_to8(x, "Mixed_7a")
    x = _block8(x, "Mixed_7b", "average")
    x = _block8(x, "Mixed_7c", "max")
    features = _pixel_mean(x)
    yield "2048", features

    kernel, bias = _Weight((features.shape[-1], WIDTHS["logits"]), name="fc")()
    logits = jnp.dot(features, kernel)
    yield "logits_unbiased", logits
    yield "logits", logits + bias


class _Weight(nn.Module):
    """The kernel and bias of one convolution, or of the last layer."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        kernel = self.param("kernel", nn.initializers.zeros, self.shape)
        return kernel, self.param("bias", nn.initializers.zeros, self.shape[-1:])


def _block35(x: jax.Array, name: str, pool_features: int) -> jax.Array:
    """A block at 35x35 pixels: 1x1, 5x5, two of 3x3, and the pool."""
    heads = {"branch1x1": 64, "branch5x5_1": 48, "branch3x3dbl_1": 64, "branch_pool": pool_features}
    one, five, three, pool = _heads(x, name, heads)
    five = _conv(nn.relu(five), f"{name}.branch5x5_2", 64, (5, 5))
    three = _conv(nn.relu(three), f"{name}.branch3x3dbl_2", 96)
    three = _conv(three, f"{name}.branch3x3dbl_3", 96)
    return _joined(nn.relu(one), five, three, nn.relu(_average(pool)))


def _from35_to17(x: jax.Array, name: str) -> jax.Array:
    """The reduction from 35x35 to 17x17 pixels: 3x3, two of 3x3, and the pool."""
    single = _conv(x, f"{name}.branch3x3", 384, stride=2, padding="VALID")
    double = _conv(x, f"{name}.branch3x3dbl_1", 64, (1, 1))
    double = _conv(double, f"{name}.branch3x3dbl_2", 96)
    double = _conv(double, f"{name}.branch3x3dbl_3", 96, stride=2, padding="VALID")
    return _joined(single, double, _halving_max(x))


def _block17(x: jax.Array, name: str, features: int) -> jax.Array:
    """A block at 17x17 pixels: 1x1, 7x7 and twice 7x7 in rows and columns, and the pool."""
    row, column = (1, 7), (7, 1)
    heads = {"branch1x1": 192, "branch7x7_1": features, "branch7x7dbl_1": features}
    one, single, double, pool = _heads(x, name, {**heads, "branch_pool": 192})
    single = _conv(nn.relu(single), f"{name}.branch7x7_2", features, row)
    single = _conv(single, f"{name}.branch7x7_3", 192, column)
    double = _conv(nn.relu(double), f"{name}.branch7x7dbl_2", features, column)
    double = _conv(double, f"{name}.branch7x7dbl_3", features, row)
    double = _conv(double, f"{name}.branch7x7dbl_4", features, column)
    double = _conv(double, f"{name}.branch7x7dbl_5", 192, row)
    return _joined(nn.relu(one), single, double, nn.relu(_average(pool)))


def _from17_to8(x: jax.Array, name: str) -> jax.Array:
    """The reduction from 17x17 to 8x8 pixels: 3x3, 7x7 with 3x3, and the pool."""
    three, seven = _heads(x, name, {"branch3x3_1": 192, "branch7x7x3_1": 192})
    three = _conv(nn.relu(three), f"{name}.branch3x3_2", 320, stride=2, padding="VALID")
    seven = _conv(nn.relu(seven), f"{name}.branch7x7x3_2", 192, (1, 7))
    seven = _conv(seven, f"{name}.branch7x7x3_3", 192, (7, 1))
    seven = _conv(seven, f"{name}.branch7x7x3_4", 192, stride=2, padding="VALID")
    return _joined(three, seven, _halving_max(x))


def _block8(x: jax.Array, name: str, pool: str) -> jax.Array:
    """A block at 8x8 pixels: 1x1, 3x3 and 5x5 that end in 1x3 beside 3x1, and the pool."""
    heads = {"branch1x1": 320, "branch3x3_1": 384, "branch3x3dbl_1": 448}
    if pool == "average":
        *others, pooled = _heads(x, name, {**heads, "branch_pool": 192})
        pooled = nn.relu(_average(pooled))
    else:
        others = _heads(x, name, heads)
        pooled = _conv(_spreading_max(x), f"{name}.branch_pool", 192, (1, 1))
    one, single, double = (nn.relu(other) for other in others)
    double = _conv(double, f"{name}.branch3x3dbl_2", 384)
    return _joined(
        one,
        _conv(single, f"{name}.branch3x3_2a", 384, (1, 3)),
        _conv(single, f"{name}.branch3x3_2b", 384, (3, 1)),
        _conv(double, f"{name}.branch3x3dbl_3a", 384, (1, 3)),
        _conv(double, f"{name}.branch3x3dbl_3b", 384, (3, 1)),
        pooled,
    )


def _conv(
    x: jax.Array,
    name: str,
    features: int,
    kernel: tuple[int, int] = (3, 3),
    stride: int = 1,
    padding: str = "SAME",
) -> jax.Array:
    """Convolve with the weight ``name``, add its bias, apply ReLU."""
    w, b = _Weight((*kernel, x.shape[-1], features), name=name)()
    if kernel == (1, 1):
        return nn.relu(_product(x, w) + b)
    return nn.relu(_convolve(x, w, stride, padding) + b)


def _heads(x: jax.Array, block: str, features: dict[str, int]) -> list[jax.Array]:
    """Return the branches' first 1x1 convolutions, before ReLU, from one matrix product.

    An average pool before such a convolution can be applied after it, where there are fewer
    channels: a mean over pixels commutes with a 1x1 convolution.
    """
    shapes = {f"{block}.{name}": (1, 1, x.shape[-1], size) for name, size in features.items()}
    weights = [_Weight(shape, name=name)() for name, shape in shapes.items()]
    kernel, bias = (jnp.concatenate(parts, -1) for parts in zip(*weights, strict=True))
    ends = np.cumsum(list(features.values()))[:-1].tolist()
    return jnp.split(_product(x, kernel) + bias, ends, -1)


def _product(x: jax.Array, w: jax.Array) -> jax.Array:
    """Convolve with a 1x1 kernel as a matrix product, which is faster on CPU."""
    return lax.dot_general(x, w[0, 0], (((3,), (0,)), ((), ())))


def _convolve(x: jax.Array, w: jax.Array, stride: int, padding: str) -> jax.Array:
    """Convolve ``x`` [n, h, w, in] with ``w`` [kh, kw, in, out].

    On CPU, XLA convolves two to three times faster if there is any padding (measured with jax
    0.10), so unpadded inputs get one more row and column, whose outputs are dropped.
    """
    rows, columns = (
        (size - k) // stride + 1 for size, k in zip(x.shape[1:3], w.shape, strict=False)
    )
    cropped = padding == "VALID" and jax.default_backend() == "cpu"
    pads: Any = [(0, 1), (0, 1)] if cropped else padding
    y = lax.conv_general_dilated(
        x, w, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y[:, :rows, :columns] if cropped else y


def _joined(*branches: jax.Array) -> jax.Array:
    return jnp.concatenate(branches, -1)


def _pixel_mean(x: jax.Array) -> jax.Array:
    return jnp.mean(x, (1, 2))


# Pools are sums and maxima of shifted images: several times faster on CPU than reduce_window.


def _average(x: jax.Array) -> jax.Array:
    """Mean over 3x3 pixels at stride one, excluding padding."""
    for axis in (1, 2):
        counts = np.full(x.shape[axis], 3, np.float32)
        counts[[0, -1]] -= 1
        shape = [-1 if i == axis else 1 for i in range(x.ndim)]
        x = functools.reduce(jnp.add, _neighbours(x, axis, 0.0)) / counts.reshape(shape)
    return x


def _spreading_max(x: jax.Array) -> jax.Array:
    """Maximum over 3x3 pixels at stride one, excluding padding."""
    for axis in (1, 2):
        x = functools.reduce(jnp.maximum, _neighbours(x, axis, -jnp.inf))
    return x


def _neighbours(x: jax.Array, axis: int, edge: float) -> list[jax.Array]:
    """Return every pixel's predecessor, itself and its successor along an axis."""
    pads = [(int(i == axis), int(i == axis), 0) for i in range(x.ndim)]
    padded = lax.pad(x, jnp.asarray(edge, x.dtype), pads)
    return [lax.slice_in_dim(padded, i, i + x.shape[axis], axis=axis) for i in range(3)]


def _halving_max(x: jax.Array) -> jax.Array:
    """Maximum over 3x3 pixels at stride two, without padding."""
    for axis in (2, 1):
        last = 2 * ((x.shape[axis] - 3) // 2)
        shifted = [lax.slice_in_dim(x, i, i + last + 1, 2, axis) for i in range(3)]
        x = functools.reduce(jnp.maximum, shifted)
    return x
