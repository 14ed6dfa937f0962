"""The game of one generator against one discriminator (Goodfellow 2014, 1406.2661).

GAN, DCGAN, LSGAN, WGAN (clipping), WGAN-GP, DRAGAN, R1-regularised, relativistic, spectrally
normalized, class-conditional GANs, AC-GAN and InfoGAN are configurations of it: a loss, two
networks, terms, and how many steps the discriminator takes for each of the generator's.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.augment import Augmentation, make_augmentations
from gan_jax.data import attributes
from gan_jax.data import spec as specs
from gan_jax.data.spec import LABEL, Field, Spec
from gan_jax.errors import ConfigError
from gan_jax.games import building, draws, judging
from gan_jax.games.apply import apply, judge
from gan_jax.games.codes import Codes
from gan_jax.games.fakes import Fakes
from gan_jax.games.game import (
    Generate,
    GenerativeGame,
    Network,
    Outcome,
    Params,
    Player,
    Turn,
    Variables,
)
from gan_jax.games.terms import Context, Term, add_terms, make_heads, make_terms
from gan_jax.losses import penalties
from gan_jax.losses.adversarial import AdversarialLoss
from gan_jax.networks.condition import Condition
from gan_jax.networks.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class AdversarialGame(GenerativeGame):
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

    uses = frozenset({"generator", "discriminator", "loss", "penalty", "terms", "augment", "fakes"})

    generator: nn.Module
    discriminator: nn.Module
    spec: Spec
    loss: AdversarialLoss
    terms: Mapping[str, Term] = dataclasses.field(default_factory=dict)
    augment: Mapping[str, Augmentation] = dataclasses.field(default_factory=dict)
    clip: float | None = None
    discriminator_steps: int = 1
    joint_batch: bool = False
    fakes: Fakes = dataclasses.field(default_factory=Fakes)
    num_classes: int | None = None
    codes: Codes | None = None

    def __post_init__(self) -> None:
        """Check the fields; raises `ConfigError`."""
        if self.clip is not None and not self.clip > 0:
            raise ConfigError(f"game.clip = {self.clip}; accepted: a number above 0, or none")
        minibatch = getattr(self.discriminator, "minibatch", "none")
        if self.joint_batch and minibatch == "discrimination":
            raise ConfigError(
                "game.joint_batch = True: discrimination would compare real images with fakes; "
                "accepted with minibatch = 'discrimination': False"
            )

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given, **more: Any) -> Self:
        game, terms, codes = config.game, make_terms(config, given), None
        building.check_conditioning(config, given, classified="classification" in terms)
        if "information" in terms:
            codes = terms["information"].codes(config.generator.latent_dim)
        latent = {"latent_dim": codes.latent_dim} if codes else {}
        heads = make_heads(terms, given)
        return cls(
            generator=building.make_network("generator", config, given, **latent),
            discriminator=building.make_network("discriminator", config, given, heads=heads),
            spec=given.spec,
            loss=building.make_loss(config, given),
            terms=terms,
            augment=make_augmentations(config, specs.data_field(given.spec).kind),
            clip=game.clip,
            discriminator_steps=building.discriminator_steps(config),
            joint_batch=game.joint_batch,
            fakes=Fakes(**config.fakes),
            num_classes=None if config.generator.conditioning == "none" else given.num_classes,
            codes=codes,
            **more,
        )

    @property
    @override
    def attributes(self) -> Field | None:
        unconditional = getattr(self.generator, "conditioning", "none") == "none"
        return None if unconditional else attributes.of(self.spec)

    @property
    @override
    def latent_dim(self) -> int:
        return self.generator.latent_dim

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        z = jax.ShapeDtypeStruct((1, self.latent_dim), jnp.float32)
        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        label = self.spec.get(LABEL, specs.label(()))
        condition = {LABEL: jax.ShapeDtypeStruct((1, *label.shape), jnp.dtype(label.dtype))}
        return {
            "generator": Network(self.generator, (z, condition), averaged=True),
            "discriminator": Network(self.discriminator, (x, condition)),
        }

    @property
    @override
    def memory(self) -> Mapping[str, Any]:
        return {
            **judging.memory(self.terms),
            **judging.memory(self.augment, judging.AUGMENT),
            **self.fakes.memory(self.spec),
        }

    @property
    @override
    def players(self) -> tuple[Player, ...]:
        names, project = ("discriminator",), None
        if self.clip is not None:
            project = functools.partial(penalties.clip_weights, limit=self.clip)
        steps, fresh = self.discriminator_steps, self.loss.generator_needs_real
        return (
            Player("discriminator", names, self.discriminator_loss, steps, project=project),
            Player("generator", ("generator",), self.generator_loss, fresh_data=fresh),
        )

    @override
    def scheduled(self, images: jax.Array) -> Mapping[str, Variables]:
        # Of a generator with a schedule, such as that of textgan.
        schedule = getattr(self.generator, "scheduled", None)
        return {"generator": schedule(images)} if schedule else {}

    @override
    def latents(self, keys: jax.Array) -> jax.Array:
        return self.codes.draw(keys) if self.codes else super().latents(keys)

    @override
    def truncate(self, z: jax.Array, limit: float | jax.Array) -> jax.Array:
        return (self.codes or draws).truncate(z, limit)

    @override
    def compose(self, generate: Generate, z: jax.Array, condition: Condition) -> jax.Array:
        return generate("generator", z, condition)

    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the discriminator's loss on one batch of real data."""
        z = self.latents(turn.keys("latent"))
        made = lax.stop_gradient(self._generate({}, z, turn.condition, turn)[0])
        made, condition, memory = self.fakes.shown(made, turn)
        views = [
            self._view(self._shown_as_real(turn), turn.condition, "real", turn),
            self._view(made, condition, "fake", turn),
        ]
        variables = turn.with_params(params, "discriminator")
        (real, fake), mutable = judging.judge_all(
            self.judge, variables, views, joint=self.joint_batch, iterate=True
        )
        loss = jnp.mean(self.loss.discriminator(real.scores, fake.scores))
        metrics = {"adversarial": loss, **judging.mean_scores(real=real, fake=fake)}
        own = {"discriminator": variables | mutable}
        context = Context("discriminator", turn, self, own, z, fake, real)
        loss, metrics, remembered = add_terms(self.terms, context, loss, metrics)
        adapted, more = judging.adapted(self.augment, turn, real, fake)
        memory = {**memory, **remembered, **adapted}
        return loss, Outcome({**metrics, **more}, {"discriminator": mutable}, memory)

    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the generator's loss on one batch of fresh latents."""
        z = self.latents(turn.keys("latent"))
        made, mutable = self._generate(params, z, turn.condition, turn)
        views = [self._view(made, turn.condition, "fake", turn)]
        if self.loss.generator_needs_real or any(term.needs_real for term in self.terms.values()):
            views.append(self._view(self.data(turn), turn.condition, "real", turn))
        variables = turn.variables["discriminator"]
        (fake, *more), _ = judging.judge_all(self.judge, variables, views, joint=False)
        real = more[0] if more else None
        losses = self.loss.generator(fake.scores, real.scores if real else None)
        loss = jnp.mean(self.fakes.weighted(losses, fake.scores, turn))
        own = {"generator": turn.with_params(params, "generator")}
        context = Context("generator", turn, self, own, z, fake, real)
        loss, metrics, memory = add_terms(self.terms, context, loss, {"adversarial": loss})
        return loss, Outcome(metrics, {"generator": mutable}, memory)

    def _generate(
        self, params: Params, z: jax.Array, condition: Condition, turn: Turn
    ) -> tuple[jax.Array, Variables]:
        """Return data generated from ``z``, and the generator's new mutable collections."""
        own, keys = turn.with_params(params, "generator"), turn.keys("generator")
        return apply(self.generator, own, z, condition, keys=keys, iterate="generator" in params)

    def _shown_as_real(self, turn: Turn) -> jax.Array:
        """Return the batch of real data; augmentations may replace some by generated ones."""
        real = self.data(turn)
        for name, one in self.augment.items():
            if one.replaces:
                # Independent of the fakes that the discriminator is shown as fakes.
                own = dataclasses.replace(turn, key=draws.named(turn.key, one.draws))
                z = self.latents(own.keys("latent"))
                fake = lax.stop_gradient(self._generate({}, z, own.condition, own)[0])
                memory = turn.memory.get(f"{judging.AUGMENT}{name}")
                real = one.replaced(own.keys("replaced"), real, fake, memory)
        return real

    def _view(self, x: jax.Array, condition: Condition, use: str, turn: Turn) -> judging.View:
        """Return data as the discriminator is given them; ``use`` names the draws."""
        shown = judging.augmented(self.augment, x, turn, use)
        return judging.View(x, shown, condition, turn.keys(f"judge/{use}"))

    def judge(
        self, variables: Variables, x: jax.Array, condition: Condition, **options: Any
    ) -> tuple[Verdict, Variables]:
        """Return a verdict and the discriminator's new mutable collections; see `apply`."""
        return judge(self.discriminator, variables, x, condition, **options)
