"""The paired game from a configuration: its degradation, and checks of its settings."""

import dataclasses
from typing import Any

import flax.linen as nn

from gan_jax import errors
from gan_jax.data import degrade, kinds
from gan_jax.data import spec as specs
from gan_jax.data.degrade import Degradation
from gan_jax.data.spec import Spec
from gan_jax.games import building
from gan_jax.losses import reconstruction
from gan_jax.networks import registry as networks
from gan_jax.settings import options


def make_degradation(config: Any, given: building.Given) -> Degradation | None:
    """Return what makes inputs of targets; ``None``: the data have both."""
    name, pairing = config.degrade.name, config.data.pairing
    if name == "none":
        if pairing not in ("side_by_side", "twins"):
            raise errors.ConfigError(
                f"data.pairing = {pairing!r} with degrade.name = 'none': there is no target "
                "image; accepted: data.pairing = 'side_by_side' or 'twins', or a degradation"
            )
        return None
    kind = errors.lookup(degrade.DEGRADATIONS, name, "degrade.name")
    if pairing != "none":
        raise errors.ConfigError(
            f"data.pairing = {pairing!r} with degrade.name = {name!r}, which makes inputs itself; "
            "accepted: 'none'"
        )
    target, shape = specs.target(given.spec), target_shape(given.spec)
    if kind.data != (found := target.kind):
        suited = [k for k, v in degrade.DEGRADATIONS.items() if v.data == found and k != "none"]
        raise errors.ConfigError(
            f"degrade.name = {name!r} is for data of kind {kind.data!r}, but these are of kind "
            f"{found!r}; accepted: {', '.join(suited)}"
        )
    fields = options(config.degrade, kind)
    if any(field.name == "sample_rate" for field in dataclasses.fields(kind)):
        fields["sample_rate"] = target.sample_rate
    made = degrade.make(name, **fields)
    made.check(shape)
    return made


def check(config: Any, scale: int, kind: str) -> None:
    """Check the settings of the game.

    Args:
      config: the whole configuration.
      scale: of images over inputs.
      kind: of the data.
    """
    own, pixels = config.game.paired, reconstruction.PIXEL_LOSSES
    building.check_weights({k: own[k] for k in own if k.endswith("_weight")}, "game.paired")
    building.check_weights({"content_steps": own.content_steps}, "game.paired")
    analyses = {name: how for name, how in degrade.DEGRADATIONS.items() if how.analysis}
    errors.lookup({**pixels, **analyses}, own.pixel, "game.paired.pixel")
    if own.pixel not in pixels and own.pixel != config.degrade.name:
        raise errors.ConfigError(
            f"game.paired.pixel = {own.pixel!r} compares the representations of degrade.name = "
            f"{own.pixel!r}; accepted without it: {', '.join(pixels)}"
        )
    if own.matching_weight and not own.adversarial_weight:
        raise errors.ConfigError(
            f"game.paired.matching_weight = {own.matching_weight} with adversarial_weight = 0, "
            "which leaves no discriminator; accepted: 0"
        )
    of_images = (
        ("variation_weight", own.variation_weight, 0.0),
        ("perceptual.extractor", own.perceptual.extractor, None),
    )
    of_pixels = (*of_images, ("gradient_weight", own.gradient_weight, 0.0))
    for name, value, accepted in {"image": (), "video": of_images}.get(kind, of_pixels):
        if value != accepted:
            raise errors.ConfigError(
                f"game.paired.{name} = {value!r}, a term of images, but the data are of kind "
                f"{kind!r}; accepted: {accepted!r}"
            )
    if own.conditional and scale != 1 and own.adversarial_weight:
        raise errors.ConfigError(
            f"game.paired.conditional = True, but inputs are {scale} times smaller than targets; "
            "accepted: False"
        )


def make_network(role: str, config: Any, given: building.Given, **more: Any) -> nn.Module:
    """Return the network of a role; as `building.make_network`, which sees videos as images."""
    try:
        return building.make_network(role, config, given, **more)
    except errors.DataKindError as error:
        if specs.target(given.spec).kind != "video":
            raise
        group = networks.ROLES[role][0]
        raise errors.ConfigError(
            f"{group}.name = {config[group].name!r} is no network for images; accepted for videos "
            "with game.name = 'paired': one for images, which sees their frames as channels, such "
            f"as {'unet' if role == 'translator' else 'dcgan'}"
        ) from error


def target_shape(spec: Spec) -> tuple[int, ...]:
    """Return the shape of the targets: images, videos or sounds."""
    accepted = {"image": "images", "video": "videos"}
    accepted["audio"] = "sounds (data.spectrogram.window = 0)"
    return kinds.check_kinds({"target": specs.target(spec)}, "this game", **accepted)


def enlargement(generator: str, scale: int) -> dict[str, int]:
    """Return the factor by which a generator enlarges images, if it can: the degradation's."""
    network = errors.lookup(networks.TRANSLATORS, generator, "generator.name")
    if any(field.name == "factor" for field in dataclasses.fields(network)):
        return {"factor": scale}
    if scale != 1:
        raise errors.ConfigError(
            f"generator.name = {generator!r} does not enlarge its inputs, but they are {scale} "
            "times smaller than targets; accepted: 'srresnet' for images, 'hifigan' for sounds"
        )
    return {}
