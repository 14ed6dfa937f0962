"""The Inception network of the FID, as published on 2015-12-05, and files of its weights.

The architecture is that of "Rethinking the Inception Architecture for Computer Vision", Szegedy et
al. 2015, https://arxiv.org/abs/1512.00567, in the frozen graph by which the Inception Score
(Salimans et al. 2016, https://arxiv.org/abs/1606.03498) and the FID (Heusel et al. 2017,
https://arxiv.org/abs/1706.08500) were defined. That graph has peculiarities: 1008 classes; average
pools that exclude padding from the count; and a maximum in the pool branch of the last block. Batch
normalization is folded into the convolutions.

Blocks, branches and weights are named as in torchvision's Inception v3:
``Mixed_5b.branch5x5_2/kernel`` [height, width, in, out], ``Mixed_5b.branch5x5_2/bias`` [out].
``python -m scripts.convert_inception`` converts a published file.
"""

import functools
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax

from gan_jax import arrays, cache
from gan_jax.errors import MetricError, lookup, suggestion
from gan_jax.metrics.extractor import Extractor
from gan_jax.metrics.resize import resize_tf1
from gan_jax.report import atomic

SIZE = 299
WIDTHS = {"64": 64, "192": 192, "768": 768, "2048": 2048, "logits_unbiased": 1008, "logits": 1008}
PRECISIONS = {"highest": lax.Precision.HIGHEST, "default": lax.Precision.DEFAULT}

Weights = Mapping[str, np.ndarray]

# The layers at which a file of weights may end, by depth, each with all layers available then.
_ENDS = {
    "64": ("64",),
    "192": ("64", "192"),
    "768": ("64", "192", "768"),
    "2048": ("64", "192", "768", "2048"),
    "logits": tuple(WIDTHS),
}


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
            _check_layer(layer, tuple(WIDTHS))
        precision = lookup(PRECISIONS, self.precision, "precision")
        found: dict[str, jax.Array] = {}
        stages = _stages(_prepared(images, self.floats), precision)
        while missing := set(layers) - set(found):
            name, features = next(stages)
            if name in missing:
                found[name] = features
        return {layer: found[layer] for layer in layers}


def make_inception(path: str | Path | None = None, *, precision: str = "highest") -> Extractor:
    """Return the Inception network as a feature extractor.

    Args:
      path: a file that ``save_weights`` wrote; ``None``: ``default_path()``.
      precision: ``"highest"`` or ``"default"``; see ``Inception``.

    Returns:
      The extractor, with the layers for which the file has weights. Its default layer is the
      deepest except the logits: "2048" with a complete file.

    Raises:
      MetricError: the file is missing, or does not contain such weights.
      ConfigError: the precision is unknown.
    """
    lookup(PRECISIONS, precision, "precision")
    weights = load_weights(path or default_path())
    layers = layers_of(weights)
    nested = unflatten_dict({_keys(name): jnp.asarray(value) for name, value in weights.items()})
    return Extractor(
        name="inception",
        layers={layer: WIDTHS[layer] for layer in layers},
        default=[layer for layer in layers if not layer.startswith("logits")][-1],
        logits="logits_unbiased" if "logits_unbiased" in layers else None,
        variables={"params": nested},
        apply=functools.partial(_apply, Inception(precision), layers),
        protocol={
            "extractor": "inception-2015-12-05",
            "weights": weights_hash(weights),
            "resize": f"tf1 bilinear {SIZE}, no antialias",
            "precision": precision,
        },
        of_floats=functools.partial(_apply, Inception(precision, floats=True), layers),
    )


def default_path() -> Path:
    """Return the default path of the weights, in the user's cache directory."""
    return cache.root() / "inception-2015-12-05.npz"


