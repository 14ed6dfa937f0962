"""The auxiliary classifier of AC-GAN (Odena et al. 2016, 1610.09585)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.data import attributes
from gan_jax.errors import ConfigError
from gan_jax.games.building import Given
from gan_jax.games.judging import Judged
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import classification
from gan_jax.networks.condition import LABEL, required
from gan_jax.networks.verdict import Head

HEAD = "class"


@dataclasses.dataclass(frozen=True)
class Classification(Term):
    """Raise the likelihood of the right class, which a second head of the discriminator predicts.

    "Conditional Image Synthesis with Auxiliary Classifier GANs", Odena et al. 2016,
    https://arxiv.org/abs/1610.09585 (weight 1). The generator is conditional, the discriminator is
    not. Metrics: the cross-entropies ``class_real`` and ``class_fake``, in nats, and the shares of
    right answers ``accuracy_real`` and ``accuracy_fake``.

    Attributes:
      real_weight: of real data in the discriminator's term.
      fake_weight: of generated data there; 0: the head learns from real data alone.
      generator_weight: of the generator's term.
    """

    real_weight: float = 1.0
    fake_weight: float = 1.0
    generator_weight: float = 1.0

    name: ClassVar[str] = "classification"
    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("real_weight", "fake_weight", "generator_weight"):
            self.check(getattr(self, field) >= 0, field, "0 or more")

    @override
    def check_game(self, config: Any, given: Given) -> None:
        if (described := attributes.of(given.spec)) is not None:
            named = ", ".join(described.attributes or ())
            has = f"the attributes {named}" if named else "captions"
            raise ConfigError(
                f"terms.classification needs classes, but the data have {has}; accepted: one "
                "column in data.labels"
            )
        if config.generator.conditioning == "none":
            raise ConfigError(
                "generator.conditioning = 'none', but terms.classification asks the generator for "
                "classes; accepted: 'concat' or 'batch_norm'"
            )
        if config.discriminator.conditioning != "none":
            raise ConfigError(
                f"discriminator.conditioning = {config.discriminator.conditioning!r} would give "
                "the classifier of terms.classification the answer; accepted: 'none'"
            )

    @override
    def heads(self, num_classes: int | None) -> tuple[Head, ...]:
        return () if num_classes is None else (Head(HEAD, num_classes),)

    @override
    def __call__(self, context: Context) -> Added:
        fake, right = _classified(context.fake)
        if context.player == "generator":
            return Added(self.generator_weight * fake, {"class_fake": fake})
        assert context.real is not None
        real, real_right = _classified(context.real)
        metrics = {
            "class_real": real,
            "accuracy_real": real_right,
            "class_fake": fake,
            "accuracy_fake": right,
        }
        return Added(self.real_weight * real + self.fake_weight * fake, metrics)


def _classified(judged: Judged) -> tuple[jax.Array, jax.Array]:
    """Return the mean cross-entropy in nats, and the share of right answers."""
    logits, labels = judged.verdict.heads[HEAD], required(judged.condition, LABEL)
    loss = classification.cross_entropy(logits, labels)
    return jnp.mean(loss), jnp.mean(classification.accuracy(logits, labels))
