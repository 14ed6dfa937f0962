"""CycleGAN: the players of `gan_jax.games.cycle`, who share the generators' fakes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from gan_jax.errors import lookup
from gan_jax.games.cycle import CycleGame
from scripts.pytorch import patchgan
from scripts.pytorch.losses import LOSSES
from scripts.pytorch.system import Averages, Batch, Placement, System, make_optimizer, update
from scripts.pytorch.translators import make_translator


class Pool:
    """A buffer of past fakes; each image shown is a new one, or, half of the time, a past one."""

    def __init__(self, size: int) -> None:
        self.size, self.images = size, []

    def exchange(self, fakes: torch.Tensor) -> torch.Tensor:
        """Return the fakes to show the discriminator, and store some."""
        shown = []
        places = torch.randint(2 * self.size, (len(fakes),), device="cpu").tolist()
        for fake, place in zip(fakes, places, strict=True):
            if len(self.images) < self.size:
                self.images.append(fake)
                shown.append(fake)
            elif place < self.size:
                shown.append(self.images[place])
                self.images[place] = fake
            else:
                shown.append(fake)
        return torch.stack(shown)


def make(config: Any, game: CycleGame, placement: Placement) -> System:
    """Return the system of a configuration with ``game.name = "cycle"``."""
    loss, own = lookup(LOSSES, config.loss.name, "loss.name"), config.game.cycle
    count, channels = config.train.batch_size, game.image_shape[2]
    a_to_b, b_to_a = (
        placement.place(make_translator(config.generator, channels, channels)) for _ in range(2)
    )
    discriminator_a, discriminator_b = (
        placement.place(patchgan.Discriminator(config.discriminator, channels)) for _ in range(2)
    )
    optimizers = {
        "generators": make_optimizer(
            config.optimizer.generator, [*a_to_b.parameters(), *b_to_a.parameters()]
        ),
        "discriminators": make_optimizer(
            config.optimizer.discriminator,
            [*discriminator_a.parameters(), *discriminator_b.parameters()],
        ),
    }
    averages = Averages(config, game, {"a_to_b": a_to_b, "b_to_a": b_to_a})
    # Generator, generator back, discriminator of the target, names of the domains, past fakes.
    ways = [
        (a_to_b, b_to_a, discriminator_b, "a", "b", Pool(own.history)),
        (b_to_a, a_to_b, discriminator_a, "b", "a", Pool(own.history)),
    ]

    def discriminators_loss(batch: Batch, fakes: Sequence[torch.Tensor]) -> torch.Tensor:
        value = torch.zeros((), device=placement.device)
        for (_, _, discriminator, _, outputs, pool), fake in zip(ways, fakes, strict=True):
            shown = pool.exchange(fake.detach())
            own_loss = loss.discriminator(discriminator(batch[outputs]), discriminator(shown))
            value = value + own.discriminator_weight * own_loss
        return value

    def generators_loss(batch: Batch, fakes: Sequence[torch.Tensor]) -> torch.Tensor:
        value = torch.zeros((), device=placement.device)
        for (forth, back, discriminator, inputs, outputs, _), fake in zip(ways, fakes, strict=True):
            source, target = batch[inputs], batch[outputs]
            value = value + loss.generator(discriminator(fake))
            value = value + own.cycle_weight * F.l1_loss(back(fake), source)
            value = value + own.identity_weight * F.l1_loss(forth(target), target)
        return value

    def step(done: int, batches: Sequence[Batch]) -> float:
        (batch,) = batches
        with placement.autocast():
            fakes = [forth(batch[inputs]) for forth, _, _, inputs, _, _ in ways]
            update(optimizers["discriminators"], discriminators_loss(batch, fakes))
            value = generators_loss(batch, fakes)
            update(optimizers["generators"], value)
        averages.update(done)
        return value.item()

    networks = {
        "a_to_b": a_to_b,
        "b_to_a": b_to_a,
        "discriminator_a": discriminator_a,
        "discriminator_b": discriminator_b,
    }
    batch = {name: placement.images(count, game.image_shape) for name in ("a", "b")}
    return System(networks, optimizers, averages, step, [batch])
