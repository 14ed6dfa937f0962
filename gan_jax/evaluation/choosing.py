"""Which metrics suit generated data: those that are asked for, checked, or those of "auto"."""

from collections.abc import Sequence

import numpy as np

from gan_jax import errors
from gan_jax.data import attributes, kinds, sources
from gan_jax.data.sources import BouncingSource, GrammarSource, Source
from gan_jax.evaluation import shapes
from gan_jax.evaluation.evaluator import parse_metrics
from gan_jax.evaluation.real_images import LABELLED, VIEWS, taught
from gan_jax.evaluation.settings import Settings
from gan_jax.metrics import classifier, compare, names
from gan_jax.metrics.names import Metric

# Measured of labelled images, unless others are asked for.
_COMPARED = ("classifier_fid", "classifier_precision", "classifier_recall")


def choose_metrics(
    settings: Settings,
    source: Source,
    num_classes: int | None = None,
    real: Source | None = None,
    *,
    captioned: bool = False,
) -> list[Metric]:
    """Return the metrics to compute; as `evaluators.choose`.

    Args:
      settings: what is asked for.
      source: the training data.
      num_classes: that the game's generator can be asked for; ``None``: it is unconditional.
      real: what is measured against; ``None``: the training data.
      captioned: whether the generator can be asked for captions.
    """
    real = real or source
    automatic = [] if refusal(settings, source, real) else _automatic(source, num_classes)
    if captioned:
        automatic = shapes.suitable(real)
    metrics = parse_metrics(settings, automatic)
    for metric in metrics:
        _check(metric, source, num_classes)
        if metric.of == "captions":
            shapes.check(metric, real, captioned)
        least = compare.least_images(metric)
        if settings.num_fake < least:
            raise errors.ConfigError(
                f"eval.num_fake = {settings.num_fake}; accepted for {metric.name}: {least} or more"
            )
        # Half of the real ones are measured against the other half.
        if (num_real := min(settings.num_real or len(real), len(real))) < 2 * least:
            raise errors.ConfigError(
                f"eval.num_real = {num_real}; accepted for {metric.name}: {2 * least} or more"
            )
    return metrics


def _check(metric: Metric, source: Source, num_classes: int | None) -> None:
    """Raise a `ConfigError` if a metric does not suit the data or the game."""
    kind, known = _suitable(source)
    if metric.of == "held_out":
        return  # Checked by `held_out.choose`.
    if not _suits(metric, kind):
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but samples of {source.name} are unpaired "
            f"{kind}; accepted: {', '.join(known) or 'none'}"
        )
    if kind == "images" and not _is_seen(source):
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but the images of {source.name} have "
            f"{source.shape[2]} channels; accepted: images of 1 or 3 channels"
        )
    if metric.statistic in names.POINT_STATISTICS and not _has_modes(source):
        suitable = "ring or grid" if kind == "points" else "stacked_digits"
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but {source.name} has no modes; "
            f"accepted: {suitable} as data.name"
        )
    if metric.statistic in names.EXACT_STATISTICS and not isinstance(source, GrammarSource):
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but {source.name} has no known probabilities; "
            "accepted: grammar as data.name"
        )
    if metric.of == "sound" and not _has_pitches(source):
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but the pitches of {source.name} are unknown; "
            "accepted: tones as data.name"
        )
    if metric.statistic == "scale_violations" and not _has_scales(source):
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but the scales of {source.name} are unknown; "
            "accepted: scales as data.name"
        )
    if metric.of == "video" and not isinstance(source, BouncingSource):
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but the motion of {source.name} is unknown; "
            "accepted: bouncing as data.name"
        )
    if metric.extractor == "classifier" and (source.num_classes or 0) < 2:
        instead = "Inception's metrics, such as fid" if kind == "images" else "data with labels"
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but {source.name} has no labels to train a "
            f"classifier with; accepted: {instead}"
        )
    if metric.extractor == "classifier" and (why := untrainable(source)):
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, but no classifier can be trained on "
            f"{source.name}: {why}"
        )
    if metric.labelled and (num_classes is None or metric.extractor != "classifier"):
        why = "asks for classes" if num_classes is None else "needs a classifier of these data"
        raise errors.ConfigError(
            f"eval.metrics has {metric.name!r}, which {why}; accepted: "
            "classifier_accuracy, for class-conditional games"
        )


