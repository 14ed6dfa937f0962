"""Kinds of data: everything that depends on whether a field holds images, sound, labels and so on.

A kind converts stored arrays to what networks see and back, says which augmentations apply, writes
an example to a file and draws a batch as one picture. A new kind is a class here, an entry of
`KINDS` and a source that uses it.
"""

import dataclasses
import io
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import override

from gan_jax.data import device, stft
from gan_jax.data.spec import Field, Spec, data_names
from gan_jax.errors import ConfigError, lookup
from gan_jax.report import animation, grids, midi, spectrograms

# Frames per second of a video's file.
_FPS = 8.0
# The last byte of every GIF.
_GIF_END = b";"
# The last chunk of every PNG: length, name and checksum.
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


@dataclasses.dataclass(frozen=True)
class Kind:
    """The operations on the arrays of a field; the defaults are those of plain floats.

    Attributes:
      field: the field.
      crowd: examples that a picture shows for each that is asked for.
      backdrop: real examples that a picture shows behind generated ones.
      movable: whether examples can be mirrored and cropped.
      sheet: the suffix of a file that shows many examples: ".png", a picture, or ".txt", lines.
    """

    field: Field
    crowd = 1
    backdrop = 0
    movable = False
    sheet = ".png"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example as networks see it."""
        return self.field.shape

    @property
    def suffix(self) -> str:
        """The suffix of a file that holds one example; the empty string: there is no such file."""
        return ""

    def to_network(self, stored: jax.Array) -> jax.Array:
        """Return stored arrays ``[...]`` as networks see them: float32, same shape."""
        return stored.astype(jnp.float32)

    def to_stored(self, data: jax.Array) -> jax.Array:
        """Return what networks see or make as the field stores it; inverse of `to_network`."""
        return data.astype(self.field.dtype)

    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        """Return the content of a file of one stored example.

        Args:
          example: ``[*field.shape]``.
          text: for formats that have chunks of text, by their keys.

        Raises:
          ConfigError: the kind has no such file.
        """
        raise ConfigError(
            f"an example of kind {self.field.kind!r} has no file of its own; accepted: an .npz"
        )

    def is_complete(self, content: bytes) -> bool:
        """Return whether the content of such a file is not truncated."""
        return bool(content)

    def facts(self) -> dict[str, np.ndarray]:
        """Return what an ``.npz`` of such data holds beside the examples."""
        return {}

    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        """Return a picture of stored examples.

        Args:
          examples: ``[n, *field.shape]``.
          columns: tiles per row; ``None``: as square as ``n`` allows.
          real: ``backdrop`` real examples, where the kind shows some.

        Returns:
          uint8 ``[height, width, 1 or 3]``.

        Raises:
          ConfigError: the kind cannot be shown.
        """
        raise ConfigError(f"examples of kind {self.field.kind!r} cannot be shown as a picture")

    def lines(self, examples: np.ndarray) -> list[str]:
        """Return stored examples ``[n, *field.shape]`` as a line of text each.

        Raises:
          ConfigError: the kind is no text.
        """
        raise ConfigError(f"examples of kind {self.field.kind!r} cannot be shown as text")


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


class Points(Kind):
    """2-D points ``(2,)``, float32; drawn as a scatter plot, which needs many to show a density."""

    crowd = 16
    backdrop = 2048

    @override
    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        return grids.scatter(examples, real=real)


class Audio(Kind):
    """Sound ``(samples, channels)`` in [-1, 1] for networks; int16 or float32 stored; WAV files.

    int16 is divided by 2^15, which is exact, so that every stored value comes back as it was.
    float32 is clipped to [-1, 1] when stored. A picture is a grid of log-magnitude spectrograms of
    the mean over channels.
    """

    @property
    @override
    def suffix(self) -> str:
        return ".wav"

    @property
    def _full_scale(self) -> float:
        """The stored value that stands for an amplitude of 1."""
        return 32768.0 if self.field.dtype == "int16" else 1.0

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return self.sound(stored)

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return self.stored(data)

    def sound(self, stored: jax.Array) -> jax.Array:
        """Return stored sound ``[..., samples, channels]`` as float32 in [-1, 1]."""
        return stored.astype(jnp.float32) / self._full_scale

    def stored(self, data: jax.Array) -> jax.Array:
        """Return sound as the field stores it; inverse of `sound`."""
        if self.field.dtype == "int16":
            levels = jnp.round(data.astype(jnp.float32) * 32768.0)
            return jnp.clip(levels, -32768.0, 32767.0).astype(jnp.int16)
        return jnp.clip(data.astype(jnp.float32), -1.0, 1.0)

    @override
    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        from scipy.io import wavfile  # slow to import, and needed for sound only

        buffer = io.BytesIO()
        wavfile.write(buffer, self.field.sample_rate, example)
        return buffer.getvalue()

    @override
    def is_complete(self, content: bytes) -> bool:
        """Return whether a WAV is as long as its header says."""
        return len(content) >= 8 and len(content) == 8 + int.from_bytes(content[4:8], "little")

    @override
    def facts(self) -> dict[str, np.ndarray]:
        return {"sample_rate": np.asarray(self.field.sample_rate, np.int32)}

    @override
    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        sound = examples.astype(np.float32).mean(axis=-1) / self._full_scale
        return grids.grid(spectrograms.spectrograms(sound), columns)


class Spectrogram(Audio):
    """Sound of one channel, of which networks see log-magnitude spectrograms.

    These are arrays ``(frequencies, frames, 1)``: the logarithm of the magnitude of each frequency
    but the highest, less its mean, over three deviations of it, clipped to [-1, 1] (SpecGAN,
    Donahue 2018, 1802.04208). What networks make is stored as the sound that `griffin_lim` finds.
    """

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        window, hop = self._stft
        return window // 2, stft.frames_of(self.field.shape[0], hop), 1

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        sound = self.sound(stored)[..., 0]
        logs = log_magnitudes(sound.reshape(-1, sound.shape[-1]), *self._stft)
        mean, spread = self._scales
        scaled = jnp.clip((logs - mean) / spread, -1.0, 1.0)
        return jnp.swapaxes(scaled, 1, 2).reshape(*sound.shape[:-1], *self.shape)

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        mean, spread = self._scales
        logs = jnp.swapaxes(data[..., 0].astype(jnp.float32), 1, 2) * spread + mean
        magnitude = jnp.pad(jnp.exp(logs), ((0, 0), (0, 0), (0, 1)))
        return self.stored(stft.griffin_lim(magnitude, self.field.shape[0], *self._stft)[..., None])

    @property
    def _stft(self) -> tuple[int, int]:
        assert self.field.stft is not None
        return self.field.stft

    @property
    def _scales(self) -> tuple[np.ndarray, np.ndarray]:
        """The means of the logarithms, and three deviations, float32 ``[frequencies]``."""
        mean, deviation = np.transpose(np.asarray(self.field.scales, np.float32))
        return mean, np.float32(3.0) * deviation


def log_magnitudes(sound: jax.Array, window: int, hop: int) -> jax.Array:
    """Return the logarithms that `Spectrogram` scales: ``[n, samples]`` to ``[n, frames, bins]``.

    The highest frequency is left out, so that the others are as many as half the window.
    """
    return jnp.log(jnp.abs(stft.stft(sound, window, hop))[..., :-1] + 1e-6)


class Video(Kind):
    """Videos ``(frames, height, width, channels)``: uint8 stored, [-1, 1] for networks.

    GIF files hold 1 channel (grey) or 3 (RGB, of which a file has 256 colours per frame). A picture
    shows strips, in each the frames of one video from left to right.
    """

    @property
    @override
    def suffix(self) -> str:
        return ".gif" if self.field.shape[-1] in (1, 3) else ""

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return device.to_float(stored)

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return device.to_uint8(data)

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


class Text(Kind):
    """Texts of tokens ``(length,)``, int32; networks see one-hot vectors ``(length, tokens)``.

    What networks make is stored as the token of the largest number at each place. A text ends at
    the first token 0. It is written without what follows; its file is one line, in UTF-8.
    """

    sheet = ".txt"

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return (*self.field.shape, len(self.field.vocabulary))

    @property
    @override
    def suffix(self) -> str:
        return ".txt"

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return jax.nn.one_hot(stored, len(self.field.vocabulary), dtype=jnp.float32)

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return jnp.argmax(data, axis=-1).astype(jnp.int32)

    @override
    def file(self, example: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
        return f"{self.lines(example[None])[0]}\n".encode()

    @override
    def is_complete(self, content: bytes) -> bool:
        return content.endswith(b"\n")

    @override
    def facts(self) -> dict[str, np.ndarray]:
        vocabulary, separator = self.field.vocabulary, self.field.separator
        return {"vocabulary": np.asarray(vocabulary), "separator": np.asarray(separator)}

    @override
    def lines(self, examples: np.ndarray) -> list[str]:
        """Return a line per example; line breaks within one are written as ``\\n``."""
        names = np.asarray([escaped(token) for token in self.field.vocabulary])
        ends = np.where((examples == 0).any(axis=1), (examples == 0).argmax(axis=1), None)
        rows = zip(names[examples].tolist(), ends, strict=True)
        return [self.field.separator.join(row[:end]) for row, end in rows]


def escaped(token: str) -> str:
    """Return a token on one line: a line break as ``\\n``."""
    return token.replace("\n", "\\n")


class Music(Kind):
    """Piano rolls ``(steps, pitches, 1)`` of 0 and 1, uint8; networks see -1 and 1; MIDI files.

    What networks make is 1 where it is above 0. In a picture time is to the right, and pitch
    upwards.
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

    @override
    def is_complete(self, content: bytes) -> bool:
        return content.endswith(midi.END_OF_TRACK)

    @override
    def facts(self) -> dict[str, np.ndarray]:
        return {"lowest_pitch": np.asarray(self.field.lowest_pitch, np.int32)}

    @override
    def picture(
        self, examples: np.ndarray, columns: int | None = None, real: np.ndarray | None = None
    ) -> np.ndarray:
        return grids.grid(examples.transpose(0, 2, 1, 3)[:, ::-1] * np.uint8(255), columns)


