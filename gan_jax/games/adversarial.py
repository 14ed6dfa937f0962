"""The game of one generator against one discriminator (Goodfellow 2014, 1406.2661).

GAN, DCGAN, LSGAN, WGAN (clipping), WGAN-GP, DRAGAN, R1-regularised, relativistic and spectrally
normalized GANs are configurations of it, class-conditional or not:
a loss, a penalty, two networks, and how many steps the discriminator takes for each of the
generator's. Games that add terms to the two losses extend it (`gan_jax.games.auxiliary`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax import errors
from gan_jax.augment import diffaug, flip_shift, instance_noise
from gan_jax.data import spec as specs
from gan_jax.data.spec import LABEL, Spec
from gan_jax.games import building, draws, history
from gan_jax.games.apply import apply
from gan_jax.games.game import Network, Outcome, Params, Player, Turn, Variables
from gan_jax.losses import adversarial, consistency, feature_matching, lecam, penalties, top_k
from gan_jax.networks.condition import Condition, joined
from gan_jax.networks.verdict import Verdict

# Terms beside the adversarial loss: by name, their weight (0: only logged) and value.
Terms = dict[str, tuple[float | jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Augment:
    """What is done to every image, real or generated, before the discriminator sees it.

    Attributes:
      policy: operations of DiffAugment, any of "color", "translation", "cutout".
      noise: standard deviation of instance noise at the start.
      noise_steps: train steps over which the noise falls linearly to 0; 0: it stays.
    """

    policy: tuple[str, ...] = ()
    noise: float = 0.0
    noise_steps: int = 0


@dataclasses.dataclass(frozen=True)
class Regularize:
    """Terms and changes that suit any adversarial loss; all are off at first.

    Attributes:
      consistency_real: weight of balanced consistency on real images.
      consistency_fake: on generated ones.
      lecam: weight of LeCam.
      lecam_decay: of the moving averages of the scores.
      lecam_start: train steps before it begins.
      feature_matching: weight of the generator's matching of the discriminator's last features.
      top_k: least share of a batch's fakes that the generator learns from; 1: all of them.
      top_k_decay: the share is multiplied by this ...
      top_k_steps: ... every so many train steps.
      history: size of the pool of past fakes that the discriminator is shown; 0: none.
    """

    consistency_real: float = 0.0
    consistency_fake: float = 0.0
    lecam: float = 0.0
    lecam_decay: float = 0.99
    lecam_start: int = 0
    feature_matching: float = 0.0
    top_k: float = 1.0
    top_k_decay: float = 0.99
    top_k_steps: int = 1000
    history: int = 0


@dataclasses.dataclass(frozen=True)
class AdversarialGame:
    """Two players: the discriminator (or critic), then the generator.

    Attributes:
      generator: module of ``(z, condition)`` to data, with a field ``latent_dim``.
      discriminator: module of ``(data, condition)`` to scores, with a method ``judge``.
      spec: of the data, which have one field beside the label.
      loss: the pair of losses.
      penalty: on the discriminator's gradient, or ``None``.
      penalty_weight: multiplies the penalty.
      penalty_every: the penalty is computed every so many discriminator steps, and scaled up by as
        much.
      clip: after each discriminator step its weights are projected into [-clip, clip]; ``None``:
        never.
      discriminator_steps: gradient steps of the discriminator for each of the generator's.
      joint_batch: the discriminator sees real and generated data in one pass. Faster; the same
        scores, unless it looks at the batch: batch statistics would then be shared by both halves.
      num_classes: that the generator can be asked for; ``None``: it is unconditional. Labels of
        generated data are those of the real batch, and so of the data's distribution.
      augment: what images go through before they are judged.
      regularize: further terms.
    """

    uses: ClassVar[tuple[str, ...]] = (
        "generator",
        "discriminator",
        "loss",
        "penalty",
        "augment",
        "regularize",
    )
    """Groups of a configuration that the game reads, beside its own."""

    generator: nn.Module
    discriminator: nn.Module
    spec: Spec
    loss: adversarial.AdversarialLoss
    penalty: penalties.Penalty | None = None
    penalty_weight: float = 0.0
    penalty_every: int = 1
    clip: float | None = None
    discriminator_steps: int = 1
    joint_batch: bool = False
    num_classes: int | None = None
    augment: Augment = Augment()
    regularize: Regularize = Regularize()

    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> "AdversarialGame":
        """Return the game that a configuration describes; raises `ConfigError`."""
        generator, discriminator = (
            config[role].conditioning for role in ("generator", "discriminator")
        )
        if (generator == "none") != (discriminator == "none"):
            raise errors.ConfigError(
                f"generator.conditioning = {generator!r} and discriminator.conditioning = "
                f"{discriminator!r}; accepted: 'none' for both, or for neither"
            )
        return cls(
            generator=building.make_network("generator", config, given),
            discriminator=building.make_network("discriminator", config, given),
            num_classes=None if generator == "none" else given.num_classes,
            **adversarial_fields(config, given),
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
        """LeCam's averages of the scores, and the pool of past fakes, where they are used."""
        memory: dict[str, Any] = {}
        if self.regularize.lecam:
            memory["lecam"] = lecam.init()
        if self.regularize.history:
            size = self.regularize.history
            memory["history"] = history.init(size, self.shape, labelled=LABEL in self.spec)
        return memory

    @property
    def players(self) -> tuple[Player, ...]:
        """The discriminator, on fresh data each step; then the generator."""
        project = None
        if self.clip is not None:
            limit = self.clip
            project = lambda params: penalties.clip_weights(params, limit)  # noqa: E731
        return (
            Player(
                "discriminator",
                ("discriminator",),
                self.discriminator_loss,
                self.discriminator_steps,
                project=project,
            ),
            Player(
                "generator",
                ("generator",),
                self.generator_loss,
                fresh_data=self.loss.generator_needs_real,
            ),
        )

    def latents(self, keys: jax.Array) -> jax.Array:
        """Return standard normal latents; see `Game.latents`."""
        return draws.latents(keys, self.latent_dim)

    def truncated(self, z: jax.Array, truncation: float | jax.Array | None) -> jax.Array:
        """Return latents within a limit; see `Game.sample`."""
        return z if truncation is None else draws.truncate(z, truncation)

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
        """Return generated data, float32 ``[batch, *shape]``; see `Game.sample`."""
        z = self.truncated(z, truncation)
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
        """Return the generator's moments on this batch; see `Game.sample_moments`."""
        _, found = self.generator.apply(
            variables["generator"],
            self.truncated(z, truncation),
            condition,
            keys=keys,
            train=True,
            mutable=["moments"],
        )
        return {"generator": dict(found).get("moments", {})}

    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the discriminator's loss, with its penalty, on one batch of real data."""
        z = self.latents(turn.keys("latent"))
        fake, fake_condition = lax.stop_gradient(self._generate({}, z, turn)[0]), turn.condition
        memory: dict[str, Any] = {}
        if self.regularize.history:
            key = jax.random.fold_in(draws.named(turn.key, "history"), turn.first)
            pool = turn.memory["history"]
            pairs, memory["history"] = history.exchange(
                pool, (fake, fake_condition), key, turn.axis_name
            )
            fake, fake_condition = pairs
        real = specs.data(turn.batch, self.spec)
        real = self._shown(real, turn, "real", self.discriminator_steps)
        fake = self._shown(fake, turn, "fake", self.discriminator_steps)
        variables = turn.with_params(params, "discriminator")
        if self.joint_batch:
            both = jnp.concatenate([real, fake])
            condition = joined(turn.condition, fake_condition)
            keys = jnp.concatenate([turn.keys("judge/real"), turn.keys("judge/fake")])
            verdict, mutable = self._judge(variables, both, condition, keys, iterate=True)
            real_verdict, fake_verdict = _halves(verdict)
        else:
            keys = turn.keys("judge/real")
            real_verdict, mutable = self._judge(variables, real, turn.condition, keys, iterate=True)
            # Both halves, and the penalty, are scored with the same spectral norms.
            keys = turn.keys("judge/fake")
            fake_verdict, again = self._judge(variables | mutable, fake, fake_condition, keys)
            mutable = mutable | again
        loss = jnp.mean(self.loss.discriminator(real_verdict.scores, fake_verdict.scores))
        metrics = {
            "adversarial": loss,
            "real_score": jnp.mean(real_verdict.scores),
            "fake_score": jnp.mean(fake_verdict.scores),
        }
        terms = self.discriminator_terms(real_verdict, fake_verdict, z, turn)
        if self.penalty is not None:
            penalty = self._penalty(variables | mutable, real, fake, turn)
            terms["penalty"] = (turn.settings.get("penalty_weight", self.penalty_weight), penalty)
        scored = (
            ("real", real, turn.condition, real_verdict),
            ("fake", fake, fake_condition, fake_verdict),
        )
        for name, images, condition, verdict in scored:
            if weight := getattr(self.regularize, f"consistency_{name}"):
                changed = flip_shift.flip_shift(turn.keys(f"consistency/{name}"), images)
                keys = turn.keys(f"judge/{name}")
                changed_verdict, _ = self._judge(variables | mutable, changed, condition, keys)
                value = consistency.consistency(verdict.scores, changed_verdict.scores)
                terms[f"consistency_{name}"] = (weight, jnp.mean(value))
        if self.regularize.lecam:
            scores = (real_verdict.scores, fake_verdict.scores)
            term, memory["lecam"] = self._lecam(*scores, turn)
            terms["lecam"] = term
        loss = _add(loss, terms, metrics)
        return loss, Outcome(metrics, {"discriminator": mutable} if mutable else {}, memory)

    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the generator's loss on one batch of fresh latents."""
        z = self.latents(turn.keys("latent"))
        fake, mutable = self._generate(params, z, turn)
        shown = self._shown(fake, turn, "fake", 1)
        variables = turn.with_params(params, "discriminator")
        verdict, _ = self._judge(variables, shown, turn.condition, turn.keys("judge/fake"))
        real_verdict = None
        if self.loss.generator_needs_real or self.regularize.feature_matching:
            real = self._shown(specs.data(turn.batch, self.spec), turn, "real", 1)
            keys = turn.keys("judge/real")
            real_verdict, _ = self._judge(variables, real, turn.condition, keys)
        real_scores = None if real_verdict is None else real_verdict.scores
        losses = self.loss.generator(verdict.scores, real_scores)
        if self.regularize.top_k < 1:
            losses = losses * self._top_k(verdict.scores, turn)
        loss = jnp.mean(losses)
        metrics = {"adversarial": loss}
        terms = self.generator_terms(verdict, z, turn)
        if real_verdict is not None and (weight := self.regularize.feature_matching):
            last = (real_verdict.features[-1], verdict.features[-1])
            value = feature_matching.feature_matching(*last, axis_name=turn.axis_name)
            terms["feature_matching"] = (weight, value)
        loss = _add(loss, terms, metrics)
        return loss, Outcome(metrics, {"generator": mutable} if mutable else {})

    def discriminator_terms(self, real: Verdict, fake: Verdict, z: jax.Array, turn: Turn) -> Terms:
        """Return what is added to the discriminator's loss: nothing, in the plain game.

        Args:
          real: the verdict on real data.
          fake: on generated data.
          z: what these were generated from.
          turn: the player's view.
        """
        del real, fake, z, turn
        return {}

    def generator_terms(self, fake: Verdict, z: jax.Array, turn: Turn) -> Terms:
        """Return what is added to the generator's loss: nothing, in the plain game.

        Args:
          fake: the verdict on generated data.
          z: what these were generated from.
          turn: the player's view.
        """
        del fake, z, turn
        return {}

    def _generate(self, params: Params, z: jax.Array, turn: Turn) -> tuple[jax.Array, Variables]:
        """Return data generated from ``z``, and the generator's new mutable collections."""
        variables = turn.with_params(params, "generator")
        return apply(
            self.generator,
            variables,
            z,
            turn.condition,
            keys=turn.keys("generator"),
            iterate="generator" in params,
        )

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

    def _shown(self, x: jax.Array, turn: Turn, use: str, steps: int) -> jax.Array:
        """Return data as the discriminator is to see them.

        Args:
          x: real or generated data.
          turn: the player's view.
          use: names the draws.
          steps: the player's gradient steps in one train step.
        """
        augment = self.augment
        if augment.policy:
            x = diffaug.diff_augment(turn.keys(f"augment/{use}"), x, augment.policy)
        if augment.noise:
            level = instance_noise.noise_level(
                turn.count // steps, augment.noise, augment.noise_steps
            )
            x = instance_noise.add_noise(turn.keys(f"noise/{use}"), x, level)
        return x

    def _penalty(
        self, variables: Variables, real: jax.Array, fake: jax.Array, turn: Turn
    ) -> jax.Array:
        """Return the penalty's mean over this device's images, before its weight."""
        penalty = self.penalty
        assert penalty is not None

        def compute() -> jax.Array:
            def critic(x: jax.Array) -> jax.Array:
                keys = turn.keys("judge/penalty")
                return self._judge(variables, x, turn.condition, keys)[0].scores

            chance = jax.vmap(lambda key: penalty.draw(key, self.shape))(turn.keys("penalty"))
            return jnp.mean(penalty(critic, real, fake, chance))

        return penalties.lazy(compute, turn.count, self.penalty_every)

    def _lecam(
        self, real: jax.Array, fake: jax.Array, turn: Turn
    ) -> tuple[tuple[jax.Array, jax.Array], lecam.Anchors]:
        """Return LeCam's term, and the averages of the scores moved on."""
        how, anchors = self.regularize, turn.memory["lecam"]
        value = jnp.mean(lecam.lecam(real, fake, anchors.real, anchors.fake))
        begun = turn.count // self.discriminator_steps >= how.lecam_start
        anchors = lecam.update_anchors(anchors, real, fake, how.lecam_decay, turn.axis_name)
        return (jnp.where(begun, how.lecam, 0.0), value), anchors

    def _top_k(self, scores: jax.Array, turn: Turn) -> jax.Array:
        """Return the weights of a batch of fakes in the generator's loss."""
        how = self.regularize
        devices = 1 if turn.axis_name is None else lax.axis_size(turn.axis_name)
        size = scores.shape[0] * devices
        count = top_k.kept(turn.count, size, how.top_k_decay, how.top_k_steps, how.top_k)
        return top_k.top_k_weights(scores, count, axis_name=turn.axis_name)


