"""From a configuration to the games that make images of images; see `gan_jax.games.registry`."""

import dataclasses
import functools
from typing import Any

from gan_jax import errors
from gan_jax.data import degrade
from gan_jax.games.adversarial import Augment, Regularize
from gan_jax.games.anomaly import AnomalyGame
from gan_jax.games.cycle import CycleGame
from gan_jax.games.paired import Compare, PairedGame
from gan_jax.games.settings import Setting, check_weights, given, options, penalty_fields
from gan_jax.losses import adversarial, perceptual, reconstruction
from gan_jax.metrics import extractors
from gan_jax.networks import registry as networks

# Options of generators that begin with latents, which translators do not have.
_LATENT = ("latent_dim", "conditioning")


def make_paired(config: Any, setting: Setting) -> PairedGame:
    """Return pix2pix, or a game of restoration."""
    _refuse_unused(config)
    own = config.game.paired
    degradation = _degradation(config, setting)
    height, width, channels = _image_shape(setting.shape, config.game.name)
    pairing = config.data.get("pairing", "none")
    if degradation is None:
        if pairing not in ("side_by_side", "twins"):
            raise errors.ConfigError(
                f"data.pairing = {pairing!r} with degrade.name = 'none': nobody knows what is to "
                "come out; accepted: data.pairing = 'side_by_side' or 'twins', or a degradation"
            )
        channels //= 2
        inputs, scale, masked = channels, 1, False
    else:
        if pairing != "none":
            raise errors.ConfigError(
                f"data.pairing = {pairing!r} with degrade.name = {degradation.name!r}, which makes "
                "inputs itself; accepted: 'none'"
            )
        inputs, scale, masked = degradation.inputs(channels), degradation.scale, degradation.masked
    weights = check_weights(
        {
            name: own[name]
            for name in (
                "pixel_weight",
                "adversarial_weight",
                "variation_weight",
                "known_weight",
                "discriminator_weight",
            )
        },
        "game.paired",
    )
    if own.content_steps < 0:
        raise errors.ConfigError(
            f"game.paired.content_steps = {own.content_steps}; accepted: 0 or more"
        )
    if own.conditional and scale != 1 and own.adversarial_weight:
        raise errors.ConfigError(
            f"game.paired.conditional = True, but inputs are {scale} times smaller than images; "
            "accepted: False"
        )
    shared = given(config, setting)
    shared.pop("num_classes")
    generator = config.generator
    small = (height // scale, width // scale, inputs + (1 if masked else 0))
    translator = networks.make_translator(
        generator.name,
        **{**shared, "shape": small},
        outputs=channels,
        **_translator_options(generator, scale),
    )
    judge = None
    if not own.adversarial_weight and config.penalty.name != "none":
        raise errors.ConfigError(
            f"penalty.name = {config.penalty.name!r} with game.paired.adversarial_weight = 0, "
            "which leaves no discriminator to penalise; accepted: 'none'"
        )
    if own.adversarial_weight:
        seen = channels + (inputs if own.conditional else 0)
        judge = networks.make_patch_discriminator(
            config.discriminator.name,
            **{**shared, "shape": (height, width, seen)},
            **options(config.discriminator, "conditioning"),
        )
    return PairedGame(
        generator=translator,
        discriminator=judge,
        shape=setting.shape,
        loss=_loss(config, setting),
        pixel=_pixel(own),
        degradation=degradation,
        conditional=own.conditional,
        perceptual=_perceptual(config),
        perceptual_weight=own.perceptual.weight,
        content_steps=own.content_steps,
        discriminator_steps=_steps(config),
        **weights,
        **penalty_fields(config, setting),
    )


def make_cycle(config: Any, setting: Setting) -> CycleGame:
    """Return CycleGAN."""
    pairing = config.data.get("pairing", "none")
    if pairing != "domains":
        raise errors.ConfigError(
            f"data.pairing = {pairing!r}; accepted for game.name = 'cycle': 'domains'"
        )
    _refuse_unused(config, penalty=True)
    own = config.game.cycle
    height, width, channels = _image_shape(setting.shape, config.game.name)
    shape = (height, width, channels // 2)
    shared = given(config, setting)
    shared.pop("num_classes")
    fields = check_weights(dict(own), "game.cycle")
    translator = networks.make_translator(
        config.generator.name,
        **{**shared, "shape": shape},
        outputs=shape[2],
        **_translator_options(config.generator, 1),
    )
    judge = networks.make_patch_discriminator(
        config.discriminator.name,
        **{**shared, "shape": shape},
        **options(config.discriminator, "conditioning"),
    )
    return CycleGame(
        generator=translator,
        discriminator=judge,
        shape=setting.shape,
        loss=_loss(config, setting),
        **fields,
    )


def make_anomaly(config: Any, setting: Setting) -> AnomalyGame:
    """Return GANomaly."""
    _refuse_unused(config, penalty=True)
    _image_shape(setting.shape, config.game.name)
    shared = given(config, setting)
    generator, discriminator, encoder = config.generator, config.discriminator, config.encoder
    for name, group in (("generator", generator), ("discriminator", discriminator)):
        if group.conditioning != "none":
            raise errors.ConfigError(
                f"{name}.conditioning = {group.conditioning!r}; accepted for game.name = 'anomaly'"
                ", which asks for no classes: 'none'"
            )
    made = networks.make_generator(generator.name, **shared, **options(generator))
    judge = networks.make_discriminator(discriminator.name, **shared, **options(discriminator))
    shared.pop("num_classes")
    return AnomalyGame(
        encoder=networks.make_encoder(
            encoder.name, outputs=generator.latent_dim, **shared, **options(encoder)
        ),
        generator=made,
        discriminator=judge,
        shape=setting.shape,
        loss=_loss(config, setting),
        discriminator_steps=_steps(config),
        **check_weights(dict(config.game.anomaly), "game.anomaly"),
    )


def _image_shape(shape: tuple[int, ...], game: str) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise errors.ConfigError(
            f"data.name: one data point has shape {shape}; accepted for game.name = {game!r}: "
            "images (height, width, channels)"
        )
    return (shape[0], shape[1], shape[2])


def _degradation(config: Any, setting: Setting) -> degrade.Degradation | None:
    """Return what makes inputs of targets; ``None``: the data has both."""
    if config.degrade.name == "none":
        return None
    made = degrade.make(config.degrade.name, **options(config.degrade))
    made.check(_image_shape(setting.shape, config.game.name))
    return made


def _translator_options(generator: Any, scale: int) -> dict[str, Any]:
    """Return a translator's options; its factor is that of the degradation."""
    chosen = options(generator, *_LATENT)
    if generator.name == "srresnet":
        chosen["factor"] = scale
    elif scale != 1:
        raise errors.ConfigError(
            f"generator.name = {generator.name!r} does not enlarge images, but degrade makes them "
            f"{scale} times smaller; accepted: 'srresnet'"
        )
    return chosen


def _pixel(own: Any) -> Compare:
    errors.lookup(reconstruction.PIXEL_LOSSES, own.pixel, "game.paired.pixel")
    return reconstruction.make_pixel_loss(own.pixel)


def _perceptual(config: Any) -> Compare | None:
    """Return what compares features; ``None``: nothing does."""
    own = config.game.paired.perceptual
    if own.extractor is None:
        return None
    check_weights({"weight": own.weight}, "game.paired.perceptual")
    errors.lookup(extractors.EXTRACTORS, own.extractor, "game.paired.perceptual.extractor")
    setting = extractors.Setting(None, config.eval.get("inception"))
    extractor = extractors.make_extractor(own.extractor, setting)
    extract = perceptual.from_extractor(extractor, tuple(own.layers) or None)
    return functools.partial(perceptual.perceptual, extract)


def _loss(config: Any, setting: Setting) -> adversarial.AdversarialLoss:
    return adversarial.make(config.loss.name, axis_name=setting.axis_name, **options(config.loss))


def _steps(config: Any) -> int:
    if (steps := config.game.discriminator_steps) < 1:
        raise errors.ConfigError(f"game.discriminator_steps = {steps}; accepted: 1 or more")
    return steps


def _refuse_unused(config: Any, *, penalty: bool = False) -> None:
    """Refuse fields that mean nothing to the game, rather than leave them unheard.

    Args:
      config: the configuration.
      penalty: whether it has no penalty.
    """
    game = config.game.name
    if penalty and config.penalty.name != "none":
        raise errors.ConfigError(
            f"penalty.name = {config.penalty.name!r}; accepted for game.name = {game!r}: 'none'"
        )
    for group, defaults in (("augment", Augment()), ("regularize", Regularize())):
        for name, default in dataclasses.asdict(defaults).items():
            value = config.get(group, {}).get(name, default)
            if (tuple(value) if isinstance(value, list) else value) != default:
                raise errors.ConfigError(
                    f"{group}.{name} = {value}; accepted for game.name = {game!r}, which has no "
                    f"such term: {default}"
                )
    if config.game.clip is not None:
        raise errors.ConfigError(
            f"game.clip = {config.game.clip}; accepted for game.name = {game!r}: none"
        )
