"""Fidelity and diversity: improved precision and recall, density and coverage.

The manifold of a set of features is the union of balls around its members, whose radii are the
distances to the k-th nearest *other* member (so duplicates count as neighbours).

- precision, recall: "Improved Precision and Recall Metric for Assessing Generative Models",
  Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991 (k = 3);
- density, coverage: "Reliable Fidelity and Diversity Metrics for Generative Models", Naeem et al.
  2020, https://arxiv.org/abs/2002.09797 (k = 5).

Balls are closed: a point at a distance *equal* to the radius is inside, as in equation 1 of
Kynkäänniemi et al.; so a set with k + 1 copies of an item, a ball of radius 0, contains that item.
The program of Naeem et al. uses open balls; the two differ only by ties, which continuous features
do not have. The exception is a set compared with itself: its density is about ``(k + 1) / k`` here.

Distances are float32 matrix products on the accelerators, in chunks of rows that are split over the
devices; memory is linear in the number of features. The real mean is subtracted first, since
cancellation grows with the norms. Squared distances below the rounding error for those norms count
as 0, so that equal features have distance 0, whatever the chunks.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from gan_jax.errors import MetricError
from gan_jax.metrics.frechet import check_count, check_features, check_widths

MEMORY_BYTES = 256 * 2**20

_AXIS = "data"
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

    All arrays are in host memory: a manifold that is kept during a training run uses no
    accelerator memory between evaluations.

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
class PrecisionRecall:
    """Share of fakes in the real manifold, and of reals in the fake manifold, 0 to 1."""

    precision: float
    recall: float


@dataclasses.dataclass(frozen=True)
class DensityCoverage:
    """Density and coverage of the real balls.

    Attributes:
      density: the mean number of real balls that contain a fake, divided by k: about 1 if both sets
        come from one distribution, 0 or more, not bounded by 1.
      coverage: share of the real balls that contain a fake, 0 to 1.
    """

    density: float
    coverage: float


@dataclasses.dataclass(frozen=True)
class ManifoldScores:
    """All four; see ``PrecisionRecall`` and ``DensityCoverage``."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(
    features: ArrayLike,
    k: int = 5,
    *,
    centre: np.ndarray | None = None,
    devices: Sequence[jax.Device] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> Manifold:
    """Find the k nearest other members of every member of a set.

    Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, section 3. For repeated evaluation,
    compute it once for the real features, with the larger k of the two metrics: every function here
    accepts it in their place.

    Args:
      features: floating [n, d] with n > k.
      k: number of neighbours.
      centre: subtracted from the features, [d]; None: their mean. It affects distances only by
        rounding.
      devices: local devices to use; None: all.
      memory_bytes: memory of a chunk on each device, besides the features (a chunk has at least one
        row).

    Returns:
      The manifold.

    Raises:
      MetricError: rank, dtype or widths are wrong, there are k or fewer features, a number is not
        finite or its square overflows float32.
      ConfigError: k or memory_bytes is not a positive integer.
    """
    check_count("k", k, 1)
    check_count("memory_bytes", memory_bytes, 1)
    checked = _check("features", features, k)
    if centre is None:
        centre = checked.mean(axis=0, dtype=np.float64)
    return _manifold("features", checked, k, centre, _mesh(devices), memory_bytes)