def layers_of(weights: Weights) -> tuple[str, ...]:
    """Return the layers that can be computed with given weights, by depth.

    Args:
      weights: arrays by name, as ``load_weights`` returns them.

    Raises:
      MetricError: a name or shape does not belong to the network, an array is not finite float32,
        or the weights do not end at a layer; the message names the array.
    """
    for name, value in weights.items():
        _check_array(name, value)
    known = [layer for layer in _ENDS if set(_shapes(layer)) <= set(weights)]
    reached = _shapes(known[-1]) if known else {}
    deeper = next((layer for layer in _ENDS if layer not in known), None)
    lacking = sorted(set(_shapes(deeper)) - set(weights)) if deeper else []
    if not known or set(weights) - set(reached):
        raise MetricError(f"array {lacking[0]!r} is missing, which the layer {deeper!r} needs.")
    return _ENDS[known[-1]]


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read and check weights that ``save_weights`` wrote.

    Args:
      path: the .npz file.

    Returns:
      Float32 arrays by name.

    Raises:
      MetricError: the file is missing or damaged, or its arrays are not the network's.
    """
    path = Path(path)
    if not path.exists():
        raise MetricError(
            f"The Inception network's weights are not in {path}. They are published as "
            "pt_inception-2015-12-05-6726825d.pth (GitHub, mseitzer/pytorch-fid, release "
            "fid_weights) and weights-inception-2015-12-05-6726825d.pth (GitHub, "
            "toshas/torch-fidelity, release v0.2.0): download one of them, then run "
            "python -m scripts.convert_inception FILE"
        )
    try:
        weights = read_arrays(path)
        layers_of(weights)
    except MetricError as error:
        raise MetricError(
            f"{path} does not contain weights of the Inception network: {error} "
            "To make such a file: python -m scripts.convert_inception FILE"
        ) from error
    return weights


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write weights into a file that ``load_weights`` reads.

    Side effect: replaces the file atomically; creates its folder if it is missing.

    Args:
      path: the .npz file.
      weights: float32 arrays by name.

    Raises:
      MetricError: the arrays do not belong to the network; nothing is written.
      WorkdirError: the file cannot be written.
    """
    layers_of(weights)
    atomic.write_npz(path, weights)


def weights_hash(weights: Weights) -> str:
    """Return a hash of weights, 12 hexadecimal digits, independent of the file format.

    Args:
      weights: float32 arrays by name.
    """
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value, "<f4").tobytes())
    return digest.hexdigest()[:12]


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file without unpickling.

    Args:
      path: the file.

    Raises:
      MetricError: it is not a complete .npz file of plain arrays.
    """
    try:
        return arrays.read_npz(path)
    except (OSError, arrays.UnreadableError) as error:
        raise MetricError(f"it cannot be read as .npz ({' '.join(str(error).split())}).") from error


def _apply(
    module: Inception,
    available: tuple[str, ...],
    variables: Any,
    images: jax.Array,
    layers: Sequence[str],
) -> dict[str, jax.Array]:
    """Apply the module; raise an error for layers without weights."""
    for layer in layers:
        _check_layer(layer, available)
    found: Any = module.apply(variables, images, tuple(layers))
    return found


def _check_layer(layer: str, available: tuple[str, ...]) -> None:
    if layer in available:
        return
    reason = "needs weights that are not in the file" if layer in WIDTHS else "is unknown"
    raise MetricError(
        f"inception layer {layer!r} {reason}; accepted: {', '.join(available)}."
        f"{suggestion(layer, available)}"
    )


def _check_array(name: str, value: np.ndarray) -> None:
    shapes = _shapes("logits")
    if name not in shapes:
        raise MetricError(
            f"array {name!r} does not belong to the network.{suggestion(name, shapes)}"
        )
    if value.shape != shapes[name]:
        raise MetricError(f"array {name!r} has shape {value.shape}; accepted: {shapes[name]}.")
    if value.dtype != np.float32:
        raise MetricError(f"array {name!r} has dtype {value.dtype}; accepted: float32.")
    if not np.isfinite(value).all():
        raise MetricError(f"array {name!r} has entries that are not finite.")


@functools.cache
def _shapes(layer: str) -> dict[str, tuple[int, ...]]:
    """Return name and shape of every array of the network up to a layer."""
    image = jax.ShapeDtypeStruct((1, 1, 1, 3), jnp.uint8)
    init = functools.partial(Inception().init, layers=(layer,))
    params = jax.eval_shape(init, jax.random.key(0), image)["params"]
    return {
        f"{'.'.join(keys[:-1])}/{keys[-1]}": value.shape
        for keys, value in flatten_dict(params).items()
    }


def _keys(name: str) -> tuple[str, ...]:
    """Return the path of an array in the network's parameters."""
    module, kind = name.split("/")
    return (*module.split("."), kind)


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


