"""Degradations by name, as configurations choose them: ``degrade.name``."""

from typing import Any

from gan_jax.data.degrade.blur import Blur
from gan_jax.data.degrade.colour import Grey
from gan_jax.data.degrade.degradation import Degradation
from gan_jax.data.degrade.freeze import Freeze
from gan_jax.data.degrade.identity import Identity
from gan_jax.data.degrade.jpeg import Jpeg
from gan_jax.data.degrade.masks import Mask
from gan_jax.data.degrade.mel import Mel
from gan_jax.data.degrade.noise import GaussianNoise, PoissonNoise
from gan_jax.data.degrade.resize import Downsample
from gan_jax.data.degrade.sound import SoundNoise
from gan_jax.settings import build

DEGRADATIONS: dict[str, type[Degradation]] = {
    degradation.name: degradation
    for degradation in (
        Identity,
        GaussianNoise,
        PoissonNoise,
        Blur,
        Downsample,
        Jpeg,
        Mask,
        Grey,
        Freeze,
        SoundNoise,
        Mel,
    )
}


def make(name: str, /, **options: Any) -> Degradation:
    """Return the degradation of a name.

    Args:
      name: a key of ``DEGRADATIONS``.
      options: its fields; a list counts as a tuple, and one that is ``None`` as not given.

    Raises:
      ConfigError: the name, an option or its value is unknown; names the field
        ``degrade.<name>.<option>``.
    """
    return build(DEGRADATIONS, "degrade", name, **options)
