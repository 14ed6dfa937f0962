"""Sounds beside those that they should be: SI-SDR, distance of log-mel spectrograms, pitch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gan_jax.errors import MetricError
from gan_jax.metrics.sound import log_mel, strongest

LIMIT_DB = 100.0
"""The largest SI-SDR; its negative is the least."""


def si_sdr(sound: ArrayLike, reference: ArrayLike) -> jax.Array:
    """Return the scale-invariant signal-to-distortion ratio of each sound, in dB, float32 ``[n]``.

    "SDR - half-baked or well done?", Le Roux et al. 2018, https://arxiv.org/abs/1811.02508:
    ``10 log10(|a s|^2 / |a s - e|^2)`` of a sound ``e`` and its reference ``s``, where ``a = <e, s>
    / |s|^2`` is the scale at which the reference is nearest. Means are not subtracted, and all
    channels have one scale. It is limited to 100 dB, that of equal sounds, and to -100 dB, that of
    silence in place of a sound or of a sound in place of silence.

    Args:
      sound: floating ``[n, samples, channels]``.
      reference: of the same shape.

    Raises:
      MetricError: the shapes or dtypes are others.
    """
    return _si_sdr(*_checked(sound, reference))


@jax.jit
def _si_sdr(sound: jax.Array, reference: jax.Array) -> jax.Array:
    e, s = (x.reshape(len(x), -1) for x in (sound, reference))
    energy = _dot(s, s)
    scale = _dot(e, s) / jnp.where(energy > 0.0, energy, 1.0)
    nearest = scale[:, None] * s
    signal, distortion = _dot(nearest, nearest), _dot(nearest - e, nearest - e)
    tiny = np.finfo(np.float32).tiny
    ratio = jnp.log10(jnp.maximum(signal, tiny)) - jnp.log10(jnp.maximum(distortion, tiny))
    found = jnp.where(signal > 0.0, jnp.clip(10.0 * ratio, -LIMIT_DB, LIMIT_DB), -LIMIT_DB)
    return jnp.where(jnp.all(e == s, axis=1), LIMIT_DB, found)


def log_mel_distance(sound: ArrayLike, reference: ArrayLike, sample_rate: int) -> jax.Array:
    """Return the mean absolute difference of the levels of mel bands, in dB, float32 ``[n]``.

    Levels are those of `gan_jax.metrics.sound.log_mel`, of the mean over channels: none is below
    -60 dB.

    Args:
      sound: floating ``[n, samples, channels]`` in [-1, 1].
      reference: of the same shape.
      sample_rate: in Hz.

    Raises:
      MetricError: the shapes or dtypes are others.
    """
    return _log_mel_distance(*_checked(sound, reference), sample_rate)


@partial(jax.jit, static_argnums=2)
def _log_mel_distance(sound: jax.Array, reference: jax.Array, sample_rate: int) -> jax.Array:
    levels = [log_mel(jnp.mean(x, axis=-1), sample_rate) for x in (sound, reference)]
    return jnp.mean(jnp.abs(levels[0] - levels[1]), axis=(1, 2))


def same_pitch(sound: ArrayLike, reference: ArrayLike) -> np.ndarray:
    """Return whether each sound has the strongest frequency of its reference, float32 ``[n]``.

    It is 1 where the largest values of the spectra of both whole sounds are at most one step,
    ``sample_rate / samples`` Hz, apart, else 0. This is a measure of steady tones.

    Args:
      sound: floating ``[n, samples, channels]``; channels are averaged.
      reference: of the same shape.

    Raises:
      MetricError: the shapes or dtypes are others, or a sample is not finite.
    """
    found, expected = (strongest(np.asarray(x)) for x in _checked(sound, reference))
    return (np.abs(found - expected) <= 1).astype(np.float32)


def pair_values(
    statistic: str, sound: ArrayLike, reference: ArrayLike, sample_rate: int
) -> np.ndarray:
    """Return a metric of each sound and its reference, float32 ``[n]``.

    Args:
      statistic: "si_sdr", "log_mel_distance" or "same_pitch".
      sound: as for the function of that name.
      reference: likewise.
      sample_rate: in Hz.
    """
    if statistic == "log_mel_distance":
        return np.asarray(log_mel_distance(sound, reference, sample_rate))
    return np.asarray({"si_sdr": si_sdr, "same_pitch": same_pitch}[statistic](sound, reference))


def _dot(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the inner products of rows, float32 ``[n]``."""
    return jnp.sum(x * y, axis=1)


def _checked(sound: ArrayLike, reference: ArrayLike) -> tuple[jax.Array, jax.Array]:
    x, y = jnp.asarray(sound), jnp.asarray(reference)
    floats = all(jnp.issubdtype(z.dtype, jnp.floating) for z in (x, y))
    if x.shape != y.shape or x.ndim != 3 or 0 in x.shape or not floats:
        raise MetricError(
            f"sounds are {x.dtype}{list(x.shape)} and their references {y.dtype}{list(y.shape)}; "
            "accepted: floats [n, samples, channels] of one shape, not empty"
        )
    return x.astype(jnp.float32), y.astype(jnp.float32)
