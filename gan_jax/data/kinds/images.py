"""Images, videos and points: data that are looked at."""

from collections.abc import Mapping

import jax
import numpy as np
from typing_extensions import override

from gan_jax.data import device
from gan_jax.data.kinds.kind import Kind
from gan_jax.report import animation, grids

# Frames per second of a video's file.
_FPS = 8.0
# The last byte of every GIF.
_GIF_END = b";"
# The last chunk of every PNG: length, name and checksum.
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


class Image(Kind):
    """Images ``(height, width, channels)``: uint8 stored, [-1, 1] for networks.

    PNG files hold 1 channel (grey), 3 (RGB) or 4 (RGBA).
    """

    movable = True

    @property
    @override
    def suffix(self) -> str:
        return ".png" if self.field.shape[-1] in (1, 3, 4) else ""

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return device.to_float(stored)

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return device.to_uint8(data)

    @override
    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        return grids.png(example, text) if self.suffix else super().file(example)

    @override
    def is_complete(self, content: bytes) -> bool:
        return content.endswith(_PNG_END)

    @override
    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        return grids.grid(examples, columns)


class Video(Image):
    """Videos ``(frames, height, width, channels)``: uint8 stored, [-1, 1] for networks.

    GIF files hold 1 channel (grey) or 3 (RGB, of which a file has 256 colours per frame). A picture
    shows strips, in each the frames of one video from left to right.
    """

    movable = False

    @property
    @override
    def suffix(self) -> str:
        return ".gif" if self.field.shape[-1] in (1, 3) else ""

    @override
    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        if not self.suffix:
            return super().file(example)
        return animation.content(example, _FPS, self.suffix)

    @override
    def is_complete(self, content: bytes) -> bool:
        return content.endswith(_GIF_END)

    @override
    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        videos, frames = examples.shape[:2]
        # As square as whole strips allow.
        strips = columns or max(1, round((videos / frames) ** 0.5))
        return grids.grid(examples.reshape(-1, *examples.shape[2:]), strips * frames)


class Points(Kind):
    """2-D points ``(2,)``, float32; drawn as a scatter plot, which needs many to show a density."""

    crowd = 16
    backdrop = 2048

    @override
    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        return grids.scatter(examples, real=real)
