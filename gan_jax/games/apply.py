"""How players apply networks in train mode, and what changes in them when they do."""

from typing import Any

import flax.linen as nn

from gan_jax.games.game import Variables
from gan_jax.layers import spectral


def apply(
    module: nn.Module,
    variables: Variables,
    *inputs: Any,
    iterate: bool = False,
    method: str | None = None,
) -> tuple[Any, Variables]:
    """Return a network's output in train mode, and its new mutable collections.

    Args:
      module: the network.
      variables: all that it has.
      *inputs: of the network.
      iterate: move spectral normalization's vectors on, which is to happen once in a gradient step
        of the network's owner; else they are used as they stand.
      method: what is called; ``None``: the module itself.
    """
    fixed = ("params",) if iterate else ("params", spectral.COLLECTION)
    collections = [name for name in variables if name not in fixed]
    output, mutable = module.apply(
        variables, *inputs, train=True, mutable=collections, method=method
    )
    return output, dict(mutable)
