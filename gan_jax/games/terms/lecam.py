"""LeCam regularisation of the discriminator (Tseng et al. 2021, 2104.03310)."""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from typing_extensions import override

from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import lecam


@dataclasses.dataclass(frozen=True)
class LeCam(Term):
    """Hold scores near moving averages of the other kind's scores, for training on little data.

    "Regularizing Generative Adversarial Networks under Limited Data", Tseng et al. 2021,
    https://arxiv.org/abs/2104.03310; weights from 0.0001 to 0.3 there.

    Attributes:
      decay: of the moving averages, in [0, 1). They begin at 0: let ``start`` be some multiples of
        ``1 / (1 - decay)``.
    """

    decay: float = 0.99

    name: ClassVar[str] = "lecam"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        self.check(0 <= self.decay < 1, "decay", "a number in [0, 1)")

    @override
    def init(self) -> lecam.Anchors:
        return lecam.init()

    @override
    def __call__(self, context: Context) -> Added:
        assert context.real is not None
        scores = context.real.verdict.scores, context.fake.verdict.scores
        value = jnp.mean(lecam.lecam(*scores, context.memory.real, context.memory.fake))
        axis_name = context.turn.axis_name
        memory = lecam.update_anchors(context.memory, *scores, self.decay, axis_name)
        return Added(value, memory=memory)
