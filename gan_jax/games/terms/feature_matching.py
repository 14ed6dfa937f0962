"""Feature matching in the generator's loss (Salimans et al. 2016, 1606.03498)."""

import dataclasses
from typing import ClassVar

from typing_extensions import override

from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.losses import feature_matching


@dataclasses.dataclass(frozen=True)
class FeatureMatching(Term):
    """Bring the mean of the discriminator's last hidden features of fakes to that of real data.

    "Improved Techniques for Training GANs", Salimans et al. 2016,
    https://arxiv.org/abs/1606.03498, section 3.1.
    """

    name: ClassVar[str] = "feature_matching"
    players: ClassVar[tuple[str, ...]] = ("generator",)
    needs_real: ClassVar[bool] = True

    @override
    def __call__(self, context: Context) -> Added:
        assert context.real is not None
        features = context.real.verdict.features[-1], context.fake.verdict.features[-1]
        axis_name = context.turn.axis_name
        return Added(feature_matching.feature_matching(*features, axis_name=axis_name))
