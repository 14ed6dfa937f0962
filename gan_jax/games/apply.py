"""How players apply networks in train mode, and what changes in them when they do."""

import functools
from typing import Any

import flax.linen as nn
import jax

from gan_jax.games.game import Variables
from gan_jax.layers import spectral
from gan_jax.networks.condition import Condition


def apply(
    module: nn.Module,
    variables: Variables,
    x: jax.Array,
    condition: Condition = None,
    *,
    keys: jax.Array | None = None,
    iterate: bool = False,
    method: str | None = None,
) -> tuple[Any, Variables]:
    """Return a network's output in train mode, and its new mutable collections.

    Args:
      module: the network; called as `gan_jax.networks.network` says.
      variables: all of its collections.
      x: its input.
      condition: by field.
      keys: one per example.
      iterate: update spectral normalization's vectors, which must happen exactly once in a gradient
        step of the network's owner; otherwise they are used as they are.
      method: the method called; ``None``: the module itself.
    """
    fixed = ("params",) if iterate else ("params", spectral.COLLECTION)
    mutable = tuple(name for name in variables if name not in fixed)
    return _call(module, mutable, method, variables, x, condition, keys)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _call(
    module: nn.Module,
    mutable: tuple[str, ...],
    method: str | None,
    variables: Variables,
    x: jax.Array,
    condition: Condition,
    keys: jax.Array | None,
) -> tuple[Any, Variables]:
    """Call a network: traced once for the turns and terms that show it the same shapes."""
    output, changed = module.apply(
        variables, x, condition, keys=keys, train=True, mutable=list(mutable), method=method
    )
    return output, dict(changed)


judge = functools.partial(apply, method="judge")
"""`apply` for a discriminator, whose output is then a `gan_jax.networks.verdict.Verdict`."""
