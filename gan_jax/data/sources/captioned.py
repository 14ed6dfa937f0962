"""Images with captions in a folder or a zip archive, read in place.

Captions are the column ``text`` of ``metadata.jsonl`` or ``metadata.csv``, by the convention of
Hugging Face (`gan_jax.data.sources.metadata`); without that column they are text files of the
images' names, ``a.txt`` beside ``a.png``, of which the first line is the caption. Splits are
folders as of other images, see `gan_jax.data.sources.splits`; other folders mean nothing.
"""

import collections
import dataclasses
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from typing_extensions import override

from gan_jax.data import captions
from gan_jax.data import spec as specs
from gan_jax.data.sources import metadata
from gan_jax.data.sources.containers import Files, by_suffix, printable
from gan_jax.data.sources.folder import FolderSource
from gan_jax.data.sources.images import Transform
from gan_jax.data.sources.splits import Part, choose_split
from gan_jax.errors import DataError, require

# The words of captions by the path of the image.
Words = dict[str, list[str]]


@dataclasses.dataclass(frozen=True)
class Captions:
    """How captions become tokens: their words in lower case, without punctuation.

    Attributes:
      column: of the metadata, that has the captions.
      length: the most words of a caption; of a longer one the first are used, and how many are
        longer is reported.
      vocabulary: the number of different words, the most frequent ones of the training captions;
        others are replaced by U+FFFD, and how many they are is reported.
    """

    column: str = "text"
    length: int = 20
    vocabulary: int = 5000

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        require(self.length >= 1, "data.captions.length", self.length, "1 or more")
        require(self.vocabulary >= 1, "data.captions.vocabulary", self.vocabulary, "1 or more")

    def known(self, words: Iterable[Sequence[str]]) -> list[str]:
        """Return the vocabulary of captions, sorted."""
        counts = collections.Counter(word for row in words for word in row[: self.length])
        frequent = sorted(counts, key=lambda word: (-counts[word], word))
        return sorted(frequent[: self.vocabulary])


