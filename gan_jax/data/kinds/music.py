"""Music as piano rolls."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from gan_jax.data.kinds.kind import Kind
from gan_jax.report import grids, midi, synthesis, wav


class Music(Kind):
    """Piano rolls ``(steps, pitches, 1)`` of 0 and 1, uint8; networks see -1 and 1; MIDI files.

    Beside a MIDI file there is a WAV file of its sound (`gan_jax.report.synthesis`). What networks
    make is 1 where it is above 0. In a picture time is to the right, and pitch upwards.
    """

    @property
    @override
    def suffix(self) -> str:
        return ".mid"

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return 2.0 * stored.astype(jnp.float32) - 1.0

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return (data > 0.0).astype(jnp.uint8)

    @override
    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        return midi.midi(example[..., 0], self.field.lowest_pitch or 0)

    @property
    @override
    def suffixes(self) -> tuple[str, ...]:
        return (self.suffix, wav.SUFFIX)

    @override
    def files(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> dict[str, bytes]:
        sound = synthesis.sound(example[..., 0], self.field.lowest_pitch or 0)
        levels = np.round(sound[:, None] * 32767).astype(np.int16)
        content = wav.wav(levels, synthesis.SAMPLE_RATE)
        return {**super().files(example, text), wav.SUFFIX: content}

    @override
    def is_complete(self, content: bytes) -> bool:
        if content.startswith(b"RIFF"):
            return wav.is_complete(content)
        return content.endswith(midi.END_OF_TRACK)

    @override
    def facts(self) -> dict[str, np.ndarray]:
        return {"lowest_pitch": np.asarray(self.field.lowest_pitch, np.int32)}

    @override
    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        return grids.grid(examples.transpose(0, 2, 1, 3)[:, ::-1] * np.uint8(255), columns)
