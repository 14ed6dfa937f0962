"""Names of metrics, ``[extractor_]statistic[layer]``: ``fid``, ``fid768``, ``classifier_kid``, ...

Without an extractor's name a metric is Inception's, as everywhere in the literature; without a
layer it takes the extractor's default one (for Inception: 2048). What is measured by another
network always says so in its name.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from gan_jax import errors

INCEPTION = "inception"


@dataclasses.dataclass(frozen=True)
class Statistic:
    """What can be computed of two sets of features.

    Attributes:
      better: "lower" or "higher".
      needs: of features "moments" (mean and covariance), "features" (all of them) or "logits"; else
        "points", "pairs" or "scores".
      labelled: it asks, too, which class each generated image was to be of.
    """

    better: str
    needs: str
    labelled: bool = False


# Of features. What computes them stands in `gan_jax.metrics.compare`.
STATISTICS: Mapping[str, Statistic] = {
    "fid": Statistic("lower", "moments"),
    "kid": Statistic("lower", "features"),
    "is": Statistic("higher", "logits"),
    "precision": Statistic("higher", "features"),
    "recall": Statistic("higher", "features"),
    "density": Statistic("higher", "features"),
    "coverage": Statistic("higher", "features"),
    "accuracy": Statistic("higher", "logits", labelled=True),
}
# Of points of the plane, against the modes they were drawn from.
POINT_STATISTICS: Mapping[str, Statistic] = {
    "modes": Statistic("higher", "points"),
    "high_quality": Statistic("higher", "points"),
    "mode_kl": Statistic("lower", "points"),
}
# Of pairs of images, one of either set; with _y of their luminance, as super-resolution papers do.
PAIR_STATISTICS: Mapping[str, Statistic] = {
    "psnr": Statistic("higher", "pairs"),
    "psnr_y": Statistic("higher", "pairs"),
    "ssim": Statistic("higher", "pairs"),
    "ssim_y": Statistic("higher", "pairs"),
    "ms_ssim": Statistic("higher", "pairs"),
}
# Of one score per image and of which images are anomalous.
SCORE_STATISTICS: Mapping[str, Statistic] = {
    "auroc": Statistic("higher", "scores"),
    "average_precision": Statistic("higher", "scores"),
}
_ALONE = {**POINT_STATISTICS, **PAIR_STATISTICS, **SCORE_STATISTICS}
_ALL = {**STATISTICS, **_ALONE}


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric's name, taken apart.

    Attributes:
      name: as the user gave it.
      statistic: a key of `STATISTICS`, `POINT_STATISTICS`, `PAIR_STATISTICS` or
        `SCORE_STATISTICS`.
      extractor: name of the feature extractor; ``None`` for statistics that look at no features.
      layer: of the extractor; ``None``: its default one.
    """

    name: str
    statistic: str
    extractor: str | None
    layer: str | None = None

    @property
    def lower_is_better(self) -> bool:
        """Whether a smaller value is a better one."""
        return _ALL[self.statistic].better == "lower"

    @property
    def labelled(self) -> bool:
        """Whether it asks which class each generated image was to be of."""
        return _ALL[self.statistic].labelled

    @property
    def of(self) -> str:
        """What it is of: "images", "points", "pairs" or "scores"."""
        return _ALL[self.statistic].needs if self.statistic in _ALONE else "images"


def parse(name: str, extractors: Iterable[str], field: str = "eval.metrics") -> Metric:
    """Return what a metric's name means.

    Args:
      name: the name.
      extractors: names of the extractors that there are.
      field: where the user gave it, for the message.

    Raises:
      ConfigError: it means nothing; the message lists what would.
    """
    if name in _ALONE:
        return Metric(name, name, None)
    prefixes = {INCEPTION: "", **{e: f"{e}_" for e in extractors if e != INCEPTION}}
    for extractor, prefix in prefixes.items():
        if match := re.fullmatch(rf"{prefix}({'|'.join(STATISTICS)})(\d*)", name):
            return Metric(name, match[1], extractor, match[2] or None)
    others = ", ".join(p for p in prefixes.values() if p)
    known = [f"{p}{s}" for p in prefixes.values() for s in STATISTICS]
    hint = errors.suggestion(name, [*known, *_ALONE])
    raise errors.ConfigError(
        f"{field} has {name!r}; accepted: {', '.join(STATISTICS)}, with the number of one of "
        f"Inception's layers behind (fid768) or another extractor in front ({others}); for points "
        f"{', '.join(POINT_STATISTICS)}; for pairs {', '.join(PAIR_STATISTICS)}; for scores "
        f"{', '.join(SCORE_STATISTICS)}.{hint}"
    )
