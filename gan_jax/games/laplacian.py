"""The game of a Laplacian pyramid of GANs (LAPGAN, Denton et al. 2015, 1506.05751).

The coarsest level is an ordinary game on images of low resolution. Each finer one is a game on the
residuals between images and their blurred selves, in which both players see the blurred image: the
real one while they train, so that levels are independent of each other, and the one generated so
far when a sample is made, from coarse to fine. All levels train in one run, and on one batch of
real images per train step.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.data.spec import Spec
from gan_jax.games import building, draws, judging
from gan_jax.games.adversarial import AdversarialGame
from gan_jax.games.apply import apply
from gan_jax.games.game import Loss, Network, Outcome, Params, Player, Turn, Variables
from gan_jax.layers import pyramid
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
    def networks(self) -> Mapping[str, Network]:
        """``generator`` (averaged) and ``discriminator``."""
        z = jax.ShapeDtypeStruct((1, self.latent_dim), jnp.float32)
        height, width, channels = self.shape
        x = jax.ShapeDtypeStruct((1, height, width, channels // 2), jnp.float32)
        condition = {"label": jax.ShapeDtypeStruct((1,), jnp.int32), COARSE: x}
        return {
            "generator": Network(self.generator, (z, condition), averaged=True),
            "discriminator": Network(self.discriminator, (x, condition)),
        }

    def _generate(self, params: Params, z: jax.Array, turn: Turn) -> tuple[jax.Array, Variables]:
        """Return pairs of generated residuals and real blurred images; see `AdversarialGame`."""
        variables = turn.with_params(params, "generator")
        _, coarse = jnp.split(specs.data(turn.batch, self.spec), 2, axis=-1)
        residual, mutable = apply(
            self.generator,
            variables,
            z,
            {**turn.condition, COARSE: coarse},
            keys=turn.keys("generator"),
            iterate="generator" in params,
        )
        return jnp.concatenate([residual, coarse], axis=-1), mutable

    def _judge(
        self,
        variables: Variables,
        x: jax.Array,
        condition: Condition,
        keys: jax.Array,
        *,
        iterate: bool = False,
    ) -> tuple[Verdict, Variables]:
        """Return the discriminator's verdict on pairs; see `AdversarialGame`."""
        residual, coarse = jnp.split(x, 2, axis=-1)
        condition = {**(condition or {}), COARSE: coarse}
        return super()._judge(variables, residual, condition, keys, iterate=iterate)

    def _shown(self, x: jax.Array, turn: Turn, use: str, steps: int) -> jax.Array:
        """Return pairs as the discriminator is to see them; see `AdversarialGame`."""
        residual, coarse = jnp.split(x, 2, axis=-1)
        image = super()._shown(coarse + residual, turn, use, steps)
        # The same draws: the blurred image is moved and recoloured as the sharp one is.
        shared = {name: made for name, made in self.augment.items() if made.shared}
        coarse = judging.augmented(shared, coarse, turn, use, steps)
        return jnp.concatenate([image - coarse, coarse], axis=-1)


