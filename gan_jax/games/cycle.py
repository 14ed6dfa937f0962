"""CycleGAN (Zhu et al. 2017, 1703.10593): translation between two domains without pairs.

"Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks". One generator
translates domain A to B, another B to A, and each domain has a discriminator. Both generators, one
after the other, should return the original image:

- generators: both adversarial terms, plus ``cycle_weight`` times ``|a_ba - a| + |b_ab - b|``, plus
  ``identity_weight`` times ``|G_AB(b) - b| + |G_BA(a) - a|`` (an image of the target domain should
  not change), all absolute errors means over pixels;
- discriminators: real images against fakes, of which half come from a pool of past ones.

An example of the data is an image of A and an unrelated one of B.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.data.spec import Spec
from gan_jax.errors import ConfigError
from gan_jax.games import building, draws, history, judging
from gan_jax.games.apply import apply
from gan_jax.games.game import Network, Outcome, Params, Player, Turn, Variables
from gan_jax.games.translation import A_TO_B, B_TO_A, Direction, Example, TranslationGame
from gan_jax.losses import reconstruction
from gan_jax.losses.adversarial import AdversarialLoss

# By direction: the generator, and the discriminator of the domain that it leads to.
GENERATORS = {A_TO_B: "a_to_b", B_TO_A: "b_to_a"}
DISCRIMINATORS = {A_TO_B: "discriminator_b", B_TO_A: "discriminator_a"}


@dataclasses.dataclass(frozen=True)
class CycleGame(TranslationGame):
    """Two players: both discriminators, then both generators on the same batch.

    The fakes are the same in both turns, as in the paper's program, and are computed once.

    Attributes:
      generator: module of images to images, of which each direction has its own weights.
      discriminator: module of images, with a method ``judge``, likewise.
      spec: of the data: images ``a`` and ``b`` of one shape.
      loss: the pair of adversarial losses; every score of a map counts as one.
      cycle_weight: weight of the cycle-consistency error in the generators' loss.
      identity_weight: weight of the error on images that are in the target domain already; 0: it is
        not computed.
      discriminator_weight: weight of the discriminators' losses; the paper's 1/2 slows them down.
      history: size of each pool of past fakes; 0: there is none.
    """

    uses = frozenset({"generator", "discriminator", "loss"})
    TINY: ClassVar[dict[str, int]] = {"history": 4}

    generator: nn.Module
    discriminator: nn.Module
    spec: Spec
    loss: AdversarialLoss
    cycle_weight: float = 10.0
    identity_weight: float = 5.0
    discriminator_weight: float = 0.5
    history: int = 50

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> Self:
        if config.data.pairing != "domains":
            raise ConfigError(
                f"data.pairing = {config.data.pairing!r}; accepted for game.name = 'cycle': "
                "'domains'"
            )
        shape = given.image_shape
        return cls(
            generator=building.make_network(
                "translator", config, given, shape=shape, outputs=shape[2]
            ),
            discriminator=building.make_network("patch_discriminator", config, given, shape=shape),
            spec=given.spec,
            loss=building.make_loss(config, given),
            **building.check_weights(config.game.cycle, "game.cycle"),
        )

    @property
    @override
    def directions(self) -> Mapping[str, Direction]:
        channels = self.image_shape[2]
        multiple = self.generator.multiple
        return {
            way: Direction(channels, channels, multiple, networks=(name,))
            for way, name in GENERATORS.items()
        }

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        x = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        generators = {
            name: Network(self.generator, (x,), averaged=True, optimizer="generator")
            for name in GENERATORS.values()
        }
        discriminators = {
            name: Network(self.discriminator, (x,), optimizer="discriminator")
            for name in DISCRIMINATORS.values()
        }
        return {**generators, **discriminators}

    @property
    @override
    def memory(self) -> Mapping[str, Any]:
        if not self.history:
            return {}
        pool = history.init(self.history, jax.ShapeDtypeStruct(self.image_shape, jnp.float32))
        return {_pool(name): pool for name in DISCRIMINATORS.values()}

    @property
    @override
    def players(self) -> tuple[Player, ...]:
        judges, ways = tuple(DISCRIMINATORS.values()), tuple(GENERATORS.values())
        return (
            Player("discriminators", judges, self.discriminators_loss),
            Player("generators", ways, self.generators_loss, fresh_data=False),
        )

    @override
    def examples(
        self, batch: Mapping[str, jax.Array], keys: jax.Array, direction: str = A_TO_B
    ) -> Example:
        return Example(_domains(batch)[direction][0], None, None)

    def discriminators_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return both discriminators' loss on one batch."""
        mutable: dict[str, Variables] = {}
        memory: dict[str, Any] = {}
        metrics: dict[str, jax.Array] = {}
        loss = jnp.float32(0.0)
        for way, (source, target) in _domains(turn.batch).items():
            name = DISCRIMINATORS[way]
            keys = turn.batch_keys(f"dropout/fake/{way}")
            fake, _ = apply(self.generator, turn.variables[GENERATORS[way]], source, keys=keys)
            fake = lax.stop_gradient(fake)
            if self.history:
                slot = _pool(name)
                key = jax.random.fold_in(draws.named(turn.key, slot), turn.first)
                fake, memory[slot] = history.exchange(turn.memory[slot], fake, key, turn.axis_name)
            variables = turn.with_params(params, name)
            real, shown, mutable[name] = judging.judge_pair(
                self.discriminator, variables, target, fake
            )
            own = jnp.mean(self.loss.discriminator(real.scores, shown.scores))
            means = {"adversarial": own, **judging.mean_scores(real=real, fake=shown)}
            metrics |= {f"{way}/{name}": mean for name, mean in means.items()}
            loss = loss + self.discriminator_weight * own
        return loss, Outcome(metrics, mutable, memory)

    def generators_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return both generators' loss on one batch."""
        domains = _domains(turn.batch)
        mutable: dict[str, Variables] = {name: {} for name in GENERATORS.values()}
        loss, metrics = jnp.float32(0.0), {}

        def generate(direction: str, images: jax.Array, use: str) -> jax.Array:
            name = GENERATORS[direction]
            variables = turn.with_params(params, name) | mutable[name]
            keys = turn.batch_keys(f"dropout/{use}/{direction}")
            made, changed = apply(
                self.generator, variables, images, keys=keys, iterate=use == "fake"
            )
            mutable[name] |= changed
            return made

        fakes = {way: generate(way, domains[way][0], "fake") for way in GENERATORS}
        for way, back in ((A_TO_B, B_TO_A), (B_TO_A, A_TO_B)):
            source, target = domains[way]
            variables = turn.variables[DISCRIMINATORS[way]]
            fooled = judging.generator_loss(
                self.loss, self.discriminator, variables, fakes[way], target
            )
            metrics[f"{way}/adversarial"] = fooled
            loss = loss + fooled
            again = generate(back, fakes[way], "cycle")
            metrics[f"{way}/cycle"] = jnp.mean(reconstruction.l1(again, source))
            loss = loss + self.cycle_weight * metrics[f"{way}/cycle"]
            if self.identity_weight:
                same = generate(way, target, "identity")
                metrics[f"{way}/identity"] = jnp.mean(reconstruction.l1(same, target))
                loss = loss + self.identity_weight * metrics[f"{way}/identity"]
        return loss, Outcome(metrics, mutable)


def _domains(batch: Mapping[str, jax.Array]) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Return, by direction, the images of its source domain and those of its target domain."""
    a, b = batch["a"], batch["b"]
    return {A_TO_B: (a, b), B_TO_A: (b, a)}


def _pool(discriminator: str) -> str:
    """Return the slot of the memory that has a discriminator's past fakes."""
    return f"history/{discriminator}"
