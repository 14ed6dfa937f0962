"""Feature extractors: a pure function from images to features, and its identity."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

# (variables, uint8 [n, height, width, channels], names of layers) -> float32 [n, width] by layer.
Apply = Callable[[Any, jax.Array, tuple[str, ...]], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A frozen network whose features the metrics compare.

    Attributes:
      name: prefix of the names of its metrics, as in ``classifier_fid``.
      layers: width of every available layer, by name.
      default: the layer that FID, KID, precision, ... use unless another is named.
      logits: the layer of class logits, for the Inception Score; ``None``: it has none.
      variables: its weights, a pytree of arrays.
      apply: the pure function. It computes only what the requested layers need; its features of an
        image do not depend on the other images of the batch.
      protocol: its identity in records, serializable as JSON: the weights' hash, the resize, ...
      of_floats: like ``apply``, for floats in 0 ... 255, so that losses can be differentiated
        through it; ``None``: not available. Metrics use ``apply``, which requires bytes.
    """

    name: str
    layers: Mapping[str, int]
    default: str
    logits: str | None
    variables: Any
    apply: Apply
    protocol: Mapping[str, Any]
    of_floats: Apply | None = None


def weights_hash(weights: Mapping[str, np.ndarray]) -> str:
    """Return a hash of float32 arrays by name, 12 hexadecimal digits, as protocols record it."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.shape}\n".encode())
        digest.update(np.ascontiguousarray(value, "<f4").tobytes())
    return digest.hexdigest()[:12]
