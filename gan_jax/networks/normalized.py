"""The normalizations of activations that a network's setting may choose, and their layers."""

import math

from gan_jax.errors import ConfigError
from gan_jax.layers.normalization import NORMALIZATIONS
from gan_jax.networks.checks import check_choice, check_size

_WITHOUT_BIAS = ("none", "pixel", "local_response")


def check_normalization(
    group: str,
    normalization: str,
    groups: int,
    widths: tuple[int, ...],
    *,
    more: tuple[str, ...] = (),
) -> None:
    """Raise a `ConfigError` unless layers of these widths can be normalized so.

    Args:
      group: of the configuration fields `normalization` and `groups`, for the message.
      normalization: one of `NORMALIZATIONS`, or of `more`.
      groups: of group normalization.
      widths: of the layers that are normalized.
      more: what the network accepts beside.
    """
    check_choice(f"{group}.normalization", normalization, (*NORMALIZATIONS, *more))
    check_size(f"{group}.groups", groups)
    if normalization == "group" and any(width % groups for width in widths):
        raise ConfigError(
            f"{group}.groups = {groups} cannot divide layers of the widths "
            f"{', '.join(map(str, widths))}; accepted: a divisor of {math.gcd(*widths)}."
        )


def check_class_norm(group: str, conditioning: str, normalization: str) -> None:
    """Raise a `ConfigError` where classes have scales of a batch-norm that is not there."""
    if conditioning == "batch_norm" and normalization != "batch":
        raise ConfigError(
            f"generator.conditioning = 'batch_norm' and {group}.normalization = "
            f"{normalization!r}; accepted: normalization 'batch', or conditioning 'none' or "
            "'concat'."
        )


def wants_bias(normalization: str) -> bool:
    """Return whether a layer before this normalization needs a bias of its own.

    Batch and instance normalization take a channel's mean away, so a bias before them would never
    learn; these, and layer and group normalization, add a bias per channel themselves.
    """
    return normalization in _WITHOUT_BIAS
