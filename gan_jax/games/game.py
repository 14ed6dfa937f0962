"""What a game is: networks, and players who take turns at their own loss.

A *variant* of GAN is a configuration of an existing game; a new game is written only where the
players or their losses really differ. The train step (`gan_jax.training.step`) plays any game:

    for player in game.players:
        for each of the player's steps:
            loss, gradients = value_and_grad(player.loss)(parameters of the networks it owns, turn)
            average over devices, update these networks
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from gan_jax import installation
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.spec import LABEL, Field, Spec
from gan_jax.errors import ConfigError
from gan_jax.games import draws
from gan_jax.games.building import Given
from gan_jax.networks.condition import Condition
from gan_jax.networks.styles import StyleGenerator

Params = Mapping[str, Any]
Variables = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Network:
    """One network of a game.

    Attributes:
      module: the Flax module; called as `gan_jax.networks.network` says.
      inputs: shapes and dtypes of its input and condition for a batch of any size, to initialise it
        with.
      averaged: whether a moving average of it is kept (the networks that are sampled from).
      optimizer: the group of ``config.optimizer`` that it is trained by; ``None``: that of its own
        name.
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    averaged: bool = False
    optimizer: str | None = None

    def init(self, key: jax.Array) -> Variables:
        """Return the network's variables before training."""
        inputs = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self.inputs)
        return dict(self.module.init(key, *inputs, train=False))


@dataclasses.dataclass(frozen=True)
class Turn:
    """What a player sees when it makes one gradient step.

    Attributes:
      variables: every network's variables as they stand, by name. Gradients do not flow into them.
      batch: real data by field, ``[batch, ...]``, as networks see them: this device's share of the
        global batch.
      key: this turn's key, the same on every device.
      count: gradient steps that this player has made before, int32.
      steps: its gradient steps in one train step.
      axis_name: the mapped axis, or ``None`` on one device.
      memory: what the game remembers from step to step (`Game.memory`), by slot.
      first: index of the first example of ``batch`` in this device's share, int32: 0 unless
        gradients are accumulated over parts of the share.
      share: number of examples in this device's share; ``None``: those of ``batch``.
      settings: numbers that replace those of the configuration, such as ``penalty_weight``.
      batch_key: the key of the batch, alike in all turns in which it is shown; ``None``: ``key``.
      prepared: what `Player.prepare` made for this turn.
    """

    variables: Mapping[str, Variables]
    batch: Mapping[str, jax.Array]
    key: jax.Array
    count: jax.Array
    axis_name: str | None
    memory: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    first: jax.Array | int = 0
    share: int | None = None
    settings: Mapping[str, jax.Array] = dataclasses.field(default_factory=dict)
    steps: int = 1
    batch_key: jax.Array | None = None
    prepared: Any = None

    @property
    def step(self) -> jax.Array:
        """Train steps done, int32."""
        return self.count // self.steps

    @property
    def condition(self) -> dict[str, jax.Array]:
        """What networks are conditioned on: the labels, where the data have any."""
        return {LABEL: self.batch[LABEL]} if LABEL in self.batch else {}

    @property
    def size(self) -> int:
        """Number of examples in ``batch``."""
        return len(next(iter(self.batch.values())))

    def keys(self, use: str) -> jax.Array:
        """Return a key per example for the named use, ``[batch]``: alike on any device count."""
        return self._keys(self.key, use)

    def batch_keys(self, use: str) -> jax.Array:
        """Return `keys` that are alike in all turns in which this batch is shown.

        What two turns compute from the same batch, weights and keys is computed once: XLA merges
        equal expressions, outside of loops and branches.
        """
        return self._keys(self.key if self.batch_key is None else self.batch_key, use)

    def _keys(self, key: jax.Array, use: str) -> jax.Array:
        return draws.example_keys(
            draws.named(key, use),
            self.size,
            self.axis_name,
            first=self.first,
            share=self.share,
        )

    def with_params(self, params: Params, name: str) -> Variables:
        """Return a network's variables, its parameters from ``params`` if they are there."""
        variables = dict(self.variables[name])
        if name in params:
            variables["params"] = params[name]
        return variables


@flax.struct.dataclass
class Outcome:
    """What a player's loss gives beside its value.

    Attributes:
      metrics: scalars to log, this device's means; the train step adds the loss itself.
      mutable: new values of the owned networks' mutable collections, by network; the train step
        averages them over devices.
      memory: new values of the game's memory, by slot, which are to be the same on every device;
        slots that are not named stay.
    """

    metrics: dict[str, jax.Array]
    mutable: dict[str, Variables] = flax.struct.field(default_factory=dict)
    memory: dict[str, Any] = flax.struct.field(default_factory=dict)


