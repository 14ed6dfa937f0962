"""Text by policy gradients: tokens are actions, and a discriminator rewards each of them.

SeqGAN (Yu et al. 2016, 1609.05473) with the dense rewards of ScratchGAN (d'Autume et al. 2019,
1905.09922): the discriminator scores a text from left to right, and a token's return is the
discounted sum of the rewards from it on. The baseline is learned: the discriminator predicts the
return of a token from those before it.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.errors import require
from gan_jax.games import building
from gan_jax.games.apply import apply, judge
from gan_jax.games.game import Network, Outcome, Params, Player, Turn
from gan_jax.games.likelihood import LikelihoodGame
from gan_jax.losses import policy
from gan_jax.networks.seqgan import VALUE


@dataclasses.dataclass(frozen=True)
class PolicyGame(LikelihoodGame):
    """Two players: the discriminator of tokens, then the generator, which is rewarded.

    Attributes:
      discriminator: module whose verdict has a score and a value for each token.
      discount: of a reward for each token that lies between it and the token that earned it.
      discriminator_steps: gradient steps of the discriminator for each of the generator's.
    """

    uses = frozenset({"generator", "discriminator"})

    discriminator: nn.Module = dataclasses.field(kw_only=True)
    discount: float = 0.23
    discriminator_steps: int = 1

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        require(0 <= self.discount <= 1, "game.policy.discount", self.discount, "0 to 1")

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given, **more: Any) -> Self:
        return super().from_config(
            config,
            given,
            discriminator=building.make_network("token_discriminator", config, given),
            discriminator_steps=building.discriminator_steps(config),
            **config.game.policy,
            **more,
        )

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        return {**super().networks, "discriminator": Network(self.discriminator, (x,))}

    @property
    @override
    def players(self) -> tuple[Player, ...]:
        steps = self.discriminator_steps
        return (
            Player("discriminator", ("discriminator",), self.discriminator_loss, steps),
            Player("generator", ("generator",), self.generator_loss, fresh_data=False),
        )

    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the cross-entropy of all tokens, and the squared error of the values."""
        own = turn.with_params(params, "discriminator")
        fake, _ = self._generate({}, turn)
        verdicts = [judge(self.discriminator, own, x)[0] for x in (self.data(turn), fake)]
        real_scores, fake_scores = (one.scores for one in verdicts)
        cross_entropy = jnp.mean(jax.nn.softplus(-real_scores) + jax.nn.softplus(fake_scores))
        returns = lax.stop_gradient(policy.returns(policy.rewards(fake_scores), self.discount))
        error = jnp.mean(jnp.square(verdicts[1].heads[VALUE] - returns))
        scores = {"real_score": jnp.mean(real_scores), "fake_score": jnp.mean(fake_scores)}
        metrics = {"adversarial": cross_entropy, "value_error": error, **scores}
        return cross_entropy + error, Outcome(metrics)

    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the policy's loss on a batch of fresh texts."""
        text, z = self._generate(params, turn)
        verdict, _ = judge(self.discriminator, turn.variables["discriminator"], text)
        rewards = policy.rewards(verdict.scores)
        returns = policy.returns(rewards, self.discount)
        logs = self._log_probabilities(params, z, text, turn)
        loss = jnp.mean(policy.reinforce(logs, returns, verdict.heads[VALUE]))
        spread = jnp.mean(jnp.square(returns - verdict.heads[VALUE]))
        metrics = {"reward": jnp.mean(rewards), "squared_advantage": spread}
        return loss, Outcome(metrics)

    def _generate(self, params: Params, turn: Turn) -> tuple[jax.Array, jax.Array]:
        """Return texts, without gradient, and the latents that they were made from."""
        z, own = self.latents(turn.keys("latent")), turn.with_params(params, "generator")
        text = apply(self.generator, own, z, keys=turn.keys("generator"))[0]
        return lax.stop_gradient(text), z