def precision_recall(
    real: ArrayLike | Manifold,
    fake: ArrayLike,
    k: int = 3,
    *,
    devices: Sequence[jax.Device] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> PrecisionRecall:
    """Return the shares of fakes in the real manifold and of reals in the fake manifold.

    Improved precision and recall, Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991.

    Args:
      real: floating [n, d] with n > k, or a manifold of at least k neighbours.
      fake: floating [m, d] with m > k.
      k: number of neighbours, for both manifolds.
      devices: local devices that share the work; None: all of them.
      memory_bytes: as in ``manifold``.

    Returns:
      Precision and recall; invariant to the order of either set.

    Raises:
      MetricError: rank, dtype or widths do not fit, there are k or fewer, a number is not finite or
        its square overflows float32, or the real manifold has fewer neighbours.
      ConfigError: k or memory_bytes is not a positive integer.
    """
    scores = manifold_scores(
        real, fake, precision_k=k, density_k=k, devices=devices, memory_bytes=memory_bytes
    )
    return PrecisionRecall(scores.precision, scores.recall)


def density_coverage(
    real: ArrayLike | Manifold,
    fake: ArrayLike,
    k: int = 5,
    *,
    devices: Sequence[jax.Device] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> DensityCoverage:
    """Return density and coverage.

    Naeem et al. 2020, https://arxiv.org/abs/2002.09797. Only the real manifold is used, so that
    outliers among the fakes have no effect.

    Args:
      real: floating [n, d] with n > k, or a manifold of at least k neighbours.
      fake: floating [m, d] with m >= 1.
      k: number of neighbours.
      devices: local devices that share the work; None: all of them.
      memory_bytes: as in ``manifold``.

    Returns:
      Density and coverage; invariant to the order of either set.

    Raises:
      MetricError: rank, dtype or widths do not fit, there are too few, a number is not finite or
        its square overflows float32, or the real manifold has fewer neighbours.
      ConfigError: k or memory_bytes is not a positive integer.
    """
    check_count("k", k, 1)
    check_count("memory_bytes", memory_bytes, 1)
    checked = _check("fake features", fake, 0)
    mesh = _mesh(devices)
    real_side = _real_side(real, checked, k, mesh, memory_bytes)
    fakes, squared_norms = _centred("fake features", checked, real_side.centre)
    # Recall is not computed: fakes have no balls.
    no_balls = np.full(len(fakes), -1.0, np.float32)
    scores = _compare(real_side, fakes, squared_norms, no_balls, k, k, mesh, memory_bytes)
    return DensityCoverage(scores.density, scores.coverage)


def manifold_scores(
    real: ArrayLike | Manifold,
    fake: ArrayLike,
    *,
    precision_k: int = 3,
    density_k: int = 5,
    devices: Sequence[jax.Device] | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> ManifoldScores:
    """Return precision, recall, density and coverage from one comparison of the sets.

    For repeated evaluation, compute ``manifold(real, max(precision_k, density_k))`` once and pass
    it, so that a call only searches the neighbours of the fakes.

    Args:
      real: floating [n, d], n larger than both k, or a manifold with at least that many neighbours.
      fake: floating [m, d] with m > ``precision_k``.
      precision_k: number of neighbours for precision and recall.
      density_k: number of neighbours for density and coverage.
      devices: local devices that share the work; None: all of them.
      memory_bytes: as in ``manifold``.

    Returns:
      The four scores, those of ``precision_recall`` and ``density_coverage``.

    Raises:
      MetricError: rank, dtype or widths do not fit, there are k or fewer, a number is not finite or
        its square overflows float32, or the real manifold has fewer neighbours.
      ConfigError: a k or memory_bytes is not a positive integer.
    """
    check_count("precision_k", precision_k, 1)
    check_count("density_k", density_k, 1)
    check_count("memory_bytes", memory_bytes, 1)
    checked = _check("fake features", fake, precision_k)
    mesh = _mesh(devices)
    real_side = _real_side(real, checked, max(precision_k, density_k), mesh, memory_bytes)
    fakes = _manifold("fake features", checked, precision_k, real_side.centre, mesh, memory_bytes)
    return _compare(
        real_side,
        fakes.features,
        fakes.squared_norms,
        fakes.squared_radii[:, -1],
        precision_k,
        density_k,
        mesh,
        memory_bytes,
    )


def _check(name: str, features: ArrayLike, k: int) -> np.ndarray:
    """Check an array for a search of k nearest neighbours; 0: no search."""
    checked = check_features(name, features, 1)
    if len(checked) <= k:
        raise MetricError(
            f"{name}: {len(checked)} rows and k = {k} neighbours; accepted: more rows than k."
        )
    return checked


def _mesh(devices: Sequence[jax.Device] | None) -> Mesh:
    chosen = list(jax.local_devices() if devices is None else devices)
    return jax.make_mesh((len(chosen),), (_AXIS,), axis_types=(AxisType.Auto,), devices=chosen)


def _real_side(
    real: ArrayLike | Manifold, fake: np.ndarray, k: int, mesh: Mesh, memory_bytes: int
) -> Manifold:
    names = ("real features", "fake features")
    if isinstance(real, Manifold):
        check_widths(names, real.features, fake)
        if real.k < k:
            raise MetricError(
                f"the manifold of the real features has k = {real.k} neighbours; "
                f"accepted: at least {k}."
            )
        return real
    checked = _check(names[0], real, k)
    check_widths(names, checked, fake)
    centre = checked.mean(axis=0, dtype=np.float64)
    return _manifold(names[0], checked, k, centre, mesh, memory_bytes)


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


def _manifold(
    name: str,
    features: np.ndarray,
    k: int,
    centre: np.ndarray,
    mesh: Mesh,
    memory_bytes: int,
) -> Manifold:
    """Compute the manifold of checked features."""
    if centre.shape != features.shape[1:]:
        raise MetricError(
            f"the centre has shape {centre.shape}; accepted: {features.shape[1:]}, as the {name}."
        )
    centred, squared_norms = _centred(name, features, centre)
    reference = jax.device_put((centred, squared_norms), NamedSharding(mesh, P()))
    rows = _rows_per_call(len(centred), len(centred), mesh.size, memory_bytes)
    squared_radii = np.empty((len(centred), k), np.float32)
    for index, queries in _calls(rows, mesh, centred, squared_norms):
        nearest = jax.device_get(_nearest(queries, reference, k=k, mesh=mesh))
        squared_radii[index] = nearest[: len(index)]
    return Manifold(centre, centred, squared_norms, squared_radii)


def _compare(
    real: Manifold,
    fake: np.ndarray,
    fake_squared_norms: np.ndarray,
    fake_squared_radii: np.ndarray,
    precision_k: int,
    density_k: int,
    mesh: Mesh,
    memory_bytes: int,
) -> ManifoldScores:
    """Compute all four scores; fakes are centred like the reals."""
    radii = real.squared_radii
    reference = jax.device_put(
        (real.features, real.squared_norms, radii[:, precision_k - 1], radii[:, density_k - 1]),
        NamedSharding(mesh, P()),
    )
    count = len(real.features)
    rows = _rows_per_call(len(fake), count, mesh.size, memory_bytes)
    inside, balls = 0, 0
    recalled = np.zeros(count, bool)
    nearest = np.full(count, np.inf, np.float32)
    for _, queries in _calls(rows, mesh, fake, fake_squared_norms, fake_squared_radii):
        new_inside, new_balls, new_recalled, new_nearest = jax.device_get(
            _meet(queries, reference, mesh=mesh)
        )
        inside += int(new_inside.sum())
        balls += int(new_balls.sum(dtype=np.int64))
        recalled |= new_recalled
        nearest = np.minimum(nearest, new_nearest)
    return ManifoldScores(
        precision=inside / len(fake),
        recall=float(recalled.mean()),
        density=balls / (density_k * len(fake)),
        coverage=float((nearest <= radii[:, density_k - 1]).mean()),
    )


def _rows_per_call(queries: int, references: int, devices: int, memory_bytes: int) -> int:
    """Return the rows per call over all devices: equal calls within each device's memory budget."""
    most = devices * max(1, memory_bytes // (_LIVE * 4 * references))
    calls = -(-queries // most)
    return -(-queries // (calls * devices)) * devices


def _calls(rows: int, mesh: Mesh, *arrays: np.ndarray) -> Iterator[tuple[np.ndarray, tuple]]:
    """Yield row indices and the arguments of a call: those rows of the arrays, split over devices.

    The last call is padded with rows of index -1, whose distances are infinite.
    """
    sharding = NamedSharding(mesh, P(_AXIS))
    count = len(arrays[0])
    for start in range(0, count, rows):
        index = np.arange(start, min(start + rows, count), dtype=np.int32)
        missing = rows - len(index)
        parts = [np.pad(index, (0, missing), constant_values=-1)]
        for array in arrays:
            widths = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
            parts.append(np.pad(array[start : start + rows], widths))
        yield index, jax.device_put(tuple(parts), sharding)


@functools.partial(jax.jit, static_argnames=("k", "mesh"))
def _nearest(queries: tuple, reference: tuple, *, k: int, mesh: Mesh) -> jax.Array:
    """Return each query's k smallest squared distances to others, ascending, float32 [rows, k].

    Args:
      queries: (index int32 [rows], features, squared norms) of members of the reference.
      reference: (features [n, d], squared norms [n]).
      k: number of neighbours.
      mesh: mesh of the devices over which the rows are split.
    """

    def on_device(queries: tuple, reference: tuple) -> jax.Array:
        index = queries[0]
        squares = _squared_distances(*queries, *reference)
        columns = lax.broadcasted_iota(jnp.int32, squares.shape, 1)
        others = jnp.where(index[:, None] == columns, jnp.inf, squares)
        return -lax.top_k(-others, k)[0]

    return _mapped(on_device, mesh, P(_AXIS))(queries, reference)


@functools.partial(jax.jit, static_argnames="mesh")
def _meet(
    queries: tuple, reference: tuple, *, mesh: Mesh
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Return the contribution of one call to the four scores.

    Args:
      queries: (index int32 [rows], features, squared norms, squared radii [rows]) of fakes.
      reference: (features [n, d], squared norms [n], squared radii [n] for precision, squared
        radii [n] for density) of reals.
      mesh: mesh of the devices over which the rows are split.

    Returns:
      Whether each fake is in some real ball, bool [rows]; in how many, int32 [rows]; whether each
      real is in the ball of one of these fakes, bool [n]; its least squared distance to them,
      float32 [n].
    """

    def on_device(queries: tuple, reference: tuple) -> tuple:
        *points, query_radii = queries
        *targets, precision_radii, density_radii = reference
        squares = _squared_distances(*points, *targets)
        recalled = (squares <= query_radii[:, None]).any(axis=0)
        return (
            (squares <= precision_radii).any(axis=1),
            (squares <= density_radii).sum(axis=1, dtype=jnp.int32),
            lax.pmax(recalled.astype(jnp.int32), _AXIS) > 0,
            lax.pmin(squares.min(axis=0), _AXIS),
        )

    return _mapped(on_device, mesh, (P(_AXIS), P(_AXIS), P(), P()))(queries, reference)


def _mapped(function, mesh: Mesh, out_specs):
    return jax.shard_map(
        function, mesh=mesh, in_specs=(P(_AXIS), P()), out_specs=out_specs, check_vma=False
    )


def _squared_distances(
    index: jax.Array,
    queries: jax.Array,
    query_norms: jax.Array,
    reference: jax.Array,
    reference_norms: jax.Array,
) -> jax.Array:
    """Return squared distances, float32 [rows, n]; infinite for queries of index -1."""
    products = lax.dot_general(
        queries,
        reference,
        (((1,), (1,)), ((), ())),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    scale = query_norms[:, None] + reference_norms[None, :]
    squares = scale - 2.0 * products
    squares = jnp.where(squares <= _ZERO * scale, 0.0, squares)
    return jnp.where(index[:, None] < 0, jnp.inf, squares)