def _stages(x: jax.Array, precision: lax.Precision) -> Iterator[tuple[str, jax.Array]]:
    """Yield the layers one by one, each computed on demand."""
    conv = functools.partial(_conv, precision=precision)

    x = conv(x, "Conv2d_1a_3x3", 32, stride=2, padding="VALID")
    x = conv(x, "Conv2d_2a_3x3", 32, padding="VALID")
    x = conv(x, "Conv2d_2b_3x3", 64)
    x = _halving_max(x)
    yield "64", _pixel_mean(x)

    x = conv(x, "Conv2d_3b_1x1", 80, (1, 1))
    x = conv(x, "Conv2d_4a_3x3", 192, padding="VALID")
    x = _halving_max(x)
    yield "192", _pixel_mean(x)

    x = _Block35(precision, 32, name="Mixed_5b")(x)
    x = _Block35(precision, 64, name="Mixed_5c")(x)
    x = _Block35(precision, 64, name="Mixed_5d")(x)
    x = _From35To17(precision, name="Mixed_6a")(x)
    x = _Block17(precision, 128, name="Mixed_6b")(x)
    x = _Block17(precision, 160, name="Mixed_6c")(x)
    x = _Block17(precision, 160, name="Mixed_6d")(x)
    x = _Block17(precision, 192, name="Mixed_6e")(x)
    yield "768", _pixel_mean(x)

    x = _From17To8(precision, name="Mixed_7a")(x)
    x = _Block8(precision, "average", name="Mixed_7b")(x)
    x = _Block8(precision, "max", name="Mixed_7c")(x)
    features = _pixel_mean(x)
    yield "2048", features

    kernel, bias = _Weight((features.shape[-1], WIDTHS["logits"]), name="fc")()
    logits = jnp.dot(features, kernel, precision=precision)
    yield "logits_unbiased", logits
    yield "logits", logits + bias


class _Weight(nn.Module):
    """The kernel and bias of one convolution, or of the last layer."""

    shape: tuple[int, ...]

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        kernel = self.param("kernel", nn.initializers.zeros, self.shape)
        return kernel, self.param("bias", nn.initializers.zeros, self.shape[-1:])


class _Block35(nn.Module):
    """A block at 35x35 pixels: 1x1, 5x5, two of 3x3, and the pool."""

    precision: lax.Precision
    pool_features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(_conv, precision=self.precision)
        heads = {"branch1x1": 64, "branch5x5_1": 48, "branch3x3dbl_1": 64}
        one, five, three, pool = _heads(
            x, {**heads, "branch_pool": self.pool_features}, self.precision
        )
        five = conv(nn.relu(five), "branch5x5_2", 64, (5, 5))
        three = conv(nn.relu(three), "branch3x3dbl_2", 96)
        three = conv(three, "branch3x3dbl_3", 96)
        return _joined(nn.relu(one), five, three, nn.relu(_average(pool)))


class _From35To17(nn.Module):
    """The reduction from 35x35 to 17x17 pixels: 3x3, two of 3x3, and the pool."""

    precision: lax.Precision

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(_conv, precision=self.precision)
        single = conv(x, "branch3x3", 384, stride=2, padding="VALID")
        double = conv(x, "branch3x3dbl_1", 64, (1, 1))
        double = conv(double, "branch3x3dbl_2", 96)
        double = conv(double, "branch3x3dbl_3", 96, stride=2, padding="VALID")
        return _joined(single, double, _halving_max(x))


class _Block17(nn.Module):
    """A block at 17x17 pixels: 1x1, 7x7 and twice 7x7 in rows and columns, and the pool."""

    precision: lax.Precision
    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(_conv, precision=self.precision)
        row, column = (1, 7), (7, 1)
        heads = {"branch1x1": 192, "branch7x7_1": self.features, "branch7x7dbl_1": self.features}
        one, single, double, pool = _heads(x, {**heads, "branch_pool": 192}, self.precision)
        single = conv(nn.relu(single), "branch7x7_2", self.features, row)
        single = conv(single, "branch7x7_3", 192, column)
        double = conv(nn.relu(double), "branch7x7dbl_2", self.features, column)
        double = conv(double, "branch7x7dbl_3", self.features, row)
        double = conv(double, "branch7x7dbl_4", self.features, column)
        double = conv(double, "branch7x7dbl_5", 192, row)
        return _joined(nn.relu(one), single, double, nn.relu(_average(pool)))


class _From17To8(nn.Module):
    """The reduction from 17x17 to 8x8 pixels: 3x3, 7x7 with 3x3, and the pool."""

    precision: lax.Precision

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(_conv, precision=self.precision)
        three, seven = _heads(x, {"branch3x3_1": 192, "branch7x7x3_1": 192}, self.precision)
        three = conv(nn.relu(three), "branch3x3_2", 320, stride=2, padding="VALID")
        seven = conv(nn.relu(seven), "branch7x7x3_2", 192, (1, 7))
        seven = conv(seven, "branch7x7x3_3", 192, (7, 1))
        seven = conv(seven, "branch7x7x3_4", 192, stride=2, padding="VALID")
        return _joined(three, seven, _halving_max(x))


