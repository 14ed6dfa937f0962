"""Sample a trained run: grids, exports, interpolations, nearest neighbours, projections.

python -m experiments.sample --run=DIR                       # a grid; of classes: a row each
python -m experiments.sample --run=DIR --num=50000 --out=samples/      # or --out=samples.npz
python -m experiments.sample --run=DIR --text="a small red cross left"  # of a run with captions
python -m experiments.sample --run=DIR --truncation=1.5,1.0,0.5
python -m experiments.sample --run=DIR --interpolate=slerp   # or with --out=way.gif
python -m experiments.sample --run=DIR --neighbours=5
python -m experiments.sample --run=DIR --project=photo.png   # in styles: --space=w or w+
python -m experiments.sample --run=DIR --mix=fine            # styles of two samples (StyleGAN)
python -m experiments.sample --run=DIR --directions=sefa     # along which samples change most
python -m experiments.sample --run=DIR --traverse=category_0 # of InfoGAN's codes
python -m experiments.sample --run=DIR --reconstruct=16      # by a run with an encoder

Sample number i of a seed has the same latent in every mode, in batches of any size. A run with
classes: a grid has a row per class and the same latent in all rows of a column; exported samples
go through the classes in turn; --label asks for one class only. A run with captions is alike:
a row for each of some captions, and --text asks for one of your own.
"""

from pathlib import Path
from typing import Any

from absl import flags

from experiments import command_line, run_flags
from gan_jax import errors
from gan_jax.report import animation

flags.adopt_module_key_flags(run_flags)
_BATCH_NORM = flags.DEFINE_enum(
    "batch_norm", None, ["ema", "running", "standing", "batch"], "Statistics of batch-norm."
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the latents.", lower_bound=0, upper_bound=2**32 - 1
)
_NUM = flags.DEFINE_integer(
    "num",
    None,
    "How many samples: default 64. In a row per class or truncation: samples in a row, default 8. "
    "--interpolate: rows, each between two samples, default 8 (1, of each class, for a run with "
    "classes); for an animation the samples on the way, default 8. --neighbours and --traverse: "
    "rows, default 8. --mix: rows and columns, default 8. "
    "--directions: samples of each, default 2.",
    lower_bound=1,
)
_LABEL = flags.DEFINE_string(
    "label",
    None,
    "The class to sample, by name or number, for class-conditional runs. For runs with attributes "
    "values of some of them, such as Smiling=1,Male=-1 (the others are as in images), or of all.",
)
_TEXT = flags.DEFINE_string("text", None, "The caption to sample, for runs with captions.")
_PROPORTIONS = flags.DEFINE_enum(
    "proportions",
    None,
    ["equal", "data"],
    "A folder or .npz of a run with classes: how many samples of each. Default: equal.",
)
_TRUNCATION = flags.DEFINE_string(
    "truncation",
    None,
    "Limit of normal latents, or psi of generators with styles (StyleGAN): the distance of styles "
    "from their mean, relative to untruncated ones. Several, such as 1.5,1.0,0.5: a row for each.",
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "What to write: a .png, or a .txt of a line per text; a folder of a file per sample (continued "
    "if it was stopped); an .npz of all samples; with --interpolate a .gif, .webp or .mp4. "
    "Default: a .png or .txt in the run directory.",
)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an existing .npz.")
flags.DEFINE_enum(
    "interpolate", None, ["lerp", "slerp"], "Go from latent to latent straight, or on an arc."
)
_FRAMES = flags.DEFINE_integer(
    "frames",
    None,
    "--interpolate: pictures in a row, both ends included, default 8; in an animation from one "
    "sample to the next, default 20. --directions: pictures in a row, default 7.",
    lower_bound=2,
)
_FPS = flags.DEFINE_float("fps", 20.0, "Of an animation: pictures per second.")
flags.DEFINE_string(
    "project", None, "Find the points whose samples come closest to this image, folder or .zip."
)
_SPACE = flags.DEFINE_enum(
    "space",
    None,
    ["z", "w", "w+"],
    "--project, --directions: latents (z), styles (w), or, of --project, a style for each layer "
    "(w+). Default: w of generators with styles, else z.",
)
flags.DEFINE_enum(
    "directions",
    None,
    ["sefa", "ganspace"],
    "Move samples along the directions that the first layers' weights amplify most (sefa), or the "
    "principal components of styles or of the first activations (ganspace).",
)
_TOP = flags.DEFINE_integer("top", 5, "--directions: how many, the strongest.", lower_bound=1)
_STRENGTH = flags.DEFINE_float(
    "strength", 3.0, "--directions: the farthest, in standard deviations of latents or styles."
)
flags.DEFINE_string(
    "mix",
    None,
    "A table of samples whose styles are those of the row, but in these layers those of the "
    "column: coarse, middle or fine (thirds of the layers), or such as 2-5.",
)
_STEPS = flags.DEFINE_integer("steps", 500, "--project: steps of Adam.", lower_bound=1)
_RESTARTS = flags.DEFINE_integer(
    "restarts", 4, "--project: starts per image; the best result is kept.", lower_bound=1
)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 0.1, "--project: of Adam, at the beginning.")
_PRIOR = flags.DEFINE_float(
    "prior",
    0.01,
    "--project: weight of (mean(z^2) - 1)^2, which keeps z where latents are drawn; "
    "styles near their mean.",
)
flags.DEFINE_integer(
    "neighbours", None, "Number of nearest training images to show of each sample.", lower_bound=1
)
_FEATURES = flags.DEFINE_enum(
    "features", "pixels", ["pixels", "classifier"], "--neighbours: what distances are taken in."
)
flags.DEFINE_string(
    "traverse", None, "Go through the values of one of InfoGAN's codes: category_0, continuous_1."
)
flags.DEFINE_integer(
    "reconstruct", None, "Number of images to show beside their reconstructions.", lower_bound=1
)
_DATA_PATH = flags.DEFINE_string(
    "data_path",
    None,
    "--neighbours, --reconstruct, --proportions: where the run's images are now (data.path).",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "--neighbours, --reconstruct, --proportions: where TFDS sets are now (data.data_dir).",
)

