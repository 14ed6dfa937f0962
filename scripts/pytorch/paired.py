"""pix2pix and SRGAN: the game of `gan_jax.games.paired`, after its steps of content alone.

Both players are shown the same fakes: the generator does not change between their turns, so that
another pass would differ in the draws of dropout alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from gan_jax.errors import lookup
from gan_jax.games.paired import PairedGame
from gan_jax.games.translation import A_TO_B
from scripts.pytorch import patchgan
from scripts.pytorch.losses import LOSSES
from scripts.pytorch.system import Averages, Batch, Placement, System, make_optimizer, update
from scripts.pytorch.translators import make_translator

PIXEL_LOSSES = {"l1": F.l1_loss, "l2": F.mse_loss}


def make(config: Any, game: PairedGame, placement: Placement) -> System:
    """Return the system of a configuration with ``game.name = "paired"``."""
    loss, own = lookup(LOSSES, config.loss.name, "loss.name"), config.game.paired
    compare = lookup(PIXEL_LOSSES, own.pixel, "game.paired.pixel")
    way, (height, width, channels) = game.directions[A_TO_B], game.image_shape
    generator = make_translator(config.generator, way.inputs, channels, way.scale)
    seen = channels + way.inputs * own.conditional
    discriminator = patchgan.Discriminator(config.discriminator, seen)
    networks = {
        "generator": placement.place(generator),
        "discriminator": placement.place(discriminator),
    }
    optimizers = {
        name: make_optimizer(config.optimizer[name], network.parameters())
        for name, network in networks.items()
    }
    averages = Averages(config, game, {"generator": generator})

    def judge(inputs: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return discriminator(torch.cat([inputs, images], 1) if own.conditional else images)

    def step(done: int, batches: Sequence[Batch]) -> float:
        (batch,) = batches
        inputs, target = batch["inputs"], batch["target"]
        with placement.autocast():
            made = generator(inputs)
            total = own.pixel_weight * compare(made, target)
            if done >= own.content_steps:
                value = loss.discriminator(judge(inputs, target), judge(inputs, made.detach()))
                update(optimizers["discriminator"], own.discriminator_weight * value)
                total = total + own.adversarial_weight * loss.generator(judge(inputs, made))
            update(optimizers["generator"], total)
        averages.update(done)
        return total.item()

    count, small = config.train.batch_size, (height // way.scale, width // way.scale, way.inputs)
    batch = {
        "inputs": placement.images(count, small),
        "target": placement.images(count, game.image_shape),
    }
    return System(networks, optimizers, averages, step, [batch])
