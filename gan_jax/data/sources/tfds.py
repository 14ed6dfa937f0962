"""Data sets of TensorFlow Datasets (TFDS), read from ArrayRecord files without TensorFlow."""

import dataclasses
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from gan_jax import installation
from gan_jax.data.sources import levels
from gan_jax.data.sources.base import Example, Source, content_hash, identity
from gan_jax.data.sources.containers import file_state
from gan_jax.data.sources.images import Transform, decode
from gan_jax.data.spec import LABEL, images
from gan_jax.errors import ConfigError, DataError, UnknownNameError, suggestion


def find_builder(name: str, data_dir: str | None, known_here: Sequence[str] = ()) -> Any:
    """Return the TFDS builder of a data set, which need not be prepared.

    Args:
      name: its name in TFDS: "cifar10", "imagenet_resized/64x64", "mnist:3.0.1".
      data_dir: the TFDS folder; None: ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.
      known_here: other names that ``data.name`` accepts, for the message.

    Raises:
      ConfigError: TFDS knows no such data set, configuration or version.
    """
    # TFDS would download and run the code of a community data set, which the configuration of
    # another person's run could name.
    if re.match(r"[\w-]+:[a-zA-Z]", name):
        raise ConfigError(
            f"data.name = {name!r} is a community data set, which comes with code of its own; "
            "accepted: a name of the TFDS catalog"
        )
    import tensorflow_datasets as tfds  # slow to import, and needed for these sets only

    try:
        return tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except tfds.core.registered.DatasetNotFoundError as error:
        known = [*known_here, *tfds.list_builders(with_community_datasets=False)]
        here = f"{', '.join(known_here)}, " if known_here else ""
        raise ConfigError(
            f"data.name = {name!r} is unknown; accepted: {here}or a name of the TFDS catalog."
            f"{suggestion(name, known)}"
        ) from error
    except (ValueError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"data.name = {name!r} cannot be used: {reason}") from error


def prepare_command(name: str, data_dir: str | None) -> str:
    """Return the command that prepares a data set."""
    place = f" --data_dir {data_dir}" if data_dir else ""
    return f"{installation.command('prepare')} {name}{place}"


