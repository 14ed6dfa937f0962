"""Networks by name, as configs choose them: `name` of `generator`, `discriminator`, `encoder`.

All are called as `module(x, condition, keys=..., train=...)`; see `gan_jax.networks.network`.
"""

from collections import ChainMap
from collections.abc import Mapping
from typing import Any

import flax.linen as nn

from gan_jax.networks.biggan import (
    BigGANDeepDiscriminator,
    BigGANDeepGenerator,
    BigGANDiscriminator,
    BigGANGenerator,
)
from gan_jax.networks.dcgan import DCGANDiscriminator, DCGANEncoder, DCGANGenerator
from gan_jax.networks.dfgan import DFGANDiscriminator, DFGANGenerator
from gan_jax.networks.fastgan import FastGANDiscriminator, FastGANGenerator
from gan_jax.networks.hifigan import HiFiGANDiscriminator, HiFiGANGenerator
from gan_jax.networks.midinet import MidiNetDiscriminator, MidiNetGenerator
from gan_jax.networks.mlp import MLPDiscriminator, MLPEncoder, MLPGenerator
from gan_jax.networks.mocogan import MoCoGANDiscriminator, MoCoGANGenerator
from gan_jax.networks.patchgan import PatchGAN
from gan_jax.networks.progan import ProGANDiscriminator, ProGANGenerator
from gan_jax.networks.r3gan import R3GANDiscriminator, R3GANGenerator
from gan_jax.networks.resnet import ResNetDiscriminator, ResNetGenerator
from gan_jax.networks.segan import SEGANDiscriminator, SEGANGenerator
from gan_jax.networks.seqgan import SeqGANDiscriminator
from gan_jax.networks.srresnet import SRResNet
from gan_jax.networks.stackgan import StackGANDiscriminator, StackGANGenerator
from gan_jax.networks.stylegan1 import StyleGAN1Generator
from gan_jax.networks.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from gan_jax.networks.textgan import TextGANDiscriminator, TextGANGenerator
from gan_jax.networks.translator import ResNetTranslator
from gan_jax.networks.unet import UNet
from gan_jax.networks.videogan import VideoGANDiscriminator, VideoGANGenerator
from gan_jax.networks.wavegan import WaveGANDiscriminator, WaveGANGenerator
from gan_jax.settings import build

GENERATORS: dict[str, type[nn.Module]] = {
    "biggan": BigGANGenerator,
    "biggan_deep": BigGANDeepGenerator,
    "dcgan": DCGANGenerator,
    "dfgan": DFGANGenerator,
    "fastgan": FastGANGenerator,
    "midinet": MidiNetGenerator,
    "mlp": MLPGenerator,
    "mocogan": MoCoGANGenerator,
    "progan": ProGANGenerator,
    "r3gan": R3GANGenerator,
    "resnet": ResNetGenerator,
    "stackgan": StackGANGenerator,
    "stylegan1": StyleGAN1Generator,
    "stylegan2": StyleGAN2Generator,
    "textgan": TextGANGenerator,
    "videogan": VideoGANGenerator,
    "wavegan": WaveGANGenerator,
}
"""Modules of `(z [batch, latent_dim], condition)` to float32 [batch, *shape]."""

DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "biggan": BigGANDiscriminator,
    "biggan_deep": BigGANDeepDiscriminator,
    "dcgan": DCGANDiscriminator,
    "dfgan": DFGANDiscriminator,
    "fastgan": FastGANDiscriminator,
    "midinet": MidiNetDiscriminator,
    "mlp": MLPDiscriminator,
    "mocogan": MoCoGANDiscriminator,
    "progan": ProGANDiscriminator,
    "r3gan": R3GANDiscriminator,
    "resnet": ResNetDiscriminator,
    "segan": SEGANDiscriminator,
    "stackgan": StackGANDiscriminator,
    "stylegan2": StyleGAN2Discriminator,
    "textgan": TextGANDiscriminator,
    "videogan": VideoGANDiscriminator,
    "wavegan": WaveGANDiscriminator,
}
"""Modules of `(x [batch, *shape], condition)` to float32 scores [batch], with a method `judge`.

The scores of fastgan are those of patches, as below, and those of stackgan [batch, stages].
"""

ENCODERS: dict[str, type[nn.Module]] = {
    "dcgan": DCGANEncoder,
    "mlp": MLPEncoder,
}
"""Modules of `(x [batch, *shape], condition)` to float32 [batch, outputs]."""

TRANSLATORS: dict[str, type[nn.Module]] = {
    "hifigan": HiFiGANGenerator,
    "segan": SEGANGenerator,
    "srresnet": SRResNet,
    "translator": ResNetTranslator,
    "unet": UNet,
}
"""Modules of `(x [batch, h, w, channels], condition)` to float32 images; `keys` are dropout's.

An output is `[batch, scale * h, scale * w, outputs]`; `h` and `w` are any multiples of `multiple`:
both are the module's properties. Without keys there is no dropout. Those of segan and hifigan are
sounds `[batch, samples, channels]`; hifigan's inputs are spectrograms `[batch, frames, bands]`.
"""

PATCH_DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "hifigan": HiFiGANDiscriminator,
    "patchgan": PatchGAN,
}
"""Modules of `(x [batch, *shape], condition)` to float32 scores [batch, h', w'], with `judge`.

Those of hifigan are `[batch, n]`.
"""

TOKEN_DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "seqgan": SeqGANDiscriminator,
}
"""Modules of `(x [batch, length, tokens], condition)` to float32 scores [batch, length]."""

ROLES: dict[str, tuple[str, Mapping[str, type[nn.Module]]]] = {
    "generator": ("generator", GENERATORS),
    "translator": ("generator", TRANSLATORS),
    "discriminator": ("discriminator", DISCRIMINATORS),
    "patch_discriminator": ("discriminator", ChainMap(PATCH_DISCRIMINATORS, DISCRIMINATORS)),
    "token_discriminator": ("discriminator", TOKEN_DISCRIMINATORS),
    "encoder": ("encoder", ENCODERS),
}
"""By role in a game: the configuration group that names the network, and the networks accepted.

A loss that takes the mean over all scores serves discriminators of patches and of whole images.
"""


def make(role: str, name: str, *, shape: tuple[int, ...], **fields: Any) -> nn.Module:
    """Construct a network; nothing is compiled or allocated.

    Args:
      role: a key of `ROLES`.
      name: of one of the networks accepted in that role.
      shape: of one input of a discriminator, an encoder or a translator, or of one output of a
        generator: `(height, width, channels)`, `(samples, channels)`, or `(2,)`.
      **fields: the network's other fields: its settings, such as `features`, and what the data and
        the game give, such as `num_classes` and `heads`. Lists become tuples.

    Raises:
      ConfigError: the name, a field, a field's value, or the resolution cannot work.
    """
    group, registry = ROLES[role]
    return build(registry, group, name, shape=tuple(shape), **fields)
