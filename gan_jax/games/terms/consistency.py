"""Balanced consistency regularisation of the discriminator (Zhao et al. 2020, 2002.04724)."""

import dataclasses
from typing import Any, ClassVar

import jax.numpy as jnp
from typing_extensions import override

from gan_jax.augment import flip_shift
from gan_jax.data import spec as specs
from gan_jax.errors import ConfigError
from gan_jax.games.building import Given
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import consistency


@dataclasses.dataclass(frozen=True)
class Consistency(Term):
    """Keep the score of an image when it is mirrored and shifted.

    "Improved Consistency Regularization for GANs", Zhao et al. 2020,
    https://arxiv.org/abs/2002.04724 (bCR, weight 10); on real images alone (``fake_weight`` 0):
    Zhang et al. 2019, https://arxiv.org/abs/1910.12027. Metrics: ``consistency_real`` and
    ``consistency_fake``.

    Attributes:
      real_weight: of real images in the term.
      fake_weight: of generated images in the term.
    """

    real_weight: float = 1.0
    fake_weight: float = 1.0

    name: ClassVar[str] = "consistency"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(self.real_weight >= 0, "real_weight", "0 or more")
        self.check(self.fake_weight >= 0, "fake_weight", "0 or more")

    @override
    def check_game(self, config: Any, given: Given) -> None:
        if (kind := specs.data_field(given.spec).kind) != "image":
            raise ConfigError(
                f"terms.consistency.weight = {self.weight} is for images, but the data are of "
                f"kind {kind!r}; accepted: 0"
            )

    @override
    def __call__(self, context: Context) -> Added:
        value, metrics = jnp.float32(0.0), {}
        weights = {"real": self.real_weight, "fake": self.fake_weight}
        for kind, judged in (("real", context.real), ("fake", context.fake)):
            if not weights[kind]:
                continue
            assert judged is not None
            keys = context.turn.keys(f"consistency/{kind}")
            moved = flip_shift.flip_shift(keys, judged.shown)
            scores = context.judge(moved, judged.condition, judged.keys).scores
            difference = jnp.mean(consistency.consistency(judged.verdict.scores, scores))
            metrics[f"consistency_{kind}"] = difference
            value = value + weights[kind] * difference
        return Added(value, metrics)
