"""The nearest rows of arrays, by exact distances."""

import dataclasses
import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import numpy as np

# Rows beyond the wanted ones that the fast, rounded distances propose to the exact ones.
_SLACK = 8


@dataclasses.dataclass(frozen=True)
class Nearest:
    """The nearest rows of each query, the nearest first.

    Attributes:
      distance: float64 ``[m, k]``: the root of the mean squared difference of two rows.
      index: of the row, int64 ``[m, k]``.
      mirrored: whether the query is so near to the row's mirror image, bool ``[m, k]``.
    """

    distance: np.ndarray
    index: np.ndarray
    mirrored: np.ndarray


def nearest(
    queries: np.ndarray,
    chunks: Iterable[np.ndarray],
    k: int,
    *,
    mirrored: np.ndarray | None = None,
    own: np.ndarray | None = None,
) -> Nearest:
    """Return the ``k`` nearest of many rows to each query.

    Fast distances of products propose, exact ones in double precision decide; so the answer does
    not depend on how the rows are divided. Of equal distances, the lower index is nearer.

    Args:
      queries: numbers ``[m, d]``.
      chunks: the rows, numbers ``[any, d]`` at a time; only one chunk is held.
      k: how many.
      mirrored: the mirror images of the queries, likewise: the nearer of both counts.
      own: for each query the index of the row that it is itself, which does not count.

    Raises:
      ValueError: there are fewer rows.
    """
    forms = np.stack([queries] if mirrored is None else [queries, mirrored])
    exact = forms.astype(np.float64)
    distance = np.full((len(queries), 0), np.inf)
    index = np.zeros(distance.shape, np.int64)
    form = np.zeros(distance.shape, np.int64)
    first = 0
    for chunk in chunks:
        rows = np.asarray(chunk)
        # What rounding takes from |q|^2 - 2 q r + |r|^2 grows with the rows' distance from zero.
        centre = np.float32(127.5 if rows.dtype == np.uint8 else 0.0)
        count = min(len(rows), k + 1 + _SLACK)
        proposed = np.asarray(_propose(forms, rows, centre, count)).astype(np.int64)
        squares = np.empty((len(forms), *proposed.shape))
        for i, chosen in enumerate(proposed):
            squares[:, i] = np.square(rows[chosen].astype(np.float64) - exact[:, i, None]).mean(-1)
        numbers = proposed + first
        if own is not None:
            squares[:, numbers == own[:, None]] = np.inf
        distance = np.concatenate([distance, squares.min(0)], axis=1)
        index = np.concatenate([index, numbers], axis=1)
        form = np.concatenate([form, squares.argmin(0)], axis=1)
        order = np.lexsort((index, distance), axis=1)[:, :k]
        distance, index, form = (
            np.take_along_axis(x, order, axis=1) for x in (distance, index, form)
        )
        first += len(rows)
    if distance.shape[1] < k or np.isinf(distance).any():
        raise ValueError(f"There are {first} rows; accepted for k = {k}: more, beside the own one.")
    return Nearest(np.sqrt(distance), index, form == 1)


@functools.partial(jax.jit, static_argnums=3)
def _propose(forms: jax.Array, rows: jax.Array, centre: jax.Array, count: int) -> jax.Array:
    """Return the indices of the ``count`` rows that seem nearest, int ``[m, count]``."""
    q, r = (x.astype(jnp.float32) - centre for x in (forms, rows))
    products = jnp.matmul(q, r.T, precision="highest")
    distance = jnp.square(q).sum(-1, keepdims=True) - 2.0 * products + jnp.square(r).sum(1)
    return jax.lax.top_k(-distance.min(0), count)[1]
