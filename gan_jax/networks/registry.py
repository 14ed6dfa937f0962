"""Networks by name, as configs choose them: `name` of `generator`, `discriminator`, `encoder`."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax.errors import ConfigError, lookup, suggestion
from gan_jax.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gan_jax.networks.encoders import DCGANEncoder, MLPEncoder
from gan_jax.networks.mlp import MLPDiscriminator, MLPGenerator
from gan_jax.networks.patchgan import PatchGAN
from gan_jax.networks.resnet import ResNetDiscriminator, ResNetGenerator
from gan_jax.networks.srresnet import SRResNet
from gan_jax.networks.translator import ResNetTranslator
from gan_jax.networks.unet import UNet
from gan_jax.networks.verdict import Head

GENERATORS: dict[str, type[nn.Module]] = {
    "dcgan": DCGANGenerator,
    "mlp": MLPGenerator,
    "resnet": ResNetGenerator,
}
"""Modules `(z [batch, latent_dim], labels, train) -> float32 [batch, *shape]`."""

DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "dcgan": DCGANDiscriminator,
    "mlp": MLPDiscriminator,
    "resnet": ResNetDiscriminator,
}
"""Modules `(x [batch, *shape], labels, train) -> float32 scores [batch]`, with a method `judge`."""

ENCODERS: dict[str, type[nn.Module]] = {
    "dcgan": DCGANEncoder,
    "mlp": MLPEncoder,
}
"""Modules `(x [batch, *shape], labels, train) -> float32 [batch, outputs]`."""

TRANSLATORS: dict[str, type[nn.Module]] = {
    "srresnet": SRResNet,
    "translator": ResNetTranslator,
    "unet": UNet,
}
"""Modules `(x [batch, h, w, channels], keys [batch] or None, *, train) -> float32 images`.

