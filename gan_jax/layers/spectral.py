"""Spectral normalization (Miyato et al. 2018, 1802.05957): kernels with largest singular value 1.

A kernel is divided by its spectral norm sigma, the largest singular value of the kernel reshaped to
a matrix W [out, rest]. Sigma is estimated by power iteration: the layer stores a vector `u` [out],
an estimate of the first left singular vector, and computes

    v = W^T u / |W^T u|,    sigma = u^T W v

with `u` and `v` as constants, so that the derivative of sigma with respect to W is `u v^T`.

The vectors are state, in the mutable collection `spectral`. In train mode, and if that collection
is mutable, every `u` is updated by one iteration before it is used; otherwise the stored vectors
are used. Thus sigma depends only on the kernel and the stored `u`: a network applied with the
vectors that an earlier application returned, and an immutable collection, is the same function. A
training step makes one application with a mutable collection per gradient step of the network's
owner.

The estimate is computed in float32, whatever the dtypes of kernel and computation.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from gan_jax.layers.convolution import Conv
from gan_jax.layers.module import Module

COLLECTION = "spectral"
"""The mutable collection of the vectors `u`, one per normalized kernel."""

# Iterations for a new kernel: enough for a norm accurate to a few per cent, so that training starts
# from a normalized network.
_FIRST_ITERATIONS = 15
# Smaller than any norm in training, while the square of its reciprocal, which second derivatives
# contain, is far below the maximum of float32.
_EPSILON = 1e-6
# The smallest positive number that float32 holds in full precision, about 1e-38.
_TINY = float(jnp.finfo(jnp.float32).tiny)


def _rows(kernel: jax.Array) -> jax.Array:
    """Return W^T, float32 [rest, out], of a kernel whose last axis is the output axis."""
    return kernel.astype(jnp.float32).reshape(-1, kernel.shape[-1])


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return `a @ b` in full float32 precision, also on accelerators."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


@jax.jit
def _unit(x: jax.Array, otherwise: jax.Array) -> jax.Array:
    """Return `x` divided by its Euclidean norm, or `otherwise` below 1e-19 and above 1e19."""
    square = jnp.sum(jnp.square(x))
    good = (square > _TINY) & jnp.isfinite(square)
    return jnp.where(good, x / jnp.sqrt(square), otherwise)


@jax.jit
def power_iteration(kernel: jax.Array, u: jax.Array) -> jax.Array:
    """Update a kernel's left singular vector by one power iteration.

    Args:
      kernel: [..., out], of any dtype and rank 1 or more; treated as a constant.
      u: float32 [out], of any norm but about 0.

    Returns:
      W W^T u, normalized, float32 [out]; `u` if the squares of a product are not numbers of
      float32: where the kernel maps it to about 0, and where its norm is above 1e19.
    """
    kernel, u = lax.stop_gradient((kernel, u))
    rows = _rows(kernel)
    v = _product(rows, u)
    return _unit(_product(_unit(v, v), rows), u)


@jax.jit
def spectral_normalize(
    kernel: jax.Array, u: jax.Array, epsilon: float = _EPSILON
) -> tuple[jax.Array, jax.Array]:
    """Divide a kernel by its spectral norm, estimated with a given left singular vector.

    Args:
      kernel: [..., out], of any floating dtype; as a matrix it is [out, rest].
      u: float32 [out], an estimate of the first left singular vector, of any norm but about 0.
      epsilon: smallest divisor: kernels of a smaller norm, such as zeros, are multiplied by
        1 / epsilon.

    Returns:
      `(normalized, sigma)`: the kernel divided by its norm, of its shape and dtype, and the norm, a
      float32 scalar, never above the true one. Both are differentiable to any order in `kernel`;
      `u` is treated as a constant.

    Raises:
      ValueError: the shape of `u` is not [out].
    """
    if u.shape != kernel.shape[-1:]:
        raise ValueError(
            f"u of shape {u.shape} for a kernel of shape {kernel.shape}; "
            f"accepted: {kernel.shape[-1:]}"
        )
    u = lax.stop_gradient(u)
    mapped = _product(_rows(kernel), _unit(u, u))
    v = lax.stop_gradient(mapped)
    sigma = jnp.sum(mapped * _unit(v, v))
    normalized = kernel.astype(jnp.float32) / jnp.maximum(sigma, epsilon)
    return normalized.astype(kernel.dtype), sigma


@jax.jit
def _estimate(kernel: jax.Array, u: jax.Array) -> jax.Array:
    """Return the left singular vector of a new kernel."""
    return lax.fori_loop(0, _FIRST_ITERATIONS, lambda _, u: power_iteration(kernel, u), u)


def _normalized(module: nn.Module, kernel: jax.Array, train: bool) -> jax.Array:
    """Return a module's normalized kernel, and store the vector in its collection `spectral`."""

    def first() -> jax.Array:
        key = module.make_rng("params")
        return _estimate(kernel, jax.random.normal(key, kernel.shape[-1:], jnp.float32))

    u = module.variable(COLLECTION, "u", first)
    if train and module.is_mutable_collection(COLLECTION) and not module.is_initializing():
        u.value = power_iteration(kernel, u.value)
    return spectral_normalize(kernel, u.value)[0]


