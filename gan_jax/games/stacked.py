"""The game of a generator in stages (StackGAN-v2, Zhang et al. 2017, 1710.10916).

"StackGAN++: Realistic Image Synthesis with Stacked Generative Adversarial Networks". All stages
train together: the discriminator judges the images of each, the generator learns from the mean over
stages, and a stage also from those that follow it. Real images of a coarse stage are means over
squares of pixels.

With captions both players play a second time, by the scores of the images alone, and the generator
pays for the divergence of its condition from a standard normal distribution (conditioning
augmentation, StackGAN, Zhang et al. 2016, 1612.03242).
"""

import dataclasses
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.games import building
from gan_jax.games.adversarial import AdversarialGame
from gan_jax.games.apply import apply
from gan_jax.games.game import Outcome, Params, Turn, Variables
from gan_jax.games.terms import Added, Context, Term
from gan_jax.losses.variational import gaussian_kl
from gan_jax.networks.condition import Condition
from gan_jax.networks.stackgan import UNCONDITIONAL, joined, separated


@dataclasses.dataclass(frozen=True)
class Unconditional(Term):
    """Let both players play by scores that do not depend on the caption, too."""

    name: ClassVar[str] = UNCONDITIONAL
    players: ClassVar[tuple[str, ...]] = ("discriminator", "generator")

    @override
    def __call__(self, context: Context) -> Added:
        loss, fake = context.game.loss, context.fake.verdict.heads[UNCONDITIONAL]
        real = None if context.real is None else context.real.verdict.heads[UNCONDITIONAL]
        if context.player == "generator":
            return Added(jnp.mean(loss.generator(fake, real)))
        assert real is not None
        return Added(jnp.mean(loss.discriminator(real, fake)))


@dataclasses.dataclass(frozen=True)
class StackedGame(AdversarialGame):
    """The adversarial game of images at several resolutions.

    Attributes:
      unconditional_weight: of the losses by scores that do not depend on the caption.
      kl_weight: of the divergence of conditioning augmentation, the mean over the vector's entries.
        The paper's is 2, beside a sum over stages instead of their mean.
    """

    unconditional_weight: float = 1.0
    kl_weight: float = 1.0

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        weights = {name: getattr(self, name) for name in ("unconditional_weight", "kl_weight")}
        building.check_weights(weights, "game.stacked")

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given, **more: Any) -> Self:
        building.refuse_one_size(config)
        for role in ("generator", "discriminator"):
            if (name := config[role].name) != "stackgan":
                raise ConfigError(
                    f"{role}.name = {name!r}; accepted for game.name = 'stacked': 'stackgan'"
                )
        stages = [config[role].stackgan.stages for role in ("generator", "discriminator")]
        if stages[0] != stages[1]:
            raise ConfigError(
                f"generator.stackgan.stages = {stages[0]} and discriminator.stackgan.stages = "
                f"{stages[1]}; accepted: the same number"
            )
        game = super().from_config(config, given, **config.game.stacked, **more)
        if game.attributes is None or not game.unconditional_weight:
            return game
        term = Unconditional(weight=game.unconditional_weight)
        return dataclasses.replace(game, terms={**game.terms, term.name: term})

    @override
    def data(self, turn: Turn) -> jax.Array:
        images = super().data(turn)
        return joined(separated(images, self.shape[-1], self.generator.stages))

    @override
    def _generate(
        self, params: Params, z: jax.Array, condition: Condition, turn: Turn
    ) -> tuple[jax.Array, Variables]:
        own, keys = turn.with_params(params, "generator"), turn.keys("generator")
        iterate = "generator" in params
        images, mutable = apply(
            self.generator, own, z, condition, keys=keys, iterate=iterate, method="images"
        )
        return joined(images), mutable

    @override
    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        loss, outcome = super().generator_loss(params, turn)
        if self.attributes is None or not self.kl_weight:
            return loss, outcome
        own = turn.with_params(params, "generator")
        statistics: Any = self.generator.apply(own, turn.condition, method="statistics")
        mean, log_variance = statistics
        kl = jnp.mean(gaussian_kl(mean, log_variance)) / mean.shape[-1]
        metrics = {**outcome.metrics, "kl": kl}
        return loss + self.kl_weight * kl, dataclasses.replace(outcome, metrics=metrics)
