"""Networks for text: a recurrent generator with Gumbel-softmax, and a discriminator of windows.

The generator is a language model with a gated recurrent unit (Cho et al. 2014, 1406.1078) that is
given a latent vector as its first state. Tokens are drawn by the Gumbel-max trick; the gradient is
that of a softmax at a temperature, which falls during training: the straight-through estimator of
Jang et al. (2016, 1611.01144), used for text by RelGAN (Nie et al. 2019, ICLR). Text in and out is
one-hot vectors, float32 `[batch, length, tokens]`.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.errors import ConfigError
from gan_jax.networks.checks import check_size, check_sizes
from gan_jax.networks.condition import Condition
from gan_jax.networks.network import Generator, he_leaky
from gan_jax.networks.verdict import SLOPE, VectorDiscriminator, Verdict

TEMPERATURE = "temperature"
"""The collection of the temperature, which the game sets by `TextGANGenerator.scheduled`."""


def straight_through(logits: jax.Array, temperature: jax.Array | float) -> jax.Array:
    """Return the one-hot vector of the largest logit, with the gradient of a softmax.

    Args:
      logits: with Gumbel noise for a sample, float32 `[..., tokens]`.
      temperature: above 0, that the logits are divided by before the softmax.
    """
    soft = jax.nn.softmax(logits / temperature)
    hard = jax.nn.one_hot(jnp.argmax(logits, axis=-1), logits.shape[-1], dtype=soft.dtype)
    # The difference is exactly 0.
    return hard + (soft - lax.stop_gradient(soft))


class _Cell(nn.Module):
    """One step of the language model: from a state and the last token to the next token's logits.

    Attributes:
      features: width of the state.
      tokens: size of the vocabulary.
      types: dtypes of the layers.
    """

    features: int
    tokens: int
    types: dict[str, Any]

    @nn.compact
    def __call__(self, state: jax.Array, token: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the next state `[batch, features]` and logits, float32 `[batch, tokens]`."""
        x = nn.Dense(self.features, use_bias=False, name="embedding", **self.types)(token)
        state, x = nn.GRUCell(self.features, **self.types)(state, x)
        logits = nn.Dense(self.tokens, name="logits", **{**self.types, "dtype": jnp.float32})
        return state, logits(x.astype(jnp.float32))


