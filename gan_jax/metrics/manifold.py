"""Fidelity and diversity: improved precision and recall, density and coverage.

The manifold of a set of features is the union of balls around its members, whose radii are the
distances to the k-th nearest *other* member (so duplicates count as neighbours).

- precision, recall: "Improved Precision and Recall Metric for Assessing Generative Models",
  Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991 (k = 3);
- density, coverage: "Reliable Fidelity and Diversity Metrics for Generative Models", Naeem et al.
  2020, https://arxiv.org/abs/2002.09797 (k = 5).

Balls are closed: a point at a distance *equal* to the radius is inside, as in equation 1 of
Kynkäänniemi et al. The program of Naeem et al. uses open balls; the two differ only by ties, which
continuous features do not have, except a set compared with itself: its density is about
``(k + 1) / k`` here.

Distances are float32 matrix products on this process's devices, in chunks of rows; memory is linear
in the number of features. The real mean is subtracted first, since cancellation grows with the
norms. Squared distances below the rounding error for those norms count as 0, so that equal features
have distance 0, whatever the chunks.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from gan_jax.device_map import DeviceMap
from gan_jax.errors import MetricError
from gan_jax.metrics.frechet import check_count, check_features, check_widths

# Memory of a chunk on each device, besides the features.
_MEMORY_BYTES = 256 * 2**20
# Number of arrays [rows, n] of 4 bytes per chunk: products, distances, their negatives, and the
# workspace of the search for the smallest.
_LIVE = 4
# Relative to the sum of the two squared norms: several times the rounding error of a product of
# vectors with thousands of entries (measured: 5.3 eps at 2048).
_ZERO = 16.0 * float(np.finfo(np.float32).eps)
# Number of rows that the host converts to float64 at a time.
_HOST_ROWS = 4096


@dataclasses.dataclass(frozen=True, eq=False)
class Manifold:
    """A set of features with the balls around its members; made by ``manifold``.

    All arrays are in host memory, so that one kept between evaluations uses no other.

    Attributes:
      centre: the vector that was subtracted from the features, float64 [d].
      features: the centred features, float32 [n, d].
      squared_norms: their squared norms, float32 [n].
      squared_radii: squared distances to the nearest, ..., k-th nearest other member, float32
        [n, k]: balls for every number of neighbours up to k.
    """

    centre: np.ndarray
    features: np.ndarray
    squared_norms: np.ndarray
    squared_radii: np.ndarray

    @property
    def k(self) -> int:
        """The largest number of neighbours with radii."""
        return self.squared_radii.shape[1]


@dataclasses.dataclass(frozen=True)
class ManifoldScores:
    """The four scores.

    Attributes:
      precision: share of the fakes in the real manifold, 0 to 1.
      recall: share of the reals in the fake manifold, 0 to 1.
      density: the mean number of real balls that contain a fake, divided by k: about 1 if both sets
        come from one distribution, 0 or more, not bounded by 1.
      coverage: share of the real balls that contain a fake, 0 to 1.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(features: ArrayLike, k: int = 5) -> Manifold:
    """Find the k nearest other members of every member of a set.

    Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, section 3.

    Args:
      features: floating [n, d] with n > k.
      k: number of neighbours.

    Raises:
      MetricError: rank or dtype is wrong, there are k or fewer features, a number is not finite or
        its square overflows float32.
      ConfigError: k is not a positive integer.
    """
    check_count("k", k, 1)
    checked = _check("features", features, k)
    return _manifold("features", checked, k, checked.mean(axis=0, dtype=np.float64))


