"""The game with an auxiliary classifier (AC-GAN, Odena et al. 2016, 1610.09585).

The discriminator has a second head that tells the class. Both players raise the likelihood of the
right class: the discriminator on real and on generated images, the generator on its own.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gan_jax import errors
from gan_jax.games import building
from gan_jax.games.adversarial import AdversarialGame, Terms, adversarial_fields
from gan_jax.games.game import Turn
from gan_jax.losses import classification
from gan_jax.networks.verdict import Head, Verdict

HEAD = "class"


def heads(num_classes: int) -> tuple[Head, ...]:
    """Return the outputs that the game asks of the discriminator."""
    return (Head(HEAD, num_classes),)


@dataclasses.dataclass(frozen=True)
class AuxiliaryGame(AdversarialGame):
    """The adversarial game, with the likelihood of the class in both losses.

    Metrics: the cross-entropies ``class_real`` and ``class_fake``, in nats, and the shares of right
    answers ``accuracy_real`` and ``accuracy_fake``.

    Attributes:
      real_weight: of the class of real images in the discriminator's loss.
      fake_weight: of the class of generated ones there; 0: it learns the classes from real images
        alone.
      generator_weight: of the class in the generator's loss.
    """

    real_weight: float = 1.0
    fake_weight: float = 1.0
    generator_weight: float = 1.0

    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> "AuxiliaryGame":
        """Return the game that a configuration describes; raises `ConfigError`."""
        if config.generator.conditioning == "none":
            raise errors.ConfigError(
                "generator.conditioning = 'none': an auxiliary classifier asks the generator for "
                "classes; accepted: 'concat' or 'batch_norm'"
            )
        if config.discriminator.conditioning != "none":
            raise errors.ConfigError(
                f"discriminator.conditioning = {config.discriminator.conditioning!r} would tell "
                "the auxiliary classifier the answer; accepted: 'none'"
            )
        generator = building.make_network("generator", config, given)
        classes = given.num_classes
        assert classes is not None  # Or the generator would not have been made.
        return cls(
            generator=generator,
            discriminator=building.make_network(
                "discriminator", config, given, heads=heads(classes)
            ),
            num_classes=classes,
            **building.check_weights(dict(config.game.auxiliary), "game.auxiliary"),
            **adversarial_fields(config, given),
        )

    def discriminator_terms(self, real: Verdict, fake: Verdict, z: jax.Array, turn: Turn) -> Terms:
        """Return the class terms; see `AdversarialGame.discriminator_terms`."""
        terms: Terms = {}
        for name, verdict, weight in (
            ("real", real, self.real_weight),
            ("fake", fake, self.fake_weight),
        ):
            logits = verdict.heads[HEAD]
            loss = jnp.mean(classification.cross_entropy(logits, turn.batch["label"]))
            right = jnp.mean(classification.accuracy(logits, turn.batch["label"]))
            terms |= {f"class_{name}": (weight, loss), f"accuracy_{name}": (0.0, right)}
        return terms

    def generator_terms(self, fake: Verdict, z: jax.Array, turn: Turn) -> Terms:
        """Return the class term; see `AdversarialGame.generator_terms`."""
        loss = jnp.mean(classification.cross_entropy(fake.heads[HEAD], turn.batch["label"]))
        return {"class_fake": (self.generator_weight, loss)}
