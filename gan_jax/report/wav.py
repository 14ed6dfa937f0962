"""WAV files."""

import io

import numpy as np

SUFFIX = ".wav"


def wav(sound: np.ndarray, sample_rate: int) -> bytes:
    """Return a WAV file of a sound.

    Args:
      sound: int16, or float32 in [-1, 1], ``[samples, channels]``.
      sample_rate: in Hz.
    """
    from scipy.io import wavfile  # Slow to import, and needed for sound only.

    buffer = io.BytesIO()
    wavfile.write(buffer, sample_rate, sound)
    return buffer.getvalue()


def is_complete(content: bytes) -> bool:
    """Return whether a WAV file is as long as its header says."""
    return len(content) >= 8 and len(content) == 8 + int.from_bytes(content[4:8], "little")
