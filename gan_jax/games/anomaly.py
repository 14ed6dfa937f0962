"""GANomaly (Akçay et al. 2018, 1805.06725): anomaly detection by reconstruction of latents.

"GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training". An encoder maps an image
``x`` to a latent ``z``, a generator that to a reconstruction ``x'``, and a second encoder that to
``z'``. Trained on normal images alone, ``z'`` is close to ``z`` only for such images: the distance
is the anomaly score.

- generator (all three): ``adversarial_weight * |f(x) - f(x')|^2`` in the discriminator's last
  hidden features ``f``, plus ``pixel_weight * |x - x'|``, plus ``latent_weight * |z - z'|^2``; each
  a mean over entries;
- discriminator: real images against reconstructions, by the chosen adversarial loss.
"""

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.data import spec as specs
from gan_jax.data.spec import Spec
from gan_jax.errors import ConfigError
from gan_jax.games import building, judging
from gan_jax.games.apply import apply, judge
from gan_jax.games.game import Game, Network, Outcome, Params, Player, Turn, Variables
from gan_jax.games.translation import Direction, Example, TranslationGame
from gan_jax.losses import reconstruction
from gan_jax.losses.adversarial import AdversarialLoss

RECONSTRUCT = "reconstruct"
_OWN = ("encoder", "generator", "second_encoder")


class DetectionGame(Game):
    """A game that scores how anomalous an image is."""

    @abc.abstractmethod
    def anomaly_scores(self, variables: Mapping[str, Variables], images: jax.Array) -> jax.Array:
        """Return how anomalous images are, float32 ``[batch]``; larger is more so.

        Args:
          variables: by network.
          images: float32 ``[batch, *shape]`` in [-1, 1].
        """


@dataclasses.dataclass(frozen=True)
class AnomalyGame(TranslationGame, DetectionGame):
    """Two players: the discriminator, then encoder, generator and second encoder together.

    Attributes:
      encoder: module of images to latents; both encoders, with their own weights.
      generator: module of latents to images.
      discriminator: module of images, with a method ``judge``.
      spec: of the data, which are images.
      loss: the discriminator's side is used.
      pixel_weight: weight of the reconstruction error of pixels in the generator's loss.
      latent_weight: weight of the error of the second latent there.
      adversarial_weight: weight of the distance of the discriminator's features there.
      discriminator_steps: gradient steps of the discriminator for each of the generator's.
    """

    uses = frozenset({"encoder", "generator", "discriminator", "loss"})

    encoder: nn.Module
    generator: nn.Module
    discriminator: nn.Module
    spec: Spec
    loss: AdversarialLoss
    pixel_weight: float = 50.0
    latent_weight: float = 1.0
    adversarial_weight: float = 1.0
    discriminator_steps: int = 1

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> Self:
        building.refuse_conditioning(config)
        height, width, _ = given.image_shape
        if height != width:
            raise ConfigError(
                f"data.resolution = ({height}, {width}); accepted for game.name = 'anomaly': one "
                "number, for square images"
            )
        latent_dim = config.generator.latent_dim
        return cls(
            encoder=building.make_network("encoder", config, given, outputs=latent_dim),
            generator=building.make_network("generator", config, given),
            discriminator=building.make_network("discriminator", config, given),
            spec=given.spec,
            loss=building.make_loss(config, given),
            discriminator_steps=building.discriminator_steps(config),
            **building.check_weights(config.game.anomaly, "game.anomaly"),
        )

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        x = jax.ShapeDtypeStruct((1, *self.image_shape), jnp.float32)
        z = jax.ShapeDtypeStruct((1, self.generator.latent_dim), jnp.float32)
        return {
            "encoder": Network(self.encoder, (x,), averaged=True),
            "generator": Network(self.generator, (z,), averaged=True),
            "second_encoder": Network(self.encoder, (x,), averaged=True, optimizer="encoder"),
            "discriminator": Network(self.discriminator, (x,)),
        }

    @property
    @override
    def players(self) -> tuple[Player, ...]:
        names, steps = ("discriminator",), self.discriminator_steps
        return (
            Player("discriminator", names, self.discriminator_loss, steps),
            Player("generator", _OWN, self.generator_loss, fresh_data=False),
        )

    @property
    @override
    def directions(self) -> Mapping[str, Direction]:
        height, _, channels = self.image_shape
        names = ("encoder", "generator")
        return {RECONSTRUCT: Direction(channels, channels, height, exact=True, networks=names)}

    @override
    def examples(
        self, batch: Mapping[str, jax.Array], keys: jax.Array, direction: str = RECONSTRUCT
    ) -> Example:
        images = specs.data(batch, self.spec)
        return Example(images, None, images)

    @override
    def anomaly_scores(self, variables: Mapping[str, Variables], images: jax.Array) -> jax.Array:
        z: Any = self.encoder.apply(variables["encoder"], images, train=False)
        made: Any = self.generator.apply(variables["generator"], z, train=False)
        again: Any = self.encoder.apply(variables["second_encoder"], made, train=False)
        return jnp.mean(jnp.abs(z - again), axis=-1)

    def _reconstruct(
        self, params: Params, turn: Turn
    ) -> tuple[jax.Array, jax.Array, dict[str, Variables]]:
        """Return latents, reconstructions, and the new mutable collections of both networks."""
        mutable, x, outputs = {}, self.data(turn), []
        for name, module in (("encoder", self.encoder), ("generator", self.generator)):
            variables = turn.with_params(params, name)
            x, mutable[name] = apply(module, variables, x, iterate=name in params)
            outputs.append(x)
        return *outputs, mutable

    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the discriminator's loss on one batch."""
        made = lax.stop_gradient(self._reconstruct({}, turn)[1])
        variables = turn.with_params(params, "discriminator")
        real, fake, mutable = judging.judge_pair(
            self.discriminator, variables, self.data(turn), made
        )
        loss = jnp.mean(self.loss.discriminator(real.scores, fake.scores))
        metrics = judging.mean_scores(real=real, fake=fake)
        return loss, Outcome(metrics, {"discriminator": mutable})

    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the loss of both encoders and the generator on one batch."""
        images = self.data(turn)
        z, made, mutable = self._reconstruct(params, turn)
        again, mutable["second_encoder"] = apply(
            self.encoder, turn.with_params(params, "second_encoder"), made, iterate=True
        )
        real, fake = (
            judge(self.discriminator, turn.variables["discriminator"], x)[0].features[-1]
            for x in (images, made)
        )
        metrics = {
            "adversarial": jnp.mean(jnp.square(lax.stop_gradient(real) - fake)),
            "pixel": jnp.mean(reconstruction.l1(made, images)),
            "latent": jnp.mean(jnp.square(z - again)),
        }
        loss = (
            self.adversarial_weight * metrics["adversarial"]
            + self.pixel_weight * metrics["pixel"]
            + self.latent_weight * metrics["latent"]
        )
        return loss, Outcome(metrics, mutable)