class TextGANGenerator(Generator):
    """Latent vector to text, token by token, through a gated recurrent unit.

    Without keys every token is the most probable one.

    Attributes:
      features: width of the recurrent state and of the tokens' embeddings.
      temperature: of the softmax whose gradient is used, at first.
      end_temperature: at last; in between it falls exponentially.
      anneal_images: real examples during which it falls.
      conditioning: `none`, or `concat`: the class beside the latent vector.
    """

    GROUP: ClassVar[str] = "generator.textgan"
    TINY: ClassVar[dict[str, int]] = {"features": 8}

    latent_dim: int = 32
    features: int = 64
    temperature: float = 1.0
    end_temperature: float = 0.5
    anneal_images: int = 100_000

    def __post_init__(self) -> None:
        check_text("generator.name = 'textgan'", self.shape)
        check_size("generator.latent_dim", self.latent_dim)
        self._check_sizes("features", "anneal_images")
        for field in ("temperature", "end_temperature"):
            if not getattr(self, field) > 0:
                raise ConfigError(
                    f"{self.GROUP}.{field} = {getattr(self, field)}; accepted: a number above 0"
                )
        super().__post_init__()

    def setup(self) -> None:
        """Construct the layers, which both methods share."""
        self.start = nn.Dense(self.features, **self._types)
        self.cell = _Cell(self.features, self.shape[1], self._types)
        initial = self.temperature
        self.current = self.variable(TEMPERATURE, "value", lambda: jnp.float32(initial))

    def _forward(
        self, z: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        noise = jnp.zeros((z.shape[0], *self.shape), jnp.float32)
        if keys is not None:
            noise = jax.vmap(lambda key: jax.random.gumbel(key, self.shape, jnp.float32))(keys)
        temperature = self.current.value

        def step(cell: _Cell, carry: Any, noise: jax.Array) -> tuple[Any, jax.Array]:
            state, logits = cell(*carry)
            token = straight_through(logits + noise, temperature)
            return (state, token), token

        begin = jnp.zeros((z.shape[0], self.shape[1]), jnp.float32)
        text: jax.Array = _over_time(step)(
            self.cell, (self._beginning(z, condition), begin), noise
        )[1]
        return text

    def log_probabilities(
        self, z: jax.Array, text: jax.Array, condition: Condition = None
    ) -> jax.Array:
        """Return log p(token | tokens before it, z) of every token, float32 `[batch, length]`.

        Args:
          z: latents `[batch, latent_dim]`.
          text: one-hot vectors `[batch, length, tokens]`.
          condition: as for the module.
        """

        def step(cell: _Cell, state: jax.Array, token: jax.Array) -> tuple[jax.Array, jax.Array]:
            return cell(state, token)

        before = jnp.pad(text, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        _, logits = _over_time(step)(self.cell, self._beginning(z, condition), before)
        return jnp.sum(jax.nn.log_softmax(logits) * text, axis=-1)

    def _beginning(self, z: jax.Array, condition: Condition) -> jax.Array:
        return jnp.tanh(self.start(self._with_class(z.astype(self.dtype), condition)))

    def scheduled(self, images: jax.Array) -> dict[str, dict[str, jax.Array]]:
        """Return the temperature after a number of real examples, as the collection of that name.

        Args:
          images: int32 scalar.
        """
        share = jnp.clip(images / self.anneal_images, 0.0, 1.0)
        ratio = self.end_temperature / self.temperature
        return {TEMPERATURE: {"value": (self.temperature * ratio**share).astype(jnp.float32)}}


def _over_time(step: Any) -> Any:
    """Return a loop of `step(cell, carry, x)` over the second axis, with shared parameters."""
    return nn.scan(
        step, variable_broadcast="params", split_rngs={"params": False}, in_axes=1, out_axes=1
    )


class TextGANDiscriminator(VectorDiscriminator):
    """Text to score, through embeddings and dense layers over windows of tokens.

    The layers are one-dimensional convolutions, computed as products of matrices, with LeakyReLU;
    the score is that of all places together.

    Attributes:
      features: width of the embeddings and of every layer.
      layers: number of layers.
      window: tokens that a layer sees at a time, an odd number.
      conditioning: `none` or `projection`.
    """

    GROUP: ClassVar[str] = "discriminator.textgan"
    TINY: ClassVar[dict[str, int]] = {"features": 8, "layers": 2}
    CONDITIONING: ClassVar[tuple[str, ...]] = ("none", "projection")

    features: int = 128
    layers: int = 3
    window: int = 3

    def __post_init__(self) -> None:
        check_text("discriminator.name = 'textgan'", self.shape)
        self._check_sizes("features", "layers", "window")
        if self.window % 2 == 0:
            raise ConfigError(f"{self.GROUP}.window = {self.window}; accepted: an odd number")
        super().__post_init__()

    def _judge(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> Verdict:
        types = {"kernel_init": he_leaky(SLOPE), **self._types}
        x = nn.Dense(self.features, use_bias=False, name="embedding", **self._types)(x)
        features = []
        for _ in range(self.layers):
            x = nn.leaky_relu(nn.Dense(self.features, **types)(_windows(x, self.window)), SLOPE)
            features.append(x)
        return self._verdict(x, lambda x: x.reshape(x.shape[0], -1), features, condition, train)


def _windows(x: jax.Array, size: int) -> jax.Array:
    """Return at each place the vectors of the window around it, `[batch, length, size * n]`."""
    length, half = x.shape[1], size // 2
    padded = jnp.pad(x, ((0, 0), (half, half), (0, 0)))
    return jnp.concatenate([padded[:, i : i + length] for i in range(size)], axis=-1)


def check_text(what: str, shape: tuple[int, ...]) -> None:
    """Raise a `ConfigError` unless data points have the shape of text, `(length, tokens)`."""
    check_sizes("data.shape", shape)
    if len(shape) != 2:
        raise ConfigError(
            f"{what} is a network for text, but one data point has shape {shape}; accepted: text, "
            "such as data.name = 'grammar'"
        )
