"""Writing of many samples to a folder of files or to an ``.npz``, a few batches at a time.

A folder has a record that describes its samples, and accepts no others: nothing in it is ever
replaced, and the same call continues an export that was stopped.
"""

import concurrent.futures
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.report import atomic
from gan_jax.report.bar import Advance
from gan_jax.training.sampling import Sampler

#: The file that describes a folder's samples.
RECORD = "samples.json"
_WRITERS = 8


def weights_hash(variables: Mapping[str, Any]) -> str:
    """Return twelve hexadecimal digits that identify the variables of networks."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(dict(variables)):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:12]


def class_folders(class_names: Sequence[str]) -> list[str]:
    """Return the name of a folder for each class, which sort in the order of the classes."""
    width = len(str(len(class_names) - 1))
    folders = []
    for label, name in enumerate(class_names):
        plain = "".join(c if c.isalnum() or c in "-_. " else "_" for c in name)
        own = "" if name == str(label) else f"-{plain}"
        folders.append(f"{label:0{width}d}{own}")
    return folders


def check_folder(folder: str | Path, about: Mapping[str, Any]) -> None:
    """Check that samples may be written into a folder, which need not exist.

    Args:
      folder: the folder.
      about: the description of the samples, JSON-able, or a part of it.

    Raises:
      WorkdirError: it holds something else, such as samples of another description.
    """
    folder = Path(folder)
    accepted = "accepted: a new or empty folder, or one of the same samples, which is continued"
    try:
        names = [p.name for p in folder.iterdir()] if folder.exists() else []
        if not names:
            return
        if RECORD not in names:
            raise errors.WorkdirError(f"{folder} is not empty and has no {RECORD}; {accepted}")
        record = json.loads((folder / RECORD).read_text())
        if not isinstance(record, dict):
            raise ValueError("it is no JSON object")
    except OSError as error:
        raise errors.WorkdirError(f"Cannot read {folder}: {error.strerror or error}") from error
    except ValueError as error:
        raise errors.WorkdirError(f"{folder / RECORD} is damaged: {error}") from error
    for name, value in json.loads(json.dumps(dict(about))).items():
        if record.get(name) != value:
            raise errors.WorkdirError(
                f"{folder} holds other samples: {name} is {record.get(name)} there and {value} "
                f"here; {accepted}"
            )


def to_folder(
    folder: str | Path,
    sampler: Sampler,
    variables: dict[str, Any],
    num: int,
    about: Mapping[str, Any],
    *,
    place: Callable[[int], str] = lambda number: "",
    text: Mapping[str, str] | None = None,
    advance: Advance = lambda done: None,
) -> int:
    """Write samples as ``00000000.png``, ``00000001.png``, ...; complete files are kept.

    The suffixes are those of the data's kind: of music there are two files of each sample. Side
    effect: creates the folder, with its record.

    Args:
      folder: new, empty, or one that this function has partly filled.
      sampler: makes them.
      variables: as the sampler's `place` returns them.
      num: how many.
      about: the description of the samples, JSON-able.
      place: sub-folder of a sample's number; the empty string: none.
      text: of every file, for formats that have chunks of text; the sample's number is added.
      advance: called with the number of samples done.

    Returns:
      How many were written; the others existed already.

    Raises:
      WorkdirError: the folder holds something else, or cannot be written.
    """
    folder = Path(folder)
    check_folder(folder, about)
    atomic.write_text(folder / RECORD, json.dumps(dict(about), indent=2, sort_keys=True) + "\n")
    kind = kinds.of(specs.data_field(sampler.spec))
    names = [folder / place(i) / f"{i:08d}" for i in range(num)]
    written = 0

    def missing(first: int) -> list[int]:
        numbers = range(first, min(first + sampler.batch_size, num))
        return [i for i in numbers if not _is_complete(names[i], kind)]

    def write(number: int, example: np.ndarray) -> None:
        files = kind.files(example, {**(text or {}), "sample": str(number)})
        for suffix, content in files.items():
            # Waiting for the disk would take longer than all else; `_is_complete` finds what was
            # lost.
            with atomic.replacing(names[number].with_suffix(suffix), sync=False) as file:
                file.write(content)

    with concurrent.futures.ThreadPoolExecutor(_WRITERS) as pool:
        for first, wanted, data in _batches(sampler, variables, num, missing):
            if wanted:
                chosen = data[np.array(wanted) - first]
                # Listed, so that an error in a thread is raised here.
                list(pool.map(write, wanted, chosen))
            written += len(wanted)
            advance(min(first + sampler.batch_size, num))
    return written


def to_npz(
    path: str | Path,
    sampler: Sampler,
    variables: dict[str, Any],
    num: int,
    arrays: Mapping[str, np.ndarray],
    *,
    advance: Advance = lambda done: None,
) -> None:
    """Write samples atomically to an ``.npz`` file, as an array named after their field.

    An existing file is replaced. ``arrays`` are other arrays for it; the other arguments are those
    of `to_folder`.

    Raises:
      WorkdirError: it cannot be written.
    """
    with atomic.replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        kind = kinds.of(specs.data_field(sampler.spec))
        for name, array in {**arrays, **kind.facts()}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        with archive.open(f"{specs.data_name(sampler.spec)}.npy", "w", force_zip64=True) as member:
            for first, _, data in _batches(sampler, variables, num, lambda first: [first]):
                if first == 0:
                    header = {
                        "descr": np.lib.format.dtype_to_descr(data.dtype),
                        "fortran_order": False,
                        "shape": (num, *data.shape[1:]),
                    }
                    np.lib.format.write_array_header_1_0(member, header)
                member.write(np.ascontiguousarray(data[: num - first]).tobytes())
                advance(min(first + sampler.batch_size, num))


def _batches(
    sampler: Sampler, variables: dict[str, Any], num: int, wanted: Callable[[int], list[int]]
) -> Iterator[tuple[int, list[int], np.ndarray]]:
    """Yield (first number, numbers wanted, samples); a batch of which none is wanted is not made.

    The devices work on a batch while the host writes the one before.
    """
    pending: tuple[int, list[int], Any] | None = None
    for first in range(0, num, sampler.batch_size):
        numbers = wanted(first)
        data = sampler.batch(variables, first) if numbers else np.empty(0)
        if pending is not None:
            yield pending[0], pending[1], np.asarray(jax.device_get(pending[2]))
        pending = first, numbers, data
    if pending is not None:
        yield pending[0], pending[1], np.asarray(jax.device_get(pending[2]))


def _is_complete(path: Path, kind: kinds.Kind) -> bool:
    """Return whether the files of a sample are complete; after a power cut they may be truncated.

    Args:
      path: of them, without their suffix.
      kind: of the sample.
    """
    try:
        files = [path.with_suffix(suffix) for suffix in kind.suffixes]
        return all(kind.is_complete(file.read_bytes()) for file in files)
    except OSError:
        return False
