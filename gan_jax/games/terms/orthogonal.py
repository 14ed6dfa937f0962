"""Orthogonal regularisation of the generator (Brock et al. 2018, 1809.11096)."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses.orthogonal import off_diagonal


@dataclasses.dataclass(frozen=True)
class Orthogonal(Term):
    """Keep the filters of each of the generator's kernels orthogonal, whatever their lengths.

    "Large Scale GAN Training for High Fidelity Natural Image Synthesis", Brock et al. 2018,
    https://arxiv.org/abs/1809.11096 (weight 0.0001): more generators then tolerate truncation. The
    value is the sum over all kernels but the embedding of the class, see
    `gan_jax.losses.orthogonal.off_diagonal`.
    """

    name: ClassVar[str] = "orthogonal"
    players: ClassVar[tuple[str, ...]] = ("generator",)

    @override
    def __call__(self, context: Context) -> Added:
        params = context.own["generator"]["params"]
        kernels = [
            leaf
            for path, leaf in jax.tree_util.tree_leaves_with_path(params)
            if path[-1].key == "kernel" and path[0].key != "embedding"
        ]
        return Added(sum(map(off_diagonal, kernels), jnp.zeros(())))
