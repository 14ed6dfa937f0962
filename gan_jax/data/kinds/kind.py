"""What a kind of data does; the defaults are those of plain floats."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.data.spec import Field
from gan_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Kind:
    """The operations on the arrays of a field; the defaults are those of plain floats.

    Attributes:
      field: the field.
      crowd: examples that a picture shows for each that is asked for.
      backdrop: real examples that a picture shows behind generated ones.
      movable: whether examples can be mirrored and cropped.
      sheet: the suffix of a file that shows many examples: ".png", a picture, or ".txt", lines.
    """

    field: Field
    crowd = 1
    backdrop = 0
    movable = False
    sheet = ".png"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example as networks see it."""
        return self.field.shape

    @property
    def suffix(self) -> str:
        """The suffix of a file that holds one example; the empty string: there is no such file."""
        return ""

    def to_network(self, stored: jax.Array) -> jax.Array:
        """Return stored arrays ``[...]`` as networks see them: float32, same shape."""
        return stored.astype(jnp.float32)

    def to_stored(self, data: jax.Array) -> jax.Array:
        """Return what networks see or make as the field stores it; inverse of `to_network`."""
        return data.astype(self.field.dtype)

    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        """Return the content of a file of one stored example.

        Args:
          example: ``[*field.shape]``.
          text: for formats that have chunks of text, by their keys.

        Raises:
          ConfigError: the kind has no such file.
        """
        raise ConfigError(
            f"an example of kind {self.field.kind!r} has no file of its own; accepted: an .npz"
        )

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of all files that `files` returns."""
        return (self.suffix,)

    def files(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> dict[str, bytes]:
        """Return by suffix the content of `file`, and of others of the same stored example."""
        return {self.suffix: self.file(example, text)}

    def is_complete(self, content: bytes) -> bool:
        """Return whether the content of one of `files` is not truncated."""
        return bool(content)

    def facts(self) -> dict[str, np.ndarray]:
        """Return what an ``.npz`` of such data holds beside the examples."""
        return {}

    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        """Return a picture of stored examples.

        Args:
          examples: ``[n, *field.shape]``.
          columns: tiles per row; ``None``: as square as ``n`` allows.
          real: ``backdrop`` real examples, where the kind shows some.

        Returns:
          uint8 ``[height, width, 1 or 3]``.

        Raises:
          ConfigError: the kind cannot be shown.
        """
        raise ConfigError(f"examples of kind {self.field.kind!r} cannot be shown as a picture")

    def lines(self, examples: np.ndarray) -> list[str]:
        """Return stored examples ``[n, *field.shape]`` as a line of text each.

        Raises:
          ConfigError: the kind is no text.
        """
        raise ConfigError(f"examples of kind {self.field.kind!r} cannot be shown as text")
