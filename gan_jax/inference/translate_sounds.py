"""Translation of sound files of any length by a trained run, such as enhancement by SEGAN.

A sound is resampled to the rate of the run's data, translated in overlapping tiles, and resampled
back; so frequencies above half of the run's rate are lost. Where networks have one channel, the
channels of a file are translated one by one. Outputs are WAV files of 16 bits, with the rate, the
channels and the number of samples of the input. If inputs are clean sounds that are to be degraded,
they are degraded, translated and measured at the run's rate.
"""

import dataclasses
import functools
import io
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors, installation
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.degrade import Degradation
from gan_jax.data.sources import sounds
from gan_jax.data.spec import Field
from gan_jax.games import draws
from gan_jax.games.translation import TranslationGame, as_translation, choose_direction
from gan_jax.inference import image_files, scores
from gan_jax.inference.image_files import ImageFile
from gan_jax.inference.scores import Scores
from gan_jax.inference.translate_request import wanted_degradation
from gan_jax.inference.translate_run import Summary, remarks
from gan_jax.report import atomic
from gan_jax.report.bar import bar
from gan_jax.runs.run import Run
from gan_jax.runs.run_directory import choose_step
from gan_jax.training import tiling, translating
from gan_jax.training.sampling import make_sampling


def is_of_sounds(run: Run) -> bool:
    """Return whether a run translates sounds."""
    game = as_translation(run.game, installation.command("translate"))
    return kinds.is_sound(specs.target(game.spec))


@dataclasses.dataclass(frozen=True)
class SoundRequest:
    """The arguments of a translation of sounds; they are checked at once.

    Attributes:
      run: the trained run.
      input: a sound file, a folder with sub-folders, a ``.zip`` or a place in one.
      out: the folder of the outputs, which keep the names and sub-folders of the input.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      degrade: the inputs are clean sounds: degrade them as in training, restore and measure them.
      seed: of the degradation.
      tile: samples of a tile, at the rate of the run's data.
      overlap: of neighbouring tiles, likewise.
      batch_size: tiles at a time.
      overwrite: replace existing files.
    """

    run: Run
    input: str | Path
    out: str | Path
    checkpoint: str = "latest"
    raw: bool = False
    degrade: bool = False
    seed: int = 0
    tile: int = translating.SOUND_TILE
    overlap: int = translating.SOUND_OVERLAP
    batch_size: int = 8
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise errors.ConfigError(f"--batch_size={self.batch_size}; accepted: 1 or more")
        sounds.library()
        _ = self.places, self.tiling, self.degradation
        if self.degrade:
            atomic.check_free(Path(self.out) / scores.FILE, self.overwrite)
        choose_step(self.run.path, self.checkpoint)

    @functools.cached_property
    def listing(self) -> image_files.Listing:
        """What there is at the path of the inputs."""
        out = Path(self.out)
        return image_files.listed(self.input, "--input", out, sounds.SUFFIXES, "sounds")

    @functools.cached_property
    def files(self) -> list[ImageFile]:
        """The inputs."""
        return self.listing.opened()

    @functools.cached_property
    def places(self) -> list[Path]:
        """The output of each input."""
        how: dict[str, Any] = {"overwrite": self.overwrite, "formats": {"wav": None}}
        return image_files.outputs(self.files, Path(self.out), "wav", **how)

    @functools.cached_property
    def game(self) -> TranslationGame:
        """The game of the run."""
        return as_translation(self.run.game, installation.command("translate"))

    @property
    def degradation(self) -> Degradation | None:
        """What the inputs are degraded by; ``None``: they are translated as they are."""
        return wanted_degradation(self.run, self.game, self.degrade)

    @property
    def field(self) -> Field:
        """That of the sounds that the run translates to."""
        return specs.target(self.game.spec)

    @functools.cached_property
    def tiling(self) -> tiling.Tiling:
        """How sounds are split into tiles."""
        way = self.game.directions[choose_direction(self.game, None)]
        return translating.sound_tiling_of(way, self.tile, self.overlap)


def translate(ask: SoundRequest) -> Summary:
    """Translate sound files; failures of single files are in the summary, and not raised.

    Side effects: writes the files, and reports those that fail on standard error as they do.

    Raises:
      WorkdirError: an output cannot be written.
      CheckpointError: there is no such checkpoint.
    """
    weights = ask.run.load(ask.checkpoint, make_sampling(ask.run.config, raw=ask.raw))
    apply = translating.sound_network(ask.game, weights.variables)
    outputs: dict[str, Path] = {}
    failures: dict[str, str] = {}
    measured: dict[str, Scores] = {}
    with bar("translating", len(ask.files), sys.stderr) as advance:
        for number, (file, place) in enumerate(zip(ask.files, ask.places, strict=True)):
            try:
                content, found = _translated(ask, number, apply)
            except errors.DataError as error:
                failures[file.name] = str(error)
                print(f"failed: {file.full_name}: {error}", file=sys.stderr, flush=True)
            else:
                atomic.write_bytes(place, content)
                outputs[file.name] = place
                if found:
                    measured[file.name] = found
            advance(len(outputs) + len(failures))
    total = f"{len(ask.files):,} sound{'s' if len(ask.files) > 1 else ''}"
    line = f"translated {len(outputs):,} of {total} at step {weights.step}: {ask.out}"
    if ask.degrade:
        protocol = {"seed": ask.seed, "sample_rate": ask.field.sample_rate}
        sizes = {"tile": ask.tiling.tile, "overlap": ask.tiling.overlap}
        scores.write(ask, weights, measured, failures, "sounds", **protocol, **sizes)
    line += remarks(outputs, ask.listing.left_out(), scored=ask.degrade)
    return Summary(line, outputs, failures, measured, scores.mean(list(measured.values())))


