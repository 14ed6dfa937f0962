"""GANomaly (Akçay et al. 2018, 1805.06725): what looks unlike the training data is an anomaly.

"GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training". An encoder, a generator and
a second encoder make of an image ``x`` a latent ``z``, a reconstruction ``x'`` and its latent
``z'``. Trained on normal images alone, they bring ``z'`` close to ``z`` for images of that kind
only: the distance is the anomaly score.

- generator (all three): ``adversarial_weight * |f(x) - f(x')|^2`` in the discriminator's last
  hidden features ``f``, plus ``pixel_weight * |x - x'|``, plus ``latent_weight * |z - z'|^2``; each
  a mean over entries;
- discriminator: real images against reconstructions, by the chosen adversarial loss.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gan_jax.data import spec as specs
from gan_jax.data.spec import Spec
from gan_jax.games import building
from gan_jax.games.apply import apply
from gan_jax.games.game import Game, Network, Outcome, Params, Player, Turn, Variables
from gan_jax.games.translation import Direction, Example
from gan_jax.losses import reconstruction
from gan_jax.losses.adversarial import AdversarialLoss
from gan_jax.networks.verdict import Verdict

RECONSTRUCT = "reconstruct"
_OWN = ("encoder", "generator", "second_encoder")


@runtime_checkable
class DetectionGame(Game, Protocol):
    """A game that scores how unlike its training data an image is."""

    def anomaly_scores(self, variables: Mapping[str, Variables], images: jax.Array) -> jax.Array:
        """Return how anomalous images are, float32 ``[batch]``; larger is more so.

        Args:
          variables: by network.
          images: float32 ``[batch, *shape]`` in [-1, 1].
        """
        ...


@dataclasses.dataclass(frozen=True)
class AnomalyGame:
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

    uses: ClassVar[tuple[str, ...]] = ("encoder", "generator", "discriminator", "loss")

    encoder: nn.Module
    generator: nn.Module
    discriminator: nn.Module
    spec: Spec
    loss: AdversarialLoss
    pixel_weight: float = 50.0
    latent_weight: float = 1.0
    adversarial_weight: float = 1.0
    discriminator_steps: int = 1

    @classmethod
    def from_config(cls, config: Any, given: building.Given) -> "AnomalyGame":
        """Return the game that a configuration describes; raises `ConfigError`."""
        building.refuse_conditioning(config, "generator", "discriminator")
        _ = given.image_shape  # Raises for other data.
        return cls(
            encoder=building.make_network(
                "encoder", config, given, outputs=config.generator.latent_dim
            ),
            generator=building.make_network("generator", config, given),
            discriminator=building.make_network("discriminator", config, given),
            spec=given.spec,
            loss=building.make_loss(config, given),
            discriminator_steps=building.discriminator_steps(config),
            **building.check_weights(config.game.anomaly, "game.anomaly"),
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return specs.data_field(self.spec).shape

    @property
    def networks(self) -> Mapping[str, Network]:
        """``encoder``, ``generator``, ``second_encoder`` (averaged), and ``discriminator``."""
        x = jax.ShapeDtypeStruct((1, *self.shape), jnp.float32)
        z = jax.ShapeDtypeStruct((1, self.generator.latent_dim), jnp.float32)
        return {
            "encoder": Network(self.encoder, (x,), averaged=True),
            "generator": Network(self.generator, (z,), averaged=True),
            "second_encoder": Network(self.encoder, (x,), averaged=True, optimizer="encoder"),
            "discriminator": Network(self.discriminator, (x,)),
        }

    @property
    def memory(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    @property
    def players(self) -> tuple[Player, ...]:
        """The discriminator on fresh data each step; then the others on the last of these."""
        return (
            Player(
                "discriminator",
                ("discriminator",),
                self.discriminator_loss,
                self.discriminator_steps,
            ),
            Player("generator", _OWN, self.generator_loss, fresh_data=False),
        )

    @property
    def directions(self) -> Mapping[str, Direction]:
        """Reconstruction, of images of the training data's size alone."""
        channels = self.shape[2]
        return {RECONSTRUCT: Direction(channels, channels, self.shape[0], exact=True)}

    @property
    def degradation(self) -> None:
        """There is none."""
        return None

    def examples(
        self, batch: Mapping[str, jax.Array], keys: jax.Array, direction: str = RECONSTRUCT
    ) -> Example:
        """Return the images, which are their own targets; see `TranslationGame.examples`."""
        del keys, direction
        images = specs.data(batch, self.spec)
        return Example(images, None, images)

    def translate(
        self,
        variables: Mapping[str, Variables],
        inputs: jax.Array,
        direction: str = RECONSTRUCT,
        *,
        known: jax.Array | None = None,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """Return reconstructions; see `TranslationGame.translate`."""
        del direction, known, keys
        return jnp.clip(self._through(variables, inputs)[1], -1.0, 1.0)

    def anomaly_scores(self, variables: Mapping[str, Variables], images: jax.Array) -> jax.Array:
        """Return the mean absolute difference of both latents; see `DetectionGame`."""
        first, _, second = self._through(variables, images)
        return jnp.mean(jnp.abs(first - second), axis=-1)

    def _through(
        self, variables: Mapping[str, Variables], images: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return latents, reconstructions and their latents, none of them in train mode."""
        z = self.encoder.apply(variables["encoder"], images, train=False)
        made = self.generator.apply(variables["generator"], z, train=False)
        again = self.encoder.apply(variables["second_encoder"], made, train=False)
        assert isinstance(z, jax.Array)
        assert isinstance(made, jax.Array)
        assert isinstance(again, jax.Array)
        return z, made, again

    def _reconstruct(
        self, params: Params, turn: Turn
    ) -> tuple[jax.Array, jax.Array, dict[str, Variables]]:
        """Return latents, reconstructions, and the new mutable collections of both networks."""
        mutable = {}
        z, mutable["encoder"] = apply(
            self.encoder,
            turn.with_params(params, "encoder"),
            specs.data(turn.batch, self.spec),
            iterate="encoder" in params,
        )
        made, mutable["generator"] = apply(
            self.generator,
            turn.with_params(params, "generator"),
            z,
            iterate="generator" in params,
        )
        return z, made, mutable

    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the discriminator's loss on one batch."""
        _, made, _ = self._reconstruct({}, turn)
        variables = turn.with_params(params, "discriminator")
        real, mutable = self._judge(variables, specs.data(turn.batch, self.spec), iterate=True)
        fake, again = self._judge(variables | mutable, lax.stop_gradient(made))
        mutable = mutable | again
        loss = jnp.mean(self.loss.discriminator(real.scores, fake.scores))
        metrics = {
            "real_score": jnp.mean(real.scores),
            "fake_score": jnp.mean(fake.scores),
        }
        return loss, Outcome(metrics, {"discriminator": mutable} if mutable else {})

    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the loss of both encoders and the generator on one batch."""
        z, made, mutable = self._reconstruct(params, turn)
        again, mutable["second_encoder"] = apply(
            self.encoder, turn.with_params(params, "second_encoder"), made, iterate=True
        )
        judge = turn.variables["discriminator"]
        real, fake = (
            self._judge(judge, images)[0] for images in (specs.data(turn.batch, self.spec), made)
        )
        features = lax.stop_gradient(real.features[-1]), fake.features[-1]
        metrics = {
            "adversarial": jnp.mean(jnp.square(features[0] - features[1])),
            "pixel": jnp.mean(reconstruction.l1(made, specs.data(turn.batch, self.spec))),
            "latent": jnp.mean(jnp.square(z - again)),
        }
        loss = (
            self.adversarial_weight * metrics["adversarial"]
            + self.pixel_weight * metrics["pixel"]
            + self.latent_weight * metrics["latent"]
        )
        changed = {name: own for name, own in mutable.items() if own}
        return loss, Outcome(metrics, changed)

    def _judge(
        self, variables: Variables, images: jax.Array, *, iterate: bool = False
    ) -> tuple[Verdict, Variables]:
        """Return the discriminator's verdict, and its new mutable collections."""
        return apply(self.discriminator, variables, images, iterate=iterate, method="judge")
