"""The style ambiguity of CAN (Elgammal et al. 2017, 1706.07068)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.games.building import Given
from gan_jax.games.terms.classification import HEAD
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import classification
from gan_jax.networks.condition import LABEL, required
from gan_jax.networks.verdict import Head


@dataclasses.dataclass(frozen=True)
class Ambiguity(Term):
    """Let generated data look real, but of no class in particular.

    "CAN: Creative Adversarial Networks", Elgammal et al. 2017, https://arxiv.org/abs/1706.07068
    (weight 1). A second head of the discriminator learns the classes of real data; the generator
    makes all of them equally likely. Neither network is conditional. Metrics: the cross-entropy
    ``class_real`` in nats and the share of right answers ``accuracy_real``; the mean entropy of the
    classes of generated data, ``entropy_fake``, in nats, at most the logarithm of their number.
    """

    name: ClassVar[str] = "ambiguity"
    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    @override
    def check_game(self, config: Any, given: Given) -> None:
        named = f"terms.ambiguity.weight = {self.weight}"
        if given.num_classes is None or given.num_classes < 2:
            has = "none" if given.num_classes is None else given.num_classes
            raise ConfigError(
                f"{named} needs the classes of the data, which have {has}; accepted: 0, or data "
                "with two classes or more"
            )
        for role in ("generator", "discriminator"):
            if (conditioning := config[role].conditioning) != "none":
                raise ConfigError(
                    f"{named} with {role}.conditioning = {conditioning!r}; accepted: 'none'"
                )
        if (other := config.terms.classification.weight) != 0:
            raise ConfigError(
                f"{named} with terms.classification.weight = {other}, which asks for one class; "
                "accepted: one of them"
            )

    @override
    def heads(self, num_classes: int | None) -> tuple[Head, ...]:
        return () if num_classes is None else (Head(HEAD, num_classes),)

    @override
    def __call__(self, context: Context) -> Added:
        if context.player == "generator":
            logits = context.fake.verdict.heads[HEAD]
            log_p = jax.nn.log_softmax(logits.astype(jnp.float32))
            entropy = -jnp.mean(jnp.sum(jnp.exp(log_p) * log_p, axis=-1))
            return Added(jnp.mean(classification.ambiguity(logits)), {"entropy_fake": entropy})
        assert context.real is not None
        logits = context.real.verdict.heads[HEAD]
        labels = required(context.real.condition, LABEL)
        loss = jnp.mean(classification.cross_entropy(logits, labels))
        right = jnp.mean(classification.accuracy(logits, labels))
        return Added(loss, {"class_real": loss, "accuracy_real": right})
