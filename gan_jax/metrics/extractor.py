"""What a feature extractor is: a pure function from images to features, and what identifies it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

# (variables, uint8 [n, height, width, channels], names of layers) -> float32 [n, width] by layer.
Apply = Callable[[Any, jax.Array, tuple[str, ...]], dict[str, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A frozen network whose features the metrics compare.

    Attributes:
      name: prefixes the names of its metrics, as in ``classifier_fid``.
      layers: width of every layer that can be asked for, by name.
      default: the layer that FID, KID, precision, ... use unless another is named.
      logits: the layer of class logits, for the Inception Score; ``None``: it has none.
      variables: its weights, a pytree of arrays.
      apply: the pure function; it computes no more than the layers asked for need, and what it says
        of an image does not depend on the other images of the batch.
      protocol: what identifies it in records, JSON-able: the weights' hash, the resize, ...
      of_floats: as ``apply``, of floats in 0 ... 255 that need not be whole numbers, for losses to
        be differentiated through; ``None``: it has none. Metrics are of bytes, which ``apply``
        insists on.
    """

    name: str
    layers: Mapping[str, int]
    default: str
    logits: str | None
    variables: Any
    apply: Apply
    protocol: Mapping[str, Any]
    of_floats: Apply | None = None