_MODES = ("project", "neighbours", "interpolate", "traverse", "reconstruct", "mix", "directions")
# The flags that have an effect in some modes only, by mode.
_GRID = {"seed", "num", "label", "text", "truncation", "batch_size"}
_EXPORT = _GRID | {"proportions", "data_path", "data_dir"}
_FIT = {
    "a grid": _GRID,
    "several values of --truncation": _GRID,
    "a folder": _EXPORT,
    "an .npz": _EXPORT | {"overwrite"},
    "--interpolate": _GRID | {"interpolate", "frames"},
    "an animation": _GRID | {"interpolate", "frames", "fps"},
    "--neighbours": _GRID | {"neighbours", "features", "data_path", "data_dir"},
    "--traverse": {"traverse", "seed", "num", "truncation", "batch_size"},
    "--reconstruct": {"reconstruct", "data_path", "data_dir", "batch_size"},
    "--project": {"project", "steps", "restarts", "learning_rate", "prior", "seed", "label"}
    | {"space", "batch_size", "overwrite"},
    "--mix": _GRID | {"mix"},
    "--directions": _GRID | {"directions", "space", "top", "strength", "frames", "overwrite"},
}


def _main() -> None:
    truncations = command_line.numbers("truncation")
    mode = _mode(truncations)
    run = run_flags.open_run()
    from gan_jax.inference import projection, sample_request, sample_run

    data = {"path": _DATA_PATH.value, "data_dir": _DATA_DIR.value}
    ask = sample_request.Request(
        run,
        checkpoint=run_flags.CHECKPOINT.value,
        raw=run_flags.RAW.value,
        batch_norm=_BATCH_NORM.value,
        seed=_SEED.value,
        label=_label(run),
        proportions=run.proportions(**data) if _PROPORTIONS.value == "data" else None,
        truncation=truncations,
        num=_NUM.value,
        batch_size=run_flags.BATCH_SIZE.value or 64,
        out=Path(_OUT.value) if _OUT.value else None,
        overwrite=_OVERWRITE.value,
    )
    given = [flags.FLAGS[name].value for name in _MODES]
    # The value of the flag that has chosen the mode, if one has.
    chosen: Any = next((value for value in given if value is not None), None)
    with run.precision():
        match mode:
            case "--project":
                settings = projection.Settings(
                    _STEPS.value,
                    _RESTARTS.value,
                    _LEARNING_RATE.value,
                    _PRIOR.value,
                    space=_SPACE.value,
                )
                line = sample_run.projections(ask, chosen, settings)
            case "--neighbours":
                line = sample_run.neighbours(ask, chosen, _FEATURES.value, data)
            case "--traverse":
                line = sample_run.traversals(ask, chosen)
            case "--reconstruct":
                line = sample_run.reconstructions(ask, chosen, data)
            case "--mix":
                line = sample_run.mixtures(ask, chosen)
            case "--directions":
                size = (_TOP.value, _STRENGTH.value, _FRAMES.value or 7)
                line = sample_run.directions(ask, chosen, *size, _SPACE.value)
            case "--interpolate":
                line = sample_run.strips(ask, chosen, _FRAMES.value or 8)
            case "an animation":
                line = sample_run.animation(ask, chosen, _FRAMES.value or 20, _FPS.value)
            case "several values of --truncation":
                line = sample_run.truncations(ask)
            case "a grid":
                line = sample_run.grid(ask)
            case _:
                line = sample_run.export(ask, archive=mode == "an .npz")
    print(line)


