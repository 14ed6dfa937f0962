"""A buffer of past fakes, so that the discriminator still sees the generator's earlier output.

"Learning from Simulated and Unsupervised Images through Adversarial Training", Shrivastava et al.
2016, section 2.3, https://arxiv.org/abs/1612.07828, in the form that CycleGAN gave it (Zhu et al.
2017, section 4, https://arxiv.org/abs/1703.10593; a buffer of 50 images).
"""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
from jax import lax


@flax.struct.dataclass
class History:
    """Fakes of earlier steps; part of the train state, the same on every device.

    Attributes:
      images: a pytree of arrays ``[size, ...]``, entry ``i`` of each for one fake: float32 images,
        alone or with their condition. Not bytes: the discriminator sees a past fake exactly as the
        generator made it.
      count: how many of the places are filled, int32 scalar; they are filled in order.
    """

    images: Any
    count: jax.Array


def init(size: int, fake: Any) -> History:
    """Return an empty buffer of ``size`` fakes, 1 or more.

    Args:
      size: how many fakes it will hold.
      fake: a pytree of the shape and dtype of one fake.
    """
    images = jax.tree.map(lambda x: jnp.zeros((size, *x.shape), x.dtype), fake)
    return History(images, jnp.zeros((), jnp.int32))


def exchange(
    history: History, fakes: Any, key: jax.Array, axis_name: str | None = None
) -> tuple[Any, History]:
    """Return fakes to show the discriminator, half of them past ones, and the updated buffer.

    The fakes of the global batch are handled in order. Until the buffer is full each is stored and
    shown. After that, each is shown and not stored, or, with probability 1/2, replaces a stored one
    drawn at random, which is shown instead; so a fake stored early in a batch may be shown later in
    the same batch.

    Args:
      history: as it was, the same on every device.
      fakes: this device's share of the batch, float32 ``[batch, *shape]`` (or a pytree like
        ``history.images``). No gradient flows through.
      key: typed PRNG key, the same on every device; the draws of a fake depend on its index in the
        global batch, not on how the batch is split.
      axis_name: the mapped axis that splits the batch over devices in equal parts, or None.

    Returns:
      What to show, like ``fakes``, and the new history, the same on every device.

    Raises:
      ValueError: the fakes do not fit the buffer.
    """
    history, fakes = lax.stop_gradient((history, fakes))
    found, accepted = (
        jax.tree.map(lambda leaf: (leaf.dtype.name, leaf.shape[1:]), tree)
        for tree in (fakes, history.images)
    )
    if found != accepted:
        raise ValueError(f"a fake is {found}; accepted: {accepted}, as the history holds.")
    everyone = fakes
    if axis_name is not None:
        everyone = lax.all_gather(fakes, axis_name, tiled=True)
    share, batch, size = _length(fakes), _length(everyone), _length(history.images)

    index = jnp.arange(batch, dtype=jnp.int32)
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(index)
    swapped = jax.vmap(jax.random.bernoulli)(keys[:, 0])
    drawn = jax.vmap(lambda k: jax.random.randint(k, (), 0, size, jnp.int32))(keys[:, 1])
    filling = history.count + index < size
    place = jnp.where(filling, history.count + index, drawn)
    stored = filling | swapped
    # Which fakes are stored, and where, does not depend on the buffer's contents, so no loop is
    # needed: a place holds what was last stored there, or what it held at first.
    pool = jax.tree.map(lambda old, new: jnp.concatenate([old, new]), history.images, everyone)

    def latest(places: jax.Array, before: jax.Array) -> jax.Array:
        """Return where in the pool to find what ``places`` hold when ``before`` fakes have come."""
        writes = stored & (place == places[:, None]) & (index < before[:, None])
        last = jnp.max(jnp.where(writes, index, -1), axis=1)
        return jnp.where(last >= 0, size + last, places)

    shown = jnp.where(~filling & swapped, latest(place, index), size + index)
    every_place = jnp.arange(size, dtype=jnp.int32)
    kept = latest(every_place, jnp.full(size, batch, jnp.int32))
    if axis_name is not None:
        shown = lax.dynamic_slice_in_dim(shown, lax.axis_index(axis_name) * share, share)

    def take(where: jax.Array) -> Any:
        return jax.tree.map(lambda leaf: jnp.take(leaf, where, axis=0, mode="clip"), pool)

    return take(shown), History(take(kept), jnp.minimum(history.count + batch, size))


def _length(tree: Any) -> int:
    return jax.tree.leaves(tree)[0].shape[0]
