"""Images from the arrays of an ``.npz`` file."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gan_jax import arrays
from gan_jax.data.sources.base import ArraySource, content_hash, identity
from gan_jax.data.sources.images import Transform
from gan_jax.errors import ConfigError, DataError

# The last of each: what `numpy.savez` calls unnamed arrays.
IMAGE_KEYS = ("image", "images", "x", "arr_0")
LABEL_KEYS = ("label", "labels", "y", "arr_1")
# Every class gets a name and its row in tables: one label of a billion would fill the memory.
_MAX_CLASSES = 10**6


class NpzSource(ArraySource):
    """The images of an ``.npz`` file, in memory.

    The file holds uint8 [n, h, w] or [n, h, w, c] under "image", "images", "x" or "arr_0", and
    may hold integers [n] from 0 on under "label", "labels", "y" or "arr_1". Nothing in it is
    unpickled. The file has no splits: ``data.split`` is only noted down.

    Args:
      path: the file.
      split: noted in the fingerprint.
      transform: the wanted size and channels.

    Raises:
      DataError: the file is missing or damaged, or its arrays are not as said above.
    """

    def __init__(self, path: str | Path, split: str, transform: Transform):
        self.path, self.transform = Path(path), transform
        images, labels, self._content = _load(self.path)
        if transform.shape(*images.shape[1:]) != images.shape[1:] or images.shape[3] == 4:
            images = np.stack([transform.array(image) for image in images])
        super().__init__(self.path.stem, split, images, labels)

    def item_name(self, index: int) -> str:
        """Return the file and the place in its arrays."""
        return f"{self.path}[{index}]"

    def fingerprint(self) -> str:
        """Return the identity of the content, from the checksums that the file itself held."""
        return identity(self, self.split, self._content)

    def __reduce__(self):
        """Send a worker the path instead of the arrays."""
        return NpzSource, (self.path, self.split, self.transform)


def npz(path: str | None, split: str, transform: Transform) -> NpzSource:
    """Return the source for ``data.path``.

    Raises:
      ConfigError: no path is given.
      DataError: the file cannot be used.
    """
    if not path:
        raise ConfigError("data.path is not set; accepted for data.name = 'npz': an .npz file")
    return NpzSource(path, split, transform)


def _load(path: Path) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Return images, labels, and what stands for the content of the file."""

    def choose(found: Sequence[str]) -> list[str]:
        image_key = _only(path, found, IMAGE_KEYS, "images")
        label_key = _only(path, found, LABEL_KEYS, "labels")
        if image_key is None:
            raise DataError(
                f"{path} has no images; accepted names: {', '.join(IMAGE_KEYS)}; found: "
                f"{', '.join(found) or 'none'}"
            )
        return [image_key] if label_key is None else [image_key, label_key]

    try:
        # Opened once: what is told of the content is told of these arrays, whatever comes later.
        with path.open("rb") as file:
            found = arrays.read_open_npz(file, choose)
            with zipfile.ZipFile(file) as archive:
                parts = [f"{m.filename} {m.file_size} {m.CRC:08x}" for m in archive.infolist()]
    except FileNotFoundError as error:
        raise DataError(f"{path} (data.path) does not exist") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (arrays.UnreadableError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read as arrays: {error}") from error
    image_key, label_key = [*found, None][:2]
    assert image_key is not None  # `choose` has seen to it.
    images = found[image_key]
    labels = None if label_key is None else found[label_key]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            f"{path}: {image_key} is {images.dtype} {list(images.shape)}; "
            "accepted: uint8 [n, h, w] or [n, h, w, c], not empty"
        )
    images = images if images.ndim == 4 else images[..., None]
    if labels is not None:
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        fits = labels.shape == images.shape[:1] and np.issubdtype(labels.dtype, np.integer)
        if not fits or labels.min() < 0 or labels.max() >= _MAX_CLASSES:
            raise DataError(
                f"{path}: {label_key} is {labels.dtype} {list(labels.shape)}; "
                f"accepted: integers from 0 to {_MAX_CLASSES - 1:,}, [{len(images)}]"
            )
    return images, labels, content_hash(parts)


def _only(path: Path, found: Sequence[str], accepted: tuple[str, ...], what: str) -> str | None:
    """Return the one accepted name that the file has, or None."""
    names = [name for name in accepted if name in found]
    if len(names) > 1:
        raise DataError(f"{path} has {what} under several names: {', '.join(names)}; accepted: one")
    return names[0] if names else None
