"""The interface of degradations: keyed functions from clean images to a network's inputs."""

import abc
import dataclasses
import math
import numbers
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError

Range = tuple[float, float]
"""An inclusive range (low, high), from which one number is drawn uniformly per image."""

AXES = {
    "image": ("height", "width", "channels"),
    "audio": ("samples", "channels"),
    "video": ("frames", "height", "width", "channels"),
}
"""The axes of one example of each kind of data that can be degraded."""

BYTE = 2.0 / 255.0
"""One step of 0 ... 255 in images in [-1, 1]."""


class Degraded(NamedTuple):
    """Degraded images or sounds.

    Attributes:
      input: float32 ``[batch, height / scale, width / scale, inputs(channels)]`` in [-1, 1]; of
        sounds ``[batch, samples / scale, inputs(channels)]``, and of ``mel`` not within [-1, 1];
        of videos with an axis of frames after the batch.
      known: float32 ``[batch, height, width, 1]``, 1 where the input's pixels are the clean
        image's own and 0 in holes, of videos with an axis of frames; ``None``: the degradation
        makes no holes.
    """

    input: jax.Array
    known: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Degradation(abc.ABC):
    """A degradation with its settings as fields, which are checked when it is made.

    A new one is a frozen dataclass with a ``name`` and the method ``of_one``; it overrides
    ``scale``, ``masked``, ``inputs`` and ``check`` where the defaults do not hold.
    """

    name: ClassVar[str]
    """The value of ``degrade.name``."""
    data: ClassVar[str] = "image"
    """The kind of the data that it degrades, a key of `AXES`."""
    masked: ClassVar[bool] = False
    """Whether it makes holes, and returns where."""
    analysis: ClassVar[bool] = False
    """Whether it computes a representation of sound: then files to translate are clean sounds."""

    @property
    def scale(self) -> int:
        """Size of a clean image over that of its input."""
        return 1

    def inputs(self, channels: int) -> int:
        """Return the channels of an input, without a mask, given those of a clean image.

        Raises:
          ConfigError: images with this number of channels cannot be degraded.
        """
        return channels

    def check(self, shape: tuple[int, ...]) -> None:
        """Check that examples of a shape can be degraded.

        Args:
          shape: of the axes of the kind; see `AXES`.

        Raises:
          ConfigError: they cannot; the message names what is accepted.
        """
        self.inputs(shape[-1])

    def shown(self, inputs: jax.Array) -> jax.Array:
        """Return inputs in a form that can be compared with clean examples, and seen or heard.

        Args:
          inputs: ``[batch, ...]``, as in `Degraded`.
        """
        return inputs

    def represented(self, clean: jax.Array) -> jax.Array:
        """Return the representation of clean examples that a loss compares; here themselves.

        A degradation whose ``analysis`` is true can be compared so: ``game.paired.pixel`` is its
        name.

        Args:
          clean: float32 ``[batch, ...]``, as the degradation takes them.
        """
        return clean

    @property
    def given(self) -> int:
        """Number of a video's first frames that its input shows; the others are unknown."""
        return 0

    def measured(self, examples: Any) -> Any:
        """Return what is compared of clean or restored examples ``[batch, ...]``.

        That is all of images and sounds, and the frames of videos that are not given.
        """
        return examples[:, self.given :] if self.given else examples

    @abc.abstractmethod
    def of_one(self, key: jax.Array, image: jax.Array) -> Degraded:
        """Degrade one example.

        Args:
          key: a typed PRNG key, for all that is drawn.
          image: float32 ``[height, width, channels]`` in [-1, 1], of a shape that was checked; of
            sounds ``[samples, channels]``, of videos ``[frames, height, width, channels]``.

        Returns:
          The same without the batch dimension.
        """

    def __call__(self, keys: jax.Array, clean: jax.Array) -> Degraded:
        """Degrade examples, each by draws from its own key.

        Args:
          keys: one typed PRNG key per example, ``[batch]``.
          clean: float32 ``[batch, height, width, channels]`` in [-1, 1], or the axes of the kind
            of data; see `AXES`.

        Raises:
          ValueError: the examples are no such array, or there is not one key per example.
          ConfigError: examples of this shape cannot be degraded so.
        """
        axes = AXES[self.data]
        if clean.ndim != 1 + len(axes) or clean.dtype != jnp.float32:
            raise ValueError(
                f"clean {self.data}s are {clean.dtype}{list(clean.shape)}; accepted: float32 "
                f"[batch, {', '.join(axes)}]."
            )
        if keys.shape != clean.shape[:1]:
            raise ValueError(
                f"need one key per {self.data}, shape {clean.shape[:1]}; got {keys.shape}."
            )
        self.check(clean.shape[1:])
        return jax.vmap(self.of_one)(keys, clean)

    def _refuse(self, option: str, value: Any, accepted: str) -> ConfigError:
        return ConfigError(f"degrade.{self.name}.{option} = {value!r}; accepted: {accepted}.")

    def _check_range(self, option: str, low: float, high: float, *, whole: bool = False) -> None:
        """Check that a field holds a range within [low, high], of integers if it is ``whole``."""
        value = getattr(self, option)
        kind = numbers.Integral if whole else numbers.Real
        if not (
            isinstance(value, tuple)
            and len(value) == 2
            and all(isinstance(end, kind) and not isinstance(end, bool) for end in value)
            and all(math.isfinite(end) for end in value)
            and low <= value[0] <= value[1] <= high
        ):
            what = "integers" if whole else "numbers"
            bounds = f"{low:g} <= low <= high" + (f" <= {high:g}" if math.isfinite(high) else "")
            raise self._refuse(option, value, f"two {what} (low, high) with {bounds}")

    def _check_flag(self, option: str) -> None:
        value = getattr(self, option)
        if not isinstance(value, bool):
            raise self._refuse(option, value, "True, False")


def draw(key: jax.Array, bounds: Range) -> jax.Array:
    """Return one number of an inclusive range, a float32 scalar; equal ends: that number."""
    low, high = bounds
    if low == high:
        return jnp.float32(low)
    return jax.random.uniform(key, (), jnp.float32, low, high)


def within(image: jax.Array) -> jax.Array:
    """Return values clipped to [-1, 1], the range of image files."""
    return jnp.clip(image, -1.0, 1.0)