def refusal(settings: Settings, source: Source, real: Source) -> str:
    """Return why labelled data are too few, or too small, for the metrics of "auto", or ""."""
    if (field := attributes.of(source.spec)) is not None:
        has = "captions" if field.kind == "caption" else "attributes"
        return f"{source.name} has {has}, and no classes to train a classifier with"
    if not _is_seen(source) or (source.num_classes or 0) < 2:
        return ""
    if why := untrainable(source):
        return f"no classifier can be trained on {source.name}: {why}"
    names_ = _automatic(source, None)
    least = 2 * max(compare.least_images(m) for m in parse_metrics(settings, names_))
    if settings.num_real is None and len(real) < least:
        return f"{real.name} has {len(real)} images of split {real.split}; accepted: {least}"
    return ""


def untrainable(source: Source) -> str:
    """Return why no classifier can be trained on labelled images, or ""."""
    source = taught(source)
    labels = sources.known_labels(source)
    if labels is not None and len(np.unique(labels)) < 2:
        return "all are of one class"
    try:
        count = min(len(source), LABELLED)
        field = source.field
        view = VIEWS.get(field.kind)
        shape = field.shape if view is None else view.picture_shape(field)
        classifier.check_set(count, shape, source.num_classes or 0)
    except errors.MetricError as error:
        return str(error)
    return ""


def _suitable(source: Source) -> tuple[str, Sequence[str]]:
    """Return the kind of data that metrics must be of, and the names of these metrics."""
    match source.field.kind:
        case "points":
            return "points", list(names.POINT_STATISTICS)
        case "text":
            return "text", list(names.TEXT_STATISTICS)
        case "music":
            return "music", list(names.MUSIC_STATISTICS)
        case "image":
            return "images", [
                f"classifier_{name}" if name in names.POINT_STATISTICS else name
                for name in (*names.STATISTICS, *names.PATH_STATISTICS)
            ]
        case "audio" | "spectrogram" | "video":
            of_pictures = [name for name in names.STATISTICS if name not in names.POINT_STATISTICS]
            is_sound = kinds.is_sound(source.field)
            return "sounds" if is_sound else "videos", [
                *(f"classifier_{name}" for name in of_pictures),
                *(names.SOUND_STATISTICS if is_sound else names.VIDEO_STATISTICS),
            ]
        case kind:
            return kind, []


def _suits(metric: Metric, kind: str) -> bool:
    """Return whether a metric is of a kind of data, as `_suitable` calls it."""
    if kind in ("sounds", "videos"):  # Extractors see pictures of them, which are no photographs.
        pictures = metric.of == "images" and metric.extractor != names.INCEPTION
        return pictures or metric.of == kind.removesuffix("s")
    return metric.of == kind or (metric.of in ("paths", "captions") and kind == "images")


def _is_seen(source: Source) -> bool:
    """Return whether extractors can compute features of the data."""
    field = source.field
    return field.kind in VIEWS or (field.kind == "image" and source.shape[2] in (1, 3))


def _has_modes(source: Source) -> bool:
    """Return whether the data are a mixture of known modes."""
    return getattr(source, "modes", None) is not None


def _has_pitches(source: Source) -> bool:
    """Return whether the data are sounds of known pitches."""
    return getattr(source, "pitches", None) is not None


def _has_scales(source: Source) -> bool:
    """Return whether the data are music in known scales."""
    return getattr(source, "scales", None) is not None


def _automatic(source: Source, num_classes: int | None) -> list[str]:
    if source.field.kind == "points":
        return ["modes", "high_quality"] if _has_modes(source) else []
    if source.field.kind == "text":
        exact = isinstance(source, GrammarSource)
        return [n for n in names.TEXT_STATISTICS if exact or n not in names.EXACT_STATISTICS]
    if source.field.kind == "music":
        known = _has_scales(source)
        return [n for n in names.MUSIC_STATISTICS if known or n != "scale_violations"]
    if _is_seen(source) and (source.num_classes or 0) > 1:
        conditional = ["classifier_accuracy"] if num_classes is not None else []
        if source.field.kind == "video":
            moving = names.VIDEO_STATISTICS if isinstance(source, BouncingSource) else ()
            return [*moving, *_COMPARED, *conditional]
        if kinds.is_sound(source.field):
            pitch = ["pitch_accuracy"] if _has_pitches(source) else []
            return [*pitch, "classifier_is", *_COMPARED, *conditional]
        if _has_modes(source):
            return ["classifier_modes", "classifier_mode_kl", "classifier_fid", *conditional]
        return [*_COMPARED, *conditional]
    return []
