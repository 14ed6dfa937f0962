"""Names of metrics, ``[extractor_]statistic[layer]``: ``fid``, ``fid768``, ``classifier_kid``, ...

Without an extractor's name a metric uses Inception, as in the literature; without a layer it uses
the extractor's default layer (2048 for Inception). The name of a metric by another network always
includes that network's name.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from gan_jax import errors

INCEPTION = "inception"


@dataclasses.dataclass(frozen=True)
class Statistic:
    """A statistic from which metrics are made.

    Attributes:
      better: "lower" or "higher".
      needs: its input: "moments" (mean and covariance of features), "features", "logits", "paths",
        "points", "text", "sound", "music", "video", "captions", "pairs", "sound_pairs",
        "video_pairs", "scores" or "held_out".
      labelled: whether it also needs the requested class of each generated image.
    """

    better: str
    needs: str
    labelled: bool = False


# Statistics of features, computed in `gan_jax.metrics.compare`.
STATISTICS: Mapping[str, Statistic] = {
    "fid": Statistic("lower", "moments"),
    "kid": Statistic("lower", "features"),
    "is": Statistic("higher", "logits"),
    "precision": Statistic("higher", "features"),
    "recall": Statistic("higher", "features"),
    "density": Statistic("higher", "features"),
    "coverage": Statistic("higher", "features"),
    "accuracy": Statistic("higher", "logits", labelled=True),
    "modes": Statistic("higher", "logits"),
    "mode_kl": Statistic("lower", "logits"),
}
# Statistics of an extractor's features along ways between samples, computed in
# `gan_jax.evaluation.paths`.
PATH_STATISTICS: Mapping[str, Statistic] = {"ppl": Statistic("lower", "paths")}
# Statistics of points of the plane, relative to the modes of their mixture.
POINT_STATISTICS: Mapping[str, Statistic] = {
    "modes": Statistic("higher", "points"),
    "high_quality": Statistic("higher", "points"),
    "mode_kl": Statistic("lower", "points"),
}
# Statistics of texts, computed in `gan_jax.metrics.text`; those of `EXACT_STATISTICS` need a source
# of known probabilities.
TEXT_STATISTICS: Mapping[str, Statistic] = {
    "bigram_kl": Statistic("lower", "text"),
    "valid": Statistic("higher", "text"),
    "nll": Statistic("lower", "text"),
    "reverse_nll": Statistic("lower", "text"),
    "unique": Statistic("higher", "text"),
}
EXACT_STATISTICS = ("valid", "nll")
# Statistics of sound, relative to the pitches of its classes.
SOUND_STATISTICS: Mapping[str, Statistic] = {"pitch_accuracy": Statistic("higher", "sound")}
# Statistics of piano rolls, computed in `gan_jax.metrics.music`; ``scale_violations`` needs known
# scales.
MUSIC_STATISTICS: Mapping[str, Statistic] = {
    "scale_violations": Statistic("lower", "music"),
    "polyphony_tv": Statistic("lower", "music"),
    "interval_tv": Statistic("lower", "music"),
    "empty_bars": Statistic("lower", "music"),
}
# Statistics of videos, relative to the motion and the shapes of their source.
VIDEO_STATISTICS: Mapping[str, Statistic] = {
    "motion_error": Statistic("lower", "video"),
    "shape_constancy": Statistic("higher", "video"),
    "shape_error": Statistic("lower", "video"),
}
# Statistics of images that were asked for by captions, relative to the factors of their source.
CAPTION_STATISTICS: Mapping[str, Statistic] = {
    "attributes": Statistic("higher", "captions"),
    "attributes_held_out": Statistic("higher", "captions"),
}
# Statistics of pairs of images; with the suffix _y on luminance, as in super-resolution papers.
PAIR_STATISTICS: Mapping[str, Statistic] = {
    "psnr": Statistic("higher", "pairs"),
    "psnr_y": Statistic("higher", "pairs"),
    "ssim": Statistic("higher", "pairs"),
    "ssim_y": Statistic("higher", "pairs"),
    "ms_ssim": Statistic("higher", "pairs"),
}
# Statistics of pairs of sounds, computed in `gan_jax.metrics.enhancement`; ``si_sdr_gain`` is the
# output's SI-SDR less the input's.
SOUND_PAIR_STATISTICS: Mapping[str, Statistic] = {
    "si_sdr": Statistic("higher", "sound_pairs"),
    "si_sdr_gain": Statistic("higher", "sound_pairs"),
    "log_mel_distance": Statistic("lower", "sound_pairs"),
    "same_pitch": Statistic("higher", "sound_pairs"),
}
# Statistics of one frame of pairs of videos; of those of images, means over frames are taken.
VIDEO_PAIR_STATISTICS: Mapping[str, Statistic] = {
    "psnr_first": Statistic("higher", "video_pairs"),
    "psnr_last": Statistic("higher", "video_pairs"),
}
# Statistics of one anomaly score per image and of labels of anomalous images.
SCORE_STATISTICS: Mapping[str, Statistic] = {
    "auroc": Statistic("higher", "scores"),
    "average_precision": Statistic("higher", "scores"),
}
# Statistics of training images, images that were not trained on, and samples, computed in
# `gan_jax.metrics.classification` and `gan_jax.metrics.membership`; ``membership_auroc`` stands for
# all of its kind that suit a run.
HELD_OUT_STATISTICS: Mapping[str, Statistic] = {
    "gan_train": Statistic("higher", "held_out"),
    "gan_test": Statistic("higher", "held_out"),
    "gan_augment": Statistic("higher", "held_out"),
    "gan_augment10": Statistic("higher", "held_out"),
    "gan_augment100": Statistic("higher", "held_out"),
    "membership_auroc": Statistic("lower", "held_out"),
    "membership_auroc_discriminator": Statistic("lower", "held_out"),
    "membership_auroc_pixels": Statistic("lower", "held_out"),
    "membership_auroc_classifier": Statistic("lower", "held_out"),
}
_ALONE = {
    **POINT_STATISTICS,
    **TEXT_STATISTICS,
    **SOUND_STATISTICS,
    **MUSIC_STATISTICS,
    **VIDEO_STATISTICS,
    **CAPTION_STATISTICS,
    **PAIR_STATISTICS,
    **SOUND_PAIR_STATISTICS,
    **VIDEO_PAIR_STATISTICS,
    **SCORE_STATISTICS,
    **HELD_OUT_STATISTICS,
}
_OF_FEATURES = {**STATISTICS, **PATH_STATISTICS}
_ALL = {**_OF_FEATURES, **_ALONE}


@dataclasses.dataclass(frozen=True)
class Metric:
    """A parsed name of a metric.

    Attributes:
      name: the name.
      statistic: a key of `STATISTICS`, `PATH_STATISTICS`, `POINT_STATISTICS`, `TEXT_STATISTICS`,
        `SOUND_STATISTICS`, `MUSIC_STATISTICS`, `VIDEO_STATISTICS`, `CAPTION_STATISTICS`,
        `PAIR_STATISTICS`, `SOUND_PAIR_STATISTICS`, `VIDEO_PAIR_STATISTICS`, `SCORE_STATISTICS` or
        `HELD_OUT_STATISTICS`.
      extractor: name of the feature extractor; ``None`` for statistics without features.
      layer: layer of the extractor; ``None``: its default layer.
    """

    name: str
    statistic: str
    extractor: str | None
    layer: str | None = None

    @property
    def lower_is_better(self) -> bool:
        """Whether smaller values are better."""
        return _ALL[self.statistic].better == "lower"

    @property
    def labelled(self) -> bool:
        """Whether it needs the requested class of each generated image."""
        return _ALL[self.statistic].labelled

    @property
    def of(self) -> str:
        """Its input: as `Statistic.needs`, images for statistics of an extractor's features."""
        if self.extractor is None:
            return _ALONE[self.statistic].needs
        return "paths" if self.statistic in PATH_STATISTICS else "images"