class _Block8(nn.Module):
    """A block at 8x8 pixels: 1x1, 3x3 and 5x5 that end in 1x3 beside 3x1, and the pool."""

    precision: lax.Precision
    pool: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(_conv, precision=self.precision)
        heads = {"branch1x1": 320, "branch3x3_1": 384, "branch3x3dbl_1": 448}
        if self.pool == "average":
            *others, pool = _heads(x, {**heads, "branch_pool": 192}, self.precision)
            pool = nn.relu(_average(pool))
        else:
            others = _heads(x, heads, self.precision)
            pool = conv(_spreading_max(x), "branch_pool", 192, (1, 1))
        one, single, double = (nn.relu(other) for other in others)
        double = conv(double, "branch3x3dbl_2", 384)
        return _joined(
            one,
            conv(single, "branch3x3_2a", 384, (1, 3)),
            conv(single, "branch3x3_2b", 384, (3, 1)),
            conv(double, "branch3x3dbl_3a", 384, (1, 3)),
            conv(double, "branch3x3dbl_3b", 384, (3, 1)),
            pool,
        )


def _conv(
    x: jax.Array,
    name: str,
    features: int,
    kernel: tuple[int, int] = (3, 3),
    stride: int = 1,
    padding: str = "SAME",
    *,
    precision: lax.Precision,
) -> jax.Array:
    """Convolve with the weight ``name`` of the current module, add its bias, apply ReLU."""
    w, b = _Weight((*kernel, x.shape[-1], features), name=name)()
    if kernel == (1, 1):
        return nn.relu(_product(x, w, precision) + b)
    return nn.relu(_convolve(x, w, stride, padding, precision) + b)


def _heads(x: jax.Array, features: dict[str, int], precision: lax.Precision) -> list[jax.Array]:
    """Return the branches' first 1x1 convolutions, before ReLU, from one matrix product.

    An average pool before such a convolution can be applied after it, where there are fewer
    channels: a mean over pixels commutes with a 1x1 convolution.
    """
    names = {name: (1, 1, x.shape[-1], size) for name, size in features.items()}
    weights = [_Weight(shape, name=name)() for name, shape in names.items()]
    kernel, bias = (jnp.concatenate(parts, -1) for parts in zip(*weights, strict=True))
    ends = np.cumsum(list(features.values()))[:-1].tolist()
    return jnp.split(_product(x, kernel, precision) + bias, ends, -1)


def _product(x: jax.Array, w: jax.Array, precision: lax.Precision) -> jax.Array:
    """Convolve with a 1x1 kernel as a matrix product, which is faster on CPU."""
    return lax.dot_general(x, w[0, 0], (((3,), (0,)), ((), ())), precision=precision)


def _convolve(
    x: jax.Array, w: jax.Array, stride: int, padding: str, precision: lax.Precision
) -> jax.Array:
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
        x,
        w,
        (stride, stride),
        pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
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
        size = x.shape[axis]
        padded = _padded(x, axis, 0.0)
        shifted = [lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3)]
        counts = np.full(size, 3, np.float32)
        counts[0] -= 1
        counts[-1] -= 1
        shape = [-1 if i == axis else 1 for i in range(x.ndim)]
        x = functools.reduce(jnp.add, shifted) / jnp.asarray(counts).reshape(shape)
    return x


def _spreading_max(x: jax.Array) -> jax.Array:
    """Maximum over 3x3 pixels at stride one, excluding padding."""
    for axis in (1, 2):
        size = x.shape[axis]
        padded = _padded(x, axis, -jnp.inf)
        shifted = [lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3)]
        x = functools.reduce(jnp.maximum, shifted)
    return x


def _halving_max(x: jax.Array) -> jax.Array:
    """Maximum over 3x3 pixels at stride two, without padding."""
    for axis in (2, 1):
        last = 2 * ((x.shape[axis] - 3) // 2)
        shifted = [lax.slice_in_dim(x, i, i + last + 1, 2, axis) for i in range(3)]
        x = functools.reduce(jnp.maximum, shifted)
    return x


def _padded(x: jax.Array, axis: int, value: float) -> jax.Array:
    pads = [(int(i == axis), int(i == axis), 0) for i in range(x.ndim)]
    return lax.pad(x, jnp.asarray(value, x.dtype), pads)