# The loss must be this device's mean: the train step averages its gradient over devices, and a mean
# over devices inside would be differentiated wrongly by `jax.pmap`.
Loss = Callable[[Params, Turn], tuple[jax.Array, Outcome]]


@dataclasses.dataclass(frozen=True)
class Player:
    """A player: the networks that it trains, and how.

    Attributes:
      name: prefixes its metrics.
      networks: names of the networks that it owns; no network has two owners.
      loss: ``(owned parameters by network, turn) -> (scalar, Outcome)``.
      steps: gradient steps in one train step, each on a batch of its own.
      fresh_data: whether each step consumes a new batch of real data; otherwise it is shown the
        last one that was consumed (for players whose loss hardly needs it).
      start: train steps for which it rests at first: neither its networks nor their optimizers
        change, and schedules begin when it does.
      project: applied to the owned parameters after each update, such as weight clipping.
      prepare: makes of a turn what the loss finds in ``turn.prepared``; no gradient flows through
        it. It is computed while the player rests, too, so that another player's turn can share it.
    """

    name: str
    networks: tuple[str, ...]
    loss: Loss
    steps: int = 1
    fresh_data: bool = True
    start: int = 0
    project: Callable[[Params], Params] | None = None
    prepare: Callable[[Turn], Any] | None = None

    def prepared(self, turn: Turn) -> Turn:
        """Return ``turn`` with what `prepare` makes of it."""
        if self.prepare is None:
            return turn
        return dataclasses.replace(turn, prepared=jax.lax.stop_gradient(self.prepare(turn)))


class Game(abc.ABC):
    """A set of networks and players; a frozen dataclass.

    Attributes:
      uses: groups of a configuration that the game reads, beside its own.
      spec: of the data, as networks see them.
    """

    uses: ClassVar[frozenset[str]] = frozenset()
    spec: Spec

    @classmethod
    @abc.abstractmethod
    def from_config(cls, config: Any, given: Given) -> Self:
        """Return the game that a configuration describes; raises `ConfigError`."""

    @property
    @abc.abstractmethod
    def networks(self) -> Mapping[str, Network]:
        """The networks by name."""

    @property
    @abc.abstractmethod
    def players(self) -> tuple[Player, ...]:
        """The players in the order of their turns."""

    @property
    def memory(self) -> Mapping[str, Any]:
        """What is remembered from step to step beside the networks, as it is at the start.

        A pytree of arrays per slot; it is part of the train state, and of every checkpoint.
        """
        return {}

    @property
    def num_classes(self) -> int | None:
        """Classes that can be asked for when sampling; ``None``: there are none."""
        return None

    @property
    def attributes(self) -> Field | None:
        """The field of attributes or captions that samples can be asked for; ``None``: none."""
        return None

    @property
    def stages(self) -> tuple[Self, ...]:
        """The game in each stage of the training; every player's gradients have a branch for each.

        Networks may use a part of the parameters. The names of networks and players, and how often
        these play, are this game's.
        """
        return (self,)

    def stage(self, images: jax.Array) -> jax.Array:
        """Return the index in `stages`, int32, after a number of real images, int32."""
        return jnp.zeros_like(images)

    def scheduled(self, images: jax.Array) -> Mapping[str, Variables]:
        """Return the collections that are functions of the real images seen, by network.

        Args:
          images: int32 scalar.
        """
        return {}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point, as networks see it."""
        return kinds.of(specs.data_field(self.spec)).shape

    def data(self, turn: Turn) -> jax.Array:
        """Return the data points of a turn's batch, ``[batch, *shape]``."""
        data: jax.Array = specs.data(turn.batch, self.spec)
        return data


# (network's name, input, condition) -> output.
Generate = Callable[[str, jax.Array, Condition], jax.Array]