def _label(run: Any) -> int | str | None:
    """Return what samples are asked for: the number of a class, attributes or a caption."""
    if _TEXT.value is None:
        number: int | str | None = run.class_number(_LABEL.value)
        return number
    if _LABEL.value is not None:
        raise errors.ConfigError(f"--label={_LABEL.value} with --text; accepted: one of them")
    caption: str = run.caption(_TEXT.value)
    return caption


def _mode(truncations: tuple[float, ...]) -> str:
    """Return what is to be done, a key of `_FIT`; refuse flags that do not fit it."""
    suffix = _suffix()
    moving = suffix in animation.FORMATS
    given = [f"--{name}" for name in _MODES if flags.FLAGS[name].value is not None]
    if len(given) > 1:
        raise errors.ConfigError(f"{given[0]} and {given[1]} are two modes; accepted: one")
    mode = given[0] if given else {"": "a folder", ".npz": "an .npz"}.get(suffix, "a grid")
    if moving and mode != "--interpolate":
        raise errors.ConfigError(
            f"--out={_OUT.value} with {mode}; accepted: .gif, .webp and .mp4 with --interpolate"
        )
    if given and suffix in ("", ".npz", ".txt"):
        raise errors.ConfigError(f"--out={_OUT.value} with {mode}; accepted: a .png")
    if moving:
        mode = "an animation"
    if len(truncations) > 1:
        if mode != "a grid":
            raise errors.ConfigError(
                f"--truncation={_TRUNCATION.value} with {mode}; accepted: one number"
            )
        mode = "several values of --truncation"
    command_line.refuse(sorted(set().union(*_FIT.values()) - _FIT[mode]), mode)
    return mode


def _suffix() -> str:
    """Return the suffix of ``--out``; the empty string: it is a folder."""
    if _OUT.value is None:
        return ".png"
    out = Path(_OUT.value)
    if out.is_dir() or _OUT.value.endswith("/"):
        return ""
    suffix = out.suffix.lower()
    if suffix not in ("", ".png", ".txt", ".npz", *animation.FORMATS):
        raise errors.ConfigError(
            f"--out={_OUT.value}; accepted: a .png, .txt, .npz, .gif, .webp or .mp4, or a folder: "
            "its name/"
        )
    return suffix


if __name__ == "__main__":
    command_line.run(_main)
