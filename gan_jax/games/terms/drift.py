"""The penalty on the size of real images' scores in ProGAN (Karras et al. 2017, 1710.10196)."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from typing_extensions import override

from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses.guards import mean_over_patches


@dataclasses.dataclass(frozen=True)
class Drift(Term):
    """Keep the scores of real images from drifting away from 0: the mean of ``D(x)^2``.

    "Progressive Growing of GANs", Karras et al. 2017, https://arxiv.org/abs/1710.10196, appendix
    A.1 (weight 0.001). The Wasserstein loss is the same for scores that are all raised by a number,
    so nothing else holds them.
    """

    name: ClassVar[str] = "drift"

    @override
    def __call__(self, context: Context) -> Added:
        assert context.real is not None
        scores = mean_over_patches(context.real.verdict.scores)
        return Added(jnp.mean(jnp.square(scores)))
