"""Batches of data on their way to the discriminator's verdict."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gan_jax.augment import Augmentation
from gan_jax.games.game import Turn, Variables
from gan_jax.networks.condition import Condition, joined
from gan_jax.networks.verdict import Verdict

# (variables, x, condition, keys, iterate=...) -> (verdict, new mutable collections)
Judge = Callable[..., tuple[Verdict, Variables]]


class View(NamedTuple):
    """A batch of data as the discriminator is given it.

    Attributes:
      data: real or generated, ``[batch, *shape]``, before augmentation.
      shown: after augmentation.
      condition: by field.
      keys: ``[batch]``.
    """

    data: jax.Array
    shown: jax.Array
    condition: Condition
    keys: jax.Array


@dataclasses.dataclass(frozen=True)
class Judged:
    """A batch of data, as in `View`, and the discriminator's verdict on what it was shown."""

    data: jax.Array
    shown: jax.Array
    condition: Condition
    keys: jax.Array
    verdict: Verdict


def augmented(
    augment: Mapping[str, Augmentation], x: jax.Array, turn: Turn, use: str, steps: int
) -> jax.Array:
    """Return data after all augmentations.

    Args:
      augment: by name; the memory of one is the turn's slot ``augment/<name>``.
      x: real or generated data.
      turn: the player's view.
      use: names the draws.
      steps: the player's gradient steps in one train step.
    """
    for name, augmentation in augment.items():
        keys, memory = turn.keys(f"{augmentation.draws}/{use}"), turn.memory.get(f"augment/{name}")
        x = augmentation(keys, x, memory, turn.count // steps)
    return x


def judge_all(
    judge: Judge, variables: Variables, views: Sequence[View], *, joint: bool, iterate: bool = False
) -> tuple[list[Judged], Variables]:
    """Return the verdicts on several batches, and the discriminator's new mutable collections.

    Args:
      judge: applies the discriminator.
      variables: of the discriminator.
      views: equal parts.
      joint: in one pass.
      iterate: update spectral normalization's vectors, once: all have the same spectral norms.
    """
    if joint:
        _, shown, conditions, keys = zip(*views, strict=True)
        batch = jnp.concatenate(shown), joined(*conditions), jnp.concatenate(keys)
        verdict, mutable = judge(variables, *batch, iterate=iterate)
        return [Judged(*v, _part(verdict, i, len(views))) for i, v in enumerate(views)], mutable
    judged: list[Judged] = []
    mutable = {}
    for view in views:
        first = iterate and not judged
        verdict, changed = judge(variables | mutable, *view[1:], iterate=first)
        judged.append(Judged(*view, verdict))
        mutable = mutable | changed
    return judged, mutable


def _part(verdict: Verdict, index: int, count: int) -> Verdict:
    """Return the verdict on one of ``count`` equal parts of a batch."""
    size = verdict.scores.shape[0] // count
    part: Verdict = jax.tree.map(lambda x: x[index * size : (index + 1) * size], verdict)
    return part
