"""Maximum likelihood: the generator of text alone, as the row beside every text GAN.

The generator predicts each token of real texts given those before it. Tuned, it is a baseline that
many text GANs do not reach (Caccia et al. 2018, 1811.02549).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.data.spec import Spec
from gan_jax.errors import ConfigError
from gan_jax.games import building
from gan_jax.games.game import (
    Generate,
    GenerativeGame,
    Network,
    Outcome,
    Params,
    Player,
    Turn,
)
from gan_jax.networks.condition import Condition


@dataclasses.dataclass(frozen=True)
class LikelihoodGame(GenerativeGame):
    """One player: the generator, whose loss is the negative log-likelihood of a text, in nats.

    The latent vector of each text is drawn at random, as for a sample. The loss is thus a bound of
    the likelihood of the mixture over latents, exact where the generator ignores its latent.

    Attributes:
      generator: module with a method ``log_probabilities``.
      spec: of the data: text.
    """

    uses = frozenset({"generator"})

    generator: nn.Module
    spec: Spec

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given, **more: Any) -> Self:
        building.refuse_conditioning(config)
        generator = building.make_network("generator", config, given)
        if not hasattr(generator, "log_probabilities"):
            raise ConfigError(
                f"generator.name = {config.generator.name!r} has no likelihood; accepted for "
                f"game.name = {config.game.name!r}: textgan"
            )
        return cls(generator, given.spec, **more)

    @property
    @override
    def latent_dim(self) -> int:
        return self.generator.latent_dim

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        z = jax.ShapeDtypeStruct((1, self.latent_dim), jnp.float32)
        return {"generator": Network(self.generator, (z,), averaged=True)}

    @property
    @override
    def players(self) -> tuple[Player, ...]:
        return (Player("generator", ("generator",), self.loss),)

    @override
    def compose(self, generate: Generate, z: jax.Array, condition: Condition) -> jax.Array:
        return generate("generator", z, condition)

    def loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the mean negative log-likelihood of the batch's texts, in nats per text."""
        z = self.latents(turn.keys("latent"))
        logs = self._log_probabilities(params, z, self.data(turn), turn)
        return -jnp.mean(jnp.sum(logs, axis=1)), Outcome({})

    def _log_probabilities(
        self, params: Params, z: jax.Array, text: jax.Array, turn: Turn
    ) -> jax.Array:
        """Return the logarithm of every token's probability, ``[batch, length]``."""
        own = turn.with_params(params, "generator")
        logs = self.generator.apply(own, z, text, method="log_probabilities")
        assert isinstance(logs, jax.Array)
        return logs
