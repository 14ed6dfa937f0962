"""What an augmentation is: a change to real and generated data alike, before they are judged."""

import abc
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError, suggestion


class Augmentation(abc.ABC):
    """A frozen dataclass whose fields are its settings, ``config.augment.<name>``.

    It may have a memory, a pytree of arrays that is part of the train state, such as a strength
    that adapts to the discriminator's scores.
    """

    draws: ClassVar[str]
    """Names the draws: keys are those of ``<draws>/real`` and ``<draws>/fake``."""
    shared: ClassVar[bool] = False
    """Whether an image that belongs to another (LAPGAN's blurred one) is changed by the same draws;
    otherwise it is not changed."""
    replaces: ClassVar[bool] = False
    """Whether generated data stand for some of the real ones, see `replaced`."""

    @property
    @abc.abstractmethod
    def enabled(self) -> bool:
        """Whether the settings switch it on."""

    def check(self, config: Any, kind: str) -> None:  # noqa: B027
        """Raise a `ConfigError` if it cannot work.

        Args:
          config: the whole configuration.
          kind: of the data.
        """

    def init(self) -> Any:
        """Return its memory before training; ``None``: it has none."""
        return None

    def replaced(self, keys: jax.Array, real: jax.Array, fake: jax.Array, memory: Any) -> jax.Array:
        """Return what is shown as real, before it is augmented.

        Args:
          keys: one per example, ``[batch]``.
          real: ``[batch, ...]``.
          fake: generated under the conditions of the real ones, same shape.
          memory: its own.
        """
        return real

    def __call__(self, keys: jax.Array, x: jax.Array, memory: Any, step: jax.Array) -> jax.Array:
        """Return augmented data; differentiable in ``x``.

        Args:
          keys: one per example, ``[batch]``.
          x: floats ``[batch, ...]``.
          memory: its own.
          step: train steps done, int32.
        """
        return x

    def update(self, memory: Any, real: jax.Array, fake: jax.Array, axis_name: str | None) -> Any:
        """Return its memory after a step of the discriminator, the same on every device.

        Args:
          memory: as it was, never ``None``.
          real: scores of augmented real data, ``[batch]`` or ``[batch, ...]``.
          fake: of augmented generated data.
          axis_name: the mapped axis over devices, or ``None``.
        """
        return memory

    def metrics(self, memory: Any) -> dict[str, jax.Array]:
        """Return scalars of its memory, by name, to be logged."""
        return {}


def check_policy(field: str, policy: Sequence[str], accepted: Collection[str]) -> None:
    """Raise a `ConfigError` that names ``field`` unless each name is accepted and given once."""
    unknown = [name for name in policy if name not in accepted]
    if unknown or len(set(policy)) < len(policy):
        hint = suggestion(unknown[0], accepted) if unknown else ""
        raise ConfigError(
            f"{field} = {policy!r}; accepted: a tuple of {', '.join(accepted)}, each at most "
            f"once.{hint}"
        )


def check_kind(field: str, policy: Sequence[str], kind: str) -> None:
    """Raise a `ConfigError` that names ``field`` unless the data are images."""
    if kind != "image":
        raise ConfigError(
            f"{field} = {policy} is for images, but the data are of kind {kind!r}; accepted: ()"
        )


def check_images(keys: jax.Array, images: jax.Array) -> None:
    """Raise a `ValueError` unless data are floating images with a key each."""
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"only floating images [batch, h, w, c] can be augmented; got {images.dtype} "
            f"{images.shape}."
        )
    check_keys(keys, images)


def check_keys(keys: jax.Array, images: jax.Array) -> None:
    """Raise a `ValueError` unless there is one key per image."""
    if keys.shape != images.shape[:1]:
        raise ValueError(f"need one key per image, shape {images.shape[:1]}; got {keys.shape}.")
