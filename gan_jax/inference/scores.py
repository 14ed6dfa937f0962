"""Scores of restored images or sounds against clean ones, beside those of the degraded ones."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gan_jax.metrics import compare, enhancement, similarity
from gan_jax.training import translating

Scores = dict[str, float | None]
_HEADINGS = {
    "psnr": "PSNR dB",
    "ssim": "SSIM",
    "psnr_y": "PSNR-Y dB",
    "ssim_y": "SSIM-Y",
    "si_sdr": "SI-SDR dB",
    "log_mel_distance": "log-mel distance dB",
}


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


def _text(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if name.startswith("ssim") else f"{value:.2f}"
