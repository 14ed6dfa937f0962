"""The Inception network of the FID as a feature extractor, and files of its weights.

The network is that of `gan_jax.metrics.inception_network`; ``python -m scripts.convert_inception``
converts a published file of its weights.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from gan_jax import arrays, cache, installation
from gan_jax.errors import MetricError, lookup, suggestion
from gan_jax.metrics.extractor import Extractor, weights_hash
from gan_jax.metrics.inception_network import (
    PRECISIONS,
    SIZE,
    WIDTHS,
    Inception,
    check_layer,
    shapes,
)
from gan_jax.report import atomic

Weights = Mapping[str, np.ndarray]

# The layers at which a file of weights may end, by depth, each with all layers available then.
_ENDS = {
    "64": ("64",),
    "192": ("64", "192"),
    "768": ("64", "192", "768"),
    "2048": ("64", "192", "768", "2048"),
    "logits": tuple(WIDTHS),
}


def make_inception(path: str | Path | None = None, *, precision: str = "highest") -> Extractor:
    """Return the Inception network as a feature extractor.

    Args:
      path: a file that ``save_weights`` wrote; ``None``: ``default_path()``.
      precision: ``"highest"`` or ``"default"``; see `inception_network.Inception`.

    Returns:
      The extractor, with the layers for which the file has weights. Its default layer is the
      deepest except the logits: "2048" with a complete file.

    Raises:
      MetricError: the file is missing, or does not contain such weights.
      ConfigError: the precision is unknown.
    """
    lookup(dict.fromkeys(PRECISIONS), precision, "precision")
    weights = load_weights(path or default_path())
    layers = layers_of(weights)
    placed = {name: jnp.asarray(value) for name, value in weights.items()}
    return Extractor(
        name="inception",
        layers={layer: WIDTHS[layer] for layer in layers},
        default=[layer for layer in layers if not layer.startswith("logits")][-1],
        logits="logits_unbiased" if "logits_unbiased" in layers else None,
        variables={"params": unflatten_dict(placed, sep="/")},
        apply=functools.partial(_apply, Inception(precision), layers),
        protocol={
            "extractor": "inception-2015-12-05",
            "weights": weights_hash(weights),
            "resize": f"tf1 bilinear {SIZE}, no antialias",
            "precision": precision,
        },
        of_floats=functools.partial(_apply, Inception(precision, floats=True), layers),
    )


def default_path() -> Path:
    """Return the default path of the weights, in the user's cache directory."""
    return cache.root() / "inception-2015-12-05.npz"


def layers_of(weights: Weights) -> tuple[str, ...]:
    """Return the layers that can be computed with given arrays by name, in order of depth.

    Raises:
      MetricError: a name or shape does not belong to the network, an array is not finite float32,
        or the weights do not end at a layer; the message names the array.
    """
    for name, value in weights.items():
        _check_array(name, value)
    known = [layer for layer in _ENDS if set(shapes(layer)) <= set(weights)]
    reached = shapes(known[-1]) if known else {}
    deeper = next((layer for layer in _ENDS if layer not in known), None)
    lacking = sorted(set(shapes(deeper)) - set(weights)) if deeper else []
    if not known or set(weights) - set(reached):
        raise MetricError(f"array {lacking[0]!r} is missing, which the layer {deeper!r} needs.")
    return _ENDS[known[-1]]


def load_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Read and check weights that ``save_weights`` wrote.

    Returns:
      Float32 arrays by name.

    Raises:
      MetricError: the file is missing or damaged, or its arrays are not the network's.
    """
    path = Path(path)
    if not path.exists():
        raise MetricError(
            f"The Inception network's weights are not in {path}. They are published as "
            "pt_inception-2015-12-05-6726825d.pth (GitHub, mseitzer/pytorch-fid, release "
            "fid_weights) and weights-inception-2015-12-05-6726825d.pth (GitHub, "
            "toshas/torch-fidelity, release v0.2.0): download one of them, then run "
            f"{installation.command('convert-inception')} FILE"
        )
    try:
        weights = read_arrays(path)
        layers_of(weights)
    except MetricError as error:
        raise MetricError(
            f"{path} does not contain weights of the Inception network: {error} "
            f"To make such a file: {installation.command('convert-inception')} FILE"
        ) from error
    return weights


def save_weights(path: str | Path, weights: Weights) -> None:
    """Write weights into an .npz file that ``load_weights`` reads, and its folder if it is missing.

    Raises:
      MetricError: the arrays do not belong to the network; nothing is written.
      WorkdirError: the file cannot be written.
    """
    layers_of(weights)
    atomic.write_npz(path, weights)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file without unpickling.

    Raises:
      MetricError: it is not a complete .npz file of plain arrays.
    """
    try:
        return arrays.read_npz(path)
    except (OSError, arrays.UnreadableError) as error:
        raise MetricError(f"it cannot be read as .npz ({' '.join(str(error).split())}).") from error


def _apply(
    module: Inception,
    available: tuple[str, ...],
    variables: Any,
    images: jax.Array,
    layers: Sequence[str],
) -> dict[str, jax.Array]:
    """Apply the module; raise an error for layers without weights."""
    for layer in layers:
        check_layer(layer, available)
    found: Any = module.apply(variables, images, tuple(layers))
    return found


def _check_array(name: str, value: np.ndarray) -> None:
    known = shapes("logits")
    if name not in known:
        raise MetricError(
            f"array {name!r} does not belong to the network.{suggestion(name, known)}"
        )
    if value.shape != known[name]:
        raise MetricError(f"array {name!r} has shape {value.shape}; accepted: {known[name]}.")
    if value.dtype != np.float32:
        raise MetricError(f"array {name!r} has dtype {value.dtype}; accepted: float32.")
    if not np.isfinite(value).all():
        raise MetricError(f"array {name!r} has entries that are not finite.")
