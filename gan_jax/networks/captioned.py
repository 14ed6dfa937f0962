"""What networks of text and images share: sentence vectors, and widths that follow the side.

The papers' sentence vectors are those of a recurrent network that was trained before, with images.
Here each network learns its own, the mean of its words' vectors: no other data are needed, and
combinations of words that were not trained on have vectors between known ones. The order of words
is lost. The vectors have unit root mean square, so that a penalty on the gradient with
respect to them cannot be lowered by making them longer.
"""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.networks.checks import check_image_shape, halvings, width_at
from gan_jax.networks.condition import LABEL, Condition, required
from gan_jax.networks.network import Conditioned

SENTENCE = "sentence"
"""Name of the discriminator's output that is the sentence vector, and of the condition that gives
it instead of the tokens."""


class SentenceEncoder(nn.Module):
    """The mean of the vectors of a caption's words, scaled to unit root mean square.

    Attributes:
      tokens: size of the vocabulary; the token 0 is no word.
      size: of the vector.
      param_dtype: of the parameters.
    """

    tokens: int
    size: int
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, captions: jax.Array) -> jax.Array:
        """Returns the vectors, float32 [batch, size], of `captions`, int32 [batch, length]."""
        words = nn.Embed(self.tokens, self.size, param_dtype=self.param_dtype)(captions)
        words = jnp.where(captions[..., None] == 0, 0.0, words.astype(jnp.float32))
        total = jnp.sum(words, axis=1)
        # Of this scale, their sum and their mean are the same.
        return total * jax.lax.rsqrt(jnp.mean(jnp.square(total), axis=1, keepdims=True) + 1e-8)


class Captioned(Conditioned):
    """A network of images that may read their captions.

    Attributes:
      features: width at 64x64; it is in inverse proportion to the side, up to `max_features`.
      max_features: the largest width.
      sentence_dim: length of the sentence vector.
      conditioning: `none` or `text`, the caption.
    """

    GROUP: ClassVar[str]
    CONDITIONING: ClassVar[tuple[str, ...]] = ("none", "text")
    TINY: ClassVar[dict[str, int]] = {"features": 1, "sentence_dim": 4}

    features: int = 128
    max_features: int = 256
    sentence_dim: int = 256

    def __post_init__(self) -> None:
        check_image_shape(self.GROUP.rpartition(".")[2], self.shape)
        self._check_sizes("features", "max_features", "sentence_dim")
        super().__post_init__()

    @property
    def _widths(self) -> list[int]:
        """The width at every side, from the image's on."""
        sides = [min(self.shape[:2]) >> index for index in range(halvings(self.shape) + 1)]
        return [width_at(side, self.features, self.max_features) for side in sides]

    def _sentence(self, condition: Condition) -> jax.Array:
        """Return the sentence vectors, float32 `[batch, sentence_dim]`.

        They are the field `sentence` of the condition, if it is there, or those of the captions.
        """
        if condition and SENTENCE in condition:
            return condition[SENTENCE]
        assert self.num_classes is not None  # Checked in `Conditioned`.
        encoder = SentenceEncoder(
            self.num_classes, self.sentence_dim, param_dtype=self.param_dtype, name="encoder"
        )
        return encoder(required(condition, LABEL))
