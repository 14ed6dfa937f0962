"""Reconstruction of real images from the discriminator's features (FastGAN, 2101.04775)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.games.building import Given
from gan_jax.games.terms.term import Added, Context, Term
from gan_jax.layers.resample import mean_pool
from gan_jax.losses.reconstruction import l1
from gan_jax.networks.fastgan import PART, WHOLE, quarters


@dataclasses.dataclass(frozen=True)
class SelfSupervision(Term):
    """Have the discriminator's decoders reconstruct real images, and one quarter of each.

    "Towards Faster and Stabilized GAN Training for High-fidelity Few-shot Image Synthesis", Liu et
    al. 2021, https://arxiv.org/abs/2101.04775, section 3.2; weight 1. The distance is the mean
    absolute error, from the image after augmentation, reduced to the reconstruction's size.
    """

    name: ClassVar[str] = "self_supervision"

    @override
    def check_game(self, config: Any, given: Given) -> None:
        chosen = config.discriminator
        if chosen.name != "fastgan" or not chosen.fastgan.decoder_features:
            decoders = (
                f"discriminator.name = {chosen.name!r}"
                if chosen.name != "fastgan"
                else "discriminator.fastgan.decoder_features = 0"
            )
            raise ConfigError(
                f"terms.self_supervision.weight = {self.weight} needs decoders, but {decoders}; "
                "accepted: discriminator.name 'fastgan' with decoder_features above 0, or weight 0"
            )

    @override
    def __call__(self, context: Context) -> Added:
        assert context.real is not None
        real, made = context.real, context.real.verdict.heads
        whole = jnp.mean(l1(made[WHOLE], _reduced(real.shown, made[WHOLE])))
        part = jnp.mean(l1(made[PART], _reduced(quarters(real.keys, real.shown), made[PART])))
        return Added(whole + part)


def _reduced(images: jax.Array, like: jax.Array) -> jax.Array:
    """Return images halved, by means over 2x2 pixels, to the size of others."""
    while images.shape[1] > like.shape[1]:
        images = mean_pool(images)
    return images
