"""Distances of images as a network sees them, rather than pixel by pixel.

The network is anything that is a pure function from images to features: layers of a discriminator,
of a classifier, or of any registered extractor of the metrics (`from_extractor`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from gan_jax.errors import ConfigError, suggestion
from gan_jax.losses.guards import check_equal_shapes
from gan_jax.metrics.extractor import Extractor

Features = Mapping[str, jax.Array] | Sequence[jax.Array]
"""Features by layer, each ``[batch, width]`` or ``[batch, height, width, channels]``, floating."""

Extract = Callable[[jax.Array], Features]
"""Images ``[batch, height, width, channels]`` in [-1, 1], floating, to features; differentiable."""

# Least square of a feature vector's length: a vector of zeros stays one.
_TINY = 1e-10


def perceptual(
    extract: Extract,
    images: ArrayLike,
    reference: ArrayLike,
    *,
    normalize: bool = False,
    weights: Mapping[str, float] | Sequence[float] | None = None,
) -> jax.Array:
    """Mean squared difference of the features of each image and of its reference.

    The feature loss of "Perceptual Losses for Real-Time Style Transfer and Super-Resolution",
    Johnson et al. 2016, https://arxiv.org/abs/1603.08155: of every layer the mean over its entries;
    then the mean over layers. With ``normalize`` the features at every position are first scaled to
    unit length over the channels, and their squared differences summed over these and averaged over
    positions, as in "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", Zhang
    et al. 2018, https://arxiv.org/abs/1801.03924, which weights the channels by judgements of
    people; here all weigh the same.

    Args:
      extract: the network, with its parameters bound; it must treat every image by itself.
      images: ``[batch, height, width, channels]`` in [-1, 1], floating.
      reference: of the same shape; no gradient flows into them.
      normalize: whether directions of features are compared, not their sizes.
      weights: of the layers, as a mapping or a sequence like that which ``extract`` returns, not
        negative; the mean over layers is weighted by them. ``None``: all count alike.

    Returns:
      ``[batch]`` float32, in squared units of the features.

    Raises:
      ValueError: shapes or dtypes do not fit, there are no features, or the weights are not those
        of the layers.
    """
    one, other = jnp.asarray(images), jnp.asarray(reference)
    check_equal_shapes("images", one, "reference images", other)
    # Not only the images: a network under training must not be pulled along by its reference.
    seen, wanted = _by_layer(extract(one)), lax.stop_gradient(_by_layer(extract(other)))
    shares = _shares(weights, tuple(seen))
    distances = [
        shares[layer] * _distance(layer, seen[layer], wanted[layer], one.shape[0], normalize)
        for layer in seen
    ]
    return jnp.sum(jnp.stack(distances), axis=0)


def from_extractor(extractor: Extractor, layers: Iterable[str] | None = None) -> Extract:
    """Return what a registered extractor of the metrics says of images, for `perceptual`.

    Its weights are constants. Images go in without being rounded to bytes.

    Args:
      extractor: such as `gan_jax.metrics.extractors.make_extractor` returns.
      layers: keys of its ``layers``; ``None``: its default one.

    Returns:
      A differentiable function from float images in [-1, 1] to float32 features by layer.

    Raises:
      ConfigError: the extractor takes no floats, there is no such layer, or none is asked for.
    """
    apply = extractor.of_floats
    if apply is None:
        raise ConfigError(
            f"the extractor {extractor.name!r} looks at bytes only, through which there is no "
            "gradient; accepted: one with `of_floats`, such as inception or classifier."
        )
    chosen = (extractor.default,) if layers is None else tuple(layers)
    for layer in chosen:
        if layer not in extractor.layers:
            raise ConfigError(
                f"layer {layer!r} of the extractor {extractor.name!r} is unknown; accepted: "
                f"{', '.join(extractor.layers)}.{suggestion(layer, extractor.layers)}"
            )
    if not chosen:
        raise ConfigError(
            f"layers of the extractor {extractor.name!r} = (); accepted: at least one of "
            f"{', '.join(extractor.layers)}."
        )

    def extract(images: jax.Array) -> dict[str, jax.Array]:
        values = (images.astype(jnp.float32) + 1.0) * 127.5
        return apply(lax.stop_gradient(extractor.variables), values, chosen)

    return extract


def _by_layer(features: Features) -> dict[str, jax.Array]:
    if isinstance(features, Mapping):
        named = dict(features)
    else:
        named = {str(index): layer for index, layer in enumerate(features)}
    if not named:
        raise ValueError("extract gave no features; accepted: those of at least one layer.")
    return named


def _shares(
    weights: Mapping[str, float] | Sequence[float] | None, layers: tuple[str, ...]
) -> dict[str, float]:
    """Return the layers' weights, scaled to sum to 1."""
    if weights is None:
        return dict.fromkeys(layers, 1.0 / len(layers))
    if not isinstance(weights, Mapping):
        weights = {str(index): weight for index, weight in enumerate(weights)}
    total = float(sum(weights.values()))
    if set(weights) != set(layers) or min(weights.values()) < 0.0 or not total > 0.0:
        raise ValueError(
            f"weights = {dict(weights)} for the layers {', '.join(layers)}; accepted: one of each, "
            "none negative, not all 0."
        )
    return {layer: float(weights[layer]) / total for layer in layers}


def _distance(
    layer: str, seen: jax.Array, wanted: jax.Array, batch: int, normalize: bool
) -> jax.Array:
    if seen.ndim < 2 or seen.shape[0] != batch or not jnp.issubdtype(seen.dtype, jnp.floating):
        raise ValueError(
            f"features of layer {layer} are {seen.dtype}{list(seen.shape)}; accepted: floating "
            f"[{batch}, width] or [{batch}, height, width, channels]."
        )
    seen, wanted = seen.astype(jnp.float32), wanted.astype(jnp.float32)
    axes = tuple(range(1, seen.ndim))
    if not normalize:
        return jnp.mean(jnp.square(seen - wanted), axis=axes)
    squares = jnp.sum(jnp.square(_unit(seen) - _unit(wanted)), axis=-1)
    return jnp.mean(squares, axis=axes[:-1]) if len(axes) > 1 else squares


def _unit(features: jax.Array) -> jax.Array:
    """Scale each vector of channels to unit length; the added square keeps 0, and its slope, at 0.

    Adding it under the root makes the derivative finite everywhere.
    """
    squared_length = jnp.sum(jnp.square(features), axis=-1, keepdims=True)
    return features * lax.rsqrt(squared_length + _TINY)