@dataclasses.dataclass(frozen=True)
class LaplacianGame:
    """A discriminator and a generator per level, who take turns from the coarsest level on.

    Networks, players and the game's memory are named after their level's resolution:
    ``generator_8``, ``discriminator_8``, ``generator_16``, .... The first player alone consumes
    real images; the others are shown the batch that it had last.

    Attributes:
      coarsest: the level of the lowest resolution.
      finer: those of twice, four times, ... that resolution; at least one.
    """

    uses: ClassVar[tuple[str, ...]] = AdversarialGame.uses

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

    coarsest: AdversarialGame
    finer: tuple[ConditionalLevel, ...]

    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> "LaplacianGame":
        """Return the game that a configuration describes; raises `ConfigError`."""
        for name in ("classification", "information"):
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
        # A finer level's data points are pairs of images; all else is the coarsest level's.
        common = {f.name: getattr(coarsest, f.name) for f in dataclasses.fields(AdversarialGame)}
        finer = []
        for size in rest:
            fields = building.network_fields(config, given) | {"shape": (size, size, channels)}
            level = {
                "generator": LaplacianGenerator(
                    conditioning=config.generator.conditioning,
                    **own.generator,
                    **fields,
                ),
                "discriminator": LaplacianDiscriminator(
                    conditioning=config.discriminator.conditioning,
                    **own.discriminator,
                    **fields,
                ),
                "spec": _spec(given.spec, size, 2 * channels),
            }
            finer.append(ConditionalLevel(**{**common, **level}))
        return cls(coarsest, tuple(finer))

    @property
    def levels(self) -> tuple[AdversarialGame, ...]:
        """All levels, from coarse to fine."""
        return (self.coarsest, *self.finer)

    @property
    def networks(self) -> Mapping[str, Network]:
        """Every level's, with the optimizers that ``generator`` and ``discriminator`` have."""
        return {
            at(name, level): dataclasses.replace(network, optimizer=name)
            for level in self.levels
            for name, network in level.networks.items()
        }

    @property
    def players(self) -> tuple[Player, ...]:
        """Discriminator, then generator, of the coarsest level, and so on to the finest."""
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
    def spec(self) -> Spec:
        """Specification of the data."""
        size, _, channels = self.finer[-1].shape
        return _spec(self.finer[-1].spec, size, channels // 2)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return specs.data_field(self.spec).shape

    @property
    def latent_dim(self) -> int:
        """Size of one latent vector: those of all levels, from coarse to fine."""
        return sum(level.latent_dim for level in self.levels)

    @property
    def num_classes(self) -> int | None:
        """Classes that can be asked for; see `Game.num_classes`."""
        return self.coarsest.num_classes

    @property
    def memory(self) -> Mapping[str, Any]:
        """Every level's; see `Game.memory`."""
        return {
            at(slot, level): value for level in self.levels for slot, value in level.memory.items()
        }

    def latents(self, keys: jax.Array) -> jax.Array:
        """Return standard normal latents; see `Game.latents`."""
        return draws.latents(keys, self.latent_dim)

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
        """Return images made from coarse to fine; see `Game.sample`."""

        def generate(
            name: str, level: AdversarialGame, z: jax.Array, condition: Condition
        ) -> jax.Array:
            data = level.generator.apply(variables[name], z, condition, keys=keys, train=train)
            assert isinstance(data, jax.Array)
            return data

        return self._climb(z, condition, truncation, generate)

    def sample_moments(
        self,
        variables: Mapping[str, Variables],
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        truncation: float | jax.Array | None = None,
    ) -> dict[str, Variables]:
        """Return every generator's moments on this batch; see `Game.sample_moments`."""
        moments: dict[str, Variables] = {}

        def generate(
            name: str, level: AdversarialGame, z: jax.Array, condition: Condition
        ) -> jax.Array:
            data, found = level.generator.apply(
                variables[name], z, condition, keys=keys, train=True, mutable=["moments"]
            )
            moments[name] = dict(found).get("moments", {})
            return data

        self._climb(z, condition, truncation, generate)
        return moments

    def _climb(
        self,
        z: jax.Array,
        condition: Condition,
        truncation: float | jax.Array | None,
        generate: Callable[[str, AdversarialGame, jax.Array, Condition], jax.Array],
    ) -> jax.Array:
        """Return images made from coarse to fine.

        Args:
          z: latents of all levels.
          condition: what is asked for.
          truncation: see `Game.sample`.
          generate: ``(network's name, level, latents of the level, condition)`` to images, or to
            residuals.
        """
        if truncation is not None:
            z = draws.truncate(z, truncation)
        # `jnp.split` takes the places where a new part begins.
        ends = [
            sum(level.latent_dim for level in self.levels[: i + 1]) for i in range(len(self.finer))
        ]
        first, *rest = jnp.split(z, ends, axis=-1)
        images = generate(at("generator", self.coarsest), self.coarsest, first, condition)
        for level, part in zip(self.finer, rest, strict=True):
            coarse = pyramid.upsample(images)
            given = {**(condition or {}), COARSE: coarse}
            images = coarse + generate(at("generator", level), level, part, given)
        return images


def at(name: str, level: AdversarialGame) -> str:
    """Return what a level's network, player or slot of memory is called in the whole game."""
    return f"{name}_{level.shape[0]}"


def _spec(spec: Spec, size: int, channels: int) -> Spec:
    """Return the specification of square images of another size."""
    name = specs.data_name(spec)
    return {**spec, name: specs.image((size, size, channels))}


def _resolutions(coarsest: int, height: int, width: int) -> list[int]:
    """Return the resolutions of a pyramid's levels, from coarse to fine.

    Raises:
      ConfigError: the data are not square images, or doubling never reaches their resolution.
    """
    if height != width:
        raise errors.ConfigError(
            f"data.name: the images are {height}x{width}; accepted for game.name = 'laplacian': "
            "square images"
        )
    size = height
    accepted = []
    while size % 2 == 0 and size > 0:
        size //= 2
        accepted.append(size)
    if not accepted:
        raise errors.ConfigError(
            f"data.resolution = {size} cannot be halved; accepted for game.name = 'laplacian': an "
            "even number"
        )
    if coarsest not in accepted:
        raise errors.ConfigError(
            f"game.laplacian.coarsest = {coarsest} does not reach data.resolution = {height} by "
            f"doubling; accepted: {', '.join(map(str, sorted(accepted)))}"
        )
    return [*sorted(s for s in accepted if s >= coarsest), height]


def _loss(player: Player, level: AdversarialGame, halvings: int, *, conditional: bool) -> Loss:
    """Return a level's loss as one of the whole game.

    Args:
      player: of the level.
      level: it plays in.
      halvings: of the real images, down to the level's resolution.
      conditional: the level is a game on residuals.
    """

    def loss(params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        name = specs.data_name(level.spec)
        images = turn.batch[name]
        for _ in range(halvings):
            images = pyramid.downsample(images)
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
