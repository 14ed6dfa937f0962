"""Images or sound from the arrays of an ``.npz`` file."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from typing_extensions import override

from gan_jax import arrays, paths
from gan_jax.data.sources import levels, survey
from gan_jax.data.sources.base import ArraySource, classes_of, content_hash, identity
from gan_jax.data.sources.containers import printable
from gan_jax.data.sources.images import Transform
from gan_jax.data.spec import LABEL, Field, image, labelled
from gan_jax.errors import ConfigError, DataError

# Names of the arrays, by field. The last of each is what `numpy.savez` calls an unnamed array.
NAMES = {
    "image": ("image", "images", "x", "arr_0"),
    "audio": ("audio",),
    LABEL: ("label", "labels", "y", "arr_1"),
    "sample_rate": ("sample_rate",),
}
# Name and content of every array, by field.
Found = dict[str, tuple[str, np.ndarray]]
# Every class has a name and a row in tables, which for a label of a billion would fill the memory.
_MAX_CLASSES = 10**6


class NpzSource(ArraySource):
    """The images or the sound of an ``.npz`` file, in memory.

    The file holds one of

    - images: numbers [n, h, w] or [n, h, w, c] under "image", "images", "x" or "arr_0"; those that
      are not uint8 are scaled to it (`gan_jax.data.sources.levels`);
    - sound: int16 or float32 [n, samples] or [n, samples, channels] under "audio", with an integer
      "sample_rate" in Hz;

    and may hold integers [n] from 0 on under "label", "labels", "y" or "arr_1". Other arrays are
    reported as not used. Nothing is unpickled. The file has no splits: ``data.split`` is only
    recorded.

    Args:
      path: the file.
      split: recorded in the fingerprint.
      transform: the wanted size and channels of images.

    Raises:
      ConfigError: ``path`` is not set.
      DataError: the file is missing or damaged, or its arrays are not as described above.
    """

    def __init__(self, path: str | Path | None, split: str, transform: Transform):
        if not path:
            raise ConfigError("data.path is not set; accepted for data.name = 'npz': an .npz file")
        self.path, self.transform = paths.local(path, "data.path"), transform
        found, self._content, others = _load(self.path)
        name, make = ("audio", _audio) if "audio" in found else ("image", _images)
        data, field, scale, notes = make(self.path, found, transform)
        held = {name: data}
        if LABEL in found:
            held[LABEL] = _labels(self.path, *found[LABEL], len(data))
        spec = labelled(name, field, classes_of(held.get(LABEL)))
        super().__init__(self.path.stem, split, held, spec, notes)
        self.levels = scale
        self.unused = (f"arrays {', '.join(map(printable, others))}",) if others else ()

    @override
    def item_name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    @override
    def fingerprint(self) -> str:
        return identity("npz", self, self._content)

    # A worker is sent the path instead of the arrays.
    def __reduce__(self):
        return NpzSource, (self.path, self.split, self.transform)


def _load(path: Path) -> tuple[Found, str, list[str]]:
    """Return the arrays of a file by field, a hash of its content, and the names of the others."""
    names: dict[str, str] = {}
    others: list[str] = []

    def choose(found: Sequence[str]) -> list[str]:
        for field, accepted in NAMES.items():
            if (name := _only(path, found, accepted, field)) is not None:
                names[field] = name
        data = [field for field in ("image", "audio") if field in names]
        if len(data) != 1:
            known = ", ".join((*NAMES["image"], *NAMES["audio"]))
            raise DataError(
                f"{path} has {' and '.join(data) or 'no data'}; accepted: one of {known}; "
                f"found: {', '.join(found) or 'none'}"
            )
        others.extend(name for name in found if name not in names.values())
        return list(names.values())

    try:
        # Opened once: the checksums are those of these arrays, even if the file is replaced.
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
    by_field = {field: (name, found[name]) for field, name in names.items()}
    return by_field, content_hash(parts), others


# The data, their field, and `levels` and `notes` of a source.
Data = tuple[np.ndarray, Field, levels.Levels | None, tuple[str, ...]]


def _images(path: Path, found: Found, transform: Transform) -> Data:
    name, images = found["image"]
    if images.dtype.kind not in "buif" or images.ndim not in (3, 4) or 0 in images.shape:
        raise _refused(path, name, images, "numbers [n, h, w] or [n, h, w, c], not empty")
    _check_order(path, name, images, transform)
    images = images if images.ndim == 4 else images[..., None]
    images = images.astype(np.int16) if images.dtype == bool else images
    scale = levels.given(transform.value_range)
    if scale is not None:
        levels.check_use(scale, str(path), has_deep=images.dtype != np.uint8)
    elif images.dtype != np.uint8:
        scale = levels.found([images])
    height, width, channels = images.shape[1:]
    if scale is not None or transform.shape(height, width, channels) != images.shape[1:]:
        if not np.isfinite(images).all():
            raise DataError(f"{path}: {name} has numbers that are not finite")
        images = np.stack([transform.array(one, scale) for one in images])
    words = [str(scale)] if scale else survey.darkness(images, "of the images")
    notes = [f"of {height}x{width}", *words]
    return images, image(images.shape[1:]), scale, tuple(notes)


def _check_order(path: Path, name: str, images: np.ndarray, transform: Transform) -> None:
    """Refuse arrays whose axes seem to be others than [n, h, w] or [n, h, w, c]."""
    _, height, *rest = images.shape
    last = rest[-1]
    if len(rest) == 2 and last > 4 and height < min(rest) and transform.channels != last:
        accepted = f"channels last, as of numpy.moveaxis({name}, 1, -1), or data.channels = {last}"
        raise _refused(path, name, images, f"{accepted} if these are channels")
    if len(rest) == 1 and last in (1, 3, 4) and height > 4:
        raise _refused(path, name, images, "[n, h, w, c] of what may be one image, or [n, h, w, 1]")


def _audio(path: Path, found: Found, transform: Transform) -> Data:
    del transform
    _, sound = found["audio"]
    if sound.dtype not in (np.int16, np.float32) or sound.ndim not in (2, 3) or 0 in sound.shape:
        accepted = "int16 or float32 [n, samples] or [n, samples, channels], not empty"
        raise _refused(path, "audio", sound, accepted)
    _, rate = found.get("sample_rate", ("", None))
    if rate is None:
        raise DataError(f"{path} has audio without sample_rate; accepted: an integer, in Hz")
    if rate.shape != () or not np.issubdtype(rate.dtype, np.integer) or rate < 1:
        raise _refused(path, "sample_rate", rate, "a positive integer, in Hz")
    sound = sound if sound.ndim == 3 else sound[..., None]
    field = Field("audio", sound.shape[1:], sound.dtype.name, sample_rate=int(rate))
    return sound, field, None, ()


def _labels(path: Path, name: str, labels: np.ndarray, count: int) -> np.ndarray:
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    accepted = f"integers from 0 to {_MAX_CLASSES - 1:,}, [{count}]"
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise _refused(path, name, labels, accepted)
    low, high = labels.min(), labels.max()
    if low < 0 or high >= _MAX_CLASSES:
        raise DataError(f"{path}: {name} is from {low:,} to {high:,}; accepted: {accepted}")
    return labels.astype(np.int32)


def _refused(path: Path, name: str, array: np.ndarray, accepted: str) -> DataError:
    return DataError(f"{path}: {name} is {array.dtype} {list(array.shape)}; accepted: {accepted}")


def _only(path: Path, found: Sequence[str], accepted: tuple[str, ...], what: str) -> str | None:
    """Return the one accepted name that the file has, or None."""
    names = [name for name in accepted if name in found]
    if len(names) > 1:
        raise DataError(f"{path} has {what} under several names: {', '.join(names)}; accepted: one")
    return names[0] if names else None
