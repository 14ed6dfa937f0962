"""The losses of the references, as functions of scores of any shape."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class AdversarialLoss(NamedTuple):
    """Losses of a discriminator, of real and fake scores, and of a generator, of fake scores."""

    discriminator: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    generator: Callable[[torch.Tensor], torch.Tensor]


LOSSES = {
    "non_saturating": AdversarialLoss(
        lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        lambda fake: F.softplus(-fake).mean(),
    ),
    "least_squares": AdversarialLoss(
        lambda real, fake: 0.5 * ((real - 1).square().mean() + fake.square().mean()),
        lambda fake: 0.5 * (fake - 1).square().mean(),
    ),
    "hinge": AdversarialLoss(
        lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
    "wasserstein": AdversarialLoss(
        lambda real, fake: fake.mean() - real.mean(),
        lambda fake: -fake.mean(),
    ),
}


def gradient_penalty(critic: nn.Module, between: torch.Tensor) -> torch.Tensor:
    """Return WGAN-GP's penalty at ``between``, per image, with a graph to differentiate."""
    between = between.detach().requires_grad_()
    score = critic(between).sum()
    (slope,) = torch.autograd.grad(score, between, create_graph=True)
    norm = (slope.float().square().sum((1, 2, 3)) + 1e-12).sqrt()
    return (norm - 1).square()
