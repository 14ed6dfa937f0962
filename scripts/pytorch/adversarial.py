"""A generator against a discriminator: the adversarial game of `gan_jax.games.adversarial`.

GAN, DCGAN, LSGAN, WGAN-GP, SNGAN with projection and AC-GAN. As there, each player draws latents of
its own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from gan_jax.data import spec as specs
from gan_jax.errors import lookup, require
from gan_jax.games.adversarial import AdversarialGame
from scripts.pytorch import dcgan, mlp, resnet
from scripts.pytorch.losses import LOSSES, gradient_penalty
from scripts.pytorch.system import (
    Averages,
    Batch,
    Placement,
    System,
    make_optimizer,
    random_images,
    update,
)

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
    constant = (config.penalty.every, config.penalty.end_factor) == (1, 1.0)
    accepted = "every = 1 and end_factor = 1, with PyTorch"
    require(not penalised or constant, "penalty", config.penalty.to_dict(), accepted)
    class_weight, joint = config.terms.classification.weight, config.game.joint_batch
    count, latent_dim = config.train.batch_size, config.generator.latent_dim
    generator, discriminator = make_networks(config, game, placement)
    optimizers = {
        "discriminator": make_optimizer(config.optimizer.discriminator, discriminator.parameters()),
        "generator": make_optimizer(config.optimizer.generator, generator.parameters()),
    }
    averages = Averages(config, game, {"generator": generator})

    def generate(labels: torch.Tensor) -> torch.Tensor:
        return generator(torch.randn(count, latent_dim, device=placement.device), labels)

    def judge(
        images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Return scores, and the classifier's loss if there is a classifier."""
        if not class_weight:
            return discriminator(images, labels), 0.0
        verdict = discriminator.judge(images)
        return verdict.scores, class_weight * F.cross_entropy(verdict.logits, labels)

    def discriminator_loss(real: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            fake = generate(labels)
        if joint:
            scores = discriminator(torch.cat([real, fake]), labels.repeat(2))
            value = loss.discriminator(*scores.chunk(2))
        else:
            of_real, real_class = judge(real, labels)
            of_fake, fake_class = judge(fake, labels)
            value = loss.discriminator(of_real, of_fake) + real_class + fake_class
        if penalised:
            epsilon = torch.rand(count, 1, 1, 1, device=placement.device)
            between = torch.lerp(fake, real, epsilon)
            value = value + config.penalty.weight * gradient_penalty(discriminator, between).mean()
        return value

    def generator_loss(labels: torch.Tensor) -> torch.Tensor:
        scores, class_loss = judge(generate(labels), labels)
        return loss.generator(scores) + class_loss

    def step(done: int, batches: Sequence[Batch]) -> float:
        with placement.autocast():
            for batch in batches:
                value = discriminator_loss(batch["image"], batch["label"])
                update(optimizers["discriminator"], value)
            update(optimizers["generator"], generator_loss(batch["label"]))
        averages.update(done)
        return value.item()

    networks = {"generator": generator, "discriminator": discriminator}
    batches = random_images(config, game, placement)
    return System(networks, optimizers, averages, step, batches)
