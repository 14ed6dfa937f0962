"""Progressive growing: images are learned from coarse to fine (Karras et al. 2017, 1710.10196).

The game is the adversarial one. Its networks' level (`gan_jax.networks.progan`) is a function of
the number of real images seen, and thus no state that could be lost: stage 0 lasts for
``stable_images``; then each next stage is faded in over ``fade_images`` and lasts for
``stable_images`` before the following one.

While a stage lasts, players see images of its size. Real images are averaged down to it, and while
the stage is faded in they are, too: the part of a real image that the generator's earlier stages
could not show is multiplied by the same share as the generator's new layers.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.errors import ConfigError
from gan_jax.games import building
from gan_jax.games.adversarial import AdversarialGame
from gan_jax.games.game import Outcome, Params, Turn, Variables
from gan_jax.layers.resample import mean_pool, upsample_nearest
from gan_jax.networks.progan import GROWTH, fade


@dataclasses.dataclass(frozen=True)
class ProgressiveGame(AdversarialGame):
    """The adversarial game of networks that grow.

    Attributes:
      stable_images: real images that the first stage is shown, and each other one after it has been
        faded in; the last stage lasts until the end of the run.
      fade_images: real images during which a stage is faded in; 0: it is there at once.
    """

    TINY: ClassVar[dict[str, int]] = {"stable_images": 8, "fade_images": 8}

    stable_images: int = 600_000
    fade_images: int = 600_000

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least in (("stable_images", 1), ("fade_images", 0)):
            if (value := getattr(self, name)) < least:
                raise ConfigError(f"game.progressive.{name} = {value}; accepted: {least} or more")

    @override
    @classmethod
    def from_config(cls, config: Any, given: building.Given, **more: Any) -> Self:
        building.refuse_one_size(config)
        game = super().from_config(config, given, **config.game.progressive, **more)
        for role in ("generator", "discriminator"):
            if not hasattr(getattr(game, role), "stage"):
                raise ConfigError(
                    f"{role}.name = {config[role].name!r} does not grow; accepted for game.name = "
                    f"'progressive': {'progan, stylegan1' if role == 'generator' else 'progan'}"
                )
        return game

    @property
    @override
    def stages(self) -> tuple[Self, ...]:
        return tuple(
            dataclasses.replace(
                self,
                generator=self.generator.clone(stage=stage),
                discriminator=self.discriminator.clone(stage=stage),
            )
            for stage in range(self.generator.last_stage + 1)
        )

    @override
    def stage(self, images: jax.Array) -> jax.Array:
        return jnp.ceil(self.level(images)).astype(jnp.int32)

    @override
    def scheduled(self, images: jax.Array) -> Mapping[str, Variables]:
        growth = {GROWTH: {"level": self.level(images)}}
        return {"generator": growth, "discriminator": growth}

    def level(self, images: jax.Array) -> jax.Array:
        """Return the networks' level after a number of real images, float32 scalar.

        It is constant while a stage lasts, and a line while the next one is faded in.

        Args:
          images: int32 scalar.
        """
        faded, past = jnp.divmod(images - self.stable_images, self.stable_images + self.fade_images)
        share = jnp.clip(past.astype(jnp.float32) / max(self.fade_images, 1), 0.0, 1.0)
        level = faded.astype(jnp.float32) + (share if self.fade_images else 1.0)
        return jnp.clip(level, 0.0, float(self.generator.last_stage))

    @override
    def data(self, turn: Turn) -> jax.Array:
        images = super().data(turn)
        stage = self.discriminator.stage
        if stage is None:
            return images
        for _ in range(self.discriminator.last_stage - stage):
            images = mean_pool(images)
        if stage:
            level = turn.variables["discriminator"][GROWTH]["level"]
            images = fade(upsample_nearest(mean_pool(images)), images, level, stage)
        return images

    @override
    def generator_loss(self, params: Params, turn: Turn) -> tuple[jax.Array, Outcome]:
        loss, outcome = super().generator_loss(params, turn)
        level = turn.variables["generator"][GROWTH]["level"]
        return loss, dataclasses.replace(outcome, metrics={**outcome.metrics, "level": level})
