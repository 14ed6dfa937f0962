"""Random changes to what the discriminator sees: pure, differentiable, one draw per image."""

from collections.abc import Mapping
from typing import Any

from gan_jax.augment.ada import ADA
from gan_jax.augment.apa import APA
from gan_jax.augment.augmentation import Augmentation
from gan_jax.augment.diffaug import DiffAugment
from gan_jax.augment.instance_noise import InstanceNoise
from gan_jax.settings import arguments

AUGMENTATIONS: dict[str, type[Augmentation]] = {
    "apa": APA,
    "ada": ADA,
    "diffaug": DiffAugment,
    "noise": InstanceNoise,
}
"""Frozen dataclasses, whose fields are their settings, in the order in which they are applied."""


def make_augmentations(config: Any, kind: str) -> Mapping[str, Augmentation]:
    """Return the augmentations that ``config.augment`` switches on, by name.

    Args:
      config: the whole configuration.
      kind: of the data.

    Raises:
      ConfigError: a setting cannot work.
    """
    chosen = {}
    for name, entry in AUGMENTATIONS.items():
        made = entry(**arguments(config.augment[name]))
        if made.enabled:
            made.check(config, kind)
            chosen[name] = made
    return chosen
