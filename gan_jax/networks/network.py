"""What networks share: how they are called, the checks of their fields, and common layers.

Every network is called as ``module(x, condition=None, *, keys=None, train=True)``:

- ``condition`` is a dict of arrays ``[batch, ...]`` by field name (``label``, attributes, token
  ids, a blurred image ...), or ``None``. A network takes the fields that it needs and ignores the
  others; one that needs a field that is missing raises a ``ValueError`` that names it.
- ``keys`` are typed PRNG keys ``[batch]``, one per example, for noise inputs, style mixing, dropout
  and phase shuffle; ``None``: the network is deterministic.
- ``train`` is whether the network is in train mode: batch normalization then uses the batch's
  statistics instead of the running ones, and spectral normalization updates its vectors where the
  collection ``spectral`` is mutable.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.errors import ConfigError
from gan_jax.layers.conditional import ConditionalBatchNorm
from gan_jax.layers.normalization import NORMALIZATIONS, make_norm
from gan_jax.networks.checks import check_choice, check_size
from gan_jax.networks.condition import LABEL, Condition, required, with_class

Layer = Callable[[jax.Array, bool], jax.Array]
"""A layer of ``(x, train)``."""

_NORMAL = nn.initializers.normal(0.02)


def normal_scale(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Draw scales of normalization from N(1, 0.02), as DCGAN does (1511.06434)."""
    return 1.0 + _NORMAL(key, shape, dtype)


def he_leaky(slope: float) -> Any:
    """Return He's initializer for LeakyReLU (1502.01852, equation 15), which keeps the variance."""
    return nn.initializers.variance_scaling(2.0 / (1.0 + slope**2), "fan_in", "normal")


def wants_bias(normalization: str) -> bool:
    """Return whether a layer before this normalization needs a bias of its own.

    Batch and instance normalization subtract a channel's mean, so a bias before them would have no
    effect; these, and layer and group normalization, add a bias per channel themselves.
    """
    return normalization in ("none", "pixel", "local_response")


class Network(nn.Module):
    """A network of arrays, and of what they are conditioned on.

    A subclass implements `_forward`, and checks its fields in `__post_init__`: when the network is
    constructed, before anything is compiled. Errors of fields are `ConfigError`.

    Attributes:
      shape: of one data point: `(height, width, channels)`, `(samples, channels)`, or `(2,)`.
      axis_name: mapped axis whose devices share one batch.
      dtype: of the computation; outputs are float32, and so is the layer that makes a score, an
        encoding or a translated image.
      param_dtype: of the parameters.
    """

    GROUP: ClassVar[str]
    """The configuration group of the network's settings, for messages."""

    shape: tuple[int, ...]
    _: dataclasses.KW_ONLY
    axis_name: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        train: bool = True,
    ) -> jax.Array:
        """Return the network's output, float32 `[batch, ...]`.

        Args:
          x: inputs, `[batch, ...]`.
          condition: what the output depends on beside them, by field.
          keys: `[batch]` typed keys of what is random in the network; None: nothing is.
          train: whether the network is in train mode.

        Raises:
          ValueError: a field of the condition is missing.
        """
        return self._forward(x, condition, keys, train)

    def _forward(
        self, x: jax.Array, condition: Condition, keys: jax.Array | None, train: bool
    ) -> jax.Array:
        """Return the output; a subclass constructs its layers here."""
        raise NotImplementedError

    @property
    def _types(self) -> dict[str, Any]:
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    def _check_sizes(self, *fields: str) -> None:
        for field in fields:
            check_size(f"{self.GROUP}.{field}", getattr(self, field))

    def _check_choice(self, field: str, accepted: Sequence[str]) -> None:
        check_choice(f"{self.GROUP}.{field}", getattr(self, field), accepted)


