"""The features of stacked images: those of every channel, by an extractor of grey images."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from gan_jax.metrics.extractor import Apply, Extractor


def by_channel(extractor: Extractor, channels: int) -> Extractor:
    """Return an extractor of images of several channels, each of which is an image of its own.

    The logits of ``k`` classes become those of ``k ** channels``, whose numbers have the channels'
    classes as digits in base ``k``: sums of one logit per channel, so that their softmax is the
    product of the channels'. Other layers are concatenated.

    Args:
      extractor: of images of one channel.
      channels: of the images to be looked at.
    """

    def of(inner: Apply) -> Apply:
        def apply(variables: Any, images: jax.Array, layers: tuple[str, ...]) -> Any:
            n, height, width, _ = images.shape
            grey = jnp.moveaxis(images, -1, 1).reshape(n * channels, height, width, 1)
            found = inner(variables, grey, layers)
            parts = {layer: x.reshape(n, channels, -1) for layer, x in found.items()}
            return {
                layer: _joint(x) if layer == extractor.logits else x.reshape(n, -1)
                for layer, x in parts.items()
            }

        return apply

    widths = {
        layer: width**channels if layer == extractor.logits else channels * width
        for layer, width in extractor.layers.items()
    }
    return dataclasses.replace(
        extractor,
        layers=widths,
        apply=of(extractor.apply),
        protocol={**extractor.protocol, "channels": "each by itself"},
        of_floats=None if extractor.of_floats is None else of(extractor.of_floats),
    )


def _joint(logits: jax.Array) -> jax.Array:
    """Return the sums of one logit per channel, ``[n, channels, k]`` to ``[n, k ** channels]``."""

    def add(left: jax.Array, right: jax.Array) -> jax.Array:
        return (left[:, :, None] + right[:, None, :]).reshape(len(left), -1)

    return functools.reduce(add, jnp.moveaxis(logits, 1, 0))
