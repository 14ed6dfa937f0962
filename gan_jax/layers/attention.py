"""Self-attention over the pixels of an image (SAGAN, Zhang et al. 2018, 1805.08318)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.convolution import Conv
from gan_jax.layers.spectral import SpectralConv


class SelfAttention(nn.Module):
    """Residual self-attention over all pixels: `y = x + gamma * attention(x)`.

    Queries and keys (channels / 8), values (channels / 2, rounded down, at least 1) and the
    projection back to the input's channels are 1x1 convolutions without bias. Keys and values are
    max-pooled over 2x2 squares, which quarters the cost, as in the authors' program and in BigGAN
    (Brock et al. 2018, 1809.11096). The products of queries and keys are not scaled; the softmax
    over the keys is float32. The scalar `gamma` is initialized to 0, so that an untrained layer is
    the identity.

    Attributes:
      spectral: whether the convolutions are spectrally normalized.
      kernel_init: initializer of the convolutions.
      dtype: dtype of the computation and the output; None: that of the input.
      param_dtype: dtype of the parameters.
    """

    spectral: bool = False
    kernel_init: Callable[..., Any] = nn.initializers.glorot_uniform()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: jax.Array, train: bool) -> jax.Array:
        """Maps `inputs` [batch, height, width, channels] to the same shape, of dtype `dtype`.

        Args:
          inputs: activations, any floating dtype; height and width even.
          train: whether to update the vectors of spectral normalization, if the collection
            `spectral` is mutable; without spectral normalization it has no effect.

        Raises:
          ValueError: height or width is odd.
        """
        batch, height, width, channels = inputs.shape
        if height % 2 or width % 2:
            raise ValueError(
                f"self-attention on {height}x{width} pixels; accepted: an even height and width, "
                "since keys and values are pooled over 2x2 squares"
            )
        dtype = self.dtype or inputs.dtype
        conv = partial(
            partial(SpectralConv, train=train) if self.spectral else Conv,
            kernel_size=(1, 1),
            use_bias=False,
            kernel_init=self.kernel_init,
            dtype=dtype,
            param_dtype=self.param_dtype,
        )
        narrow, half = max(channels // 8, 1), max(channels // 2, 1)
        queries = conv(narrow, name="query")(inputs).reshape(batch, height * width, narrow)
        keys = _max_pool(conv(narrow, name="key")(inputs)).reshape(batch, -1, narrow)
        values = _max_pool(conv(half, name="value")(inputs)).reshape(batch, -1, half)
        logits = jnp.einsum("bqc,bkc->bqk", queries, keys, preferred_element_type=jnp.float32)
        weights = nn.softmax(logits, axis=-1).astype(dtype)
        mixed = jnp.einsum("bqk,bkc->bqc", weights, values).reshape(batch, height, width, half)
        gamma = self.param("gamma", nn.initializers.zeros, (), self.param_dtype)
        update = conv(channels, name="output")(mixed).astype(jnp.float32)
        y = inputs.astype(jnp.float32) + gamma.astype(jnp.float32) * update
        return y.astype(dtype)


def _max_pool(images: jax.Array) -> jax.Array:
    """Return the maxima of 2x2 squares of pixels; equal maxima share the gradient equally."""
    batch, height, width, channels = images.shape
    squares = images.reshape(batch, height // 2, 2, width // 2, 2, channels)
    return jnp.max(squares, axis=(2, 4))