def manifold_scores(
    real: ArrayLike | Manifold, fake: ArrayLike, *, precision_k: int = 3, density_k: int = 5
) -> ManifoldScores:
    """Return precision, recall, density and coverage from one comparison of the sets.

    Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, and Naeem et al. 2020,
    https://arxiv.org/abs/2002.09797. For repeated evaluation, compute
    ``manifold(real, max(precision_k, density_k))`` once and pass it, so that a call only searches
    the neighbours of the fakes.

    Args:
      real: floating [n, d], n larger than both k, or a manifold with at least that many neighbours.
      fake: floating [m, d] with m > ``precision_k``.
      precision_k: number of neighbours for precision and recall.
      density_k: number of neighbours for density and coverage.

    Returns:
      The four scores; they do not depend on the order of either set.

    Raises:
      MetricError: rank, dtype or widths do not fit, there are k or fewer, a number is not finite or
        its square overflows float32, or the real manifold has fewer neighbours.
      ConfigError: a k is not a positive integer.
    """
    check_count("precision_k", precision_k, 1)
    check_count("density_k", density_k, 1)
    k = max(precision_k, density_k)
    checked = _check("fake features", fake, precision_k)
    if not isinstance(real, Manifold):
        rows = _check("real features", real, k)
        check_widths(("real features", "fake features"), rows, checked)
        real = _manifold("real features", rows, k, rows.mean(axis=0, dtype=np.float64))
    check_widths(("real features", "fake features"), real.features, checked)
    if real.k < k:
        raise MetricError(
            f"the manifold of the real features has k = {real.k} neighbours; "
            f"accepted: at least {k}."
        )
    fakes = _manifold("fake features", checked, precision_k, real.centre)
    return _compare(real, fakes, precision_k, density_k)


def _check(name: str, features: ArrayLike, k: int) -> np.ndarray:
    """Check an array for a search of k nearest neighbours."""
    checked = check_features(name, features, 1)
    if len(checked) <= k:
        raise MetricError(
            f"{name}: {len(checked)} rows and k = {k} neighbours; accepted: more rows than k."
        )
    return checked


