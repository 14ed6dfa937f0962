"""Centering of the discriminator's scores (Lin et al. 2025, 2511.22475)."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from typing_extensions import override

from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses.guards import mean_over_patches


@dataclasses.dataclass(frozen=True)
class LogitCentering(Term):
    """Keep the scores of a real and a generated example opposite: ``(D(x) + D(G(z)))^2``.

    "Adversarial Flow Models", https://arxiv.org/abs/2511.22475 (weight 0.01). A relativistic loss
    is the same for scores that are all raised by a number, so nothing else holds them near 0.
    """

    name: ClassVar[str] = "logit_centering"

    @override
    def __call__(self, context: Context) -> Added:
        assert context.real is not None
        real, fake = (mean_over_patches(x.verdict.scores) for x in (context.real, context.fake))
        return Added(jnp.mean(jnp.square(real + fake)))