def adversarial_fields(config: Any, given: building.Given) -> dict[str, Any]:
    """Return the fields of `AdversarialGame` beside its networks and classes.

    Raises:
      ConfigError: a field has a value that cannot work.
    """
    clip, joint = config.game.clip, config.game.joint_batch
    if clip is not None and not clip > 0:
        raise errors.ConfigError(f"game.clip = {clip}; accepted: a number above 0, or none")
    chosen = config.discriminator.get(config.discriminator.name, {})
    if joint and chosen.get("minibatch") == "discrimination":
        raise errors.ConfigError(
            "game.joint_batch = True: discrimination would compare real images with fakes; "
            "accepted with minibatch = 'discrimination': False"
        )
    return {
        "spec": given.spec,
        "loss": building.make_loss(config, given),
        **building.penalty_fields(config, given),
        "clip": clip,
        "discriminator_steps": building.discriminator_steps(config),
        "joint_batch": joint,
        "augment": _augment(config, given),
        "regularize": _regularize(config, given),
    }


def _augment(config: Any, given: building.Given) -> Augment:
    augment = Augment(**{**config.augment, "policy": tuple(config.augment.policy)})
    diffaug.check_policy("augment.policy", augment.policy)
    instance_noise.check_schedule(augment.noise, augment.noise_steps)
    if augment.policy and (field := specs.data_field(given.spec)).kind != "image":
        raise errors.ConfigError(
            f"augment.policy = {augment.policy} is for images, but the data are of kind "
            f"{field.kind!r}; accepted: ()"
        )
    return augment


