"""The interface of data sources: random access to examples, their fields and their identity."""

import abc
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from typing_extensions import override

from gan_jax.data import spec as specs
from gan_jax.data.sources.levels import Levels
from gan_jax.data.spec import Field, Spec

Example = dict[str, np.ndarray]


class Source(abc.ABC):
    """A data set with random access; can be read from many threads, and pickled for workers.

    Attributes:
      name: short name, for records.
      split: name of the part of the data set, for records.
      spec: the fields of an example.
      failures: index -> reason, of the examples that could not be decoded and that, as the
        configuration allows (``data.on_error = "skip"``), are replaced by the next readable
        example. Each process counts those that it read itself.
      unused: what is beside the examples and is no part of them, for people: files and folders.
      notes: how the data were stored and are converted, for people.
      levels: the values of stored pixels that are black and white; ``None``: those of 8-bit files.
      decodes: whether `read` decodes files, which takes time.
    """

    levels: Levels | None = None
    decodes: bool = False

    def __init__(
        self,
        name: str,
        split: str,
        spec: Spec,
        unused: Sequence[str] = (),
        notes: Sequence[str] = (),
    ):
        self.name, self.split, self.spec = name, split, spec
        self.unused, self.notes = tuple(unused), tuple(notes)
        self.failures: dict[int, str] = {}

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of examples."""

    @abc.abstractmethod
    def read(self, indices: Sequence[int]) -> Example:
        """Return several examples, stacked by field: ``[n, *field.shape]``, owned by the caller.

        Raises:
          DataError: an example cannot be read or decoded; the message names it.
        """

    def read_labels(self, indices: Sequence[int]) -> np.ndarray:
        """Return the labels of several examples, int32 ``[n]``; raises as `read`."""
        return self.read(indices)[specs.LABEL]

    def __getitem__(self, index: int) -> Example:
        """Return one example: an array of ``field.shape`` for each field.

        Raises:
          IndexError: the index is out of range.
          DataError: the example cannot be read or decoded; the message names it.
        """
        rows = self.read([range(len(self))[index]])
        return {name: np.asarray(rows[name][0]) for name in rows}

    def item_name(self, index: int) -> str:
        """Return the name of an example for messages, such as its file."""
        return f"{self.name}[{index}]"

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Return the identity of the content, for records; see `identity`.

        Data that have been renamed, moved, or put into an archive keep it.
        """

    def decoded_key(self) -> str:
        """Return what changes whenever the arrays of `read` may; for sources with ``decodes``.

        Unlike `fingerprint`, it depends on how the data are prepared, and on each single file.

        Raises:
          DataError: a file cannot be found.
        """
        raise NotImplementedError(f"{self.name} has no key")

    @property
    def field(self) -> Field:
        """The field of the data point; see `gan_jax.data.spec.data_name`."""
        return specs.data_field(self.spec)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one data point."""
        return self.field.shape

    @property
    def own_size(self) -> tuple[int, int]:
        """Height and width of the images before they were resized, or a size that suits most."""
        height, width, *_ = next(f.shape for f in self.spec.values() if f.kind == "image")
        return height, width

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, ``None`` where examples have no label."""
        return specs.class_names(self.spec)

    @property
    def num_classes(self) -> int | None:
        """The number of classes, ``None`` where examples have no label."""
        return specs.num_classes(self.spec)


class ArraySource(Source):
    """A source that holds its examples in memory.

    Args:
      name: short name, for records.
      split: name of the part of the data set, for records.
      arrays: the examples by field, ``[n, *field.shape]``.
      spec: the fields.
      notes: as for `Source`.
    """

    def __init__(
        self,
        name: str,
        split: str,
        arrays: Mapping[str, np.ndarray],
        spec: Spec,
        notes: Sequence[str] = (),
    ):
        super().__init__(name, split, spec, notes=notes)
        self.arrays = dict(arrays)

    @override
    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    @override
    def read(self, indices: Sequence[int]) -> Example:
        chosen = np.asarray(indices)
        return {name: array[chosen] for name, array in self.arrays.items()}

    @override
    def fingerprint(self) -> str:
        content = content_hash(array.tobytes() for array in self.arrays.values())
        return identity(self.name, self, content)


def image_source(
    name: str,
    split: str,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
) -> ArraySource:
    """Return a source of images in memory.

    Args:
      name: short name, for records.
      split: name of the part of the data set, for records.
      images: uint8 ``[n, height, width, channels]``.
      labels: integers ``[n]``, or ``None``.
      class_names: of the labels; ``None``: "0", "1", ....
    """
    spec = specs.images(images.shape[1:], classes_of(labels, class_names))
    arrays = {"image": images}
    if labels is not None:
        arrays["label"] = labels.astype(np.int32)
    return ArraySource(name, split, arrays, spec)


def classes_of(
    labels: np.ndarray | None, class_names: Sequence[str] | None = None
) -> int | Sequence[str] | None:
    """Return the classes of labels, as `gan_jax.data.spec.labelled` takes them."""
    if labels is None:
        return None
    return class_names or int(labels.max()) + 1


def stack(examples: Iterable[Mapping[str, np.ndarray]]) -> Example:
    """Stack examples by field, ``[n, ...]``; at least one is needed."""
    rows = list(examples)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def content_hash(parts: Iterable[bytes | str]) -> str:
    """Return a hash of the parts and their borders, twelve hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        # Names of files need not be text.
        raw = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()[:12]


def identity(name: str, source: Source, content: str) -> str:
    """Return a fingerprint ``name:split:size:shape:hash``.

    Args:
      name: of the data set, or of its kind if its own name is that of a file.
      source: the data set.
      content: the hash.
    """
    return f"{name}:{source.split}:{len(source)}:{specs.words(source.spec)}:{content}"
