"""VAE/GAN: the three players of `gan_jax.games.vae`, in the same turns on one batch."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from gan_jax.errors import lookup
from gan_jax.games.vae import VAEGame
from scripts.pytorch import dcgan
from scripts.pytorch.adversarial import make_networks
from scripts.pytorch.losses import LOSSES
from scripts.pytorch.system import (
    Averages,
    Batch,
    Placement,
    System,
    make_optimizer,
    random_images,
    update,
)


def make(config: Any, game: VAEGame, placement: Placement) -> System:
    """Return the system of a configuration with ``game.name = "vae"`` and DCGAN's networks."""
    loss, own = lookup(LOSSES, config.loss.name, "loss.name"), config.game.vae
    count, latent_dim = config.train.batch_size, config.generator.latent_dim
    entry = lookup({"dcgan": dcgan.Encoder}, config.encoder.name, "encoder.name")
    encoder = placement.place(entry(config.encoder, game.shape, 2 * latent_dim))
    generator, discriminator = make_networks(config, game, placement)
    networks = {"encoder": encoder, "generator": generator, "discriminator": discriminator}
    optimizers = {
        name: make_optimizer(config.optimizer[name], networks[name].parameters())
        for name in ("discriminator", "encoder", "generator")
    }
    averages = Averages(config, game, {"encoder": encoder, "generator": generator})

    def posterior(real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return latents of the images, and the mean divergence from the prior."""
        mean, log_variance = encoder(real).chunk(2, 1)
        z = torch.addcmul(mean, torch.exp(0.5 * log_variance), torch.randn_like(mean))
        divergence = mean.square() + torch.expm1(log_variance) - log_variance
        return z, 0.5 * divergence.sum(1).mean()

    def decode_both(z: torch.Tensor) -> torch.Tensor:
        """Return reconstructions, then samples of the prior, decoded in one pass."""
        return generator(torch.cat([z, torch.randn_like(z)]))

    def reconstruction(features: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the negative log-likelihood of the originals' features, mean over images."""
        with torch.no_grad():
            target = discriminator.judge(real).features[own.layer]
        return 0.5 * F.mse_loss(features, target, reduction="sum") / count

    def discriminator_loss(real: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            both = decode_both(posterior(real)[0])
        if config.game.joint_batch:
            of_real, *of_fakes = discriminator(torch.cat([real, both])).chunk(3)
        else:
            of_real, *of_fakes = (discriminator(x) for x in (real, *both.chunk(2)))
        return 0.5 * sum(loss.discriminator(of_real, of_fake) for of_fake in of_fakes)

    def encoder_loss(real: torch.Tensor) -> torch.Tensor:
        z, divergence = posterior(real)
        features = discriminator.judge(generator(z)).features[own.layer]
        return own.kl_weight * divergence + reconstruction(features, real)

    def generator_loss(real: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            z, _ = posterior(real)
        made, fake = (discriminator.judge(x) for x in decode_both(z).chunk(2))
        adversarial = 0.5 * (loss.generator(made.scores) + loss.generator(fake.scores))
        return adversarial + own.gamma * reconstruction(made.features[own.layer], real)

    def step(done: int, batches: Sequence[Batch]) -> float:
        with placement.autocast():
            for batch in batches:
                value = discriminator_loss(batch["image"])
                update(optimizers["discriminator"], value)
            update(optimizers["encoder"], encoder_loss(batch["image"]))
            update(optimizers["generator"], generator_loss(batch["image"]))
        averages.update(done)
        return value.item()

    return System(networks, optimizers, averages, step, random_images(config, game, placement))
