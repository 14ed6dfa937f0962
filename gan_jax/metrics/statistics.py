"""What is kept of a set of images for its metrics: moments and features of a frozen network.

Images come in batches of any size; the features are computed on all devices, the sums in double
precision on the host. What a set of real images gives is stored under its content's identity, so
that the next run, and the next evaluation of this one, need not look at them again.
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
# By layer: which of "moments" and "features" are to be kept.
Needs = Mapping[str, frozenset[str]]


class Extraction:
    """An extractor on all devices.

    Args:
      extractor: the network.
      layers: whose features are wanted.
      devices: over which a batch is split; all processes call alike.
      batch_size: rounded up to a multiple of the devices; smaller batches are filled up.
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
    """What is known of a set of images.

    Attributes:
      count: its images.
      moments: by layer, where they were asked for.
      features: float32 ``[count, width]`` by layer, where they were asked for.
      derived: what others have computed of it and may want again, by a key of theirs.
      labels: the class that each image is of, or was to be of, int32 ``[count]``, where known.
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
      batches: as `Extraction` takes them.
      count: images.
      needs: what to keep, by layer.

    Raises:
      MetricError: there are fewer images, or a feature is not finite.
    """
    widths = extraction.extractor.layers
    running = {k: RunningMoments(widths[k]) for k, what in needs.items() if "moments" in what}
    kept: dict[str, list[np.ndarray]] = {k: [] for k, what in needs.items() if "features" in what}
    seen = 0

    def take(size: int, features: Mapping[str, jax.Array]) -> int:
        rows = {layer: np.asarray(jax.device_get(x))[:size] for layer, x in features.items()}
        for layer, values in rows.items():
            if not np.isfinite(values).all():
                raise MetricError(f"{extraction.extractor.name}: layer {layer!r} is not finite")
            if layer in running:
                running[layer].add(values)
            if layer in kept:
                kept[layer].append(values)
        return size

    # The devices work on a batch while the host adds up the one before.
    pending: tuple[int, Mapping[str, jax.Array]] | None = None
    asked = 0
    for images in batches:
        size = min(len(images), count - asked)
        asked += size
        features = extraction(images)
        if pending is not None:
            seen += take(*pending)
        pending = (size, features)
        if asked == count:
            break
    if pending is not None:
        seen += take(*pending)
    if seen < count:
        raise MetricError(f"there are {seen} images; {count} were asked for")
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
    """Return `collect`'s answer, from ``folder`` where it is known already.

    Side effect: writes what was not known into ``folder``; processes may do so at once.

    Args:
      folder: of the files.
      identity: what tells these images from all others, JSON-able. The extractor's protocol, the
        layer and the count are added.
      extraction: the network.
      batches: read only if something is missing.
      count: images.
      needs: what to keep, by layer.
    """
    moments: dict[str, Moments] = {}
    features: dict[str, np.ndarray] = {}
    missing: dict[str, frozenset[str]] = {}
    for layer, what in needs.items():
        for kind in sorted(what):
            width = extraction.extractor.layers[layer]
            found = _load(_path(folder, identity, extraction, layer, kind, count), kind, width)
            if not _everywhere(found is not None):
                missing[layer] = missing.get(layer, frozenset()) | {kind}
            elif kind == "moments":
                moments[layer] = found
            else:
                features[layer] = found
    if missing:
        new = collect(extraction, batches, count, missing)
        for layer, what in missing.items():
            for kind in what:
                path = _path(folder, identity, extraction, layer, kind, count)
                if jax.process_index() == 0:
                    _save(path, (new.moments if kind == "moments" else new.features)[layer])
        moments |= new.moments
        features |= new.features
    return Statistics(count, moments, features)


def _everywhere(known: bool) -> bool:
    """Return whether every process knows: they compute together, or not at all."""
    if jax.process_count() == 1:
        return known
    return bool(np.all(multihost_utils.process_allgather(np.asarray(known))))


def _path(
    folder: Path,
    identity: Mapping[str, Any],
    extraction: Extraction,
    layer: str,
    kind: str,
    count: int,
) -> Path:
    whole = {
        "format": _FORMAT,
        "identity": dict(identity),
        "extractor": dict(extraction.extractor.protocol),
        "layer": layer,
        "count": count,
    }
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]
    return folder / f"{extraction.extractor.name}-{layer}-{kind}-{digest}.npz"


def _save(path: Path, value: Moments | np.ndarray) -> None:
    if isinstance(value, Moments):
        kept = {
            "count": np.asarray(value.count),
            "mean": value.mean,
            "covariance": value.covariance,
        }
    else:
        kept = {"features": value}
    atomic.write_npz(path, kept)


def _load(path: Path, kind: str, width: int) -> Any:
    """Return what a file holds; ``None`` if it is missing or damaged."""
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
        logging.getLogger(__name__).warning("%s is damaged (%s); computed anew", path, error)
        return None
