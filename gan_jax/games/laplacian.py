"""The game of a Laplacian pyramid of GANs (LAPGAN, Denton et al. 2015, 1506.05751).

The coarsest level is an ordinary game on images of low resolution. Each finer one is a game on the
residuals between images and their blurred selves, in which both players see the blurred image: the
real one while they train, so that levels are independent of each other, and the one generated so
far when a sample is made, from coarse to fine. All levels train in one run, and on one batch of
real images per train step.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.data.spec import Field, Spec
from gan_jax.games import building, judging
from gan_jax.games.adversarial import AdversarialGame
from gan_jax.games.game import (
    Generate,
    GenerativeGame,
    Loss,
    Network,
    Outcome,
    Params,
    Player,
    Turn,
    Variables,
)
from gan_jax.layers import pyramid
from gan_jax.layers.resample import mean_pool
from gan_jax.networks.condition import Condition
from gan_jax.networks.laplacian import (
    COARSE,
    CONDITIONING,
    LaplacianDiscriminator,
    LaplacianGenerator,
)
from gan_jax.networks.verdict import Verdict
from gan_jax.settings import Group


@dataclasses.dataclass(frozen=True)
class ConditionalLevel(AdversarialGame):
    """The adversarial game on residuals, given the blurred images that they belong to.

    Its data points are pairs, the residual and the blurred image side by side in the channels, for
    a discriminator judges pairs: penalties bound its gradient by both, and what moves or recolours
    an image before it is judged does so to the blurred one as well.

    The networks make and judge residuals; the blurred image is the field ``coarse`` of their
    condition.
    """

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        height, width, channels = self.shape
        x = jax.ShapeDtypeStruct((1, height, width, channels // 2), jnp.float32)
        networks = {}
        for name, network in super().networks.items():
            given, condition = network.inputs
            inputs = (given if name == "generator" else x, {**condition, COARSE: x})
            networks[name] = dataclasses.replace(network, inputs=inputs)
        return networks

    @override
    def _generate(
        self, params: Params, z: jax.Array, condition: Condition, turn: Turn
    ) -> tuple[jax.Array, Variables]:
        _, coarse = jnp.split(self.data(turn), 2, axis=-1)
        condition = {**(condition or {}), COARSE: coarse}
        residual, mutable = super()._generate(params, z, condition, turn)
        return jnp.concatenate([residual, coarse], axis=-1), mutable

    @override
    def judge(
        self, variables: Variables, x: jax.Array, condition: Condition, **options: Any
    ) -> tuple[Verdict, Variables]:
        residual, coarse = jnp.split(x, 2, axis=-1)
        condition = {**(condition or {}), COARSE: coarse}
        return super().judge(variables, residual, condition, **options)

    @override
    def _view(self, x: jax.Array, condition: Condition, use: str, turn: Turn) -> judging.View:
        residual, coarse = jnp.split(x, 2, axis=-1)
        image = super()._view(coarse + residual, condition, use, turn)
        # The same draws: the blurred image is moved and recoloured as the sharp one is.
        shared = {name: made for name, made in self.augment.items() if made.shared}
        coarse = judging.augmented(shared, coarse, turn, use)
        shown = jnp.concatenate([image.shown - coarse, coarse], axis=-1)
        return dataclasses.replace(image, data=x, shown=shown)


@dataclasses.dataclass(frozen=True)
class LaplacianGame(GenerativeGame):
    """A discriminator and a generator per level, who take turns from the coarsest level on.

    Networks, players and the game's memory are named after their level's resolution:
    ``generator_8``, ``discriminator_8``, ``generator_16``, .... The first player alone consumes
    real images; the others are shown the batch that it had last.

    Attributes:
      spec: of the data, which are square images.
      coarsest: the level of the lowest resolution.
      finer: those of twice, four times, ... that resolution; at least one.
    """

    uses = AdversarialGame.uses

    @dataclasses.dataclass(frozen=True)
    class Settings:
        """Settings of a pyramid; ``generator`` and ``discriminator`` play at the coarsest level.

        Attributes:
          coarsest: resolution of the coarsest level, which is doubled up to that of the data.
          generator: at each finer level.
          discriminator: likewise.
          discriminator_steps: gradient steps of a discriminator for each of its generator's.
          joint_batch: a discriminator sees real and generated data in one pass.
          clip: bound of the discriminators' weights; unset: none.
        """

        coarsest: int = 8
        discriminator_steps: int = 1
        joint_batch: bool = False
        clip: float | None = None
        generator: Group = Group(LaplacianGenerator, hidden=("conditioning",))
        discriminator: Group = Group(LaplacianDiscriminator, hidden=("conditioning",))

    spec: Spec
    coarsest: AdversarialGame
    finer: tuple[ConditionalLevel, ...]

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> Self:
        for name in ("classification", "information", "path_length", "san", "transport"):
            if weight := config.terms[name].weight:
                raise errors.ConfigError(
                    f"terms.{name}.weight = {weight}; accepted for game.name = 'laplacian': 0"
                )
        if history := config.fakes.history:
            raise errors.ConfigError(
                f"fakes.history = {history}: past fakes are stored without their blurred images; "
                "accepted for game.name = 'laplacian': 0"
            )
        own = config.game.laplacian
        height, width, channels = given.image_shape
        first, *rest = _resolutions(own.coarsest, height, width)
        for role in ("generator", "discriminator"):
            if (conditioning := config[role].conditioning) not in CONDITIONING:
                raise errors.ConfigError(
                    f"{role}.conditioning = {conditioning!r}; accepted for game.name = "
                    f"'laplacian': {', '.join(CONDITIONING)}"
                )
        small = dataclasses.replace(given, spec=_spec(given.spec, first, channels))
        try:
            coarsest = AdversarialGame.from_config(config, small)
        except errors.ConfigError as error:
            raise errors.ConfigError(f"at game.laplacian.coarsest = {first}: {error}") from error
        finer = []
        for size in rest:
            shared = building.network_fields(config, given) | {"shape": (size, size, channels)}
            generator, discriminator = (
                module(conditioning=config[role].conditioning, **own[role], **shared)
                for role, module in (
                    ("generator", LaplacianGenerator),
                    ("discriminator", LaplacianDiscriminator),
                )
            )
            # Data points are pairs of images; all else is the coarsest level's.
            fields = {
                **vars(coarsest),
                "spec": _spec(given.spec, size, 2 * channels),
                "generator": generator,
                "discriminator": discriminator,
            }
            finer.append(ConditionalLevel(**fields))
        return cls(given.spec, coarsest, tuple(finer))

    @property
    def levels(self) -> tuple[AdversarialGame, ...]:
        """All levels, from coarse to fine."""
        return (self.coarsest, *self.finer)

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        return {
            at(name, level): dataclasses.replace(network, optimizer=name)
            for level in self.levels
            for name, network in level.networks.items()
        }

    @property
    @override
    def players(self) -> tuple[Player, ...]:
        players = [
            dataclasses.replace(
                player,
                name=at(player.name, level),
                networks=tuple(at(name, level) for name in player.networks),
                loss=_loss(player, level, len(self.levels) - 1 - index, conditional=index > 0),
                fresh_data=False,
            )
            for index, level in enumerate(self.levels)
            for player in level.players
        ]
        return (dataclasses.replace(players[0], fresh_data=True), *players[1:])

    @property
    @override
    def latent_dim(self) -> int:
        return sum(level.latent_dim for level in self.levels)

    @property
    @override
    def num_classes(self) -> int | None:
        return self.coarsest.num_classes

    @property
    @override
    def attributes(self) -> Field | None:
        return self.coarsest.attributes

    @property
    @override
    def memory(self) -> Mapping[str, Any]:
        return {
            at(slot, level): value for level in self.levels for slot, value in level.memory.items()
        }

    @override
    def compose(self, generate: Generate, z: jax.Array, condition: Condition) -> jax.Array:
        # `jnp.split` takes the places where a new part begins.
        ends = itertools.accumulate(level.latent_dim for level in (self.coarsest, *self.finer[:-1]))
        first, *rest = jnp.split(z, list(ends), axis=-1)
        images = generate(at("generator", self.coarsest), first, condition)
        for level, part in zip(self.finer, rest, strict=True):
            coarse = pyramid.upsample(images)
            given = {**(condition or {}), COARSE: coarse}
            images = coarse + generate(at("generator", level), part, given)
        return images


def at(name: str, level: AdversarialGame) -> str:
    """Return what a level's network, player or slot of memory is called in the whole game."""
    return f"{name}_{level.shape[0]}"


