"""Videos that stand still after their first frames, for prediction."""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from typing_extensions import override

from gan_jax.data.degrade.degradation import Degradation, Degraded
from gan_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Freeze(Degradation):
    """The first frames of a video; all others repeat the last of these, and are unknown.

    So the input is the simplest prediction, a copy of the last given frame.

    Attributes:
      context: number of frames that are given, fewer than a video has; Mathieu et al. 2015
        (1511.05440) predict from 4.
    """

    name: ClassVar[str] = "freeze"
    data: ClassVar[str] = "video"
    masked: ClassVar[bool] = True
    context: int = 4

    def __post_init__(self) -> None:
        if not isinstance(self.context, int) or isinstance(self.context, bool) or self.context < 1:
            raise self._refuse("context", self.context, "a whole number above 0")

    @override
    def check(self, shape: tuple[int, ...]) -> None:
        super().check(shape)
        if shape[0] <= self.context:
            raise ConfigError(
                f"degrade.freeze.context = {self.context}, but videos have {shape[0]} frames "
                f"(data.video.frames); accepted: 1 to {shape[0] - 1}"
            )

    @property
    @override
    def given(self) -> int:
        return self.context

    @override
    def of_one(self, key: jax.Array, video: jax.Array) -> Degraded:
        frames, height, width, _ = video.shape
        is_given = (jnp.arange(frames) < self.context)[:, None, None, None]
        frozen = jnp.where(is_given, video, video[self.context - 1])
        known = jnp.broadcast_to(is_given, (frames, height, width, 1)).astype(jnp.float32)
        return Degraded(frozen, known)
