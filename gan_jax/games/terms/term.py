"""What a term of a player's loss is given, and what it returns.

A term is a frozen dataclass in a file of its own, registered in `gan_jax.games.terms.TERMS`. Its
fields are its settings, ``config.terms.<name>``; it is switched on by its weight.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.errors import ConfigError
from gan_jax.games.building import Given
from gan_jax.games.game import Turn, Variables
from gan_jax.games.judging import Judged
from gan_jax.networks.condition import Condition
from gan_jax.networks.verdict import Head, Verdict


@dataclasses.dataclass(frozen=True)
class Context:
    """What a term may use.

    Attributes:
      player: whose loss the term is added to, "discriminator" or "generator".
      turn: the player's turn: the batch, draws, counts, the mapped axis.
      steps: the player's gradient steps in one train step.
      networks: modules by name.
      variables: every network's variables, by name; gradients flow into those of the player.
      z: latents of this turn, ``[batch, latent_dim]``.
      fake: generated data; in the discriminator's turn without gradient into the generator, and,
        with a history, in part older than ``z``.
      real: real data; ``None`` in a generator's turn in which neither the loss nor a term needs it.
      generate: ``(z, condition, keys)`` to data, in train mode.
      judge: ``(x, condition, keys)`` to a verdict, in train mode, with the spectral norms that
        ``real`` and ``fake`` were judged with.
      memory: the term's own, as `Term.init` or the last call returned it.
    """

    player: str
    turn: Turn
    steps: int
    networks: Mapping[str, nn.Module]
    variables: Mapping[str, Variables]
    z: jax.Array
    fake: Judged
    real: Judged | None
    generate: Callable[[jax.Array, Condition, jax.Array], jax.Array]
    judge: Callable[[jax.Array, Condition, jax.Array], Verdict]
    memory: Any = None

    @property
    def step(self) -> jax.Array:
        """Train steps done, int32."""
        return self.turn.count // self.steps


class Added(NamedTuple):
    """What a term returns.

    Attributes:
      value: this device's mean, float32 scalar; its weight times it is added to the loss, and it is
        logged under the term's name.
      metrics: further scalars to log, by name.
      memory: its new memory, the same on every device.
    """

    value: jax.Array
    metrics: Mapping[str, jax.Array] = {}
    memory: Any = None


@dataclasses.dataclass(frozen=True)
class Term:
    """A term that is added to the loss of one or both players.

    Attributes:
      weight: multiplies the term; 0: it is not computed.
      every: gradient steps of the player between two computations of the term, which is multiplied
        by this number (lazy regularisation, Karras et al. 2019, https://arxiv.org/abs/1912.04958).
      start: train steps before its weight counts; its memory is updated from the first on.
    """

    weight: float = 0.0
    every: int = 1
    start: int = 0

    name: ClassVar[str]
    """Under which it is registered, configured and logged."""
    players: ClassVar[tuple[str, ...]] = ("discriminator",)
    """Whose loss it is added to."""
    needs_real: ClassVar[bool] = False
    """Whether it uses real data in the generator's turn."""

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        self.check(self.weight >= 0, "weight", "0 or more")
        self.check(self.every >= 1, "every", "1 or more")
        self.check(self.start >= 0, "start", "0 or more")

    def check(self, right: bool, field: str, accepted: str) -> None:
        """Raise a `ConfigError` that names a field and says what is accepted, unless right."""
        if not right:
            raise ConfigError(
                f"terms.{self.name}.{field} = {getattr(self, field)}; accepted: {accepted}"
            )

    def check_game(self, config: Any, given: Given) -> None:
        """Raise a `ConfigError` if the term cannot work in the configured game."""

    def heads(self, num_classes: int | None) -> tuple[Head, ...]:
        """Return the outputs that it needs of the discriminator."""
        return ()

    def init(self) -> Any:
        """Return its memory before training, a pytree of arrays; ``None``: it has none."""
        return None

    def __call__(self, context: Context) -> Added:
        """Return its value, before the weight."""
        raise NotImplementedError


def add_terms(
    terms: Mapping[str, Term], context: Context, loss: jax.Array, metrics: dict[str, jax.Array]
) -> tuple[jax.Array, dict[str, jax.Array], dict[str, Any]]:
    """Add the terms of the context's player to its loss.

    Args:
      terms: by name. A number ``<name>_weight`` of the turn's settings replaces a term's weight.
      context: of the player's turn.
      loss: without terms.
      metrics: likewise.

    Returns:
      The loss, the metrics, and the new memory of each term that has one.
    """
    memory = {}
    for name, term in terms.items():
        if context.player not in term.players:
            continue
        own = dataclasses.replace(context, memory=context.turn.memory.get(name))
        added = _lazily(term, own)
        weight = context.turn.settings.get(f"{name}_weight", term.weight)
        if term.start:
            weight = jnp.where(context.step >= term.start, weight, 0.0)
        loss = loss + weight * added.value
        metrics = {**metrics, name: added.value, **added.metrics}
        if added.memory is not None:
            memory[name] = added.memory
    return loss, metrics, memory


def _lazily(term: Term, context: Context) -> Added:
    """Return what a term adds at this step: at most steps nothing, if it is lazy."""
    if term.every == 1:
        return term(context)

    def compute() -> Added:
        value, metrics, memory = term(context)
        value, metrics = jax.tree.map(lambda x: x * term.every, (value, dict(metrics)))
        return Added(value, metrics, memory)

    def skip() -> Added:
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute))
        return Added(zeros.value, zeros.metrics, context.memory)

    # All devices take the same branch, so that a term may communicate.
    return lax.cond(context.turn.count % term.every == 0, compute, skip)
