"""Texts of tokens."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from gan_jax.data.kinds.kind import Kind


class Text(Kind):
    """Texts of tokens ``(length,)``, int32; networks see one-hot vectors ``(length, tokens)``.

    What networks make is stored as the token of the largest number at each place. A text ends at
    the first token 0. It is written without what follows; its file is one line, in UTF-8.
    """

    sheet = ".txt"

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return (*self.field.shape, len(self.field.vocabulary))

    @property
    @override
    def suffix(self) -> str:
        return ".txt"

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return jax.nn.one_hot(stored, len(self.field.vocabulary), dtype=jnp.float32)

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return jnp.argmax(data, axis=-1).astype(jnp.int32)

    @override
    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        return f"{self.lines(example[None])[0]}\n".encode()

    @override
    def is_complete(self, content: bytes) -> bool:
        return content.endswith(b"\n")

    @override
    def facts(self) -> dict[str, np.ndarray]:
        vocabulary, separator = self.field.vocabulary, self.field.separator
        return {"vocabulary": np.asarray(vocabulary), "separator": np.asarray(separator)}

    @override
    def lines(self, examples: np.ndarray) -> list[str]:
        """Return a line per example; line breaks within one are written as ``\\n``."""
        names = np.asarray([_escaped(token) for token in self.field.vocabulary])
        ends = np.where((examples == 0).any(axis=1), (examples == 0).argmax(axis=1), None)
        rows = zip(names[examples].tolist(), ends, strict=True)
        return [self.field.separator.join(row[:end]) for row, end in rows]


def _escaped(token: str) -> str:
    """Return a token on one line: a line break as ``\\n``."""
    return token.replace("\n", "\\n")
