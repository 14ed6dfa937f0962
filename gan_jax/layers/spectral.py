"""Spectral normalization (Miyato et al. 2018, 1802.05957): kernels of largest singular value 1.

A kernel is divided by its spectral norm sigma, the largest singular value of the kernel as a matrix
W of shape [out, rest], as which convolution kernels are reshaped too. Sigma is estimated by power
iteration: the layer keeps a vector `u` [out], near the first left singular vector, and

    v = W^T u / |W^T u|,    sigma = u^T W v

with `u` and `v` as constants, so that sigma's derivative by W is `u v^T`.

The vectors are state, in the mutable collection `spectral`. Whoever makes that collection mutable
in train mode moves every `u` on by one iteration before it is used; whoever does not gets the norms
by the vectors as they stand. Thus sigma is a function of kernel and stored `u` alone: applied again
with the vectors that one application returned, and the collection not mutable, a network is the
same function. A training step makes one such call per gradient step of the network's owner.

The estimate is made in float32, whatever the dtypes of kernel and computation.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from jax import lax

from gan_jax.layers.convolution import Conv, ConvTranspose

COLLECTION = "spectral"
"""The mutable collection of the vectors `u`, one per normalized kernel."""

# A new kernel has a new vector; with so many iterations its norm is known to a few per cent, so
# that training starts from a network that is normalized.
_FIRST_ITERATIONS = 15
# Below every norm that training meets; the square of its reciprocal, in gradients of gradients, is
# far from float32's limits.
_EPSILON = 1e-6


def _rows(kernel: jax.Array) -> jax.Array:
    """Return W^T, float32 [rest, out], of a kernel whose last axis is the output's."""
    return kernel.astype(jnp.float32).reshape(-1, kernel.shape[-1])


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return `a @ b` in full float32, where accelerators would compute with fewer bits."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _unit(x: jax.Array, otherwise: jax.Array) -> jax.Array:
    """Return `x` over its Euclidean norm, or `otherwise` where that is zero."""
    largest = jnp.max(jnp.abs(x))
    # Scaled first: the squares of numbers below 1e-19 are zero in float32.
    x = x / jnp.where(largest > 0, largest, 1.0)
    length = jnp.sqrt(jnp.sum(jnp.square(x)))
    return jnp.where(largest > 0, x / jnp.maximum(length, 1.0), otherwise)


def power_iteration(kernel: jax.Array, u: jax.Array) -> jax.Array:
    """Moves a kernel's left vector one power iteration on.

    Args:
      kernel: [..., out], of any dtype and rank from 1 on; its derivatives are not followed.
      u: float32 [out], of any length but 0.

    Returns:
      W W^T u over its length, float32 [out]; `u` over its length where the kernel maps it to 0.
    """
    kernel, u = lax.stop_gradient((kernel, u))
    rows, u = _rows(kernel), _unit(u, u)
    v = _product(rows, u)
    return _unit(_product(_unit(v, v), rows), u)


def spectral_normalize(
    kernel: jax.Array, u: jax.Array, epsilon: float = _EPSILON
) -> tuple[jax.Array, jax.Array]:
    """Divides a kernel by its spectral norm, estimated with a given left vector.

    Args:
      kernel: [..., out], of any floating dtype; as a matrix it is [out, rest].
      u: float32 [out], near the first left singular vector; its length does not matter.
      epsilon: smallest divisor: kernels of a smaller norm, such as zeros, are multiplied by
        1 / epsilon.

    Returns:
      `(normalized, sigma)`: the kernel over its norm, of its shape and dtype, and the norm, a
      float32 scalar, never above the true one. Both have derivatives of any order in `kernel`, and
      none in `u`.

    Raises:
      ValueError: `u` has another shape than [out].
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


def _normalized(module: nn.Module, kernel: jax.Array, train: bool) -> jax.Array:
    """Return a module's kernel over its norm, and keep the vector in its collection `spectral`."""

    def first() -> jax.Array:
        drawn = jax.random.normal(module.make_rng("params"), kernel.shape[-1:], jnp.float32)
        return lax.fori_loop(0, _FIRST_ITERATIONS, lambda _, u: power_iteration(kernel, u), drawn)

    u = module.variable(COLLECTION, "u", first)
    if train and module.is_mutable_collection(COLLECTION) and not module.is_initializing():
        u.value = power_iteration(kernel, u.value)
    return spectral_normalize(kernel, u.value)[0]


def _layer(
    module: "SpectralConv | SpectralConvTranspose | SpectralDense",
    plain: type[nn.Module],
    shape: tuple[int, ...],
    inputs: jax.Array,
) -> jax.Array:
    """Declare the parameters of `plain`, and apply it with the kernel normalized."""
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


class SpectralDense(nn.Dense):
    """`flax.linen.Dense` with its kernel over its spectral norm; the same parameters.

    Attributes:
      train: whether the power iteration goes on where the collection `spectral` is mutable.
    """

    train: bool = True

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., in] to [..., features]."""
        return _layer(self, nn.Dense, (inputs.shape[-1], self.features), inputs)


class SpectralConv(Conv):
    """`Conv` with its kernel over its spectral norm; the same parameters.

    The norm is that of the kernel as a matrix [out, kernel height * kernel width * in], as in the
    paper: not that of the convolution as a map of images, which may be larger.

    Attributes:
      train: whether the power iteration goes on where the collection `spectral` is mutable.
    """

    train: bool = True

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., height, width, in] to [..., height', width', features]."""
        shape = (*self.kernel_size, inputs.shape[-1], self.features)
        return _layer(self, Conv, shape, inputs)


class SpectralConvTranspose(ConvTranspose):
    """`ConvTranspose` with its kernel over its spectral norm; see `SpectralConv`."""

    train: bool = True

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Maps `inputs` [..., height, width, in] to [..., height', width', features]."""
        shape = (*self.kernel_size, inputs.shape[-1], self.features)
        return _layer(self, ConvTranspose, shape, inputs)


class SpectralEmbed(nn.Module):
    """`flax.linen.Embed` with its table over its spectral norm; the same parameters.

    Attributes:
      num_embeddings: rows of the table.
      features: length of a row.
      embedding_init: initializer of the table.
      dtype: of the output; None: that of the table.
      param_dtype: of the table.
      train: whether the power iteration goes on where the collection `spectral` is mutable.
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