class TfdsSource(Source):
    """The images of one split of a TFDS data set, decoded at every access.

    The fields are the feature "image" (or the only image feature), and "label" if it is a class;
    other features are ignored.

    Args:
      name: name of the data set in TFDS.
      split: a split, or a part of one: "train", "test[:50%]".
      data_dir: the TFDS folder; None: ``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``.
      transform: the wanted size and channels.
      known_here: other names that ``data.name`` accepts, for a message.

    Raises:
      ConfigError: data set or split is unknown.
      DataError: it is not prepared (the message has the command), or has no images.
    """

    decodes = True

    def __init__(
        self,
        name: str,
        split: str,
        data_dir: str | None,
        transform: Transform,
        known_here: Sequence[str] = (),
    ):
        builder = find_builder(name, data_dir, known_here)
        info = builder.info
        if not info.splits:
            raise DataError(
                f"{name} is not prepared: {builder.data_dir} has no ArrayRecord files. "
                f"Prepare it once with: {prepare_command(name, data_dir)}"
            )
        self._data_dir, self._folder = data_dir, Path(builder.data_dir)
        self._image = _image_feature(name, info.features)
        try:
            part = info.splits[split]
        except (KeyError, ValueError) as error:
            raise UnknownNameError(
                f"data.split = {split!r}: {name} has no such split; accepted: "
                f"{', '.join(info.splits)}, or a part such as {min(info.splits)}[:50%]"
            ) from error
        shape = info.features[self._image].shape
        self._transform = _settled(name, shape, transform)
        super().__init__(
            name, split, images(self._transform.shape(*shape), _class_names(info.features))
        )
        self.levels = levels.given(transform.value_range)
        self._records = _open(builder, split)
        self._lock = threading.Lock()
        self._content = content_hash([info.full_name, str(part.num_examples), str(part.num_bytes)])
        if len(self._records) == 0:
            raise DataError(f"data.split = {split!r} of {name} is empty")
        self.read([0])  # fail now rather than at the first step

    @override
    def __len__(self) -> int:
        return len(self._records)

    @override
    def read(self, indices: Sequence[int]) -> Example:
        records = self._read_records(indices)
        pixels = [
            self._pixels(int(i), record[self._image])
            for i, record in zip(indices, records, strict=True)
        ]
        rows = {"image": np.stack(pixels)}
        if LABEL in self.spec:
            rows[LABEL] = _labels(records)
        return rows

    @override
    def read_labels(self, indices: Sequence[int]) -> np.ndarray:
        return _labels(self._read_records(indices))

    def _read_records(self, indices: Sequence[int]) -> list[Any]:
        """Return records, their images still encoded."""
        try:
            # One reader of ArrayRecord has one position in its file, so threads take turns.
            with self._lock:
                return list(self._records.__getitems__([int(i) for i in indices]))
        # ArrayRecord and TFDS raise exceptions of several types on damaged files.
        except Exception as error:
            raise DataError(f"{self.name} ({self.split}) cannot be read: {error}") from error

    def _pixels(self, index: int, raw: bytes) -> np.ndarray:
        try:
            alpha = self._transform.channels == 4
            return self._transform(decode(raw, self.levels, alpha=alpha))
        # Pillow raises exceptions of any type on damaged images.
        except Exception as error:
            raise DataError(f"{self.item_name(index)} cannot be used: {error}") from error

    @override
    def item_name(self, index: int) -> str:
        return f"{self.name}:{self.split}[{index}]"

    @override
    def fingerprint(self) -> str:
        return identity(self.name, self, self._content)

    @override
    def decoded_key(self) -> str:
        states = [file_state(path) for path in sorted(self._folder.iterdir())]
        return content_hash([self.fingerprint(), repr((self._transform, self.levels)), *states])

    # A worker opens the files itself.
    def __reduce__(self):
        return TfdsSource, (self.name, self.split, self._data_dir, self._transform)


def _labels(records: Sequence[Any]) -> np.ndarray:
    return np.array([record["label"] for record in records], np.int32)


def _settled(name: str, shape: Sequence[int | None], transform: Transform) -> Transform:
    """Return the transform with the channels that it gives images of a shape."""
    if transform.resolution is None and None in shape[:2]:
        raise ConfigError(
            f"data.resolution = None: the images of {name} differ in size; accepted: a number"
        )
    transform.check_files()
    return dataclasses.replace(
        transform, channels=transform.channels or (1 if shape[2] == 1 else 3)
    )


def _image_feature(name: str, features: Any) -> str:
    import tensorflow_datasets as tfds

    images = [k for k, feature in features.items() if isinstance(feature, tfds.features.Image)]
    if "image" in images:
        return "image"
    if len(images) != 1:
        raise DataError(
            f"{name} has no feature 'image', but {', '.join(images) or 'no images at all'}; "
            "accepted: data sets of images"
        )
    return images[0]


def _class_names(features: Any) -> tuple[str, ...] | None:
    import tensorflow_datasets as tfds

    label = dict(features).get("label")
    if not isinstance(label, tfds.features.ClassLabel):
        return None
    return tuple(label.names or map(str, range(label.num_classes)))


def _open(builder: Any, split: str) -> Any:
    """Return the records of a split, their images still encoded."""
    import tensorflow_datasets as tfds

    encoded = {
        name: tfds.decode.SkipDecoding()
        for name, feature in builder.info.features.items()
        if isinstance(feature, tfds.features.Image)
    }
    try:
        return builder.as_data_source(split, decoders=encoded)
    # NotImplementedError: the files that lie there are TFRecords.
    except (OSError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"{builder.info.full_name} in {builder.data_dir} cannot be read without TensorFlow: "
            f"{error}. Prepare it as ArrayRecord in another folder with: "
            f"{prepare_command(builder.name, 'DIR')}"
        ) from error
