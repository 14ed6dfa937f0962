"""Style-based generators (Karras et al. 2018, 1812.04948): a mapping network, then synthesis.

"A Style-Based Generator Architecture for Generative Adversarial Networks". A mapping network maps
the latent to a style vector w. A synthesis network makes the image of a learned constant: each of
its layers is controlled by a style, and adds noise.

- Style mixing: in training, layers from a random one on are given the style of a second latent, so
  that neighbouring layers do not rely on each other's.
- Truncation: the mean of w over all latents is kept. Sampled with psi below 1, styles are moved
  towards it, `mean + psi * (w - mean)`, which exchanges variety for fidelity.
"""

import math
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.layers.equalized import EqualizedDense
from gan_jax.layers.normalization import PixelNorm
from gan_jax.losses.guards import check_number
from gan_jax.networks.checks import check_size
from gan_jax.networks.condition import Condition, with_class
from gan_jax.networks.network import Generator
from gan_jax.networks.verdict import SLOPE

AVERAGE = "style_average"
"""The mutable collection of the mean style."""

GAIN = math.sqrt(2.0)
"""Of a layer before LeakyReLU, which about halves the mean square."""

_MIXING = 0
"""What folds into an example's key for style mixing; a layer's noise has its number plus 1."""


def use_keys(keys: jax.Array, use: int) -> jax.Array:
    """Return the examples' keys `[batch]` for one use."""
    return jax.vmap(lambda key: jax.random.fold_in(key, use))(keys)


class Noise(nn.Module):
    """Adds an image of normal noise, the same to all channels, times a learned strength.

    Attributes:
      index: number of the layer, which has draws of its own.
      shape: of the strength: (), or (channels,).
      param_dtype: of the strength, 0 at first.
    """

    index: int
    shape: tuple[int, ...] = ()
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        """Maps `x` [batch, h, w, channels] to the same shape; without keys there is no noise."""
        strength = self.param("strength", nn.initializers.zeros, self.shape, self.param_dtype)
        if keys is None:
            return x
        own, shape = use_keys(keys, self.index + 1), (*x.shape[1:3], 1)
        noise = jax.vmap(lambda key: jax.random.normal(key, shape, jnp.float32))(own)
        return x + (strength.astype(jnp.float32) * noise).astype(x.dtype)


class Mapping(nn.Module):
    """Latent to style: normalized to a mean square of 1, then dense layers with LeakyReLU.

    Of a conditional network the class is embedded to the size of the latent, normalized likewise,
    and concatenated.

    Attributes:
      features: width of every layer and length of the style.
      layers: how many.
      param_dtype: of the parameters; the computation is float32.
    """

    features: int
    layers: int
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, classes: jax.Array | None) -> jax.Array:
        """Maps `z` [batch, latent_dim] and `classes`, None or [batch, classes], to styles."""
        types = {"dtype": jnp.float32, "param_dtype": self.param_dtype}
        x = PixelNorm(dtype=jnp.float32)(z)
        if classes is not None:
            embedded = EqualizedDense(z.shape[-1], name="embedding", **types)(classes)
            x = jnp.concatenate([x, PixelNorm(dtype=jnp.float32)(embedded)], axis=-1)
        for _ in range(self.layers):
            layer = EqualizedDense(self.features, GAIN, learning_rate_multiplier=0.01, **types)
            x = nn.leaky_relu(layer(x), SLOPE)
        return x


class StyleGenerator(Generator):
    """A generator with styles; a subclass implements `_synthesis`.

    Attributes:
      style_dim: length of a style.
      mapping_layers: dense layers of the mapping network.
      mixing: share of the images in training whose layers have styles of two latents.
      average_decay: weight of the previous mean style at each gradient step of the generator.
    """

    TINY: ClassVar[dict[str, int]] = {"features": 8, "style_dim": 8, "mapping_layers": 2}

    latent_dim: int = 512
    style_dim: int = 512
    mapping_layers: int = 8
    mixing: float = 0.9
    average_decay: float = 0.995

    def __post_init__(self) -> None:
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("style_dim", "mapping_layers")
        self._check_share("mixing", self.mixing)
        self._check_share("average_decay", self.average_decay)
        super().__post_init__()

    def _check_share(self, field: str, value: float) -> None:
        check_number(f"{self.GROUP}.{field}", value, 0.0, math.nextafter(1.0, 2.0))

    @property
    def layers(self) -> int:
        """Number of layers that are given a style."""
        raise NotImplementedError

    def _synthesis(self) -> nn.Module:
        """Return the module of `(styles [batch, layers, style_dim], keys)` to images."""
        raise NotImplementedError

    def setup(self) -> None:
        """Construct both networks, and the mean style."""
        self.mapping = Mapping(self.style_dim, self.mapping_layers, self.param_dtype)
        self.synthesis = self._synthesis()
        self.average = self.variable(AVERAGE, "mean", jnp.zeros, (self.style_dim,), jnp.float32)

    def __call__(
        self,
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
        psi: float | jax.Array | None = None,
    ) -> jax.Array:
        """Return images, float32 `[batch, *shape]`: `synthesize` of `styles`."""
        return self.synthesize(self.styles(z, condition, keys=keys, train=train, psi=psi), keys)

    def styles(
        self,
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
        psi: float | jax.Array | None = None,
    ) -> jax.Array:
        """Return the style of each layer, float32 `[batch, layers, style_dim]`.

        In train mode, and if the collection `style_average` is mutable, the mean style is updated
        and styles are mixed, by the keys.

        Args:
          z: latents, `[batch, latent_dim]`.
          condition: a conditional network needs `label`.
          keys: `[batch]` typed keys; None: styles are not mixed.
          train: whether the network is in train mode.
          psi: how far styles are from their mean, relative to untruncated ones; None: 1.
        """
        w = self._mapped(z, condition)
        chosen = jnp.broadcast_to(w[:, None], (w.shape[0], self.layers, self.style_dim))
        if train and self.is_mutable_collection(AVERAGE) and not self.is_initializing():
            kept = self.average_decay
            mean = jax.lax.stop_gradient(jnp.mean(w, axis=0))
            self.average.value = kept * self.average.value + (1.0 - kept) * mean
            if keys is not None and self.mixing:
                other, first = self._drawn(use_keys(keys, _MIXING))
                second = self._mapped(other, condition)[:, None]
                own = jnp.arange(self.layers) < first[:, None]
                chosen = jnp.where(own[..., None], chosen, second)
        return chosen if psi is None else self.average.value + psi * (chosen - self.average.value)

    def synthesize(self, styles: jax.Array, keys: jax.Array | None = None) -> jax.Array:
        """Return images, float32 `[batch, *shape]`.

        Args:
          styles: float32 `[batch, layers, style_dim]`.
          keys: `[batch]` typed keys of the noise; None: there is none.
        """
        images: jax.Array = self.synthesis(styles, keys)
        return images

    def _mapped(self, z: jax.Array, condition: Condition) -> jax.Array:
        classes = None
        if self.conditioning != "none":
            classes = with_class(jnp.zeros((z.shape[0], 0)), *self._classes(condition))
        w: jax.Array = self.mapping(z, classes)
        return w

    def _drawn(self, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return second latents, and the first layer of each image that is given their style."""

        def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            latent, share, place = jax.random.split(key, 3)
            mixed = jax.random.uniform(share) < self.mixing
            first = jax.random.randint(place, (), 1, self.layers)
            z = jax.random.normal(latent, (self.latent_dim,), jnp.float32)
            return z, jnp.where(mixed, first, self.layers)

        return jax.vmap(one)(keys)