class GenerativeGame(Game):
    """A game that makes data from latents."""

    @property
    @abc.abstractmethod
    def latent_dim(self) -> int:
        """Size of one latent vector."""

    def latents(self, keys: jax.Array) -> jax.Array:
        """Return latents, float32 ``[len(keys), latent_dim]``, row ``i`` from ``keys[i]`` alone."""
        return draws.latents(keys, self.latent_dim)

    def truncate(self, z: jax.Array, limit: float | jax.Array) -> jax.Array:
        """Return latents that are within ``limit`` of their mean; see `sample`."""
        return draws.truncate(z, limit)

    @abc.abstractmethod
    def compose(self, generate: Generate, z: jax.Array, condition: Condition) -> jax.Array:
        """Return the data ``[batch, *shape]`` that generators, applied by ``generate``, make."""

    def sample(
        self,
        variables: Mapping[str, Variables],
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        truncation: float | jax.Array | None = None,
        train: bool = False,
    ) -> jax.Array:
        """Return generated data, float32 ``[batch, *shape]``.

        Args:
          variables: by network.
          z: latents, float32 ``[batch, latent_dim]``.
          condition: what is asked for, by field; ``None`` where the game is unconditional.
          keys: ``[batch]``, for what a generator draws beside its latent; ``None``: no draws.
          truncation: how far samples may be from the mean: of generators with styles the factor
            psi of their distance from the mean style (`gan_jax.networks.styles`), otherwise the
            bound of normal latents (`gan_jax.games.draws.truncate`); ``None``: nothing is changed.
          train: normalise with the statistics of this batch, not with the running ones.
        """

        def generate(name: str, z: jax.Array, condition: Condition) -> jax.Array:
            module = self.networks[name].module
            psi = _psi(module, truncation)
            data = module.apply(variables[name], z, condition, keys=keys, train=train, **psi)
            assert isinstance(data, jax.Array)
            return data

        return self.compose(generate, self._truncated(z, truncation), condition)

    def sample_moments(
        self,
        variables: Mapping[str, Variables],
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        truncation: float | jax.Array | None = None,
    ) -> Mapping[str, Variables]:
        """Return the moments that batch normalisation sees when this batch is sampled.

        The arguments are those of `sample`.

        Returns:
          The collection ``moments`` (`gan_jax.layers.normalization.BatchNorm`) of every network
          that samples, by name; an empty one where it has no batch statistics.
        """
        moments: dict[str, Variables] = {}

        def generate(name: str, z: jax.Array, condition: Condition) -> jax.Array:
            module = self.networks[name].module
            options = {"train": True, "mutable": ["moments"], **_psi(module, truncation)}
            data, found = module.apply(variables[name], z, condition, keys=keys, **options)
            moments[name] = dict(found).get("moments", {})
            return data

        self.compose(generate, self._truncated(z, truncation), condition)
        return moments

    def _truncated(self, z: jax.Array, truncation: float | jax.Array | None) -> jax.Array:
        """Return latents, truncated unless a generator truncates its styles instead."""
        styled = any(isinstance(one.module, StyleGenerator) for one in self.networks.values())
        return z if truncation is None or styled else self.truncate(z, truncation)


def _psi(module: nn.Module, truncation: float | jax.Array | None) -> dict[str, Any]:
    """Return what a generator with styles is given for a truncation."""
    styled = truncation is not None and isinstance(module, StyleGenerator)
    return {"psi": truncation} if styled else {}


def as_generative(game: Game, what: str) -> GenerativeGame:
    """Return ``game``; raises `ConfigError` if it has no latents, which ``what`` needs."""
    if not isinstance(game, GenerativeGame):
        does = {"audio": "translates sounds", "video": "predicts videos"}
        raise ConfigError(
            f"{what} is for runs that make samples from noise; this one "
            f"{does.get(specs.target(game.spec).kind, 'translates images')}: see "
            f"{installation.command('translate')}"
        )
    return game


def owner_steps(game: Game) -> dict[str, int]:
    """Return, by network, the gradient steps that it takes in one train step.

    Raises:
      ValueError: a network has no owner or two, or an owned network does not exist.
    """
    steps: dict[str, int] = {}
    for player in game.players:
        for name in player.networks:
            if name not in game.networks:
                raise ValueError(
                    f"player {player.name!r} owns {name!r}, which is no network of the game"
                )
            if name in steps:
                raise ValueError(f"network {name!r} has two owners")
            steps[name] = player.steps
    if orphans := set(game.networks) - set(steps):
        raise ValueError(f"networks without an owner: {', '.join(sorted(orphans))}")
    return steps


def owner_starts(game: Game) -> dict[str, int]:
    """Return, by network, the train step at which its owner begins to play."""
    return {name: player.start for player in game.players for name in player.networks}


def batches_per_step(game: Game) -> int:
    """Return how many batches of real data one train step consumes."""
    return sum(player.steps for player in game.players if player.fresh_data)


def images_per_step(game: Game, batch_size: int) -> int:
    """Return how many real images one train step consumes; ``kimg`` and half-lives count them."""
    return batches_per_step(game) * batch_size
