"""The objective of the direction of the discriminator's last layer (Takida 2023, 2301.12811)."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.games.building import Given
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses.adversarial import wasserstein_discriminator
from gan_jax.networks.verdict import DIRECTION, Head


@dataclasses.dataclass(frozen=True)
class San(Term):
    """Turn the last layer to where real and generated features differ most.

    "SAN: Inducing Metrizability of GAN with Discriminative Normalized Linear Layer",
    https://arxiv.org/abs/2301.12811 (weight 1). The Wasserstein loss trains the direction of the
    last layer, with the features fixed; the configured loss trains the rest of the discriminator,
    with the direction fixed (`gan_jax.layers.direction`). The generator's loss is unchanged.
    """

    name: ClassVar[str] = "san"

    @override
    def check_game(self, config: Any, given: Given) -> None:
        if config.discriminator.conditioning == "projection":
            raise ConfigError(
                "discriminator.conditioning = 'projection', but terms.san needs a last layer that "
                "is the same for all classes; accepted: 'none' or 'concat'"
            )

    @override
    def heads(self, num_classes: int | None) -> tuple[Head, ...]:
        return (Head(DIRECTION, 1),)

    @override
    def __call__(self, context: Context) -> Added:
        assert context.real is not None
        real, fake = (x.verdict.heads[DIRECTION] for x in (context.real, context.fake))
        return Added(jnp.mean(wasserstein_discriminator(real, fake)))