def _spec(spec: Spec, size: int, channels: int) -> Spec:
    """Return the specification of square images of another size."""
    name = specs.data_name(spec)
    return {**spec, name: specs.image((size, size, channels))}


def _resolutions(coarsest: int, height: int, width: int) -> list[int]:
    """Return the resolutions of a pyramid's levels, from coarse to fine; raises `ConfigError`."""
    if height != width:
        raise errors.ConfigError(
            f"data.name: the images are {height}x{width}; accepted for game.name = 'laplacian': "
            "square images"
        )
    accepted = [height >> n for n in range(height.bit_length() - 1, 0, -1) if height % 2**n == 0]
    if not accepted:
        raise errors.ConfigError(
            f"data.resolution = {height} cannot be halved; accepted for game.name = 'laplacian': "
            "an even number"
        )
    if coarsest not in accepted:
        raise errors.ConfigError(
            f"game.laplacian.coarsest = {coarsest} does not reach data.resolution = {height} by "
            f"doubling; accepted: {', '.join(map(str, accepted))}"
        )
    return [*(size for size in accepted if size >= coarsest), height]


def _loss(player: Player, level: AdversarialGame, halvings: int, *, conditional: bool) -> Loss:
    """Return a level's loss as one of the whole game, of images halved that many times.

    A ``conditional`` level is a game on residuals.
    """

    def loss(params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        name = specs.data_name(level.spec)
        images = turn.batch[name]
        for _ in range(halvings):
            images = mean_pool(images)
        if conditional:
            images = jnp.concatenate(pyramid.split(images), axis=-1)
        own = dataclasses.replace(
            turn,
            batch={**turn.batch, name: images},
            variables={name: turn.variables[at(name, level)] for name in level.networks},
            memory={slot: turn.memory[at(slot, level)] for slot in level.memory},
        )
        value, outcome = player.loss(
            {name: params[at(name, level)] for name in player.networks}, own
        )
        return value, Outcome(
            outcome.metrics,
            {at(name, level): mutable for name, mutable in outcome.mutable.items()},
            {at(slot, level): memory for slot, memory in outcome.memory.items()},
        )

    return loss