def _translated(ask: SoundRequest, number: int, apply: Any) -> tuple[bytes, Scores]:
    """Return the content of an output's file, and its scores if the input is degraded."""
    sound = read(ask.files[number].read(), ask.field)
    clean, parts = sound.clean, sound.parts
    seen = degraded = parts
    if (how := ask.degradation) is not None:
        key = draws.named(jax.random.key(np.uint32(ask.seed)), "degrade")
        keys = jax.random.split(jax.random.fold_in(key, number), len(parts))
        whole_frames = np.pad(parts, ((0, 0), (0, -len(clean) % how.scale), (0, 0)))
        inputs = how(keys, jax.numpy.asarray(whole_frames)).input
        degraded = np.asarray(how.shown(inputs))[:, : len(clean)]
        seen = parts if how.analysis else degraded
    joined = translate_parts(seen, apply, ask.tiling, ask.batch_size)
    found: Scores = {}
    if ask.degrade:
        before = np.concatenate([*degraded], axis=1)
        found = scores.measure_sound(joined, before, clean, sound.wanted)
    return wav(sound.restored(joined), sound.rate), found


@dataclasses.dataclass(frozen=True)
class Sound:
    """The sound of a file, and the same at the rate of a run's data.

    Attributes:
      stored: float32 ``[samples, channels]``.
      rate: of it, in Hz.
      clean: at the run's rate, in [-1, 1].
      wanted: the run's rate, in Hz.
      parts: of ``clean``, as many channels as the run's networks have at a time.
    """

    stored: np.ndarray
    rate: int
    clean: np.ndarray
    wanted: int
    parts: np.ndarray

    def restored(self, joined: np.ndarray) -> np.ndarray:
        """Return a sound at the run's rate with the rate and the shape of the stored one."""
        back = sounds.resample(joined, self.wanted, self.rate)
        whole = np.zeros_like(self.stored)
        whole[: len(back)] = back[: len(whole)]
        return whole


def read(content: bytes, field: Field, seconds: int | None = None) -> Sound:
    """Return the sound of a file.

    Args:
      content: the file.
      field: of the sounds that the run translates to.
      seconds: of the sound, at most; ``None``: of any length.

    Raises:
      DataError: it is no intact sound, is too long, or has a number of channels that networks of
        the run cannot take.
    """
    most = sys.maxsize if seconds is None else seconds
    try:
        # One sample more shows that it is too long.
        stored, rate = sounds.decode(content, lambda rate: most * rate + 1)
    except ValueError as error:
        raise errors.DataError(str(error)) from error
    except RuntimeError as error:
        why = getattr(error, "error_string", error)
        raise errors.DataError(f"is no sound that can be decoded: {why}") from error
    if len(stored) > most * rate:
        raise errors.DataError(f"is longer than {most} s; accepted: up to {most} s")
    wanted, channels = field.sample_rate, field.shape[1]
    assert wanted is not None
    if channels == 2 and stored.shape[1] == 1:
        stored = np.repeat(stored, 2, axis=1)
    if stored.shape[1] % channels:
        raise errors.DataError(f"has {stored.shape[1]} channels; accepted: 1 or {channels}")
    clean = np.clip(sounds.resample(stored, rate, wanted), -1.0, 1.0)
    parts = np.stack(np.split(clean, clean.shape[1] // channels, axis=1))
    return Sound(stored, rate, clean, wanted, parts)


def translate_parts(
    parts: np.ndarray, apply: Any, how: tiling.Tiling, batch_size: int
) -> np.ndarray:
    """Return ``parts`` ``[n, samples, channels]``, translated, as ``[samples, n * channels]``."""
    made = [tiling.run_sound(x, apply, how, batch_size=batch_size) for x in parts]
    return np.concatenate(made, axis=1)


def wav(sound: np.ndarray, rate: int) -> bytes:
    """Return a WAV file of 16 bits of a sound ``[samples, channels]``; see `sounds.quantize`."""
    buffer = io.BytesIO()
    sounds.library().write(buffer, sounds.quantize(sound), rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()
