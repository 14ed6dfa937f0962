"""Perceptrons on points of the plane, measured by the modes that they cover."""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from configs import gan


def get_config(arg: str = "") -> ConfigDict:
    """Return the configuration."""
    c = gan.get_config("smoke")
    c.data.update(name="ring", toy_size=512)
    c.train.update(steps=4, batch_size=16, sample_every=1000, checkpoint_every=4, log_every=2)
    c.eval.update(every=2, num_fake=256)
    c.sample.num = 1
    return c


def sweep(add: Callable[..., None]) -> None:
    """Name two losses; seeds come from the command line."""
    for loss in ("hinge", "minimax"):
        add(**{"loss.name": loss})


def search(space: Any) -> None:
    """Vary the rate of learning."""
    space.log_uniform("optimizer.generator.learning_rate", 1e-5, 1e-2)
