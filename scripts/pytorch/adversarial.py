"""A generator against a discriminator: the adversarial game of `gan_jax.games.adversarial`.

GAN, DCGAN, LSGAN, WGAN-GP, SNGAN with projection and AC-GAN. As there, each player draws latents of
its own.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_jax.data import spec as specs
from gan_jax.errors import lookup, require
from gan_jax.games.adversarial import AdversarialGame
from scripts.pytorch import dcgan, mlp, resnet
from scripts.pytorch.losses import LOSSES, gradient_penalty
from scripts.pytorch.system import Placement, System, make_average, make_optimizer, update

GENERATORS = {"dcgan": dcgan.Generator, "mlp": mlp.Generator, "resnet": resnet.Generator}
DISCRIMINATORS = {
    "dcgan": dcgan.Discriminator,
    "mlp": mlp.Discriminator,
    "resnet": resnet.Discriminator,
}


def make_networks(
    config: Any, game: AdversarialGame, placement: Placement
) -> tuple[nn.Module, nn.Module]:
    """Return generator and discriminator."""
    make_generator = lookup(GENERATORS, config.generator.name, "generator.name")
    entry = lookup(DISCRIMINATORS, config.discriminator.name, "discriminator.name")
    classes = specs.num_classes(game.spec)
    generator = make_generator(config.generator, game.shape, classes)
    sees_classes = config.discriminator.conditioning != "none" or "classification" in game.terms
    discriminator = entry(config.discriminator, game.shape, classes if sees_classes else None)
    return placement.place(generator), placement.place(discriminator)


def make(config: Any, game: AdversarialGame, placement: Placement) -> System:
    """Return the system of a configuration with ``game.name = "adversarial"``."""
    loss = lookup(LOSSES, config.loss.name, "loss.name")
    penalised = config.penalty.name == "wgan_gp"
    require(penalised or config.penalty.name == "none", "penalty.name", config.penalty.name, "none")
    class_weight, joint = config.terms.classification.weight, config.game.joint_batch
    count, latent_dim = config.train.batch_size, config.generator.latent_dim
    generator, discriminator = make_networks(config, game, placement)
    optimizers = {
        "discriminator": make_optimizer(config.optimizer.discriminator, discriminator.parameters()),
        "generator": make_optimizer(config.optimizer.generator, generator.parameters()),
    }
    average = make_average(config, game, [generator])
    real = placement.images(count, game.shape)
    labels = torch.randint(specs.num_classes(game.spec) or 1, (count,), device=placement.device)

    def generate() -> torch.Tensor:
        return generator(torch.randn(count, latent_dim, device=placement.device), labels)

    def judge(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Return scores, and the classifier's loss if there is a classifier."""
        if not class_weight:
            return discriminator(images, labels), 0.0
        verdict = discriminator.judge(images)
        return verdict.scores, class_weight * F.cross_entropy(verdict.logits, labels)

    def discriminator_loss() -> torch.Tensor:
        with torch.no_grad():
            fake = generate()
        if joint:
            scores = discriminator(torch.cat([real, fake]), labels.repeat(2))
            value = loss.discriminator(*scores.chunk(2))
        else:
            (of_real, real_class), (of_fake, fake_class) = judge(real), judge(fake)
            value = loss.discriminator(of_real, of_fake) + real_class + fake_class
        if penalised:
            epsilon = torch.rand(count, 1, 1, 1, device=placement.device)
            between = torch.lerp(fake, real, epsilon)
            value = value + config.penalty.weight * gradient_penalty(discriminator, between).mean()
        return value

    def generator_loss() -> torch.Tensor:
        scores, class_loss = judge(generate())
        return loss.generator(scores) + class_loss

    def step() -> float:
        with placement.autocast():
            for _ in range(config.game.discriminator_steps):
                value = discriminator_loss()
                update(optimizers["discriminator"], value)
            update(optimizers["generator"], generator_loss())
        average()
        return value.item()

    return System({"generator": generator, "discriminator": discriminator}, optimizers, step)
