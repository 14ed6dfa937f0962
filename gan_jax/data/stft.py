"""The short-time Fourier transform, its inverse, and the phases of a magnitude (Griffin-Lim)."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

ITERATIONS = 16
"""Iterations of `griffin_lim`, as SpecGAN has them (Donahue 2018, 1802.04208)."""


def frames_of(samples: int, hop: int) -> int:
    """Return the number of windows of a sound."""
    return -(-samples // hop)


def stft(sound: jax.Array, window: int, hop: int) -> jax.Array:
    """Return the spectra of a sound in periodic Hann windows.

    The sound is padded with zeros, so that the window number i is centred on the samples from
    ``i hop`` to ``(i + 1) hop``.

    Args:
      sound: float32 ``[n, samples]``.
      window: samples of a window, a multiple of ``hop``.
      hop: samples from one window to the next.

    Returns:
      complex64 ``[n, ceil(samples / hop), window // 2 + 1]``.
    """
    frames, before, after = _padding(sound.shape[1], window, hop)
    padded = jnp.pad(sound, ((0, 0), (before, after)))
    # All windows as runs of whole hops.
    parts = padded.reshape(len(sound), -1, hop)
    runs = [parts[:, i : i + frames] for i in range(window // hop)]
    return jnp.fft.rfft(jnp.concatenate(runs, axis=-1) * _taper(window))


def inverse(spectrum: jax.Array, samples: int, window: int, hop: int) -> jax.Array:
    """Return the sound whose spectra are nearest to these, in the sum of squares.

    It is the inverse of `stft` for the spectra of a sound.

    Args:
      spectrum: complex64 ``[n, frames, window // 2 + 1]``.
      samples: length of the sound.
      window: as for `stft`, twice the hop or more.
      hop: likewise.

    Returns:
      float32 ``[n, samples]``.
    """
    frames, before, _ = _padding(samples, window, hop)
    taper = _taper(window)
    runs = jnp.fft.irfft(spectrum, window) * taper
    weights = _overlapped(jnp.broadcast_to(taper**2, (1, frames, window)), hop)
    whole = _overlapped(runs, hop)[:, before : before + samples]
    return whole / weights[:, before : before + samples]


def griffin_lim(
    magnitude: jax.Array, samples: int, window: int, hop: int, iterations: int = ITERATIONS
) -> jax.Array:
    """Return a sound whose spectra have about these magnitudes.

    "Signal estimation from modified short-time Fourier transform", Griffin and Lim 1984. Phases
    begin at random, the same for all sounds of a shape, and become those of the sound, in turns.

    Args:
      magnitude: float32 ``[n, frames, window // 2 + 1]``.
      samples: length of the sound.
      window: as for `inverse`.
      hop: likewise.
      iterations: how many turns.

    Returns:
      float32 ``[n, samples]``.
    """
    angles = jax.random.uniform(jax.random.key(0), magnitude.shape[1:], maxval=2.0 * np.pi)

    def turn(_: jax.Array, spectrum: jax.Array) -> jax.Array:
        found = stft(inverse(spectrum, samples, window, hop), window, hop)
        scale = magnitude / jnp.maximum(jnp.abs(found), 1e-12)
        return lax.complex(scale * found.real, scale * found.imag)

    spectrum = lax.complex(magnitude * jnp.cos(angles), magnitude * jnp.sin(angles))
    return inverse(lax.fori_loop(0, iterations, turn, spectrum), samples, window, hop)


def _padding(samples: int, window: int, hop: int) -> tuple[int, int, int]:
    """Return the number of windows, and the zeros before and after the sound."""
    frames, before = frames_of(samples, hop), (window - hop) // 2
    return frames, before, window + (frames - 1) * hop - samples - before


def _taper(window: int) -> np.ndarray:
    return np.hanning(window + 1)[:-1].astype(np.float32)


def _overlapped(runs: jax.Array, hop: int) -> jax.Array:
    """Return the sum of windows ``[n, frames, window]``, each ``hop`` samples after the last."""
    n, frames, window = runs.shape
    parts = runs.reshape(n, frames, window // hop, hop)
    shifted = [
        jnp.pad(parts[:, :, i], ((0, 0), (i, window // hop - 1 - i), (0, 0)))
        for i in range(window // hop)
    ]
    return sum(shifted[1:], shifted[0]).reshape(n, -1)