class Label(Kind):
    """Class labels, int32; networks see the numbers."""

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return stored


class Caption(Text):
    """Captions of tokens ``(length,)``, int32; networks see the numbers."""

    @property
    @override
    def shape(self) -> tuple[int, ...]:
        return self.field.shape

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        return stored

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        return data


class Attributes(Kind):
    """Vectors of attributes ``(n,)``, float32; networks see each number on its scale."""

    @override
    def to_network(self, stored: jax.Array) -> jax.Array:
        mean, deviation = np.transpose(np.asarray(self.field.scales, np.float32))
        return (stored - mean) / deviation

    @override
    def to_stored(self, data: jax.Array) -> jax.Array:
        mean, deviation = np.transpose(np.asarray(self.field.scales, np.float32))
        return data * deviation + mean


KINDS: dict[str, type[Kind]] = {
    "image": Image,
    "points": Points,
    "audio": Audio,
    "spectrogram": Spectrogram,
    "video": Video,
    "text": Text,
    "music": Music,
    "label": Label,
    "caption": Caption,
    "attributes": Attributes,
}


def of(field: Field) -> Kind:
    """Return the operations on the arrays of a field.

    Raises:
      ConfigError: its kind is unknown.
    """
    return lookup(KINDS, field.kind, "the kind of a field")(field)