def _centred(name: str, features: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centred features, float32 [n, d], and their squared norms, float32 [n]."""
    centred = np.empty(features.shape, np.float32)
    squared_norms = np.empty(len(features))
    for start in range(0, len(features), _HOST_ROWS):
        rows = slice(start, start + _HOST_ROWS)
        with np.errstate(over="ignore"):
            centred[rows] = features[rows].astype(np.float64) - centre
        # Norms of the rounded features, so that they agree with the products of these features.
        squared_norms[rows] = np.square(centred[rows].astype(np.float64)).sum(axis=1)
    # The squared distance of two points is at most twice the sum of their squared norms.
    largest = np.finfo(np.float32).max / 8.0
    bad = np.count_nonzero(~(squared_norms <= largest))
    if bad:
        raise MetricError(
            f"{name}: {bad} of {len(features)} rows have a squared norm above {largest:.3g} about "
            "the mean; accepted: numbers whose squared distances are finite in float32."
        )
    return centred, squared_norms.astype(np.float32)


def _manifold(name: str, features: np.ndarray, k: int, centre: np.ndarray) -> Manifold:
    """Return the manifold of checked features about a centre."""
    centred, squared_norms = _centred(name, features, centre)
    mapped = _on_devices(_nearest, len(centred), len(centred), k=k)
    reference = mapped.place((centred, squared_norms))
    index = np.arange(len(centred), dtype=np.int32)
    squared_radii = mapped.on_host(reference, index, centred, squared_norms)
    return Manifold(centre, centred, squared_norms, squared_radii)


def _compare(real: Manifold, fake: Manifold, precision_k: int, density_k: int) -> ManifoldScores:
    """Return all four scores; the fakes are centred like the reals."""
    count, radii = len(real.features), real.squared_radii
    mapped = _on_devices(_meet, len(fake.features), count)
    reference = mapped.place(
        (real.features, real.squared_norms, radii[:, precision_k - 1], radii[:, density_k - 1])
    )
    inside, balls = 0, 0
    recalled = np.zeros(count, bool)
    nearest = np.full(count, np.inf, np.float32)
    for start in range(0, len(fake.features), mapped.batch_size):
        chunk = slice(start, start + mapped.batch_size)
        fakes = fake.features[chunk], fake.squared_norms[chunk], fake.squared_radii[chunk, -1]
        found = jax.device_get(mapped(reference, *fakes))
        # A last chunk is filled up by repeating its rows, which changes neither "any" nor "min".
        number = len(fakes[0])
        inside += int(found["inside"][:number].sum())
        balls += int(found["balls"][:number].sum(dtype=np.int64))
        recalled |= found["recalled"].any(axis=0)
        nearest = np.minimum(nearest, found["nearest"].min(axis=0))
    return ManifoldScores(
        precision=inside / len(fake.features),
        recall=float(recalled.mean()),
        density=balls / (density_k * len(fake.features)),
        coverage=float((nearest <= radii[:, density_k - 1]).mean()),
    )


def _on_devices(
    function: Callable[..., object], queries: int, references: int, **static: int
) -> DeviceMap:
    """Return a function of chunks of queries, on this process's devices."""
    devices = tuple(jax.local_devices())
    rows = _rows_at_once(queries, references, len(devices))
    return _mapped(function, rows, devices, **static)


def _rows_at_once(queries: int, references: int, devices: int) -> int:
    """Return the rows of a chunk over all devices: equal chunks within the memory of each."""
    most = devices * max(1, _MEMORY_BYTES // (_LIVE * 4 * references))
    chunks = -(-queries // most)
    return -(-queries // chunks)


# Kept, so that another evaluation compiles nothing.
@functools.lru_cache(maxsize=8)
def _mapped(
    function: Callable[..., object], rows: int, devices: tuple[jax.Device, ...], **static: int
) -> DeviceMap:
    return DeviceMap(functools.partial(function, **static), batch_size=rows, devices=devices)


def _nearest(
    reference: tuple[jax.Array, jax.Array],
    index: jax.Array,
    queries: jax.Array,
    query_norms: jax.Array,
    *,
    k: int,
) -> jax.Array:
    """Return each query's k smallest squared distances to others, ascending, float32 [rows, k].

    The queries are the members number ``index`` of the reference.
    """
    squares = _squared_distances(queries, query_norms, *reference)
    columns = lax.broadcasted_iota(jnp.int32, squares.shape, 1)
    others = jnp.where(index[:, None] == columns, jnp.inf, squares)
    return -lax.top_k(-others, k)[0]


def _meet(
    reference: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    queries: jax.Array,
    query_norms: jax.Array,
    query_radii: jax.Array,
) -> dict[str, jax.Array]:
    """Return the contribution of some fakes, the queries, to the four scores.

    The reference is (features [n, d], squared norms [n], squared radii [n] for precision, squared
    radii [n] for density) of the reals. ``inside`` [rows] is whether each fake is in some real
    ball, ``balls`` [rows] in how many; ``recalled`` [1, n] is whether each real is in the ball of
    one of these fakes, ``nearest`` [1, n] its least squared distance to them.
    """
    *targets, precision_radii, density_radii = reference
    squares = _squared_distances(queries, query_norms, *targets)
    return {
        "inside": (squares <= precision_radii).any(axis=1),
        "balls": (squares <= density_radii).sum(axis=1, dtype=jnp.int32),
        "recalled": (squares <= query_radii[:, None]).any(axis=0, keepdims=True),
        "nearest": squares.min(axis=0, keepdims=True),
    }


def _squared_distances(
    queries: jax.Array, query_norms: jax.Array, reference: jax.Array, reference_norms: jax.Array
) -> jax.Array:
    """Return squared distances, float32 [rows, n]."""
    products = lax.dot_general(
        queries,
        reference,
        (((1,), (1,)), ((), ())),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    scale = query_norms[:, None] + reference_norms[None, :]
    squares = scale - 2.0 * products
    return jnp.where(squares <= _ZERO * scale, 0.0, squares)
