"""Translate or restore image or sound files, or predict video files, with a trained run.

python -m experiments.translate --run=DIR --input=photo.jpg --out=made/
python -m experiments.translate --run=DIR --input=photos/ --direction=BtoA --out=made/
python -m experiments.translate --run=DIR --input=torn/ --mask=holes/ --out=whole/
python -m experiments.translate --run=DIR --input=set5.zip --degrade --grid=set5.png --out=set5/
python -m experiments.translate --run=DIR --input=noisy.wav --out=clean/
python -m experiments.translate --run=DIR --input=clip.gif --frames=16 --out=longer/
python -m experiments.translate --run=DIR --input=clips/ --degrade --out=predicted/

Images may have any size. Large ones are split into overlapping tiles; the result equals that of the
whole image if the network's receptive field reaches no farther than 3/8 of the overlap. Instance
normalisation takes the statistics of a whole tile: then a larger --tile is better. Each size is
compiled once; a small --tile reduces many sizes to one. Names and sub-folders are kept, and so is
transparency, except by runs that fill holes, for which it marks the holes. A file that cannot be
used is reported, the others are translated, and the exit code is 1. Files of other kinds in a
folder are named in the last line.

With --degrade the inputs are clean images: they are degraded as they were in training, restored,
and measured against what they were (PSNR and SSIM, also on luminance), beside the degraded ones.

Runs of sounds translate sound files of any length, rate and number of channels to WAV files of 16
bits that have the same. A sound is resampled to the rate of the run's data and back. With --degrade
the measures are SI-SDR and the distance of log-mel spectrograms.

Runs that predict videos write GIF files: the first frames of each input, at the size of the run's
data, then predicted ones. A folder of numbered frames is one video, --input itself or a folder in
it. With --degrade the inputs are complete clips, whose first frames are given; the measure is the
PSNR of the predicted frames, beside that of copies of the last given one.
"""

import sys

from absl import flags

from experiments import command_line, run_flags
from gan_jax import errors

flags.adopt_module_key_flags(run_flags)
flags.DEFINE_string(
    "input", None, "An image, a sound or a video, a folder, a .zip or a place inside one."
)
flags.DEFINE_string("out", None, "The folder to write to.")
_DIRECTION = flags.DEFINE_string(
    "direction", None, "Which way to translate, such as AtoB. Default: the run's first."
)
_MASK = flags.DEFINE_string(
    "mask",
    None,
    "For runs that fill holes: an image, white in them, for all inputs, or a folder of images of "
    "the same names. Values 0 and 1, and coloured or transparent holes are understood, too. "
    "Default: holes are where an input is not opaque.",
)
_INVERT_MASK = flags.DEFINE_bool("invert_mask", False, "Masks are white where there are no holes.")
_DROPOUT = flags.DEFINE_bool(
    "dropout", False, "Keep the dropout that is the noise of some networks."
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "--degrade, --dropout: seed of it.", lower_bound=0, upper_bound=2**32 - 1
)
_DEGRADE = flags.DEFINE_bool(
    "degrade", False, "The inputs are clean: degrade them as in training, restore and measure them."
)
_BORDER = flags.DEFINE_integer(
    "border",
    None,
    "--degrade: rows and columns at each edge that are not measured. Default: the factor of runs "
    "that enlarge, else 0.",
    lower_bound=0,
)
_TILE = flags.DEFINE_integer(
    "tile",
    None,
    "Height and width of the tiles that larger images are split into, or samples of a sound at the "
    "run's rate. Default: 512, or 16,384 samples.",
    lower_bound=1,
)
_OVERLAP = flags.DEFINE_integer(
    "overlap",
    None,
    "Pixels or samples of the input that tiles have in common, at least. Default: 64, or 4,096 "
    "samples.",
    lower_bound=0,
)
_FORMAT = flags.DEFINE_enum("format", "png", ["png", "jpg", "webp"], "Of the files written.")
_FRAMES = flags.DEFINE_integer(
    "frames",
    None,
    "Runs that predict videos: frames of an output, given ones included. More than the run's data "
    "have are predicted from predicted ones. Default: as many as the data have.",
    lower_bound=1,
)
_OF_IMAGES = ("direction", "mask", "invert_mask", "dropout", "border", "format", "grid")
_NOT_OF_VIDEOS = (*_OF_IMAGES, "seed", "tile", "overlap", "batch_size")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace existing files.")
_GRID = flags.DEFINE_string(
    "grid", None, "A .png to write as well: the first 8 inputs, outputs and known targets."
)


def _main() -> None:
    _, source, out = command_line.require(
        run="a run directory",
        input="an image, a sound or a video, a folder or a .zip of them",
        out="a folder to write to",
    )
    if not (_DEGRADE.value or _DROPOUT.value or flags.FLAGS["seed"].using_default_value):
        raise errors.ConfigError(
            f"--seed={_SEED.value} goes with --degrade or --dropout; accepted: none"
        )
    run = run_flags.open_run()
    from gan_jax.inference import (
        translate_request,
        translate_run,
        translate_sounds,
        translate_videos,
    )

    given = {"tile": _TILE.value, "overlap": _OVERLAP.value}
    sizes = {name: value for name, value in given.items() if value is not None}
    if translate_videos.is_of_videos(run):
        command_line.refuse(_NOT_OF_VIDEOS, "a run that predicts videos")
        videos = translate_videos.VideoRequest(
            run,
            source,
            out,
            frames=_FRAMES.value,
            checkpoint=run_flags.CHECKPOINT.value,
            raw=run_flags.RAW.value,
            degrade=_DEGRADE.value,
            overwrite=_OVERWRITE.value,
        )
        with run.precision():
            predicted = translate_videos.translate(videos)
        if predicted.scores:
            print(predicted.table())
        print(predicted.text)
        sys.exit(1 if predicted.failures else 0)
    command_line.refuse(("frames",), "a run that predicts no videos")
    if translate_sounds.is_of_sounds(run):
        command_line.refuse(_OF_IMAGES, "a run that translates sounds")
        sounds = translate_sounds.SoundRequest(
            run,
            source,
            out,
            checkpoint=run_flags.CHECKPOINT.value,
            raw=run_flags.RAW.value,
            degrade=_DEGRADE.value,
            seed=_SEED.value,
            batch_size=run_flags.BATCH_SIZE.value or 8,
            overwrite=_OVERWRITE.value,
            **sizes,
        )
        with run.precision():
            result = translate_sounds.translate(sounds)
        if result.scores:
            print(result.table())
        print(result.text)
        sys.exit(1 if result.failures else 0)
    request = translate_request.Request(
        run,
        source,
        out,
        direction=_DIRECTION.value,
        mask=_MASK.value,
        invert_mask=_INVERT_MASK.value,
        checkpoint=run_flags.CHECKPOINT.value,
        raw=run_flags.RAW.value,
        dropout=_DROPOUT.value,
        seed=_SEED.value,
        degrade=_DEGRADE.value,
        border=_BORDER.value,
        batch_size=run_flags.BATCH_SIZE.value or 8,
        suffix=_FORMAT.value,
        overwrite=_OVERWRITE.value,
        grid=_GRID.value,
        **sizes,
    )
    with run.precision():
        summary = translate_run.translate(request)
    if summary.scores:
        print(summary.table())
    print(summary.text)
    if summary.failures:
        sys.exit(1)


if __name__ == "__main__":
    command_line.run(_main)
