"""Statistics of a set of images: moments and features of a frozen network.

Features are computed on all devices, sums in float64 on the host, for batches of any size.
Statistics of real images are cached by the identity of their content, for later evaluations and
runs.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from gan_jax import arrays
from gan_jax.device_map import DeviceMap
from gan_jax.errors import MetricError
from gan_jax.metrics.extractor import Extractor
from gan_jax.metrics.frechet import Moments, RunningMoments
from gan_jax.report import atomic

_FORMAT = 1
# By layer: which of "moments" and "features" are needed.
Needs = Mapping[str, frozenset[str]]


class Extraction:
    """An extractor on all devices.

    Args:
      extractor: the network.
      layers: the layers to compute.
      devices: the devices over which a batch is split; all processes must make the same calls.
      batch_size: rounded up to a multiple of the devices; smaller batches are padded.
    """

    def __init__(
        self,
        extractor: Extractor,
        layers: Sequence[str],
        devices: Sequence[jax.Device],
        batch_size: int,
    ) -> None:
        for layer in layers:
            if layer not in extractor.layers:
                raise MetricError(
                    f"{extractor.name} has no layer {layer!r}; "
                    f"accepted: {', '.join(extractor.layers)}"
                )
        self.extractor = extractor
        self.layers = tuple(layers)
        self._mapped = DeviceMap(
            lambda variables, images: extractor.apply(variables, images, self.layers),
            batch_size=batch_size,
            devices=devices,
        )
        self.batch_size = self._mapped.batch_size
        self._variables = self._mapped.place(extractor.variables)

    def __call__(self, images: jax.Array | np.ndarray) -> dict[str, jax.Array]:
        """Return the features of a batch on every device, float32 ``[batch_size, width]`` by layer.

        Args:
          images: uint8 ``[at most batch_size, height, width, channels]`` on the host, the same in
            every process; or a whole batch on the devices. Rows beyond the images are padding.
        """
        return self._mapped(self._variables, images)


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Statistics of a set of images.

    Attributes:
      count: number of images.
      moments: moments by layer, where requested.
      features: float32 ``[count, width]`` by layer, where requested.
      derived: cache of values computed from it, by a key of the caller.
      labels: the class, or requested class, of each image, int32 ``[count]``, if known.
    """

    count: int
    moments: Mapping[str, Moments]
    features: Mapping[str, np.ndarray]
    derived: dict[Any, Any] = dataclasses.field(default_factory=dict, compare=False, repr=False)
    labels: np.ndarray | None = None


def collect(
    extraction: Extraction, batches: Iterable[jax.Array | np.ndarray], count: int, needs: Needs
) -> Statistics:
    """Return the statistics of the first ``count`` images of ``batches``.

    Args:
      extraction: the network.
      batches: batches for `Extraction`.
      count: number of images.
      needs: the statistics to compute, by layer.

    Raises:
      MetricError: there are fewer images, or a feature is not finite.
    """
    widths = extraction.extractor.layers
    running = {k: RunningMoments(widths[k]) for k, what in needs.items() if "moments" in what}
    kept: dict[str, list[np.ndarray]] = {k: [] for k, what in needs.items() if "features" in what}

    def take(size: int, features: Mapping[str, jax.Array]) -> None:
        rows = {layer: np.asarray(jax.device_get(x))[:size] for layer, x in features.items()}
        for layer, values in rows.items():
            if not np.isfinite(values).all():
                raise MetricError(f"{extraction.extractor.name}: layer {layer!r} is not finite")
            if layer in running:
                running[layer].add(values)
            if layer in kept:
                kept[layer].append(values)

    # The devices process a batch while the host accumulates the previous one.
    pending: tuple[int, Mapping[str, jax.Array]] | None = None
    asked = 0
    for images in batches:
        size = min(len(images), count - asked)
        asked += size
        features = extraction(images)
        if pending is not None:
            take(*pending)
        pending = (size, features)
        if asked == count:
            break
    if pending is not None:
        take(*pending)
    if asked < count:
        raise MetricError(f"there are {asked} images; {count} were requested")
    return Statistics(
        count,
        {layer: moments.result() for layer, moments in running.items()},
        {layer: np.concatenate(rows) for layer, rows in kept.items()},
    )


def cached(
    folder: Path,
    identity: Mapping[str, Any],
    extraction: Extraction,
    batches: Iterable[np.ndarray],
    count: int,
    needs: Needs,
) -> Statistics:
    """Return the result of `collect`, from a cache folder where possible.

    Side effect: writes missing results to ``folder``; concurrent processes may do so.

    Args:
      folder: the cache folder.
      identity: identity of the images, serializable as JSON. The extractor's protocol, the layer
        and the count are added.
      extraction: as for `collect`.
      batches: likewise; read only if something is missing.
      count: likewise.
      needs: likewise.
    """
    extractor = extraction.extractor

    def path(layer: str, kind: str) -> Path:
        whole = {
            "format": _FORMAT,
            "identity": dict(identity),
            "extractor": dict(extractor.protocol),
            "layer": layer,
            "count": count,
        }
        digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
        return folder / f"{extractor.name}-{layer}-{kind}-{digest}.npz"

    known: dict[str, dict[str, Any]] = {"moments": {}, "features": {}}
    missing: dict[str, frozenset[str]] = {}
    for layer, what in needs.items():
        for kind in sorted(what):
            found = _load(path(layer, kind), kind, extractor.layers[layer])
            if _everywhere(found is not None):
                known[kind][layer] = found
            else:
                missing[layer] = missing.get(layer, frozenset()) | {kind}
    if missing:
        new = collect(extraction, batches, count, missing)
        for kind, by_layer in (("moments", new.moments), ("features", new.features)):
            for layer, value in by_layer.items():
                known[kind][layer] = value
                if jax.process_index() == 0:
                    _save(path(layer, kind), value)
    return Statistics(count, known["moments"], known["features"])


def _everywhere(known: bool) -> bool:
    """Return whether every process has the result, since all processes must compute together."""
    if jax.process_count() == 1:
        return known
    return bool(np.all(multihost_utils.process_allgather(np.asarray(known))))


def _save(path: Path, value: Moments | np.ndarray) -> None:
    if isinstance(value, Moments):
        count = np.asarray(value.count)
        kept = {"count": count, "mean": value.mean, "covariance": value.covariance}
    else:
        kept = {"features": value}
    atomic.write_npz(path, kept)


def _load(path: Path, kind: str, width: int) -> Any:
    """Return the content of a file, or ``None`` if it is missing or damaged."""
    try:
        found = arrays.read_npz(path)
        if kind == "features":
            features = found["features"]
            if features.ndim != 2 or features.shape[1] != width:
                raise ValueError(f"features of shape {features.shape}")
            return features
        mean, covariance = found["mean"], found["covariance"]
        if mean.shape != (width,) or covariance.shape != (width, width):
            raise ValueError(f"moments of shape {mean.shape}, {covariance.shape}")
        return Moments(int(found["count"]), mean, covariance)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, arrays.UnreadableError) as error:
        logging.getLogger(__name__).warning("%s is damaged (%s) and is recomputed", path, error)
        return None
