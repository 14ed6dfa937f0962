"""What examples are labelled with: classes, attributes or captions."""

import jax
import numpy as np
from typing_extensions import override

from gan_jax.data.kinds.kind import Kind
from gan_jax.data.kinds.text import Text


class Label(Kind):
    """Class labels, int32; networks see the numbers."""

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return stored


class Caption(Text):
    """Captions of tokens ``(length,)``, int32; networks see the numbers."""

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.field.shape

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return stored

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return data


class Attributes(Kind):
    """Vectors of attributes ``(n,)``, float32; networks see each number on its scale."""

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        mean, deviation = np.transpose(np.asarray(self.field.scales, np.float32))
        return (stored - mean) / deviation

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        mean, deviation = np.transpose(np.asarray(self.field.scales, np.float32))
        return data * deviation + mean
