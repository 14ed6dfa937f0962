"""The game with an auxiliary classifier (AC-GAN, Odena et al. 2016, 1610.09585).

The discriminator has a second head that tells the class. Both players raise the likelihood of the
right class: the discriminator on real and on generated images, the generator on its own.
"""

import dataclasses

import jax
import jax.numpy as jnp

from gan_jax.games.adversarial import AdversarialGame, Terms
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
