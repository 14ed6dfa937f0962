"""What a term of a player's loss is given, and what it returns.

A term is a frozen dataclass in a file of its own, registered in `gan_jax.games.terms.TERMS`. Its
fields are its settings, ``config.terms.<name>``; it is switched on by its weight.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.data.spec import Spec
from gan_jax.errors import ConfigError
from gan_jax.games.apply import apply
from gan_jax.games.building import Given
from gan_jax.games.game import Network, Turn, Variables
from gan_jax.games.judging import Judge, Judged
from gan_jax.losses.adversarial import AdversarialLoss
from gan_jax.networks.condition import Condition
from gan_jax.networks.verdict import Head, Verdict


class Judging(Protocol):
    """What terms need of a game."""

    @property
    def networks(self) -> Mapping[str, Network]:
        """The networks by name."""
        ...

    @property
    def spec(self) -> Spec:
        """The specification of the data."""
        ...

    @property
    def loss(self) -> AdversarialLoss:
        """The pair of losses."""
        ...

    @property
    def judge(self) -> Judge:
        """Applies the discriminator, as the game does."""
        ...


@dataclasses.dataclass(frozen=True)
class Context:
    """What a term may use.

    Attributes:
      player: whose loss the term is added to, "discriminator" or "generator".
      turn: the player's turn: the batch, draws, counts, the mapped axis.
      game: has the networks' modules.
      own: the variables of the player's networks, by name: gradients flow into them.
      z: latents of this turn, ``[batch, latent_dim]``; ``None``: the game has none.
      fake: generated data; in the discriminator's turn without gradient into the generator, and,
        with a history, in part older than ``z``.
      real: real data; ``None`` in a generator's turn in which neither the loss nor a term needs it.
      memory: the term's own, as `Term.init` or the last call returned it.
    """

    player: str
    turn: Turn
    game: Judging
    own: Mapping[str, Variables]
    z: jax.Array | None
    fake: Judged
    real: Judged | None
    memory: Any = None

    @property
    def variables(self) -> Mapping[str, Variables]:
        """Every network's variables, by name."""
        return {**self.turn.variables, **self.own}

    def generate(self, z: jax.Array, condition: Condition, keys: jax.Array | None) -> jax.Array:
        """Return generated data, in train mode."""
        generator, variables = self.game.networks["generator"], self.variables["generator"]
        data: jax.Array = apply(generator.module, variables, z, condition, keys=keys)[0]
        return data

    def judge(self, x: jax.Array, condition: Condition, keys: jax.Array | None) -> Verdict:
        """Return a verdict, in train mode, by the spectral norms of ``real`` and ``fake``."""
        return self.game.judge(self.variables["discriminator"], x, condition, keys=keys)[0]


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
class Term(abc.ABC):
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
    prefix: ClassVar[str] = "terms."
    """Begins the name of its configuration group."""
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
                f"{self.prefix}{self.name}.{field} = {getattr(self, field)}; accepted: {accepted}"
            )

    def check_game(self, config: Any, given: Given) -> None:  # noqa: B027
        """Raise a `ConfigError` if the term cannot work in the configured game."""

    def heads(self, num_classes: int | None) -> tuple[Head, ...]:
        """Return the outputs that it needs of the discriminator."""
        return ()

    def init(self) -> Any:
        """Return its memory before training, a pytree of arrays; ``None``: it has none."""
        return None

    def weight_at(self, step: jax.Array, weight: float | jax.Array) -> float | jax.Array:
        """Return the weight at a train step, given the configured one, or a replica's."""
        return jnp.where(step >= self.start, weight, 0.0) if self.start else weight

    @abc.abstractmethod
    def __call__(self, context: Context) -> Added:
        """Return its value, before the weight."""


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
        loss = loss + term.weight_at(context.turn.step, weight) * added.value
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
