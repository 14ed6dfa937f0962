"""The mel scale: bands of frequencies that are about equally wide to the ear."""

import numpy as np


def mel_filters(
    sample_rate: int, window: int, bands: int, lowest: float, highest: float | None = None
) -> np.ndarray:
    """Return triangular filters with a peak of 1, float64 ``[window // 2 + 1, bands]``.

    Their corners are equally spaced on the scale ``2595 log10(1 + f / 700)``.

    Args:
      sample_rate: in Hz.
      window: samples of the windows whose spectra are filtered.
      bands: number of filters.
      lowest: frequency at which the lowest band begins, in Hz.
      highest: frequency at which the highest band ends, in Hz; ``None``: half the sample rate.
    """
    ends = np.array([lowest, sample_rate / 2 if highest is None else highest])
    low, high = 2595.0 * np.log10(1.0 + ends / 700.0)
    corners = 700.0 * (10.0 ** (np.linspace(low, high, bands + 2) / 2595.0) - 1.0)
    frequencies = np.linspace(0.0, sample_rate / 2, window // 2 + 1)[:, None]
    first, peak, last = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (frequencies - first) / (peak - first), (last - frequencies) / (last - peak)
    return np.clip(np.minimum(rising, falling), 0.0, None)
