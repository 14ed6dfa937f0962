"""Examples from any text file in UTF-8: its lines, or consecutive windows of it.

A token is a character or a word. The vocabulary is that of the whole file, whatever the split: its
most frequent tokens, sorted; all others are replaced by U+FFFD. Of ten examples in succession, the
last one belongs to the split "test", and the others to "train".
"""

import collections
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from typing_extensions import override

from gan_jax import paths
from gan_jax.data.sources.base import ArraySource, content_hash, identity
from gan_jax.data.spec import text
from gan_jax.errors import ConfigError, DataError, lookup, require

UNKNOWN = "\ufffd"
_SEPARATORS = {"characters": "", "words": " "}
# Of ten examples, those of a split.
_SPLITS = {"train": range(9), "test": (9,), "all": range(10)}


@dataclasses.dataclass(frozen=True)
class Tokenization:
    """How a text file is divided into examples and tokens.

    Attributes:
      tokens: "characters", or "words" between white space.
      length: the most tokens of an example; longer lines are left out, and how many is reported.
      vocabulary: the number of different tokens; less frequent ones are replaced by U+FFFD.
      windows: whether examples are the consecutive windows of ``length`` tokens of the file, in
        place of its lines. Line breaks are then characters like others.
    """

    tokens: str = "characters"
    length: int = 32
    vocabulary: int = 128
    windows: bool = False

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        lookup(_SEPARATORS, self.tokens, "data.text.tokens")
        require(self.length >= 1, "data.text.length", self.length, "1 or more")
        require(self.vocabulary >= 1, "data.text.vocabulary", self.vocabulary, "1 or more")

    def examples(self, content: str, path: Path) -> tuple[list[list[str]], list[str]]:
        """Return the examples of a text as tokens, and what is left out, in words.

        Raises:
          DataError: there are none.
        """
        split: Callable[[str], list[str]] = list if self.tokens == "characters" else str.split
        if self.windows:
            tokens = split(content)
            count = len(tokens) // self.length
            if not count:
                raise DataError(
                    f"{path} has {len(tokens)} {self.tokens}; accepted for data.text.length = "
                    f"{self.length} with windows: {self.length} or more"
                )
            return [tokens[i * self.length : (i + 1) * self.length] for i in range(count)], []
        lines = [split(line.strip()) for line in content.split("\n") if line.strip()]
        if not lines:
            raise DataError(f"{path} has no text; accepted: a line or more")
        kept = [line for line in lines if len(line) <= self.length]
        if not kept:
            raise DataError(
                f"{path} has no line of at most data.text.length = {self.length} {self.tokens}; "
                f"accepted: {min(map(len, lines))} or more, or data.text.windows = True"
            )
        left = len(lines) - len(kept)
        longer = f"{left:,} of {len(lines):,} lines are longer than {self.length} {self.tokens}"
        return kept, [f"{longer}, and left out"] if left else []


class TextSource(ArraySource):
    """The lines or windows of a text file, in memory: ``text``, int32 ``[length]``.

    A byte-order mark is left out, and line breaks of all systems are one character. White space
    around a line is left out, and so are empty lines.

    Args:
      path: the file.
      split: "train" (nine of ten examples), "test" (the tenth) or "all".
      tokenization: how it is divided.

    Raises:
      ConfigError: ``path`` is not set, or the split is unknown.
      DataError: the file is missing, is not UTF-8, or has no examples.
    """

    def __init__(self, path: str | Path | None, split: str, tokenization: Tokenization):
        if not path:
            raise ConfigError("data.path is not set; accepted for data.name = 'text': a text file")
        places = lookup(_SPLITS, split, "data.split")
        self.path, self._tokenization = paths.local(path, "data.path"), tokenization
        content = _read(self.path)
        examples, notes = tokenization.examples(content, self.path)
        counts = collections.Counter(token for example in examples for token in example)
        frequent = sorted(counts, key=lambda token: (-counts[token], token))
        known = sorted(frequent[: tokenization.vocabulary])
        rare = frequent[tokenization.vocabulary :]
        if rare:
            notes.append(
                f"{len(rare):,} of {len(counts):,} different {tokenization.tokens} are replaced by "
                f"U+FFFD ({sum(counts[token] for token in rare) / counts.total():.1%} of the text)"
            )
        vocabulary = [*known, UNKNOWN] if rare and UNKNOWN not in known else known
        number = {token: i for i, token in enumerate(vocabulary, start=1)}
        unknown = number.get(UNKNOWN, 0)
        chosen = [example for i, example in enumerate(examples) if i % 10 in places]
        if not chosen:
            raise DataError(
                f"{self.path} has {len(examples)} examples; accepted for data.split = {split!r}: "
                "10 or more"
            )
        tokens = np.zeros((len(chosen), tokenization.length), np.int32)
        for row, example in zip(tokens, chosen, strict=True):
            row[: len(example)] = [number.get(token, unknown) for token in example]
        self._content = content_hash([content, repr(tokenization)])
        field = text(tokenization.length, vocabulary, _SEPARATORS[tokenization.tokens])
        super().__init__(self.path.stem, split, {"text": tokens}, {"text": field}, notes)

    @override
    def item_name(self, index: int) -> str:
        return f"{self.path}[{index}]"

    @override
    def fingerprint(self) -> str:
        return identity("text", self, self._content)

    # A worker is sent the path instead of the arrays.
    def __reduce__(self):
        return TextSource, (self.path, self.split, self._tokenization)


def _read(path: Path) -> str:
    """Return the content of a text file, with line breaks as one character each.

    Raises:
      DataError: it cannot be read, or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} (data.path) does not exist") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise DataError(
            f"{path} is not UTF-8: byte 0x{byte:02x} in line {line}; accepted: text in UTF-8, as "
            "by iconv -t utf-8"
        ) from error
    return decoded.replace("\r\n", "\n").replace("\r", "\n")
