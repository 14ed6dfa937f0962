"""Prediction of the next frames of video files by a trained run.

An output is a GIF: the first frames of the input, at the size of the run's data, then predicted
ones. Where more frames are asked for than the networks predict at once, the last ones are given to
the networks again.
"""

import dataclasses
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax import errors, installation
from gan_jax.data import kinds
from gan_jax.data import spec as specs
from gan_jax.data.degrade import Degradation
from gan_jax.data.sources import images, videos
from gan_jax.data.sources.frames import VideoError
from gan_jax.data.sources.images import Transform
from gan_jax.data.spec import Field
from gan_jax.games.translation import as_translation
from gan_jax.inference import image_files
from gan_jax.inference.image_files import ImageFile
from gan_jax.inference.translate_run import Summary
from gan_jax.report import atomic
from gan_jax.report.bar import bar
from gan_jax.runs.run import Run
from gan_jax.runs.run_directory import choose_step
from gan_jax.training import translating
from gan_jax.training.sampling import make_sampling


def is_of_videos(run: Run) -> bool:
    """Return whether a run predicts videos."""
    game = as_translation(run.game, installation.command("translate"))
    return specs.target(game.spec).kind == "video"


@dataclasses.dataclass(frozen=True)
class VideoRequest:
    """The arguments of a prediction; they are checked at once.

    Attributes:
      run: the trained run.
      input: a video file, a folder with sub-folders, a ``.zip`` or a place in one.
      out: the folder of the outputs, which keep the names and sub-folders of the input.
      frames: of an output, given ones included; ``None``: as many as the run's data have.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      overwrite: replace existing files.
    """

    run: Run
    input: str | Path
    out: str | Path
    frames: int | None = None
    checkpoint: str = "latest"
    raw: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        least = self.degradation.given + 1
        if self.frames is not None and self.frames < least:
            raise errors.ConfigError(f"--frames={self.frames}; accepted: {least} or more")
        _ = self.places
        choose_step(self.run.path, self.checkpoint)

    @functools.cached_property
    def files(self) -> list[ImageFile]:
        """The inputs."""
        suffixes = videos.ANIMATIONS | videos.FILMS
        return image_files.find(self.input, "--input", Path(self.out), suffixes, "videos")

    @functools.cached_property
    def places(self) -> list[Path]:
        """The output of each input."""
        how: dict[str, Any] = {"overwrite": self.overwrite, "formats": {"gif": None}}
        return image_files.outputs(self.files, Path(self.out), "gif", **how)

    @property
    def degradation(self) -> Degradation:
        """That of the run, which leaves the first frames."""
        how = as_translation(self.run.game, installation.command("translate")).degradation
        assert how is not None
        return how

    @property
    def field(self) -> Field:
        """That of the run's videos."""
        return specs.target(self.run.game.spec)

    def given(self, number: int) -> np.ndarray:
        """Return the first frames of an input, uint8 ``[context, height, width, channels]``.

        Raises:
          DataError: it is no video, or has too few frames; the message has the reason alone.
        """
        data = self.run.config.data
        _, height, width, channels = self.field.shape
        form = Transform(resolution=(height, width), resize=data.resize, channels=channels)
        how = self.degradation
        film = videos.Film(how.given, data.video.every, f"degrade.{how.name}.context")
        raw = self.files[number].read()
        try:
            return film.decoded(raw, form)
        except VideoError as error:
            raise errors.DataError(str(error)) from error
        # `EOFError` and `SyntaxError` are Pillow's, of damaged files.
        except (OSError, ValueError, EOFError, SyntaxError) as error:
            raise errors.DataError(images.reason(error)) from error


def translate(ask: VideoRequest) -> Summary:
    """Predict videos; failures of single files are in the summary, and not raised.

    Side effects: writes the files, and reports those that fail on standard error as they do.

    Raises:
      WorkdirError: an output cannot be written.
      CheckpointError: there is no such checkpoint.
    """
    weights = ask.run.load(ask.checkpoint, make_sampling(ask.run.config, raw=ask.raw))
    game = as_translation(ask.run.game, installation.command("translate"))
    predict = translating.video_network(game, weights.variables)
    wanted, kind = ask.frames or ask.field.shape[0], kinds.of(ask.field)
    outputs: dict[str, Path] = {}
    failures: dict[str, str] = {}
    with bar("predicting", len(ask.files), sys.stderr) as advance:
        for number, (file, place) in enumerate(zip(ask.files, ask.places, strict=True)):
            try:
                video = continued(ask.given(number), predict, wanted)
            except errors.DataError as error:
                failures[file.name] = str(error)
                print(f"failed: {file.full_name}: {error}", file=sys.stderr, flush=True)
            else:
                atomic.write_bytes(place, kind.file(video))
                outputs[file.name] = place
            advance(len(outputs) + len(failures))
    total = f"{len(ask.files):,} video{'s' if len(ask.files) > 1 else ''}"
    line = (
        f"predicted {len(outputs):,} of {total} at step {weights.step}, {wanted} frames from "
        f"{ask.degradation.given}: {ask.out}"
    )
    return Summary(line, outputs, failures, {}, {})


def continued(
    given: np.ndarray, predict: Callable[[np.ndarray], jax.Array], frames: int
) -> np.ndarray:
    """Return a video of ``frames`` frames, of which the first are given.

    Args:
      given: uint8 ``[context, height, width, channels]``.
      predict: returns the next frames after as many as are given.
      frames: of the video.
    """
    video = given
    while len(video) < frames:
        video = np.concatenate([video, np.asarray(predict(video[-len(given) :]))])
    return video[:frames]
