"""Pictures of sound: log-magnitude spectrograms."""

import math

import numpy as np

# Levels below the loudest of a batch that are still visible, in dB.
_RANGE_DB = 80.0


def spectrograms(sound: np.ndarray, window: int = 128, hop: int = 32) -> np.ndarray:
    """Return a grey spectrogram of every sound: time to the right, frequency upwards.

    Args:
      sound: float ``[n, samples]`` in [-1, 1]; a shorter one than the window is padded with zeros.
      window: samples of one Hann window, an even number.
      hop: samples between windows.

    Returns:
      uint8 ``[n, window // 2 + 1, frames, 1]``; white is a sinusoid of amplitude 1, black 80 dB
      below it. One scale for all, so that loud and quiet sounds differ.

    Raises:
      ValueError: the array has another rank, or no samples.
    """
    sound = np.asarray(sound, np.float64)
    if sound.ndim != 2 or 0 in sound.shape:
        raise ValueError(f"sound has the shape {sound.shape}; accepted: [n, samples], not empty.")
    frames = max(0, math.ceil((sound.shape[1] - window) / hop)) + 1
    missing = window + (frames - 1) * hop - sound.shape[1]
    padded = np.pad(sound, ((0, 0), (0, missing)))
    shown = np.lib.stride_tricks.sliding_window_view(padded, window, axis=1)[:, ::hop]
    taper = np.hanning(window + 1)[:-1]  # periodic: its values sum to window / 2
    magnitude = np.abs(np.fft.rfft(shown * taper, axis=-1)) * (4.0 / window)
    decibels = 20.0 * np.log10(np.maximum(magnitude, 10 ** (-_RANGE_DB / 20)))
    levels = np.rint(np.clip(1.0 + decibels / _RANGE_DB, 0.0, 1.0) * 255.0).astype(np.uint8)
    return levels.transpose(0, 2, 1)[:, ::-1, :, None]
