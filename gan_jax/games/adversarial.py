"""The game of one generator against one discriminator (Goodfellow 2014, 1406.2661).

GAN, DCGAN, LSGAN, WGAN (clipping), WGAN-GP, DRAGAN, R1-regularised and relativistic GANs are
configurations of it:
a loss, a penalty, two networks, and how many steps the discriminator takes for each of the
generator's.
"""

import dataclasses
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.games import draws
from gan_jax.games.game import Network, Outcome, Params, Player, Turn, Variables
from gan_jax.layers import spectral
from gan_jax.losses import adversarial, penalties


@dataclasses.dataclass(frozen=True)
class AdversarialGame:
    """Two players: the discriminator (or critic), then the generator.

    Attributes:
      generator: module ``(z, labels, train) -> data``, with a field ``latent_dim``.
      discriminator: module ``(data, labels, train) -> scores``.
      shape: of one data point.
      loss: the pair of losses.
      penalty: on the discriminator's gradient, or ``None``.
      penalty_weight: multiplies the penalty.
      penalty_every: the penalty is computed every so many discriminator steps, and scaled up by as
        much.
      clip: after each discriminator step its weights are projected into [-clip, clip]; ``None``:
        never.
      discriminator_steps: for each of the generator's.
      joint_batch: the discriminator sees real and generated data in one pass. Faster; the same
        scores,
        unless it has batch statistics, which would then be shared by both halves.
    """

    generator: nn.Module
    discriminator: nn.Module
    shape: tuple[int, ...]
    loss: adversarial.AdversarialLoss
    penalty: penalties.Penalty | None = None
    penalty_weight: float = 0.0
    penalty_every: int = 1
    clip: float | None = None
    discriminator_steps: int = 1
    joint_batch: bool = False

    @property
    def latent_dim(self) -> int:
        """Size of one latent vector."""
        return self.generator.latent_dim

    @property
    def num_classes(self) -> int | None:
        """None: this game is unconditional."""
        return None

    @property
    def networks(self) -> Mapping[str, Network]:
        """``generator`` (averaged) and ``discriminator``."""
        z = jax.ShapeDtypeStruct((1, self.latent_dim), jnp.float32)
        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        return {
            "generator": Network(self.generator, (z,), averaged=True),
            "discriminator": Network(self.discriminator, (x,)),
        }

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

    def sample(
        self,
        variables: Mapping[str, Variables],
        z: jax.Array,
        labels: jax.Array | None = None,
        *,
        train: bool = False,
    ) -> jax.Array:
        """Return generated data, float32 ``[batch, *shape]``; see `Game.sample`."""
        data = self.generator.apply(variables["generator"], z, labels, train=train)
        assert isinstance(data, jax.Array)
        return data

    def sample_moments(
        self, variables: Mapping[str, Variables], z: jax.Array, labels: jax.Array | None = None
    ) -> dict[str, Variables]:
        """Return the generator's moments on this batch; see `Game.sample_moments`."""
        _, found = self.generator.apply(
            variables["generator"], z, labels, train=True, mutable=["moments"]
        )
        return {"generator": dict(found).get("moments", {})}

    def _fakes(self, params: Params, turn: Turn) -> tuple[jax.Array, Variables]:
        """Return data generated from fresh latents, and the generator's new mutable collections."""
        z = draws.latents(turn.keys("latent"), self.latent_dim)
        variables = turn.with_params(params, "generator")
        return _apply(self.generator, variables, z, turn.labels, iterate="generator" in params)

    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the discriminator's loss, with its penalty, on one batch of real data."""
        real = turn.images
        fake = lax.stop_gradient(self._fakes({}, turn)[0])
        variables = turn.with_params(params, "discriminator")
        if self.joint_batch:
            both = jnp.concatenate([real, fake])
            scores, mutable = _apply(
                self.discriminator, variables, both, _twice(turn.labels), iterate=True
            )
            real_scores, fake_scores = jnp.split(scores, 2)
        else:
            real_scores, mutable = _apply(
                self.discriminator, variables, real, turn.labels, iterate=True
            )
            # Both halves, and the penalty, are scored with the same spectral norms.
            fake_scores, again = _apply(self.discriminator, variables | mutable, fake, turn.labels)
            mutable = mutable | again
        loss = jnp.mean(self.loss.discriminator(real_scores, fake_scores))
        metrics = {
            "loss": loss,
            "real_score": jnp.mean(real_scores),
            "fake_score": jnp.mean(fake_scores),
        }
        if self.penalty is not None:
            penalty = self._penalty(variables | mutable, real, fake, turn)
            metrics["penalty"] = penalty
            loss = loss + self.penalty_weight * penalty
        return loss, Outcome(metrics, {"discriminator": mutable} if mutable else {})

    def _penalty(
        self, variables: Variables, real: jax.Array, fake: jax.Array, turn: Turn
    ) -> jax.Array:
        """Return the penalty's mean over this device's images, before its weight."""
        penalty = self.penalty
        assert penalty is not None

        def compute() -> jax.Array:
            def critic(x: jax.Array) -> jax.Array:
                return _apply(self.discriminator, variables, x, turn.labels)[0]

            chance = jax.vmap(lambda key: penalty.draw(key, self.shape))(turn.keys("penalty"))
            return jnp.mean(penalty(critic, real, fake, chance))

        return penalties.lazy(compute, turn.count, self.penalty_every)

    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the generator's loss on one batch of fresh latents."""
        fake, mutable = self._fakes(params, turn)
        variables = turn.with_params(params, "discriminator")
        fake_scores, _ = _apply(self.discriminator, variables, fake, turn.labels)
        real_scores = None
        if self.loss.generator_needs_real:
            real_scores, _ = _apply(self.discriminator, variables, turn.images, turn.labels)
        loss = jnp.mean(self.loss.generator(fake_scores, real_scores))
        return loss, Outcome({"loss": loss}, {"generator": mutable} if mutable else {})


def _apply(
    module: nn.Module,
    variables: Variables,
    x: jax.Array,
    labels: jax.Array,
    *,
    iterate: bool = False,
) -> tuple[jax.Array, Variables]:
    """Return ``module``'s output in train mode, and its new mutable collections.

    Args:
      module: the network.
      variables: all that it has.
      x: its input.
      labels: of ``x``.
      iterate: move spectral normalization's vectors on, which is to happen once in a gradient step
        of the network's owner; else they are used as they stand.
    """
    fixed = ("params",) if iterate else ("params", spectral.COLLECTION)
    collections = [name for name in variables if name not in fixed]
    output, mutable = module.apply(variables, x, labels, train=True, mutable=collections)
    return output, dict(mutable)


def _twice(labels: jax.Array) -> jax.Array:
    return jnp.concatenate([labels, labels])
