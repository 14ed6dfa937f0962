"""Paths between latents: straight lines, and arcs that keep the norm.

A normal latent of many dimensions has a norm close to the root of their number; the middle of a
straight line between two has about 0.7 of it, which a generator rarely receives in training. An arc
keeps the norm (White 2016, "Sampling Generative Networks", 1609.04468).
"""

from collections.abc import Callable

import numpy as np

from gan_jax import errors

# A path: (from [..., d], to [..., d], share in [0, 1] of any shape that broadcasts) -> [..., d].
Path = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

# Sines below which two directions span no plane in double precision.
_TINY = 1e-12


def lerp(a: np.ndarray, b: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """Return the point at ``t`` of the straight line from ``a`` to ``b``; shapes as for `Path`.

    The result is float32; the ends are exact.
    """
    a, b, t = _broadcast(a, b, t)
    return _with_ends((1 - t) * a + t * b, a, b, t)


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """Return the point at ``t`` of the arc from ``a`` to ``b``.

    The direction turns evenly along the great circle through both; the norm grows evenly from that
    of ``a`` to that of ``b``. Opposite directions span no plane: the arc then takes a fixed one of
    the many. Where an end is zero, and so has no direction, the path is the straight line. Shapes
    are as for `Path`; the result is float32, and the ends are exact.
    """
    a, b, t = _broadcast(a, b, t)
    norm_a, norm_b = (np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    straight = (norm_a == 0) | (norm_b == 0)
    u, v = a / np.where(norm_a == 0, 1, norm_a), b / np.where(norm_b == 0, 1, norm_b)
    # The arc cosine of the product would lose half of the digits of small and of flat angles.
    apart, along = (np.linalg.norm(x, axis=-1, keepdims=True) for x in (u - v, u + v))
    angle = 2 * np.arctan2(apart, along)
    across = v - np.sum(u * v, -1, keepdims=True) * u
    length = np.linalg.norm(across, axis=-1, keepdims=True)
    across = np.where(length < _TINY, _orthogonal(u), across / np.where(length == 0, 1, length))
    # Of a small rest, the part along `u` that rounding has left is not small.
    across = across - np.sum(u * across, -1, keepdims=True) * u
    across = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), _TINY)
    direction = np.cos(t * angle) * u + np.sin(t * angle) * across
    arc = ((1 - t) * norm_a + t * norm_b) * direction
    return _with_ends(np.where(straight, (1 - t) * a + t * b, arc), a, b, t)


#: The paths by name.
PATHS: dict[str, Path] = {"lerp": lerp, "slerp": slerp}


def between(path: Path, a: np.ndarray, b: np.ndarray, frames: int) -> np.ndarray:
    """Return evenly spaced points of the path of each pair, float32 ``[n, frames, d]``.

    Args:
      path: one of `PATHS`.
      a: float ``[n, d]``, the first points.
      b: float ``[n, d]``, the last points.
      frames: points of a path, 2 or more.

    Raises:
      ConfigError: there are fewer than 2 frames.
    """
    if frames < 2:
        raise errors.ConfigError(f"frames = {frames}; accepted: 2 or more, both ends included")
    return path(a[:, None], b[:, None], np.linspace(0, 1, frames)[None])


def loop(path: Path, keys: np.ndarray, frames: int) -> np.ndarray:
    """Return evenly spaced points of the closed path through latents, float32 ``[n * frames, d]``.

    Args:
      path: one of `PATHS`.
      keys: float ``[n, d]``, 2 or more; the last leads back to the first.
      frames: points from each latent, which is the first of them, to before the next one.

    Raises:
      ConfigError: there are fewer than 2 latents, or no frames.
    """
    if len(keys) < 2 or frames < 1:
        raise errors.ConfigError(
            f"{len(keys)} latents and {frames} frames; accepted: 2 latents or more, 1 frame or more"
        )
    shares = np.arange(frames) / frames
    points = path(keys[:, None], np.roll(keys, -1, axis=0)[:, None], shares[None])
    return points.reshape(-1, keys.shape[1])


def _broadcast(
    a: np.ndarray, b: np.ndarray, t: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the ends in double precision and the shares with an axis for theirs."""
    share = np.asarray(t, np.float64)[..., None]
    a, b, _ = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64), share)
    return a, b, share


def _with_ends(points: np.ndarray, a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    return np.where(t == 0, a, np.where(t == 1, b, points)).astype(np.float32)


def _orthogonal(u: np.ndarray) -> np.ndarray:
    """Return a unit vector at a right angle to each one, ``[..., d]``; zero if ``d`` is 1."""
    axis = np.zeros_like(u)
    # The axis that it is least along is not parallel to it.
    np.put_along_axis(axis, np.abs(u).argmin(-1)[..., None], 1.0, -1)
    across = axis - np.sum(axis * u, -1, keepdims=True) * u
    length = np.linalg.norm(across, axis=-1, keepdims=True)
    return across / np.where(length == 0, 1, length)
