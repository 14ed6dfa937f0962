"""The game of one generator against one discriminator (Goodfellow 2014, 1406.2661).

GAN, DCGAN, LSGAN, WGAN (clipping), WGAN-GP, DRAGAN, R1-regularised, relativistic, spectrally
normalized, class-conditional GANs, AC-GAN and InfoGAN are configurations of it: a loss, two
networks, terms, and how many steps the discriminator takes for each of the generator's.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax import errors
from gan_jax.augment import Augmentation, make_augmentations
from gan_jax.data import spec as specs
from gan_jax.data.spec import LABEL, Spec
from gan_jax.games import building, draws, history, judging
from gan_jax.games.apply import apply
from gan_jax.games.codes import Codes
from gan_jax.games.game import Network, Outcome, Params, Player, Turn, Variables
from gan_jax.games.terms import Context, Term, add_terms, gradient_penalty, make_terms
from gan_jax.losses import penalties, top_k
from gan_jax.losses.adversarial import AdversarialLoss
from gan_jax.networks.condition import Condition
from gan_jax.networks.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class Fakes:
    """Which fakes the players are shown.

    Attributes:
      history: size of the pool of past fakes that the discriminator is shown from; 0: none.
      top_k: least share of a batch's fakes that the generator learns from, those with the highest
        scores; 1: all.
      top_k_decay: factor of each reduction of that share, which begins at 1.
      top_k_steps: train steps between two reductions.
    """

    history: int = 0
    top_k: float = 1.0
    top_k_decay: float = 0.99
    top_k_steps: int = 1000

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        if self.history < 0:
            raise errors.ConfigError(f"fakes.history = {self.history}; accepted: 0 or more")
        top_k.check_schedule(self.top_k_decay, self.top_k_steps, self.top_k)

    def weights(self, scores: jax.Array, turn: Turn) -> jax.Array:
        """Return the weights of a batch's fakes in the generator's loss, float32 ``[batch]``."""
        devices = 1 if turn.axis_name is None else lax.axis_size(turn.axis_name)
        size = scores.shape[0] * devices
        count = top_k.kept(turn.count, size, self.top_k_decay, self.top_k_steps, self.top_k)
        return top_k.top_k_weights(scores, count, axis_name=turn.axis_name)


@dataclasses.dataclass(frozen=True)
class AdversarialGame:
    """Two players: the discriminator (or critic), then the generator.

    Attributes:
      generator: module of ``(z, condition)`` to data, with a field ``latent_dim``.
      discriminator: module of ``(data, condition)`` to scores, with a method ``judge``.
      spec: of the data, which have one field beside the label.
      loss: the pair of losses.
      terms: that are added to the players' losses, by name.
      augment: what data go through before they are judged, in this order, by name.
      clip: after each discriminator step its weights are projected into [-clip, clip]; ``None``:
        never.
      discriminator_steps: gradient steps of the discriminator for each of the generator's.
      joint_batch: the discriminator sees real and generated data in one pass. Faster; the same
        scores, unless it looks at the batch: batch statistics would then be shared by both halves.
      fakes: which fakes the players are shown.
      num_classes: that the generator can be asked for; ``None``: it is unconditional. Labels of
        generated data are those of the real batch, and so of the data's distribution.
      codes: in the latent vector (InfoGAN); ``None``: it is noise.
    """

    uses: ClassVar[tuple[str, ...]] = (
        "generator",
        "discriminator",
        "loss",
        "penalty",
        "terms",
        "augment",
        "fakes",
    )
    """Groups of a configuration that the game reads, beside its own."""

    generator: nn.Module
    discriminator: nn.Module
    spec: Spec
    loss: AdversarialLoss
    terms: Mapping[str, Term] = dataclasses.field(default_factory=dict)
    augment: Mapping[str, Augmentation] = dataclasses.field(default_factory=dict)
    clip: float | None = None
    discriminator_steps: int = 1
    joint_batch: bool = False
    fakes: Fakes = Fakes()
    num_classes: int | None = None
    codes: Codes | None = None

    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> "AdversarialGame":
        """Return the game that a configuration describes; raises `ConfigError`."""
        fields = adversarial_fields(config, given)
        generator, discriminator = (
            config[role].conditioning for role in ("generator", "discriminator")
        )
        alike = (generator == "none") == (discriminator == "none")
        if not alike and "classification" not in fields["terms"]:
            raise errors.ConfigError(
                f"generator.conditioning = {generator!r} and discriminator.conditioning = "
                f"{discriminator!r}; accepted: 'none' for both, or for neither"
            )
        heads = [
            head for term in fields["terms"].values() for head in term.heads(given.num_classes)
        ]
        information = fields["terms"].get("information")
        codes = information.codes(config.generator.latent_dim) if information else None
        latent = {"latent_dim": codes.latent_dim} if codes else {}
        return cls(
            generator=building.make_network("generator", config, given, **latent),
            discriminator=building.make_network("discriminator", config, given, heads=tuple(heads)),
            num_classes=None if generator == "none" else given.num_classes,
            codes=codes,
            **fields,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return specs.data_field(self.spec).shape

    @property
    def latent_dim(self) -> int:
        """Size of one latent vector."""
        return self.generator.latent_dim

    @property
    def networks(self) -> Mapping[str, Network]:
        """``generator`` (averaged) and ``discriminator``."""
        z = jax.ShapeDtypeStruct((1, self.latent_dim), jnp.float32)
        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        condition = {"label": jax.ShapeDtypeStruct((1,), jnp.int32)}
        return {
            "generator": Network(self.generator, (z, condition), averaged=True),
            "discriminator": Network(self.discriminator, (x, condition)),
        }

    @property
    def memory(self) -> Mapping[str, Any]:
        """The terms', the augmentations' (``augment/<name>``), and the pool of past fakes."""
        slots = {name: term.init() for name, term in self.terms.items()}
        slots |= {f"augment/{name}": made.init() for name, made in self.augment.items()}
        if self.fakes.history:
            slots["history"] = history.init(
                self.fakes.history, self.shape, labelled=LABEL in self.spec
            )
        return {name: slot for name, slot in slots.items() if slot is not None}

    @property
    def players(self) -> tuple[Player, ...]:
        """The discriminator, on fresh data each step; then the generator."""
        names = ("discriminator",)
        project = None
        if self.clip is not None:
            project = functools.partial(penalties.clip_weights, limit=self.clip)
        steps, fresh = self.discriminator_steps, self.loss.generator_needs_real
        return (
            Player("discriminator", names, self.discriminator_loss, steps, project=project),
            Player("generator", ("generator",), self.generator_loss, fresh_data=fresh),
        )

    def latents(self, keys: jax.Array) -> jax.Array:
        """Return standard normal latents, and codes; see `GenerativeGame.latents`."""
        return self.codes.draw(keys) if self.codes else draws.latents(keys, self.latent_dim)

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
        """Return generated data, float32 ``[batch, *shape]``; see `GenerativeGame.sample`."""
        z = self._truncated(z, truncation)
        data = self.generator.apply(variables["generator"], z, condition, keys=keys, train=train)
        assert isinstance(data, jax.Array)
        return data

    def sample_moments(
        self,
        variables: Mapping[str, Variables],
        z: jax.Array,
        condition: Condition = None,
        *,
        keys: jax.Array | None = None,
        truncation: float | jax.Array | None = None,
    ) -> dict[str, Variables]:
        """Return the generator's moments; see `GenerativeGame.sample_moments`."""
        own, z = variables["generator"], self._truncated(z, truncation)
        _, found = self.generator.apply(
            own, z, condition, keys=keys, train=True, mutable=["moments"]
        )
        return {"generator": dict(found).get("moments", {})}

    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the discriminator's loss on one batch of real data."""
        z = self.latents(turn.keys("latent"))
        made = lax.stop_gradient(self._generate({}, z, turn)[0]), turn.condition
        memory: dict[str, Any] = {}
        if self.fakes.history:
            key = jax.random.fold_in(draws.named(turn.key, "history"), turn.first)
            made, memory["history"] = history.exchange(
                turn.memory["history"], made, key, turn.axis_name
            )
        steps = self.discriminator_steps
        views = [
            self._view(specs.data(turn.batch, self.spec), turn.condition, "real", turn, steps),
            self._view(*made, "fake", turn, steps),
        ]
        variables = turn.with_params(params, "discriminator")
        (real, fake), mutable = judging.judge_all(
            self._judge, variables, views, joint=self.joint_batch, iterate=True
        )
        scores = real.verdict.scores, fake.verdict.scores
        loss = jnp.mean(self.loss.discriminator(*scores))
        metrics = {
            "adversarial": loss,
            "real_score": jnp.mean(scores[0]),
            "fake_score": jnp.mean(scores[1]),
        }
        own = {"discriminator": variables | mutable}
        context = self._context("discriminator", turn, own, z, fake, real, steps)
        loss, metrics, remembered = add_terms(self.terms, context, loss, metrics)
        memory |= remembered | self._adapted(turn, *scores)
        return loss, Outcome(metrics, {"discriminator": mutable} if mutable else {}, memory)

    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the generator's loss on one batch of fresh latents."""
        z = self.latents(turn.keys("latent"))
        made, mutable = self._generate(params, z, turn)
        views = [self._view(made, turn.condition, "fake", turn, 1)]
        own = [term for term in self.terms.values() if "generator" in term.players]
        if self.loss.generator_needs_real or any(term.needs_real for term in own):
            views.append(
                self._view(specs.data(turn.batch, self.spec), turn.condition, "real", turn, 1)
            )
        variables = turn.variables["discriminator"]
        (fake, *more), _ = judging.judge_all(self._judge, variables, views, joint=False)
        real = more[0] if more else None
        losses = self.loss.generator(fake.verdict.scores, real.verdict.scores if real else None)
        if self.fakes.top_k < 1:
            losses = losses * self.fakes.weights(fake.verdict.scores, turn)
        loss = jnp.mean(losses)
        trained = {"generator": turn.with_params(params, "generator")}
        context = self._context("generator", turn, trained, z, fake, real, 1)
        loss, metrics, memory = add_terms(self.terms, context, loss, {"adversarial": loss})
        return loss, Outcome(metrics, {"generator": mutable} if mutable else {}, memory)

    def _truncated(self, z: jax.Array, truncation: float | jax.Array | None) -> jax.Array:
        """Return latents within a limit."""
        if truncation is None:
            return z
        return (self.codes or draws).truncate(z, truncation)

    def _generate(self, params: Params, z: jax.Array, turn: Turn) -> tuple[jax.Array, Variables]:
        """Return data generated from ``z``, and the generator's new mutable collections."""
        own, keys = turn.with_params(params, "generator"), turn.keys("generator")
        iterate = "generator" in params
        return apply(self.generator, own, z, turn.condition, keys=keys, iterate=iterate)

    def _shown(self, x: jax.Array, turn: Turn, use: str, steps: int) -> jax.Array:
        """Return augmented data; see `_view`."""
        return judging.augmented(self.augment, x, turn, use, steps)

    def _adapted(self, turn: Turn, real: jax.Array, fake: jax.Array) -> dict[str, Any]:
        """Return the augmentations' memories after the discriminator's scores, by slot."""
        slots = {f"augment/{name}": made for name, made in self.augment.items()}
        return {
            slot: made.update(turn.memory[slot], real, fake, turn.axis_name)
            for slot, made in slots.items()
            if slot in turn.memory
        }

    def _view(
        self, x: jax.Array, condition: Condition, use: str, turn: Turn, steps: int
    ) -> judging.View:
        """Return data as the discriminator is given them.

        Args:
          x: real or generated data.
          condition: by field.
          use: names the draws.
          turn: the player's view.
          steps: the player's gradient steps in one train step.
        """
        shown = self._shown(x, turn, use, steps)
        return judging.View(x, shown, condition, turn.keys(f"judge/{use}"))

    def _judge(
        self,
        variables: Variables,
        x: jax.Array,
        condition: Condition,
        keys: jax.Array,
        *,
        iterate: bool = False,
    ) -> tuple[Verdict, Variables]:
        """Return the discriminator's verdict, and its new mutable collections."""
        return apply(
            self.discriminator, variables, x, condition, keys=keys, iterate=iterate, method="judge"
        )

    def _context(
        self,
        player: str,
        turn: Turn,
        own: Mapping[str, Variables],
        z: jax.Array,
        fake: judging.Judged,
        real: judging.Judged | None,
        steps: int,
    ) -> Context:
        """Return what terms see of a turn; ``own`` are the variables that are differentiated."""
        variables = {**turn.variables, **own}

        def generate(z: jax.Array, condition: Condition, keys: jax.Array) -> jax.Array:
            return apply(self.generator, variables["generator"], z, condition, keys=keys)[0]

        def judge(x: jax.Array, condition: Condition, keys: jax.Array) -> Verdict:
            return self._judge(variables["discriminator"], x, condition, keys)[0]

        modules = {"generator": self.generator, "discriminator": self.discriminator}
        return Context(player, turn, steps, modules, variables, z, fake, real, generate, judge)


def adversarial_fields(config: Any, given: building.Given) -> dict[str, Any]:
    """Return the fields of `AdversarialGame` beside its networks, classes and codes.

    Raises:
      ConfigError: a field has a value that cannot work.
    """
    game = config.game
    if game.clip is not None and not game.clip > 0:
        raise errors.ConfigError(f"game.clip = {game.clip}; accepted: a number above 0, or none")
    minibatch = config.discriminator.get(config.discriminator.name, {}).get("minibatch")
    if game.joint_batch and minibatch == "discrimination":
        raise errors.ConfigError(
            "game.joint_batch = True: discrimination would compare real images with fakes; "
            "accepted with minibatch = 'discrimination': False"
        )
    return {
        "spec": given.spec,
        "loss": building.make_loss(config, given),
        "terms": {**gradient_penalty.make(config, given), **make_terms(config, given)},
        "augment": make_augmentations(config, specs.data_field(given.spec).kind),
        "clip": game.clip,
        "discriminator_steps": building.discriminator_steps(config),
        "joint_batch": game.joint_batch,
        "fakes": Fakes(**config.fakes),
    }
