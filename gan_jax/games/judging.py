"""Batches of data on their way to the discriminator's verdict."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.augment import Augmentation
from gan_jax.games.apply import judge
from gan_jax.games.game import Turn, Variables
from gan_jax.losses.adversarial import AdversarialLoss
from gan_jax.networks.condition import Condition, joined
from gan_jax.networks.verdict import Verdict

# (variables, x, condition, keys=..., iterate=...) -> (verdict, new mutable collections)
Judge = Callable[..., tuple[Verdict, Variables]]
Augmentations = Mapping[str, Augmentation]

AUGMENT = "augment/"
"""Begins the names of the slots of augmentations' memories."""


@dataclasses.dataclass(frozen=True)
class View:
    """A batch of data as the discriminator is given it.

    Attributes:
      data: real or generated, ``[batch, *shape]``, before augmentation.
      shown: after augmentation.
      condition: by field.
      keys: ``[batch]``; ``None``: the discriminator draws nothing.
    """

    data: jax.Array
    shown: jax.Array
    condition: Condition
    keys: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Judged(View):
    """A batch of data, as in `View`, and the discriminator's verdict on what it was shown."""

    verdict: Verdict

    @property
    def scores(self) -> jax.Array:
        """The verdict's scores."""
        return self.verdict.scores


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
        shown, keys = (
            jnp.concatenate([getattr(view, name) for view in views]) for name in ("shown", "keys")
        )
        condition = joined(*(view.condition for view in views))
        verdict, mutable = judge(variables, shown, condition, keys=keys, iterate=iterate)
        parts = [_part(verdict, i, len(views)) for i in range(len(views))]
    else:
        parts, mutable = [], {}
        for view in views:
            verdict, changed = judge(
                variables | mutable,
                view.shown,
                view.condition,
                keys=view.keys,
                iterate=iterate and not parts,
            )
            parts.append(verdict)
            mutable = mutable | changed
    judged = [Judged(**vars(view), verdict=one) for view, one in zip(views, parts, strict=True)]
    return judged, mutable


def _part(verdict: Verdict, index: int, count: int) -> Verdict:
    """Return the verdict on one of ``count`` equal parts of a batch."""
    size = verdict.scores.shape[0] // count
    part: Verdict = jax.tree.map(lambda x: x[index * size : (index + 1) * size], verdict)
    return part


def judge_pair(
    discriminator: nn.Module, variables: Variables, real: jax.Array, fake: jax.Array
) -> tuple[Judged, Judged, Variables]:
    """Return the verdicts of an unconditional discriminator, see `judge_all`."""
    views = [View(x, x, None, None) for x in (real, fake)]
    apply_judge = functools.partial(judge, discriminator)
    judged, mutable = judge_all(apply_judge, variables, views, joint=False, iterate=True)
    return judged[0], judged[1], mutable


def generator_loss(
    loss: AdversarialLoss,
    discriminator: nn.Module,
    variables: Variables,
    fake: jax.Array,
    real: jax.Array,
) -> jax.Array:
    """Return a generator's mean loss against an unconditional discriminator."""
    scores = judge(discriminator, variables, fake)[0].scores
    real_scores = None
    if loss.generator_needs_real:
        real_scores = judge(discriminator, variables, real)[0].scores
    return jnp.mean(loss.generator(scores, real_scores))


def mean_scores(**judged: Judged) -> dict[str, jax.Array]:
    """Return the mean score of each batch, to be logged as ``<name>_score``."""
    return {f"{name}_score": jnp.mean(one.scores) for name, one in judged.items()}


def memory(entries: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the memory before training of each term or augmentation that has one, by slot."""
    slots = {f"{prefix}{name}": entry.init() for name, entry in entries.items()}
    return {slot: own for slot, own in slots.items() if own is not None}


def augmented(augment: Augmentations, x: jax.Array, turn: Turn, use: str) -> jax.Array:
    """Return real or generated data after all augmentations; ``use`` names the draws."""
    for name, augmentation in augment.items():
        keys = turn.keys(f"{augmentation.draws}/{use}")
        x = augmentation(keys, x, turn.memory.get(f"{AUGMENT}{name}"), turn.step)
    return x


def adapted(
    augment: Augmentations, turn: Turn, real: Judged, fake: Judged
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """Return the augmentations' memories after a step of the discriminator, and what to log.

    Returns:
      The memories by slot, and the metrics of all.
    """
    memories: dict[str, Any] = {}
    metrics: dict[str, jax.Array] = {}
    for name, made in augment.items():
        if (slot := f"{AUGMENT}{name}") in turn.memory:
            own = made.update(turn.memory[slot], real.scores, fake.scores, turn.axis_name)
            memories[slot], metrics = own, {**metrics, **made.metrics(own)}
    return memories, metrics
