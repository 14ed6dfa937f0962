"""VAE/GAN (Larsen et al. 2015, 1512.09300): an autoencoder with a learned similarity.

"Autoencoding beyond pixels using a learned similarity metric". An encoder predicts a Gaussian over
latents for each image, and the generator decodes them. A reconstruction is compared with its
original by the activations of a layer of the discriminator, which is at the same time trained to
distinguish real images from reconstructions and from samples of the prior.

Each network has a loss of its own (the paper's algorithm 1). With ``R`` the reconstruction's
negative log-likelihood in the discriminator's layer and ``D``, ``G`` the two sides of the chosen
adversarial loss:

- discriminator: ``(D(x, x_rec) + D(x, x_prior)) / 2``;
- encoder: ``kl_weight * KL + R``;
- generator: ``gamma * R + (G(x_rec) + G(x_prior)) / 2``.

``KL`` and ``R`` are sums, over the latent's entries and over the layer's, in nats: with
``kl_weight = 1`` their sum is the paper's bound. So ``R`` grows with the layer, and ``gamma`` is a
small number. The two kinds of fakes share the weight of one, so that real and generated data weigh
alike. All losses are means over the batch.

The players take turns as listed, on one batch of real data: the paper's order, begun with the
discriminator, so that it may take several steps. In a turn only the owner's parameters are
differentiated; everything else is a constant.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.games import building, draws, judging
from gan_jax.games.adversarial import AdversarialGame
from gan_jax.games.apply import apply
from gan_jax.games.game import Network, Outcome, Params, Player, Turn, Variables
from gan_jax.games.terms import Context, add_terms
from gan_jax.losses import variational
from gan_jax.networks.verdict import Verdict


@dataclasses.dataclass(frozen=True)
class VAEGame(AdversarialGame):
    """Three players: the discriminator, the encoder, the generator (the paper's decoder).

    The generator decodes posterior and prior latents in one pass, so that both are normalised
    alike. With ``joint_batch`` the discriminator, too, sees everything in one pass, for batch-norm
    gives originals and reconstructions that are normalised apart features of the same mean. A
    reconstruction is augmented as its original is. The penalty is on real data and samples of the
    prior.

    Metrics, beside those of the adversarial game: ``discriminator/reconstruction_score``, ``kl`` of
    the encoder and ``reconstruction`` of encoder and generator, in nats per image.

    Attributes:
      encoder: module of data to ``[batch, 2 * latent_dim]``, means first, then the logarithms of
        variances.
      gamma: weight of the reconstruction in the generator's loss.
      kl_weight: weight of the Kullback-Leibler divergence in the encoder's loss; 1 is the paper's.
      layer: index of the discriminator's hidden layer in which reconstructions are compared;
        negative ones count from the score back.
    """

    uses = frozenset({"encoder", "generator", "discriminator", "loss", "penalty", "augment"})

    encoder: nn.Module = dataclasses.field(kw_only=True)
    gamma: float = 1e-3
    kl_weight: float = 1.0
    layer: int = -2

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given, **more: Any) -> Self:
        building.refuse_conditioning(config)
        if limit := config.augment.apa.limit:
            raise ConfigError(
                f"augment.apa.limit = {limit}: the encoder would be shown fakes as real data; "
                "accepted for game.name = 'vae': 0"
            )
        building.refuse_mixing(
            config, "a reconstruction has the latents of one image", "game.name = 'vae'"
        )
        latents = config.generator.latent_dim
        encoder = building.make_network("encoder", config, given, outputs=2 * latents)
        weights = {name: config.game.vae[name] for name in ("gamma", "kl_weight")}
        building.check_weights(weights, "game.vae")
        game = super().from_config(config, given, encoder=encoder, **config.game.vae, **more)
        _check_layer(game.discriminator, game.shape, game.layer)
        return game

    @property
    @override
    def networks(self) -> Mapping[str, Network]:
        networks = super().networks
        inputs = networks["discriminator"].inputs
        return {"encoder": Network(self.encoder, inputs, averaged=True), **networks}

    @property
    @override
    def players(self) -> tuple[Player, ...]:
        discriminator, generator = super().players
        return (
            discriminator,
            Player("encoder", ("encoder",), self.encoder_loss, fresh_data=False),
            dataclasses.replace(generator, fresh_data=False),
        )

    def encode(
        self, variables: Mapping[str, Variables], images: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return the Gaussian over latents that the encoder predicts for each image.

        Args:
          variables: by network.
          images: float32 ``[batch, *shape]``.

        Returns:
          Means and logarithms of variances, float32 ``[batch, latent_dim]`` each.
        """
        output = self.encoder.apply(variables["encoder"], images, train=False)
        assert isinstance(output, jax.Array)
        mean, log_variance = jnp.split(output, 2, axis=-1)
        return mean, log_variance

    def reconstruct(self, variables: Mapping[str, Variables], images: jax.Array) -> jax.Array:
        """Return what the generator makes of the posterior's mean: no noise is drawn.

        Args:
          variables: by network.
          images: float32 ``[batch, *shape]`` in [-1, 1].

        Returns:
          float32 ``[batch, *shape]``.
        """
        mean, _ = self.encode(variables, images)
        return self.sample(variables, mean)

    @override
    def discriminator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        posterior, _, _ = self._posterior({}, turn)
        z = self.latents(turn.keys("latent"))
        both, _ = self._decode({}, [posterior, z], turn)
        variables = turn.with_params(params, "discriminator")
        (real, made, fake), mutable = self._judge_views(
            variables, lax.stop_gradient(both), turn, iterate=True
        )
        losses = self.loss.discriminator(real.scores, made.scores)
        losses = 0.5 * (losses + self.loss.discriminator(real.scores, fake.scores))
        loss = jnp.mean(losses)
        means = judging.mean_scores(real=real, reconstruction=made, fake=fake)
        own = {"discriminator": variables | mutable}
        context = Context("discriminator", turn, self, own, z, fake, real)
        loss, metrics, memory = add_terms(self.terms, context, loss, {"adversarial": loss, **means})
        adapted, more = judging.adapted(self.augment, turn, real, fake)
        return loss, Outcome({**metrics, **more}, {"discriminator": mutable}, {**memory, **adapted})

    def encoder_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the divergence from the prior plus the reconstruction, in nats."""
        z, kl, mutable = self._posterior(params, turn)
        made, _ = self._decode({}, [z], turn)
        judged, _ = self._judge_views(turn.variables["discriminator"], made, turn)
        kl, reconstruction = jnp.mean(kl), self._reconstruction(*judged)
        loss = self.kl_weight * kl + reconstruction
        metrics = {"kl": kl, "reconstruction": reconstruction}
        return loss, Outcome(metrics, {"encoder": mutable})

    @override
    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        """Return the generator's adversarial loss on both kinds of fakes, and reconstruction."""
        z, _, _ = self._posterior({}, turn)
        both, mutable = self._decode(params, [z, self.latents(turn.keys("latent"))], turn)
        judged, _ = self._judge_views(turn.variables["discriminator"], both, turn)
        real, *fakes = (one.scores for one in judged)
        loss = jnp.mean(0.5 * sum(self.loss.generator(fake, real) for fake in fakes))
        reconstruction = self._reconstruction(*judged[:2])
        metrics = {"adversarial": loss, "reconstruction": reconstruction}
        loss = loss + self.gamma * reconstruction
        return loss, Outcome(metrics, {"generator": mutable})

    def _posterior(self, params: Params, turn: Turn) -> tuple[jax.Array, jax.Array, Variables]:
        """Return latents of the images, their divergences, and the encoder's new collections."""
        variables = turn.with_params(params, "encoder")
        output, mutable = apply(self.encoder, variables, self.data(turn), keys=turn.keys("encoder"))
        mean, log_variance = jnp.split(output, 2, axis=-1)
        noise = draws.latents(turn.keys("posterior"), self.latent_dim)
        z = variational.reparameterize(mean, log_variance, noise)
        return z, variational.gaussian_kl(mean, log_variance), mutable

    def _decode(
        self, params: Params, latents: Sequence[jax.Array], turn: Turn
    ) -> tuple[list[jax.Array], Variables]:
        """Return data decoded in one pass, set by set, and the generator's new collections."""
        variables = turn.with_params(params, "generator")
        z = jnp.concatenate(latents)
        keys = jnp.concatenate([turn.keys(f"generator/{i}") for i in range(len(latents))])
        iterate = "generator" in params
        made, mutable = apply(self.generator, variables, z, keys=keys, iterate=iterate)
        return jnp.split(made, len(latents)), mutable

    def _judge_views(
        self, variables: Variables, made: Sequence[jax.Array], turn: Turn, *, iterate: bool = False
    ) -> tuple[list[judging.Judged], Variables]:
        """Return verdicts on real data, reconstructions and samples, see `judging.judge_all`.

        ``made`` are reconstructions, then samples, if there are any.
        """
        # The same draws for the first two: a reconstruction is augmented as its original is.
        uses, data = ("real", "real", "fake"), (self.data(turn), *made)
        views = [
            self._view(x, turn.condition, use, turn) for use, x in zip(uses, data, strict=False)
        ]
        return judging.judge_all(
            self.judge, variables, views, joint=self.joint_batch, iterate=iterate
        )

    def _reconstruction(self, real: judging.Judged, made: judging.Judged) -> jax.Array:
        """Return the mean negative log-likelihood of the originals' features, in nats."""
        features = (made.verdict.features[self.layer], real.verdict.features[self.layer])
        return jnp.mean(variational.gaussian_reconstruction(*features))


def _check_layer(discriminator: nn.Module, shape: tuple[int, ...], layer: int) -> None:
    """Raise a `ConfigError` unless the discriminator has a hidden layer of that number."""

    def layers() -> tuple[jax.Array, ...]:
        x = jnp.zeros((1, *shape), jnp.float32)
        verdict, _ = discriminator.init_with_output(
            jax.random.key(0), x, train=False, method="judge"
        )
        assert isinstance(verdict, Verdict)
        return verdict.features

    count = len(jax.eval_shape(layers))
    if not -count <= layer < count:
        raise ConfigError(
            f"game.vae.layer = {layer}; accepted for this discriminator of {count} hidden layers: "
            f"{-count} to {count - 1}"
        )