class CaptionedSource(FolderSource):
    """A source of images in files with captions, int32 ``[length]``, as their label.

    Args:
      path: folder, zip, or place inside a zip.
      split: as for `FolderSource`.
      transform: as for `FolderSource`.
      wording: how captions become tokens. The vocabulary is that of the split "train" of the set,
        whichever is read, or of all images where there are no splits or all are read.
      on_error: what happens at an image without a caption: "raise" is an error that names it, and
        "skip" leaves such images out and reports how many; and at one that is not intact, as for
        `FolderSource`.

    Raises:
      ConfigError: as for `FolderSource`.
      DataError: as for `FolderSource`; there are no captions; one is no text in UTF-8.
    """

    NAME = "captioned"
    ANYWHERE = True

    def __init__(
        self,
        path: str | Path | None,
        split: str,
        transform: Transform,
        wording: Captions,
        on_error: str = "raise",
    ):
        self._wording = wording
        super().__init__(path, split, transform, on_error)

    @override
    def _read_labels(
        self,
        part: Part,
        images: Collection[str],
        others: Sequence[str],
        columns: Sequence[str] | None,
    ) -> specs.Field:
        training = images if self.split == "all" else self._training(images)
        found = self._of_metadata(images, others) or self._of_files(
            {*part.names, *training}, others
        )
        words, self.unused, self.notes = found
        self.unused = (*part.unused, *self.unused)
        self._keep_captioned(words)
        known = self._wording.known(words.get(name, ()) for name in training)
        if not known:
            raise DataError(f"{self.name} has no captions of images of its split train")
        meanings = {word: k for k, word in enumerate(known, start=1)}
        self.labels = self._tokens([words[name] for name in self.names], meanings)
        return captions.field(self._wording.length, {**meanings, captions.UNKNOWN: 0}, self.labels)

    def _training(self, images: Collection[str]) -> list[str]:
        """Return the images whose captions make the vocabulary."""
        show = self.files.full_name
        return choose_split(sorted(images), self._inside, "train", show, has_metadata=True).names

    def _of_metadata(
        self, images: Collection[str], others: Sequence[str]
    ) -> tuple[Words, tuple[str, ...], tuple[str, ...]] | None:
        """Return the captions in metadata, what is not used, and notes; ``None``: there are none.

        Raises:
          DataError: a caption is no text.
        """
        column = self._wording.column
        rows, without = metadata.read(self.files, others, required=False)
        if not any(column in row for row in rows.values()):
            return None
        if self.split != "all":
            metadata.check_split(rows, self.names, (column,))
        words: Words = {}
        for name, row in rows.items():
            text = row.get(column)
            if not isinstance(text, str | None):
                raise DataError(
                    f"the metadata have {text!r} as the {column} of {printable(name)}; accepted: "
                    "a text (data.captions.column)"
                )
            words[name] = captions.words(text or "")
        left = [name for name in others if PurePosixPath(name).name not in metadata.FILES]
        unused = (
            *by_suffix(left),
            *(f"{printable(name)}, which has no column file_name" for name in without),
            *metadata.unused(rows, images, (column,)),
        )
        return words, unused, (f"captions: the column {column} of the metadata",)

    def _of_files(
        self, images: Collection[str], others: Sequence[str]
    ) -> tuple[Words, tuple[str, ...], tuple[str, ...]]:
        """Return the captions in text files, what is not used, and notes.

        Raises:
          DataError: there are none, or one is not text in UTF-8.
        """
        texts = {_stem(name): name for name in others if name.lower().endswith(".txt")}
        beside = {name: texts[_stem(name)] for name in images if _stem(name) in texts}
        if not beside:
            raise DataError(
                f"{self.name} has no captions; accepted: a column {self._wording.column} "
                f"(data.captions.column) of {' or '.join(metadata.FILES)}, or text files of the "
                "images' names, such as a.txt beside a.png"
            )
        words: Words = {}
        longer = 0
        for name, text in beside.items():
            lines = [line for line in _read(self.files, text).splitlines() if line.strip()]
            words[name] = captions.words(lines[0] if lines else "")
            longer += len(lines) > 1
        used = set(beside.values())
        notes = [f"captions: {len(used):,} text files"]
        if longer:
            notes.append(f"of {longer:,} captions of several lines, the first line is used")
        return words, tuple(by_suffix([name for name in others if name not in used])), tuple(notes)

    def _keep_captioned(self, words: Words) -> None:
        """Leave out images without a caption, and say so in ``unused``.

        Raises:
          DataError: there are some, and ``on_error`` is "raise"; or no others.
        """
        missing = [name for name in self.names if not words.get(name)]
        if not missing:
            return
        first = f"such as {self.files.full_name(missing[0])}"
        if self.on_error == "raise" or len(missing) == len(self.names):
            raise DataError(
                f"{len(missing):,} of {len(self.names):,} images have no caption, {first} "
                '(data.on_error = "skip" leaves them out)'
            )
        sizes = dict(zip(self.names, self._sizes, strict=True))
        self.names = [name for name in self.names if words.get(name)]
        self._sizes = [sizes[name] for name in self.names]
        self.unused += (f"{len(missing):,} images without a caption, {first}",)

    def _tokens(self, rows: Sequence[Sequence[str]], meanings: Mapping[str, int]) -> np.ndarray:
        """Return captions as tokens, int32 ``[n, length]``, and note what they lose."""
        length, unknown = self._wording.length, len(meanings) + 1
        if longer := sum(len(row) > length for row in rows):
            self.notes += (
                f"{longer:,} of {len(rows):,} captions are longer than {length} words, of which "
                "the first are used",
            )
        numbers = [[meanings.get(word, unknown) for word in row[:length]] for row in rows]
        replaced, count = sum(row.count(unknown) for row in numbers), sum(map(len, numbers))
        if replaced:
            self.notes += (
                f"{replaced:,} of {count:,} words of captions are not among the {len(meanings):,} "
                "that are known",
            )
        return captions.padded(numbers, length)


def _stem(name: str) -> str:
    return PurePosixPath(name).with_suffix("").as_posix()


def _read(files: Files, name: str) -> str:
    """Return the content of a text file.

    Raises:
      DataError: it cannot be read, or is not UTF-8.
    """
    try:
        return files.read(name).decode("utf-8-sig")
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as error:
        raise DataError(f"{files.full_name(name)} cannot be read as text: {error}") from error