def _regularize(config: Any, given: building.Given) -> Regularize:
    how = Regularize(**config.regularize)
    weights = ("consistency_real", "consistency_fake", "lecam", "feature_matching")
    building.check_weights({name: getattr(how, name) for name in weights}, "regularize")
    lecam.check_decay(how.lecam_decay)
    top_k.check_schedule(how.top_k_decay, how.top_k_steps, how.top_k)
    for name in ("lecam_start", "history"):
        if getattr(how, name) < 0:
            raise errors.ConfigError(
                f"regularize.{name} = {getattr(how, name)}; accepted: 0 or more"
            )
    field = specs.data_field(given.spec)
    if (how.consistency_real or how.consistency_fake) and field.kind != "image":
        raise errors.ConfigError(
            "regularize.consistency_real and regularize.consistency_fake are for images, but one "
            f"data point has kind {field.kind!r}; accepted: 0"
        )
    if how.history and config.game.name != "adversarial":
        raise errors.ConfigError(
            f"regularize.history = {how.history}: past fakes are kept without what they were made "
            f"from; accepted for game.name = {config.game.name!r}: 0"
        )
    return how


def _add(loss: jax.Array, terms: Terms, metrics: dict[str, jax.Array]) -> jax.Array:
    """Return the loss with its terms, whose values go into ``metrics``."""
    for name, (weight, value) in terms.items():
        metrics[name] = value
        loss = loss + weight * value
    return loss


def _halves(verdict: Verdict) -> tuple[Verdict, Verdict]:
    """Return the verdicts on the two halves of a batch."""
    size = verdict.scores.shape[0] // 2
    first: Verdict = jax.tree.map(lambda x: x[:size], verdict)
    second: Verdict = jax.tree.map(lambda x: x[size:], verdict)
    return first, second