class Normalized(Network):
    """A network with a choice of normalization.

    Attributes:
      normalization: `none`, `batch`, `instance`, `layer`, `group`, `pixel` or `local_response`.
      groups: number of groups of group normalization, a divisor of the width of every layer that is
        normalized.
    """

    _: dataclasses.KW_ONLY
    normalization: str = "batch"
    groups: int = 8

    def _check_normalization(self, widths: Sequence[int], *more: str) -> None:
        """Raise a `ConfigError` unless layers of these widths can be normalized so.

        Args:
          widths: of the layers that are normalized.
          *more: accepted beside `NORMALIZATIONS`.
        """
        self._check_choice("normalization", (*NORMALIZATIONS, *more))
        self._check_sizes("groups")
        if self.normalization == "group" and any(width % self.groups for width in widths):
            raise ConfigError(
                f"{self.GROUP}.groups = {self.groups} cannot divide layers of the widths "
                f"{', '.join(map(str, widths))}; accepted: a divisor of {math.gcd(*widths)}."
            )

    def _norms(self, **options: Any) -> Callable[..., Layer]:
        """Return `make_norm` with this network's fields, save the name of the normalization."""
        fixed = {"groups": self.groups, "axis_name": self.axis_name, **self._types, **options}
        return partial(make_norm, **fixed)


class Conditioned(Network):
    """A network that may be conditioned on the class.

    Attributes:
      conditioning: how it is.
      num_classes: of the data, or the number of their attributes; None: they have no labels.
    """

    ROLE: ClassVar[str]
    """The configuration group of the field `conditioning`."""
    CONDITIONING: ClassVar[tuple[str, ...]]
    """The values accepted of the field `conditioning`."""

    _: dataclasses.KW_ONLY
    conditioning: str = "none"
    num_classes: int | None = None

    def __post_init__(self) -> None:
        check_choice(f"{self.ROLE}.conditioning", self.conditioning, self.CONDITIONING)
        if self.conditioning != "none" and self.num_classes is None:
            raise ConfigError(
                f"{self.ROLE}.conditioning = {self.conditioning!r} needs classes, but the data "
                "have no labels; accepted: 'none', or a labelled data set."
            )
        super().__post_init__()

    def _classes(self, condition: Condition) -> tuple[jax.Array, int]:
        """Return the classes of examples, int32 `[batch]`, and how many there are.

        Labels that are attributes are float32 `[batch, n]`.
        """
        assert self.num_classes is not None  # Checked in `__post_init__`.
        return required(condition, LABEL), self.num_classes

    def _with_class(self, x: jax.Array, condition: Condition) -> jax.Array:
        """Return `x`, with planes that describe the class if the conditioning is `concat`."""
        return x if self.conditioning != "concat" else with_class(x, *self._classes(condition))


class Generator(Conditioned):
    """A network from latents `[batch, latent_dim]` to data points, float32 `[batch, *shape]`.

    Attributes:
      latent_dim: length of the latent vector.
      conditioning: `none`, `concat` (the class beside the latent vector), or `batch_norm` (a scale
        and a shift for each class; with normalization `batch` only).
    """

    ROLE: ClassVar[str] = "generator"
    CONDITIONING: ClassVar[tuple[str, ...]] = ("none", "concat")


class ClassNormalized(Normalized, Generator):
    """A generator that may have scales and shifts of normalization for each class."""

    CONDITIONING: ClassVar[tuple[str, ...]] = ("none", "concat", "batch_norm")

    def __post_init__(self) -> None:
        if self.conditioning == "batch_norm" and self.normalization != "batch":
            raise ConfigError(
                f"generator.conditioning = 'batch_norm' and {self.GROUP}.normalization = "
                f"{self.normalization!r}; accepted: normalization 'batch', or conditioning 'none' "
                "or 'concat'."
            )
        super().__post_init__()

    def _class_norms(self, condition: Condition, **options: Any) -> Callable[..., Layer]:
        """Return what makes a layer of normalization, conditional if the network is."""
        if self.conditioning != "batch_norm":
            return partial(self._norms(**options), self.normalization)
        labels, count = self._classes(condition)
        fields = {"num_classes": count, "axis_name": self.axis_name, **self._types}

        def norm(name: str | None = None) -> Layer:
            layer = ConditionalBatchNorm(name=name, **fields)
            return lambda x, train: layer(x, labels, train)

        return norm
