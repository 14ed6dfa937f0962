"""What a source of data is: random access to examples, and what a run needs to know about them."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

Example = dict[str, np.ndarray]


@runtime_checkable
class Source(Protocol):
    """A data set with random access; can be read from many threads, and pickled for workers.

    Attributes:
      name: short name, for records.
      shape: shape of one data point: (height, width, channels), or (2,) for toy points.
      num_classes: number of classes, None when unlabelled.
      class_names: their names in the order of the labels, None when unlabelled.
      failures: index -> reason, of the examples that could not be decoded and that, as the
        configuration allows (``data.on_error = "skip"``), the next readable example stands in for.
        Each process counts what it met itself.
    """

    name: str
    shape: tuple[int, ...]
    num_classes: int | None
    class_names: tuple[str, ...] | None
    failures: dict[int, str]

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def __getitem__(self, index: int) -> Example:
        """Return ``{"image": uint8 [h, w, c] or float32 [2], "label": int32 []}``.

        The label of an unlabelled example is 0. Nobody else holds or changes the arrays.
        """
        ...

    def read(self, indices: Sequence[int]) -> Example:
        """Return several examples, stacked: ``{"image": [n, ...], "label": int32 [n]}``."""
        ...

    def item_name(self, index: int) -> str:
        """Return what a message calls this example, such as its file."""
        ...

    def fingerprint(self) -> str:
        """Return the identity of the content, for records: name, split, size, shape and a hash."""
        ...


class ArraySource:
    """A source that holds its examples in memory.

    Args:
      name: short name, for records.
      split: name of the part of the data set, for records.
      images: uint8 [n, h, w, c] or float32 [n, 2].
      labels: integers [n], or None when unlabelled.
      class_names: names of the classes, or None for "0", "1", ... when labelled.
    """

    def __init__(
        self,
        name: str,
        split: str,
        images: np.ndarray,
        labels: np.ndarray | None,
        class_names: tuple[str, ...] | None = None,
    ):
        self.name = name
        self.split = split
        self.images = images
        self.labels = np.zeros(len(images), np.int32) if labels is None else labels.astype(np.int32)
        self.shape = tuple(images.shape[1:])
        if labels is not None and class_names is None:
            class_names = tuple(str(k) for k in range(int(self.labels.max()) + 1))
        self.class_names = class_names
        self.num_classes = None if class_names is None else len(class_names)
        self.failures: dict[int, str] = {}

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        """Return one example; see :class:`Source`."""
        return {"image": self.images[index], "label": np.asarray(self.labels[index])}

    def read(self, indices: Sequence[int]) -> Example:
        """Return several examples, stacked; see :class:`Source`."""
        chosen = np.asarray(indices)
        return {"image": self.images[chosen], "label": self.labels[chosen]}

    def item_name(self, index: int) -> str:
        """Return what a message calls this example."""
        return f"{self.name}[{index}]"

    def fingerprint(self) -> str:
        """Return the identity of the content; see :class:`Source`."""
        content = content_hash([self.images.tobytes(), self.labels.tobytes()])
        return identity(self, self.split, content)


def stack(examples: Iterable[Mapping[str, np.ndarray]]) -> Example:
    """Stack examples to ``{"image": [n, ...], "label": int32 [n]}``; at least one is needed."""
    rows = list(examples)
    return {name: np.stack([row[name] for row in rows]) for name in ("image", "label")}


def content_hash(parts: Iterable[bytes | str]) -> str:
    """Return twelve hexadecimal digits that stand for the parts and their borders."""
    digest = hashlib.sha256()
    for part in parts:
        # Names of files need not be text.
        raw = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little"))
        digest.update(raw)
    return digest.hexdigest()[:12]


def identity(source: Source, split: str, content: str) -> str:
    """Return a fingerprint ``name:split:size:shape:hash``."""
    shape = "x".join(map(str, source.shape))
    return f"{source.name}:{split}:{len(source)}:{shape}:{content}"
