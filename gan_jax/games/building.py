"""What the games' ``from_config`` share: from groups of a configuration to networks and losses."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gan_jax import errors
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.spec import LABEL, Spec
from gan_jax.losses import adversarial
from gan_jax.networks import registry as networks
from gan_jax.settings import options

PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "highest": jnp.float32}


@dataclasses.dataclass(frozen=True)
class Given:
    """What a game is built for, beside its configuration.

    Attributes:
      spec: of the data, as they are after cropping.
      axis_name: the mapped axis of the train step, for synchronised batch statistics.
    """

    spec: Spec
    axis_name: str | None = None

    @property
    def num_classes(self) -> int | None:
        """Number of classes of the data; ``None``: they have none."""
        return specs.num_classes(self.spec)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(height, width, channels)`` of every image of an example.

        Raises:
          ConfigError: the data are not images of one shape.
        """
        return kinds.check_images(self.spec, "this game")


def network_fields(config: Any, given: Given) -> dict[str, Any]:
    """Return what every network of a run is given beside its settings and its shape."""
    return {
        "num_classes": specs.label_size(given.spec),
        "axis_name": given.axis_name,
        "dtype": errors.lookup(PRECISIONS, config.precision, "precision"),
        "param_dtype": jnp.float32,
    }


def make_network(role: str, config: Any, given: Given, **more: Any) -> nn.Module:
    """Return the network of a role.

    Args:
      role: a key of `gan_jax.networks.registry.ROLES`.
      config: the whole configuration.
      given: what the game is built for.
      **more: fields that the game sets: ``outputs``, ``heads``, a ``shape`` other than that of the
        data point, or settings that replace those of the configuration.

    Raises:
      ConfigError: a name or a setting cannot work.
    """
    group, registry = networks.ROLES[role]
    chosen = config[group]
    entry = errors.lookup(registry, chosen.name, f"{group}.name")
    if "shape" not in more:
        more["shape"] = kinds.of(specs.data_field(given.spec)).shape
    fields = {**network_fields(config, given), **options(chosen, entry), **more}
    return networks.make(role, chosen.name, **fields)


def make_loss(config: Any, given: Given) -> adversarial.AdversarialLoss:
    """Return the adversarial loss that ``config.loss`` names."""
    entry = errors.lookup(adversarial.LOSSES, config.loss.name, "loss.name")
    return adversarial.make(
        config.loss.name, axis_name=given.axis_name, **options(config.loss, entry)
    )


def discriminator_steps(config: Any) -> int:
    """Return the discriminator's gradient steps for each of the generator's, 1 or more."""
    if (steps := config.game.discriminator_steps) < 1:
        raise errors.ConfigError(f"game.discriminator_steps = {steps}; accepted: 1 or more")
    return steps


def check_weights(fields: Any, group: str) -> dict[str, Any]:
    """Return weights of a loss's terms; raises `ConfigError` if one is negative."""
    for name, weight in fields.items():
        if not weight >= 0:
            raise errors.ConfigError(f"{group}.{name} = {weight}; accepted: 0 or more")
    return dict(fields)


def check_conditioning(config: Any, given: Given, *, classified: bool) -> None:
    """Raise a `ConfigError` unless both networks see the data's labels, or neither does.

    Where data are ``classified``, the discriminator predicts classes and the generator sees them.
    """
    has_captions = LABEL in given.spec and given.spec[LABEL].kind == "caption"
    for role in ("generator", "discriminator"):
        if (conditioning := config[role].conditioning) == "none":
            continue
        if has_captions and conditioning != "text":
            raise errors.ConfigError(
                f"{role}.conditioning = {conditioning!r}, but the labels of the data are captions; "
                "accepted: 'none', or 'text' of networks that read captions"
            )
        if conditioning == "text" and not has_captions:
            raise errors.ConfigError(
                f"{role}.conditioning = 'text', but the data have no captions; accepted: data with "
                "captions, such as shapes"
            )
    generator, discriminator = (
        config[role].conditioning for role in ("generator", "discriminator")
    )
    if (generator == "none") != (discriminator == "none") and not classified:
        raise errors.ConfigError(
            f"generator.conditioning = {generator!r} and discriminator.conditioning = "
            f"{discriminator!r}; accepted: 'none' for both, or for neither"
        )


def refuse_conditioning(config: Any) -> None:
    """Raise a `ConfigError` if a network sees classes, in a game that has none."""
    for role in ("generator", "discriminator"):
        if (conditioning := config[role].conditioning) != "none":
            raise errors.ConfigError(
                f"{role}.conditioning = {conditioning!r}; accepted for game.name = "
                f"{config.game.name!r}, which has no classes: 'none'"
            )


def refuse_one_size(config: Any) -> None:
    """Raise a `ConfigError` if what needs fakes of one size is set, in a game of several."""
    for field, value in (
        ("fakes.history", config.fakes.history),
        ("terms.transport.weight", config.terms.transport.weight),
    ):
        if value:
            raise errors.ConfigError(
                f"{field} = {value}; accepted for game.name = {config.game.name!r}, whose images "
                "have several sizes: 0"
            )


def refuse_mixing(config: Any, why: str, where: str) -> None:
    """Raise a `ConfigError` if images in training have the styles of two latents.

    Args:
      config: the run's configuration.
      why: what is wrong with such images.
      where: they are not accepted: ``game.name = 'vae'``.
    """
    network = config.generator.name
    if mixing := config.generator.get(network, {}).get("mixing", 0.0):
        raise errors.ConfigError(
            f"generator.{network}.mixing = {mixing}: {why}; accepted for {where}: 0"
        )