An output is `[batch, scale * h, scale * w, outputs]`; `h` and `w` are any multiples of `multiple`:
both are the module's properties. The keys are dropout's; without them there is none.
"""

PATCH_DISCRIMINATORS: dict[str, type[nn.Module]] = {
    "patchgan": PatchGAN,
}
"""Modules `(x [batch, *shape], labels, train) -> float32 scores [batch, h', w']`, with `judge`."""

# Given by the data, the game, the precision and the devices, never as a field of the network's own.
GIVEN = ("shape", "num_classes", "heads", "outputs", "dtype", "param_dtype", "axis_name")
_LINEN = ("parent", "name")


def _make(
    registry: Mapping[str, type[nn.Module]],
    role: str,
    name: str,
    given: dict[str, Any],
    fields: Mapping[str, Any],
) -> nn.Module:
    """Construct the network that `registry` calls `name`, with unknown fields refused."""
    network = lookup(registry, name, f"{role}.name")
    known = {field.name for field in dataclasses.fields(network) if field.name not in _LINEN}
    own = sorted(known - set(GIVEN))
    for field, value in fields.items():
        if field not in own:
            raise ConfigError(
                f"{role}.{name}.{field} = {value!r} is not a field of this network; accepted: "
                f"{', '.join(own)}.{suggestion(field, own)}"
            )
    hashable = {
        field: tuple(value) if isinstance(value, list) else value for field, value in fields.items()
    }
    # Networks without batch statistics have no axis to share them over.
    return network(**{key: value for key, value in given.items() if key in known}, **hashable)


def make_generator(
    name: str,
    *,
    shape: Iterable[int],
    num_classes: int | None = None,
    dtype: Any = jnp.float32,
    param_dtype: Any = jnp.float32,
    axis_name: str | None = None,
    **fields: Any,
) -> nn.Module:
    """Construct a generator; nothing is compiled or allocated.

    Args:
      name: a key of `GENERATORS`.
      shape: of one data point: `(height, width, channels)`, or `(2,)`.
      num_classes: of the data; None: they have no labels.
      dtype: of the computation.
      param_dtype: of the parameters.
      axis_name: mapped axis over which batch statistics are shared; unused by networks without.
      **fields: the network's own fields, such as `latent_dim`; lists are taken as tuples.

    Raises:
      ConfigError: the name, a field, a field's value, or the resolution cannot work.
    """
    given = {
        "shape": tuple(shape),
        "num_classes": num_classes,
        "dtype": dtype,
        "param_dtype": param_dtype,
        "axis_name": axis_name,
    }
    return _make(GENERATORS, "generator", name, given, fields)


def make_discriminator(
    name: str,
    *,
    shape: Iterable[int],
    num_classes: int | None = None,
    heads: tuple[Head, ...] = (),
    dtype: Any = jnp.float32,
    param_dtype: Any = jnp.float32,
    axis_name: str | None = None,
    **fields: Any,
) -> nn.Module:
    """Construct a discriminator; nothing is compiled or allocated.

    Args:
      name: a key of `DISCRIMINATORS`.
      shape: of one data point: `(height, width, channels)`, or `(2,)`.
      num_classes: of the data; None: they have no labels.
      heads: further outputs, which the game asks for.
      dtype: of the computation.
      param_dtype: of the parameters.
      axis_name: mapped axis over which batch statistics are shared; unused by networks without.
      **fields: the network's own fields, such as `features`; lists are taken as tuples.

    Raises:
      ConfigError: the name, a field, a field's value, or the resolution cannot work.
    """
    given = {
        "shape": tuple(shape),
        "num_classes": num_classes,
        "heads": heads,
        "dtype": dtype,
        "param_dtype": param_dtype,
        "axis_name": axis_name,
    }
    return _make(DISCRIMINATORS, "discriminator", name, given, fields)


def make_encoder(
    name: str,
    *,
    shape: Iterable[int],
    outputs: int,
    dtype: Any = jnp.float32,
    param_dtype: Any = jnp.float32,
    axis_name: str | None = None,
    **fields: Any,
) -> nn.Module:
    """Construct an encoder; nothing is compiled or allocated.

    Args:
      name: a key of `ENCODERS`.
      shape: of one data point: `(height, width, channels)`, or `(2,)`.
      outputs: numbers for each data point, which the game asks for.
      dtype: of the computation.
      param_dtype: of the parameters.
      axis_name: mapped axis over which batch statistics are shared; unused by networks without.
      **fields: the network's own fields, such as `features`; lists are taken as tuples.

    Raises:
      ConfigError: the name, a field, a field's value, or the resolution cannot work.
    """
    given = {
        "shape": tuple(shape),
        "outputs": outputs,
        "dtype": dtype,
        "param_dtype": param_dtype,
        "axis_name": axis_name,
    }
    return _make(ENCODERS, "encoder", name, given, fields)


def make_translator(
    name: str,
    *,
    shape: Iterable[int],
    outputs: int,
    dtype: Any = jnp.float32,
    param_dtype: Any = jnp.float32,
    axis_name: str | None = None,
    **fields: Any,
) -> nn.Module:
    """Construct a network that makes an image of an image; nothing is compiled or allocated.

    Args:
      name: a key of `TRANSLATORS`.
      shape: of one input image: `(height, width, channels)`; a mask is one of its channels.
      outputs: channels of an output image.
      dtype: of the computation.
      param_dtype: of the parameters.
      axis_name: mapped axis over which batch statistics are shared.
      **fields: the network's own fields, such as `features`; lists are taken as tuples.

    Raises:
      ConfigError: the name, a field, a field's value, or the resolution cannot work.
    """
    given = {
        "shape": tuple(shape),
        "outputs": outputs,
        "dtype": dtype,
        "param_dtype": param_dtype,
        "axis_name": axis_name,
    }
    return _make(TRANSLATORS, "generator", name, given, fields)


def make_patch_discriminator(
    name: str,
    *,
    shape: Iterable[int],
    num_classes: int | None = None,
    dtype: Any = jnp.float32,
    param_dtype: Any = jnp.float32,
    axis_name: str | None = None,
    **fields: Any,
) -> nn.Module:
    """Construct a discriminator of patches, or one of whole images; nothing is compiled.

    A loss that takes the mean over all scores serves both: of scores `[batch, h', w']`, or
    `[batch]`.

    Args:
      name: a key of `PATCH_DISCRIMINATORS` or `DISCRIMINATORS`.
      shape: of what it judges: `(height, width, channels)`, with the channels of the condition that
        a game shows beside an image.
      num_classes: of the data; None: they have no labels. Patches are judged without.
      dtype: of the computation.
      param_dtype: of the parameters.
      axis_name: mapped axis over which batch statistics are shared; unused by networks without.
      **fields: the network's own fields, such as `features`; lists are taken as tuples.

    Raises:
      ConfigError: the name, a field, a field's value, or the resolution cannot work.
    """
    given = {
        "shape": tuple(shape),
        "num_classes": num_classes,
        "dtype": dtype,
        "param_dtype": param_dtype,
        "axis_name": axis_name,
    }
    return _make({**PATCH_DISCRIMINATORS, **DISCRIMINATORS}, "discriminator", name, given, fields)
