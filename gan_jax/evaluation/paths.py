"""The perceptual path lengths of a generator (`gan_jax.metrics.path_length`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax import errors
from gan_jax.device_map import DeviceMap
from gan_jax.games.game import GenerativeGame
from gan_jax.metrics.extractor import Extractor
from gan_jax.metrics.names import Metric
from gan_jax.metrics.path_length import EPSILON, TAIL, path_length
from gan_jax.training import interpolation, sampling, spaces
from gan_jax.training.sampling import Sampler, Sampling

# The other ends of the ways are the latents from this number on.
_OTHERS = 2**31


class PathLengths:
    """Measures samples on the ways between the latents of samples and others.

    In ``w`` of generators with styles the ways are straight lines, in ``z`` of others arcs. The
    place on a way is uniform. There is no noise.

    Args:
      metrics: statistics ``ppl``, of extractors that accept floats.
      layers: the layer of each metric, by its name.
      extractors: by name.
      game: what was trained, whose samples are images.
      sampler: draws the latents, and the labels.
      sampling: how samples are made.
      devices: over which the work is split.

    Raises:
      ConfigError: an extractor accepts bytes alone, a network's precision is less than float32, or
        samples depend on each other.
    """

    def __init__(
        self,
        metrics: Sequence[Metric],
        layers: Mapping[str, str],
        extractors: Mapping[str, Extractor],
        *,
        game: GenerativeGame,
        sampler: Sampler,
        how: Sampling,
        devices: Sequence[jax.Device],
    ) -> None:
        self._metrics, self._sampler = metrics, sampler
        self.space = space = spaces.make_space(game)
        path = "slerp" if space.name == "z" else "lerp"
        self._path = interpolation.PATHS[path]
        _check(metrics, extractors, game, how)
        self.protocol = {
            "space": space.name,
            "path": path,
            "epsilon": EPSILON,
            "tail": TAIL,
            "noise": "none",
        }
        options: dict[str, Any] = {"batch_size": sampler.batch_size, "devices": devices}

        def points(variables: Any, z: jax.Array, labels: Any) -> jax.Array:
            return space.points(variables, z, sampling.condition_of(game, labels))

        def features(shared: Any, points: jax.Array, labels: Any) -> dict[str, jax.Array]:
            variables, weights = shared
            condition = sampling.condition_of(game, labels)
            data = space.sample(variables, points, condition, truncation=how.truncation)
            pixels = (jnp.clip(data.astype(jnp.float32), -1.0, 1.0) + 1.0) * 127.5
            found = {}
            for metric in metrics:
                extractor, layer = extractors[metric.extractor or ""], layers[metric.name]
                assert extractor.of_floats is not None
                made = extractor.of_floats(weights[extractor.name], pixels, (layer,))
                found[metric.name] = made[layer]
            return found

        def distances(shared: Any, *rows: Any) -> dict[str, jax.Array]:
            first, second, labels = rows
            # Of bf16 or TF32 products the differences would be rounding errors.
            with jax.default_matmul_precision("highest"):
                found = [features(shared, points, labels) for points in (first, second)]
            return jax.tree.map(lambda a, b: jnp.sum(jnp.square(b - a), axis=-1), *found)

        self._points = DeviceMap(points, **options)
        self._distances = DeviceMap(distances, **options)
        self._weights = {
            extractor.name: self._distances.place(extractor.variables)
            for extractor in (extractors[m.extractor or ""] for m in metrics)
        }

    def __call__(self, variables: Any, count: int, seed: int) -> dict[str, float]:
        """Return the metrics, each with ``<name>_standard_error``, of as many ways.

        Args:
          variables: as `Sampler.place` returns them.
          count: how many ways.
          seed: of the latents and the places.
        """
        size, lengths = self._sampler.batch_size, []
        shares = np.random.default_rng([seed, count]).uniform(size=(-(-count // size) * size,))
        for first in range(0, count, size):
            z, labels = self._sampler.latents(first, seed)
            others, _ = self._sampler.latents(first + _OTHERS, seed)
            start, end = (
                jax.device_get(self._points(variables, one, labels)) for one in (z, others)
            )
            t = shares[first : first + size].reshape(-1, *(1,) * (start.ndim - 2))
            # In double precision: the step is small beside the points.
            near = [self._path(start, end, t + step) for step in (0.0, EPSILON)]
            given = None if labels is None else jax.device_get(labels)
            lengths.append(
                jax.device_get(self._distances((variables, self._weights), *near, given))
            )
        found = {
            name: path_length(np.concatenate([one[name] for one in lengths])[:count] / EPSILON**2)
            for name in lengths[0]
        }
        means = {name: one.mean for name, one in found.items()}
        return means | {f"{name}_standard_error": one.standard_error for name, one in found.items()}


def _check(
    metrics: Sequence[Metric],
    extractors: Mapping[str, Extractor],
    game: GenerativeGame,
    how: Sampling,
) -> None:
    name = metrics[0].name
    for metric in metrics:
        if extractors[metric.extractor or ""].of_floats is None:
            raise errors.ConfigError(
                f"eval.metrics has {metric.name!r}, but {metric.extractor} accepts bytes alone; "
                "accepted: an extractor with of_floats, such as inception or classifier"
            )
    types = {jnp.dtype(getattr(one.module, "dtype", jnp.float32)) for one in game.networks.values()}
    if types - {jnp.dtype(jnp.float32)}:
        raise errors.ConfigError(
            f"eval.metrics has {name!r}, a difference that rounding to bfloat16 would hide; "
            "accepted: a run whose precision is float32 or highest"
        )
    if how.batch_norm == "batch":
        raise errors.ConfigError(
            f"eval.metrics has {name!r} with batch_norm = 'batch', where a sample depends on the "
            "others of its batch; accepted: ema, running or standing"
        )
