"""Prediction of the next frames of video files by a trained run.

An output is a GIF: the first frames of the input, at the size of the run's data, then predicted
ones. Where more frames are asked for than the networks predict at once, the last ones are given to
the networks again. If the inputs are complete clips, the predicted frames are compared with theirs.
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
from gan_jax.data.sources import videos
from gan_jax.data.sources.images import Transform
from gan_jax.data.spec import Field
from gan_jax.games.translation import as_translation
from gan_jax.inference import image_files, scores, video_files
from gan_jax.inference.scores import Scores
from gan_jax.inference.translate_run import Summary, remarks
from gan_jax.inference.video_files import VideoFile
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
      input: a video file, a folder with sub-folders, a ``.zip`` or a place in one; a folder of
        numbered frames, itself or in it, is a video.
      out: the folder of the outputs, which keep the names and sub-folders of the input; not in a
        folder of frames.
      frames: of an output, given ones included; ``None``: as many as the run's data have.
      checkpoint: "latest", "best" or a train step.
      raw: use the raw weights, not their moving average.
      degrade: the inputs are complete clips: give their first frames, and measure the others.
      overwrite: replace existing files.
    """

    run: Run
    input: str | Path
    out: str | Path
    frames: int | None = None
    checkpoint: str = "latest"
    raw: bool = False
    degrade: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        least = self.degradation.given + 1
        if self.frames is not None and self.frames < least:
            raise errors.ConfigError(f"--frames={self.frames}; accepted: {least} or more")
        _ = self.places
        if self.degrade:
            atomic.check_free(Path(self.out) / scores.FILE, self.overwrite)
        choose_step(self.run.path, self.checkpoint)

    @functools.cached_property
    def _found(self) -> tuple[list[VideoFile], str]:
        return video_files.find(self.input, Path(self.out))

    @property
    def files(self) -> list[VideoFile]:
        """The inputs."""
        return self._found[0]

    @property
    def left_out(self) -> str:
        """Which files of a folder are not used, in words, or ""."""
        return self._found[1]

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

    @property
    def wanted(self) -> int:
        """Number of frames of an output."""
        return self.frames or self.field.shape[0]

    def read(self, number: int) -> np.ndarray:
        """Return the first frames of an input, uint8 ``[frames, height, width, channels]``.

        They are those that are given to the networks, or as many as an output has if these are to
        be compared.

        Raises:
          DataError: it is no video, or has too few frames; the message has the reason alone.
        """
        data = self.run.config.data
        _, height, width, channels = self.field.shape
        form = Transform(resolution=(height, width), resize=data.resize, channels=channels)
        how = self.degradation
        count, setting = how.given, f"degrade.{how.name}.context"
        if self.degrade:
            count, setting = self.wanted, "--frames" if self.frames else "data.video.frames"
        return self.files[number].video(videos.Film(count, data.video.every, setting), form)


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
    given, wanted, kind = ask.degradation.given, ask.wanted, kinds.of(ask.field)
    outputs: dict[str, Path] = {}
    failures: dict[str, str] = {}
    measured: dict[str, Scores] = {}
    with bar("predicting", len(ask.files), sys.stderr) as advance:
        for number, (file, place) in enumerate(zip(ask.files, ask.places, strict=True)):
            try:
                video = ask.read(number)
                made = continued(video[:given], predict, wanted)
            except errors.DataError as error:
                failures[file.name] = str(error)
                print(f"failed: {file.full_name}: {error}", file=sys.stderr, flush=True)
            else:
                atomic.write_bytes(place, kind.file(made))
                outputs[file.name] = place
                if ask.degrade:
                    measured[file.name] = scores.measure_video(made[given:], video, given)
            advance(len(outputs) + len(failures))
    total = f"{len(ask.files):,} video{'s' if len(ask.files) > 1 else ''}"
    line = (
        f"predicted {len(outputs):,} of {total} at step {weights.step}, {wanted} frames from "
        f"{given}: {ask.out}"
    )
    if ask.degrade:
        data = ask.run.config.data
        protocol = {"frames": wanted, "given": given, "every": data.video.every}
        scores.write(ask, weights, measured, failures, "videos", **protocol, resize=data.resize)
    line += remarks(outputs, ask.left_out, scored=ask.degrade)
    return Summary(line, outputs, failures, measured, scores.mean(list(measured.values())))


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
