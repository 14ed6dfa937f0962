"""The references by the name of their configuration."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from gan_jax.data.spec import Spec
from gan_jax.runs import build
from scripts.pytorch import adversarial, cycle, paired, vae
from scripts.pytorch.system import Placement, System

REFERENCES: Mapping[str, Callable[[Any, Any, Placement], System]] = {
    "gan": adversarial.make,
    "dcgan": adversarial.make,
    "lsgan": adversarial.make,
    "wgan_gp": adversarial.make,
    "sngan_projection": adversarial.make,
    "acgan": adversarial.make,
    "vae_gan": vae.make,
    "cyclegan": cycle.make,
    "srgan": paired.make,
    "pix2pix": paired.make,
}
"""Functions of ``(config, game, placement)``."""


def make(config: Any, spec: Spec, placement: Placement) -> System:
    """Return the reference of a configuration.

    Args:
      config: whose ``variant`` is a key of `REFERENCES`.
      spec: of its data as they are stored.
      placement: where it runs.
    """
    game = build.make_game(config, spec)
    with torch.device(placement.device):
        return REFERENCES[config.variant](config, game, placement)