def _layer(
    module: "SpectralConv | SpectralDense",
    plain: type[nn.Module],
    shape: tuple[int, ...],
    inputs: jax.Array,
) -> jax.Array:
    """Declare the parameters of `plain`, and apply it with the normalized kernel."""
    # Not by inheritance: jax2onnx converts every `nn.Dense` with the kernel that is stored.
    kernel = module.param("kernel", module.kernel_init, shape, module.param_dtype)
    params = {"kernel": _normalized(module, kernel, module.train)}
    if module.use_bias:
        width = (module.features,)
        params["bias"] = module.param("bias", module.bias_init, width, module.param_dtype)
    fields = {
        field.name: getattr(module, field.name)
        for field in dataclasses.fields(plain)
        if field.name not in ("parent", "name")
    }
    y = plain(**fields, parent=None).apply({"params": params}, inputs)
    assert isinstance(y, jax.Array)
    return y


class SpectralDense(Module, nn.Dense):
    """Spectrally normalized `flax.linen.Dense`, with the same parameters.

    Attributes:
      train: whether to update the vectors if the collection `spectral` is mutable.
    """

    train: bool = True

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., in] to [..., features]."""
        return _layer(self, nn.Dense, (inputs.shape[-1], self.features), inputs)


class SpectralConv(Conv):
    """Spectrally normalized `Conv`, with the same parameters.

    The norm is that of the kernel as a matrix [out, kernel height * kernel width * in], as in the
    paper, not that of the convolution as a linear map of images, which may be larger.

    Attributes:
      train: whether to update the vectors if the collection `spectral` is mutable.
    """

    train: bool = True

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., height, width, in] to [..., height', width', features]."""
        shape = (*self.kernel_size, inputs.shape[-1] // self.groups, self.features)
        return _layer(self, Conv, shape, inputs)


class SpectralEmbed(Module):
    """Spectrally normalized `flax.linen.Embed`, with the same parameters.

    Attributes:
      num_embeddings: number of rows of the table.
      features: length of a row.
      embedding_init: initializer of the table.
      dtype: dtype of the output; None: that of the table.
      param_dtype: dtype of the table.
      train: whether to update the vectors if the collection `spectral` is mutable.
    """

    num_embeddings: int
    features: int
    embedding_init: Any = nn.initializers.variance_scaling(1.0, "fan_in", "normal", out_axis=0)
    dtype: Any = None
    param_dtype: Any = jnp.float32
    train: bool = True

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps integers `inputs` [...] below `num_embeddings` to rows [..., features]."""
        shape = (self.num_embeddings, self.features)
        table = self.param("embedding", self.embedding_init, shape, self.param_dtype)
        (table,) = promote_dtype(
            _normalized(self, table, self.train), dtype=self.dtype, inexact=False
        )
        return jnp.take(table, inputs, axis=0)