def is_sound(field: Field) -> bool:
    """Return whether a field stores sound, whatever networks see of it."""
    return isinstance(of(field), Audio)


def to_network(spec: Spec, stored: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Return a stored batch as networks see it, field by field."""
    return {name: of(spec[name]).to_network(x) for name, x in stored.items()}


def cropped(field: Field, size: int) -> Field:
    """Return the field of squares cut out of a field's images.

    Raises:
      ConfigError: its examples cannot be cropped, or are smaller.
    """
    accepted = "unset"
    if of(field).movable:
        smallest = min(field.shape[:2])
        if 1 <= size <= smallest:
            return dataclasses.replace(field, shape=(size, size, *field.shape[2:]))
        accepted = f"1 to {smallest}, or unset"
    raise ConfigError(
        f"data.crop = {size}; accepted for data points of shape {field.shape}: {accepted}"
    )


def check_images(spec: Spec, what: str) -> tuple[int, int, int]:
    """Return the shape of the images that all data fields hold.

    Args:
      spec: of the data.
      what: what needs images, for the message.

    Raises:
      ConfigError: they hold something else, or images of several shapes.
    """
    height, width, channels = check_kinds(spec, what, image="images")
    return height, width, channels


def check_kinds(spec: Spec, what: str, **accepted: str) -> tuple[int, ...]:
    """Return the shape of all data fields, which are of one of some kinds.

    Args:
      spec: of the data.
      what: what needs these kinds, for the message.
      **accepted: what each kind is called, by its name.

    Raises:
      ConfigError: they are of another kind, or of several kinds or shapes.
    """
    found = {(spec[name].kind, spec[name].shape) for name in data_names(spec)}
    if len(found) != 1 or next(iter(found))[0] not in accepted:
        have = ", ".join(f"{name}: {field.kind} {field.shape}" for name, field in spec.items())
        names = ", or ".join(accepted.values())
        raise ConfigError(f"data.name: the data have {have}; accepted for {what}: {names}")
    return found.pop()[1]
