"""The matching-aware discriminator of text and images (DF-GAN, Tao et al. 2020, 2008.05865)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.data import captions
from gan_jax.data.spec import LABEL
from gan_jax.errors import ConfigError
from gan_jax.games.building import Given
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import penalties
from gan_jax.networks.captioned import SENTENCE
from gan_jax.networks.condition import required


@dataclasses.dataclass(frozen=True)
class Matching(Term):
    """Let the discriminator reject real images with captions of others, and penalize its gradient.

    "DF-GAN: A Simple and Effective Baseline for Text-to-Image Synthesis",
    https://arxiv.org/abs/2008.05865. An image is shown the caption of the other image of a pair:
    the first and second of a batch are one, and so on, so that pairs are the same on any number of
    devices. Where both captions have the same meaning there is nothing to reject, and the example
    is left out. Metrics: ``mismatched_score``, of real images with their partners' captions, and
    ``matching_penalty``.

    Attributes:
      mismatched: share of mismatched captions among what the loss calls fake; the rest is generated
        images.
      penalty: weight of the gradient's norm, with respect to real images and the vectors of their
        captions, to the power; 0: it is not computed.
      power: of the norm.
    """

    mismatched: float = 0.5
    penalty: float = 2.0
    power: float = 6.0

    name: ClassVar[str] = "matching"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(0 <= self.mismatched <= 1, "mismatched", "0 to 1")
        self.check(self.penalty >= 0, "penalty", "0 or more")
        self.check(self.power >= 1, "power", "1 or more")

    @override
    def check_game(self, config: Any, given: Given) -> None:
        if (conditioning := config.discriminator.conditioning) != "text":
            raise ConfigError(
                f"terms.matching.weight = {self.weight} with discriminator.conditioning = "
                f"{conditioning!r}; accepted: 0, or 'text' of data with captions"
            )

    @override
    def __call__(self, context: Context) -> Added:
        real, fake, game = context.real, context.fake, context.game
        assert real is not None
        tokens = required(real.condition, LABEL)
        if len(tokens) % 2:
            raise ConfigError(
                f"terms.matching: {len(tokens)} examples at once on a device cannot be divided "
                "into pairs; accepted: an even number (see train.batch_size and train.accumulate)"
            )
        swapped = tokens.reshape(-1, 2, tokens.shape[-1])[:, ::-1].reshape(tokens.shape)
        differ = ~captions.agree(game.spec[LABEL], tokens, swapped)
        wrong = context.judge(real.shown, {LABEL: swapped}, real.keys).scores
        # Of the fakes' share of the loss, a part becomes that of mismatched captions.
        change = game.loss.discriminator(real.scores, wrong) - game.loss.discriminator(
            real.scores, fake.scores
        )
        differ = differ.reshape(-1, *(1,) * (change.ndim - 1))
        value = self.mismatched * jnp.mean(jnp.where(differ, change, 0.0))
        metrics = {"mismatched_score": jnp.mean(wrong)}
        if not self.penalty:
            return Added(value, metrics)

        def critic(x: jax.Array, sentence: jax.Array) -> jax.Array:
            return context.judge(x, {SENTENCE: sentence}, real.keys).scores

        sentence = jax.lax.stop_gradient(real.verdict.heads[SENTENCE])
        norms = penalties.matching_aware(critic, real.shown, sentence, power=self.power)
        penalty = jnp.mean(norms)
        return Added(value + self.penalty * penalty, {**metrics, "matching_penalty": penalty})
