"""A part of another source: some of its examples, such as those of some classes."""

from collections.abc import Sequence

import numpy as np
from typing_extensions import override

from gan_jax.data import spec as specs
from gan_jax.data.sources.base import ArraySource, Example, Source, content_hash, identity
from gan_jax.data.sources.files import FileSource
from gan_jax.data.spec import LABEL
from gan_jax.errors import ConfigError

_READ_AT_ONCE = 1024


class Subset(Source):
    """Some examples of a source, in its order; classes and their numbers stay.

    Args:
      source: the whole.
      indices: of the examples, at least one.
      split: name of the part, for records.
    """

    def __init__(self, source: Source, indices: Sequence[int] | np.ndarray, split: str):
        super().__init__(source.name, split, source.spec, source.unused, source.notes)
        self.source, self.levels, self.decodes = source, source.levels, source.decodes
        self.indices = np.asarray(indices, np.int64)

    @override
    def __len__(self) -> int:
        return len(self.indices)

    @override
    def read(self, indices: Sequence[int]) -> Example:
        rows = self.source.read(self.indices[np.asarray(indices)].tolist())
        if failures := self.source.failures:
            for index in map(int, indices):
                if (reason := failures.get(int(self.indices[index]))) is not None:
                    self.failures.setdefault(index, reason)
        return rows

    @property
    @override
    def own_size(self) -> tuple[int, int]:
        return self.source.own_size

    @override
    def read_labels(self, indices: Sequence[int]) -> np.ndarray:
        return self.source.read_labels(self.indices[np.asarray(indices)].tolist())

    @override
    def item_name(self, index: int) -> str:
        return self.source.item_name(int(self.indices[index]))

    @override
    def fingerprint(self) -> str:
        whole = self.source.fingerprint()
        content = content_hash([whole, self.indices.tobytes()])
        return identity(whole.partition(":")[0], self, content)

    @override
    def decoded_key(self) -> str:
        return content_hash([self.source.decoded_key(), self.indices.tobytes()])


def class_number(source: Source, name: str, field: str) -> int:
    """Return the number of a class, given by its name or number.

    Raises:
      ConfigError: the source has no such class.
    """
    if source.class_names is None:
        raise ConfigError(
            f"{field} = {name!r} names a class, and {source.name} has no labels; accepted: data "
            "with labels"
        )
    return specs.class_number(source.class_names, str(name), field)


def labels_of(source: Source) -> np.ndarray:
    """Return the labels of all examples, int32 ``[len(source)]``, reading the set if necessary."""
    if (known := known_labels(source)) is not None:
        return known
    starts = range(0, len(source), _READ_AT_ONCE)
    return np.concatenate(
        [
            source.read_labels(range(first, min(first + _READ_AT_ONCE, len(source))))
            for first in starts
        ]
    )


def known_labels(source: Source) -> np.ndarray | None:
    """Return the labels of all examples, or ``None`` if the set would have to be read."""
    if LABEL not in source.spec:
        return None
    if isinstance(source, ArraySource):
        return source.arrays[LABEL]
    if isinstance(source, FileSource):
        return source.labels
    if isinstance(source, Subset) and (whole := known_labels(source.source)) is not None:
        return whole[source.indices]
    return None


def only_classes(source: Source, classes: Sequence[int], split: str) -> Subset:
    """Return the examples of some classes.

    Raises:
      ConfigError: there are none.
    """
    chosen = np.flatnonzero(np.isin(labels_of(source), list(classes)))
    if not len(chosen):
        raise ConfigError(f"data.split = {split!r} of {source.name} has no examples of {classes}")
    return Subset(source, chosen, split)