def parse(name: str, extractors: Iterable[str], field: str = "eval.metrics") -> Metric:
    """Parse the name of a metric.

    Args:
      name: the name.
      extractors: names of the available extractors.
      field: the field or flag that contains it, for messages.

    Raises:
      ConfigError: the name is unknown; the message lists the accepted ones.
    """
    if name in _ALONE:
        return Metric(name, name, None)
    prefixes = {INCEPTION: "", **{e: f"{e}_" for e in extractors if e != INCEPTION}}
    for extractor, prefix in prefixes.items():
        if match := re.fullmatch(rf"{prefix}({'|'.join(_OF_FEATURES)})(\d*)", name):
            return Metric(name, match[1], extractor, match[2] or None)
    others = ", ".join(p for p in prefixes.values() if p)
    known = [f"{p}{s}" for p in prefixes.values() for s in _OF_FEATURES]
    hint = errors.suggestion(name, [*known, *_ALONE])
    raise errors.ConfigError(
        f"{field} has {name!r}; accepted: {', '.join(_OF_FEATURES)}, with the number of one of "
        f"Inception's layers behind (fid768) or another extractor in front ({others}); for points "
        f"{', '.join(POINT_STATISTICS)}; for text {', '.join(TEXT_STATISTICS)}; for sound "
        f"{', '.join(SOUND_STATISTICS)}; for music {', '.join(MUSIC_STATISTICS)}; for videos "
        f"{', '.join(VIDEO_STATISTICS)}; for captions {', '.join(CAPTION_STATISTICS)}; for pairs "
        f"{', '.join(PAIR_STATISTICS)}; for pairs of sounds "
        f"{', '.join(SOUND_PAIR_STATISTICS)}; for pairs of videos "
        f"{', '.join(VIDEO_PAIR_STATISTICS)}; for scores "
        f"{', '.join(SCORE_STATISTICS)}; for runs with held-out images "
        f"{', '.join(HELD_OUT_STATISTICS)}.{hint}"
    )
