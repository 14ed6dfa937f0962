"""Games by name, built from a configuration."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from gan_jax import errors
from gan_jax.augment import diffaug, instance_noise
from gan_jax.games import auxiliary, info, laplacian, translation_registry, vae
from gan_jax.games.adversarial import AdversarialGame, Augment, Regularize
from gan_jax.games.game import Game
from gan_jax.games.settings import Setting, check_weights, given, options, penalty_fields
from gan_jax.losses import adversarial, lecam, top_k
from gan_jax.networks import registry as networks
from gan_jax.networks.laplacian import CONDITIONING, LaplacianDiscriminator, LaplacianGenerator

# Games whose networks take images of any size, or two images per example.
_OF_IMAGES = ("paired", "cycle")


def make_game(
    config: Any,
    shape: tuple[int, ...],
    axis_name: str | None,
    num_classes: int | None = None,
) -> Game:
    """Return the game that ``config.game.name`` names.

    Args:
      config: a configuration with every field of ``configs/base.py``.
      shape: of one data point.
      axis_name: the mapped axis of the train step, for synchronised batch statistics.
      num_classes: of the data; ``None``: they have no labels.

    Raises:
      ConfigError: an unknown name or option, or a value that cannot work.
    """
    make = errors.lookup(GAMES, config.game.name, "game.name")
    pairing = config.data.get("pairing", "none")
    if pairing != "none" and config.game.name not in _OF_IMAGES:
        raise errors.ConfigError(
            f"data.pairing = {pairing!r} makes examples of two images each; accepted for game.name "
            f"= {config.game.name!r}: 'none'"
        )
    if (crop := config.data.get("crop")) is not None and config.game.name not in _OF_IMAGES:
        raise errors.ConfigError(
            f"data.crop = {crop}; accepted for game.name = {config.game.name!r}, which is measured "
            "against whole images: unset"
        )
    return make(config, Setting(shape, axis_name, num_classes))


def _adversarial(config: Any, setting: Setting) -> AdversarialGame:
    generator, discriminator = config.generator, config.discriminator
    conditioned = [
        group.get("conditioning", "none") != "none" for group in (generator, discriminator)
    ]
    if conditioned[0] != conditioned[1]:
        raise errors.ConfigError(
            f"generator.conditioning = {generator.conditioning!r} and discriminator.conditioning = "
            f"{discriminator.conditioning!r}; accepted: 'none' for both, or for neither"
        )
    return AdversarialGame(
        generator=networks.make_generator(
            generator.name, **given(config, setting), **options(generator)
        ),
        discriminator=networks.make_discriminator(
            discriminator.name, **given(config, setting), **options(discriminator)
        ),
        num_classes=setting.num_classes if conditioned[0] else None,
        **adversarial_fields(config, setting),
    )


def _auxiliary(config: Any, setting: Setting) -> auxiliary.AuxiliaryGame:
    generator, discriminator = config.generator, config.discriminator
    if generator.conditioning == "none":
        raise errors.ConfigError(
            "generator.conditioning = 'none': an auxiliary classifier asks the generator for "
            "classes; accepted: 'concat' or 'batch_norm'"
        )
    if discriminator.conditioning != "none":
        raise errors.ConfigError(
            f"discriminator.conditioning = {discriminator.conditioning!r} would tell the auxiliary "
            "classifier the answer; accepted: 'none'"
        )
    weights = check_weights(config.game.auxiliary, "game.auxiliary")
    made = networks.make_generator(generator.name, **given(config, setting), **options(generator))
    classes = setting.num_classes
    assert classes is not None  # Or the generator would not have been made.
    return auxiliary.AuxiliaryGame(
        generator=made,
        discriminator=networks.make_discriminator(
            discriminator.name,
            heads=auxiliary.heads(classes),
            **given(config, setting),
            **options(discriminator),
        ),
        num_classes=classes,
        **weights,
        **adversarial_fields(config, setting),
    )


def _info(config: Any, setting: Setting) -> info.InfoGame:
    generator, discriminator = config.generator, config.discriminator
    for name, group in (("generator", generator), ("discriminator", discriminator)):
        if group.conditioning != "none":
            raise errors.ConfigError(
                f"{name}.conditioning = {group.conditioning!r}; accepted for game.name = 'info', "
                "which finds classes itself: 'none'"
            )
    fields = dict(config.game.info)
    hidden = fields.pop("hidden")
    if hidden < 0:
        raise errors.ConfigError(f"game.info.hidden = {hidden}; accepted: 0 or more")
    codes = info.Codes(
        generator.latent_dim, tuple(fields.pop("categorical")), fields.pop("continuous")
    )
    return info.InfoGame(
        generator=networks.make_generator(
            generator.name,
            **given(config, setting),
            **{**options(generator), "latent_dim": codes.latent_dim},
        ),
        discriminator=networks.make_discriminator(
            discriminator.name,
            heads=codes.heads(hidden),
            **given(config, setting),
            **options(discriminator),
        ),
        codes=codes,
        **check_weights(fields, "game.info"),
        **adversarial_fields(config, setting),
    )


def _vae(config: Any, setting: Setting) -> vae.VAEGame:
    generator, discriminator, encoder = config.generator, config.discriminator, config.encoder
    for name, group in (("generator", generator), ("discriminator", discriminator)):
        if group.conditioning != "none":
            raise errors.ConfigError(
                f"{name}.conditioning = {group.conditioning!r}; accepted for game.name = 'vae', "
                "which has no classes: 'none'"
            )
    fields = adversarial_fields(config, setting)
    for name, default in dataclasses.asdict(Regularize()).items():
        if (value := getattr(fields["regularize"], name)) != default:
            raise errors.ConfigError(
                f"regularize.{name} = {value}; accepted for game.name = 'vae', which has no such "
                f"term: {default}"
            )
    own = dict(config.game.vae)
    layer = own.pop("layer")
    shared = given(config, setting)
    judge = networks.make_discriminator(discriminator.name, **shared, **options(discriminator))
    vae.check_layer(judge, setting.shape, layer)
    made = networks.make_generator(generator.name, **shared, **options(generator))
    shared.pop("num_classes")
    return vae.VAEGame(
        generator=made,
        discriminator=judge,
        encoder=networks.make_encoder(
            encoder.name, outputs=2 * generator.latent_dim, **shared, **options(encoder)
        ),
        layer=layer,
        **check_weights(own, "game.vae"),
        **fields,
    )


def _laplacian(config: Any, setting: Setting) -> laplacian.LaplacianGame:
    own = config.game.laplacian
    resolutions = _resolutions(own.coarsest, setting.shape)
    for role in ("generator", "discriminator"):
        if (conditioning := config[role].get("conditioning", "none")) not in CONDITIONING:
            raise errors.ConfigError(
                f"{role}.conditioning = {conditioning!r}; accepted for game.name = 'laplacian': "
                f"{', '.join(CONDITIONING)}"
            )
    channels = setting.shape[-1]
    first = resolutions[0]
    try:
        coarsest = _adversarial(
            config, dataclasses.replace(setting, shape=(first, first, channels))
        )
    except errors.ConfigError as error:
        raise errors.ConfigError(f"at game.laplacian.coarsest = {first}: {error}") from error
    # A finer level's data points are pairs of images; all else is the coarsest level's.
    common = {f.name: getattr(coarsest, f.name) for f in dataclasses.fields(AdversarialGame)}
    finer = []
    for size in resolutions[1:]:
        shared = {**given(config, setting), "shape": (size, size, channels)}
        made = {
            "generator": LaplacianGenerator(
                **shared,
                conditioning=config.generator.get("conditioning", "none"),
                **own.generator,
            ),
            "discriminator": LaplacianDiscriminator(
                **shared,
                conditioning=config.discriminator.get("conditioning", "none"),
                **own.discriminator,
            ),
            "shape": (size, size, 2 * channels),
        }
        finer.append(laplacian.ConditionalLevel(**{**common, **made}))
    return laplacian.LaplacianGame(coarsest, tuple(finer))


def _resolutions(coarsest: int, shape: tuple[int, ...]) -> list[int]:
    """Return the resolutions of a pyramid's levels, from coarse to fine.

    Raises:
      ConfigError: the data are no square images, or doubling never reaches their resolution.
    """
    if len(shape) != 3 or shape[0] != shape[1]:
        raise errors.ConfigError(
            f"data.name: a pyramid is made of square images, but one data point has shape {shape}; "
            "accepted for game.name = 'laplacian': (height, width, channels)"
        )
    size = shape[0]
    accepted = []
    while size % 2 == 0 and size > 0:
        size //= 2
        accepted.append(size)
    if not accepted:
        raise errors.ConfigError(
            f"data.resolution = {size} cannot be halved; accepted for game.name = 'laplacian': an "
            "even number"
        )
    if coarsest not in accepted:
        raise errors.ConfigError(
            f"game.laplacian.coarsest = {coarsest} does not reach data.resolution = {shape[0]} by "
            f"doubling; accepted: {', '.join(map(str, sorted(accepted)))}"
        )
    return [*sorted(s for s in accepted if s >= coarsest), shape[0]]


def adversarial_fields(config: Any, setting: Setting) -> dict[str, Any]:
    """Return the fields of `AdversarialGame` beside its networks and classes.

    Raises:
      ConfigError: a field has a value that cannot work.
    """
    if (steps := config.game.discriminator_steps) < 1:
        raise errors.ConfigError(f"game.discriminator_steps = {steps}; accepted: 1 or more")
    if config.game.clip is not None and not config.game.clip > 0:
        raise errors.ConfigError(
            f"game.clip = {config.game.clip}; accepted: a number above 0, or none"
        )
    if (
        config.game.joint_batch
        and options(config.discriminator).get("minibatch") == "discrimination"
    ):
        raise errors.ConfigError(
            "game.joint_batch = True: discrimination would compare real images with fakes; "
            "accepted with minibatch = 'discrimination': False"
        )
    return {
        "shape": setting.shape,
        "loss": adversarial.make(
            config.loss.name, axis_name=setting.axis_name, **options(config.loss)
        ),
        **penalty_fields(config, setting),
        "clip": config.game.clip,
        "discriminator_steps": config.game.discriminator_steps,
        "joint_batch": config.game.joint_batch,
        "augment": _augment(config, setting),
        "regularize": _regularize(config, setting),
    }


def _augment(config: Any, setting: Setting) -> Augment:
    """Return ``config.augment``; runs of older versions have none."""
    fields = dict(config.get("augment", {}))
    augment = Augment(**{**fields, "policy": tuple(fields.get("policy", ()))})
    diffaug.check_policy("augment.policy", augment.policy)
    instance_noise.check_schedule(augment.noise, augment.noise_steps)
    if augment.policy and len(setting.shape) != 3:
        raise errors.ConfigError(
            f"augment.policy = {augment.policy} is for images, but one data point has shape "
            f"{setting.shape}; accepted: ()"
        )
    return augment


def _regularize(config: Any, setting: Setting) -> Regularize:
    """Return ``config.regularize``; runs of older versions have none."""
    how = Regularize(**dict(config.get("regularize", {})))
    weights = ("consistency_real", "consistency_fake", "lecam", "feature_matching")
    check_weights({name: getattr(how, name) for name in weights}, "regularize")
    lecam.check_decay(how.lecam_decay)
    top_k.check_schedule(how.top_k_decay, how.top_k_steps, how.top_k)
    for name in ("lecam_start", "history"):
        if getattr(how, name) < 0:
            raise errors.ConfigError(
                f"regularize.{name} = {getattr(how, name)}; accepted: 0 or more"
            )
    if (how.consistency_real or how.consistency_fake) and len(setting.shape) != 3:
        raise errors.ConfigError(
            "regularize.consistency_real and regularize.consistency_fake are for images, but one "
            f"data point has shape {setting.shape}; accepted: 0"
        )
    if how.history and config.game.name != "adversarial":
        raise errors.ConfigError(
            f"regularize.history = {how.history}: past fakes are kept without what they were made "
            f"from; accepted for game.name = {config.game.name!r}: 0"
        )
    return how


GAMES: Mapping[str, Callable[[Any, Setting], Game]] = {
    "adversarial": _adversarial,
    "anomaly": translation_registry.make_anomaly,
    "auxiliary": _auxiliary,
    "cycle": translation_registry.make_cycle,
    "info": _info,
    "laplacian": _laplacian,
    "paired": translation_registry.make_paired,
    "vae": _vae,
}
