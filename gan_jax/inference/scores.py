"""Scores of restored images or sounds against clean ones, beside those of the degraded ones."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gan_jax.data.degrade import Degradation
from gan_jax.evaluation import videos
from gan_jax.inference import sample_files
from gan_jax.metrics import compare, enhancement, similarity
from gan_jax.report import atomic
from gan_jax.runs.run import Run, Weights
from gan_jax.training import translating
from gan_jax.training.sampling import make_sampling

#: The file of the scores, in the folder of the restored files.
FILE = "scores.json"
Scores = dict[str, float | None]
_HEADINGS = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "psnr_y": "PSNR-Y dB",
    "ssim_y": "SSIM-Y",
    "psnr_first": "first frame dB",
    "psnr_last": "last frame dB",
    "si_sdr": "SI-SDR dB",
    "log_mel_distance": "log-mel distance dB",
}


class _Asked(Protocol):
    """The arguments of a translation that the protocol of its scores contains."""

    @property
    def run(self) -> Run: ...
    @property
    def raw(self) -> bool: ...
    @property
    def degradation(self) -> Degradation | None: ...
    @property
    def input(self) -> str | Path: ...
    @property
    def out(self) -> str | Path: ...


def measure(made: np.ndarray, degraded: np.ndarray, target: np.ndarray, border: int) -> Scores:
    """Return "psnr" and "ssim" of a restored image, of colour images also on luminance ("psnr_y").

    The same with "input_" before the names are those of the degraded image, enlarged by Pillow's
    bicubic interpolation where it is smaller.

    Args:
      made: the restored image, uint8 ``[height, width, channels]``.
      degraded: uint8, of any height and width, grey or of as many channels.
      target: the clean image, uint8 of the shape of ``made``.
      border: rows and columns at each edge that are left out.

    Returns:
      The scores by name; ``None`` where the image is too small for one.
    """
    channels = target.shape[2]
    start = translating.bicubic(degraded[None], *target.shape[:2])
    start = translating.as_colour(start, channels)
    inner = min(target.shape[:2]) - 2 * border
    least = {"psnr": 1, "ssim": len(similarity.WINDOWS["gaussian"].taps)}
    scores: Scores = {}
    for prefix, image in (("", made[None]), ("input_", start)):
        for suffix in ("", "_y") if channels == 3 else ("",):
            for name, size in least.items():
                value = None
                if inner >= size:
                    found = compare.pair_values(name + suffix, image, target[None], border=border)
                    value = float(found[0])
                scores[f"{prefix}{name}{suffix}"] = value
    return scores


def measure_sound(
    made: np.ndarray, degraded: np.ndarray, target: np.ndarray, sample_rate: int
) -> Scores:
    """Return "si_sdr" and "log_mel_distance" of a restored sound; "input_..." of the degraded one.

    Args:
      made: the restored sound, float32 ``[samples, channels]``.
      degraded: of the same shape.
      target: the clean sound, of the same shape.
      sample_rate: in Hz.
    """
    scores: Scores = {}
    for prefix, sound in (("", made), ("input_", degraded)):
        distance = enhancement.log_mel_distance(sound[None], target[None], sample_rate)
        scores[f"{prefix}si_sdr"] = float(enhancement.si_sdr(sound[None], target[None])[0])
        scores[f"{prefix}log_mel_distance"] = float(distance[0])
    return scores


def measure_video(made: np.ndarray, target: np.ndarray, given: int) -> Scores:
    """Return the mean "psnr" of predicted frames, and that of the first and of the last one.

    Those of copies of the last given frame have "input_" before the names.

    Args:
      made: the predicted frames, uint8 ``[frames, height, width, channels]``.
      target: the whole video, uint8, with the given frames before these.
      given: their number.
    """
    true, copies = target[given:], target[given - 1 : given].repeat(len(made), axis=0)
    return {
        f"{prefix}{name}": float(
            videos.pair_values(name, frames[None], true[None], similarity.IDENTICAL_DB)[0]
        )
        for prefix, frames in (("", made), ("input_", copies))
        for name in ("psnr", "psnr_first", "psnr_last")
    }


def mean(scores: Sequence[Scores]) -> Scores:
    """Return the mean of every score over the images that have it."""
    means: Scores = {}
    for name in scores[0] if scores else ():
        values = [value for one in scores if (value := one[name]) is not None]
        means[name] = math.fsum(values) / len(values) if values else None
    return means


def table(scores: Mapping[str, Scores]) -> str:
    """Return scores as lines of text, a row for each key, the inputs' scores in parentheses."""
    names = [name for name in next(iter(scores.values())) if not name.startswith("input_")]
    rows = [["", *(f"{_HEADINGS[name]} (input)" for name in names)]]
    for key, one in scores.items():
        cells = [
            f"{_text(name, one[name])} ({_text(name, one[f'input_{name}'])})" for name in names
        ]
        rows.append([key, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def jsonable(scores: Scores) -> dict[str, float | str | None]:
    """Return scores as JSON can represent them: identical images have an infinite PSNR."""
    return {
        name: "inf" if value is not None and math.isinf(value) else value
        for name, value in scores.items()
    }


def write(
    ask: _Asked,
    weights: Weights,
    measured: Mapping[str, Scores],
    failures: Mapping[str, str],
    what: str,
    **protocol: Any,
) -> None:
    """Write scores, their mean, and how they were measured to `FILE`, beside the outputs.

    There is no mean where all inputs failed.

    Args:
      ask: what was asked for, with a degradation.
      weights: that were used.
      measured: the scores by the name of the input.
      failures: the reasons of failures, likewise.
      what: the inputs are, such as "images".
      **protocol: what else the scores depend on.
    """
    assert ask.degradation is not None
    common = {
        "run": str(ask.run.path),
        "variant": ask.run.config.variant,
        "step": weights.step,
        "weights": "raw" if make_sampling(ask.run.config, raw=ask.raw).raw else "ema",
        "weights_hash": sample_files.weights_hash(weights.variables),
        "degradation": {"name": ask.degradation.name, **dataclasses.asdict(ask.degradation)},
    }
    average = {"mean": jsonable(mean(list(measured.values())))} if measured else {}
    record = {
        "protocol": {**common, **protocol, "files": str(ask.input), "count": len(measured)},
        **average,
        what: {name: jsonable(one) for name, one in measured.items()},
        "failures": dict(failures),
    }
    text = json.dumps(record, indent=2, allow_nan=False) + "\n"
    atomic.write_text(Path(ask.out) / FILE, text)


def _text(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if name.startswith("ssim") else f"{value:.2f}"
