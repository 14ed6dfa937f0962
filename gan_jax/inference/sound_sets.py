"""Metrics of any two sets of sounds: folders, zips or arrays. No model is needed."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gan_jax import errors
from gan_jax.data.sources import NpzSource, SoundSource, Source, Transform, sounds
from gan_jax.data.sources.containers import SUFFIXES as IMAGES
from gan_jax.data.sources.containers import open_files
from gan_jax.data.sources.sounds import Clip
from gan_jax.data.sources.twins import partners
from gan_jax.evaluation.sounds import heard, sample_rate
from gan_jax.inference.image_sets import Comparison, feature_values, report
from gan_jax.metrics import enhancement, extractors, names
from gan_jax.metrics.names import Metric

#: Measured if nothing else is asked for: those of pairs.
METRICS = ("si_sdr", "log_mel_distance", "same_pitch")
# Two sounds and their sample rate in Hz.
Pair = tuple[np.ndarray, np.ndarray, int]


def is_of_sounds(path: str | Path) -> bool:
    """Return whether a folder or .zip has sounds and no images, or an .npz the array ``audio``."""
    if Path(path).suffix.lower() == ".npz":
        return zipfile.is_zipfile(path) and "audio.npy" in zipfile.ZipFile(path).namelist()
    try:
        files, inside = open_files(Path(path))
    except errors.DataError:  # Reported when it is measured.
        return False
    found = {Path(name).suffix.lower() for name in files.sizes() if name.startswith(inside)}
    return bool(found & sounds.SUFFIXES) and not found & IMAGES


def measure(
    samples: str | Path,
    against: str | Path,
    metrics: Sequence[str],
    *,
    num_real: int | None = None,
    batch_size: int = 64,
) -> Comparison:
    """Measure one set of sounds against another, and print the result.

    Pairs are compared as they are. For the features of a classifier all sounds are brought to the
    rate, the length and the channels of the first one of ``against``.

    Args:
      samples: a folder, .zip or .npz of sounds: the generated or enhanced ones.
      against: another one: the real ones. For the classifier its sub-folders are the classes.
      metrics: names; those of `METRICS` are of pairs: of files of one name, or in the order of
        arrays. Others are of a classifier, such as ``classifier_fid``.
      num_real: number of sounds of ``against``, a fixed random choice; ``None``: all.
      batch_size: sounds at a time.

    Raises:
      ConfigError: a metric does not exist or does not suit, or the sets cannot be paired.
      DataError: a set cannot be read, or two sounds of a pair differ in rate, length or channels.
      MetricError: there are too few sounds, or they are too short.
    """
    parsed = [names.parse(n, extractors.EXTRACTORS, "--metrics") for n in dict.fromkeys(metrics)]
    for metric in parsed:
        _check(metric)
    real = _opened(against, None)
    fake = _opened(samples, Clip(sample_rate(real.field), *real.field.shape))
    count = min(num_real or len(real), len(real))
    of_features = [metric for metric in parsed if metric.extractor is not None]
    if of_features and fake.field != real.field:
        raise errors.ConfigError(
            f"the sounds of {fake.name} are {fake.field.dtype} {list(fake.field.shape)} at "
            f"{fake.field.sample_rate} Hz, those of {real.name} {real.field.dtype} "
            f"{list(real.field.shape)} at {real.field.sample_rate} Hz; accepted: one form of arrays"
        )
    values, protocols = feature_values(of_features, fake, real, count, batch_size)
    found: dict[str, list[float]] = {m.name: [] for m in parsed if m.extractor is None}
    for made, clean, rate in _pairs(fake, real) if found else ():
        for name, rows in found.items():
            rows.append(float(enhancement.pair_values(name, made[None], clean[None], rate)[0]))
    values |= {name: float(np.mean(rows)) for name, rows in found.items()}
    protocol: dict[str, Any] = {
        "sounds": fake.fingerprint(),
        "against": real.fingerprint(),
        "n_fake": len(fake),
        "n_real": count,
        "extractors": protocols,
    }
    details = [f"{key} {value}" for one in protocols.values() for key, value in one.items()]
    words = "; ".join([f"{len(fake):,} sounds against {count:,}", *details])
    report(fake, real, values, words)
    return Comparison(values, protocol)


def _check(metric: Metric) -> None:
    """Raise a `ConfigError` if a metric cannot be measured on two sets of sounds."""
    of_classifier = metric.of == "images" and metric.extractor == "classifier"
    unfit = metric.labelled or metric.statistic in names.POINT_STATISTICS
    if metric.name not in METRICS and (unfit or not of_classifier):
        raise errors.ConfigError(
            f"--metrics has {metric.name!r}, which is not measured on two sets of sounds; "
            f"accepted: {', '.join(METRICS)}, and those of a classifier, such as classifier_fid"
        )


def _opened(path: str | Path, clip: Clip | None) -> Source:
    """Return the sounds at a path; without a ``clip``, in the form of the first one.

    Raises:
      DataError: there are none, or they cannot be read.
    """
    if Path(path).suffix.lower() == ".npz":
        return NpzSource(path, "all", Transform())
    if clip is not None:
        return SoundSource(path, "all", clip)
    whole = SoundSource(path, "all", Clip())
    info = sounds.library().info(io.BytesIO(whole.raw(0)))
    return SoundSource(path, "all", Clip(info.samplerate, info.frames, min(info.channels, 2)))


def _pairs(fake: Source, real: Source) -> Iterator[Pair]:
    """Yield the sounds of two sets in pairs, float32 ``[samples, channels]``, and their rate."""
    if isinstance(fake, SoundSource) and isinstance(real, SoundSource):
        matching = partners(fake, real, "measures of pairs")
    elif len(fake) == len(real):
        matching = list(range(len(real)))
    else:
        raise errors.ConfigError(
            f"--metrics has measures of pairs, but {fake.name} has {len(fake)} sounds and "
            f"{real.name} {len(real)}; accepted: as many"
        )
    for index, partner in enumerate(matching):
        (made, rate), (clean, wanted) = _whole(fake, index), _whole(real, partner)
        if (made.shape, rate) != (clean.shape, wanted):
            forms = [f"{list(x.shape)} at {r} Hz" for x, r in ((made, rate), (clean, wanted))]
            raise errors.DataError(
                f"{fake.item_name(index)} is {forms[0]}, {real.item_name(partner)} {forms[1]}; "
                "accepted for measures of pairs: the same, as nothing is resampled"
            )
        yield made, clean, rate


def _whole(source: Source, index: int) -> tuple[np.ndarray, int]:
    """Return a sound as it is stored, float32 ``[samples, channels]``, and its rate.

    Raises:
      DataError: it cannot be decoded.
    """
    if not isinstance(source, SoundSource):
        return np.asarray(heard(source.field, jnp.asarray(source[index]["audio"]))), sample_rate(
            source.field
        )
    try:
        return sounds.decode(source.raw(index))
    except (ValueError, RuntimeError) as error:
        raise errors.DataError(f"{source.item_name(index)} cannot be decoded: {error}") from error
