"""Measure a run, or any two sets of images or sounds, each number with its protocol.

python -m experiments.evaluate --run=DIR --metrics=fid,kid --num-fake=50000
python -m experiments.evaluate --run=DIR --follow
python -m experiments.evaluate --run=DIR --truncation=0.3,0.5,0.7,1.0
python -m experiments.evaluate --samples=SAMPLES --against=PHOTOS --metrics=fid768
python -m experiments.evaluate --samples=CLEANED --against=CLEAN --metrics=si_sdr
"""

import re
from typing import Any

from absl import flags

from experiments import command_line, run_flags
from gan_jax import errors

flags.adopt_module_key_flags(run_flags)
_FOLLOW = flags.DEFINE_bool(
    "follow", False, "Measure every checkpoint of the run, and new ones, until it has ended."
)
_POLL = flags.DEFINE_float("poll", 10.0, "--follow: seconds between two checks.", lower_bound=0.1)
_PATIENCE = flags.DEFINE_float(
    "patience", None, "--follow: seconds without a new checkpoint after which to give up."
)
_SAMPLES = flags.DEFINE_string(
    "samples", None, "A folder, .zip or .npz of images or sounds to measure ..."
)
flags.DEFINE_alias("images", "samples")
_AGAINST = flags.DEFINE_string("against", None, "... against another one: the real ones.")
_RESOLUTION = flags.DEFINE_string(
    "resolution",
    None,
    "Bring all images of both sets to this size, N or HxW; needed where sizes differ.",
)
_RESIZE = flags.DEFINE_enum(
    "resize",
    "resize",
    ["resize", "letterbox", "squeeze", "crop", "pad"],
    "--resolution: how, as data.resize in training.",
)
_METRICS = flags.DEFINE_list(
    "metrics",
    None,
    "Such as fid, kid768, classifier_fid. Default: the run's; of two sets of images "
    "fid, and of two sets of sounds si_sdr, log_mel_distance and same_pitch.",
)
_NUM_FAKE = flags.DEFINE_integer("num_fake", None, "Generated images. Default: the run's.")
_NUM_REAL = flags.DEFINE_integer("num_real", None, "Real images. Default: the run's, or all.")
_SEED = flags.DEFINE_integer("seed", None, "First seed of the latents. Default: the run's.")
_SEEDS = flags.DEFINE_integer("seeds", None, "How many seeds: mean and standard deviation.")
_SPLIT = flags.DEFINE_string(
    "split",
    None,
    "Split of the real images. Default: the run's; for gan_train, membership_auroc, ... another.",
)
_DATA_PATH = flags.DEFINE_string("data_path", None, "Where the run's images are now (data.path).")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS sets are now (data.data_dir).")
_BATCH_NORM = flags.DEFINE_enum(
    "batch_norm", None, ["ema", "running", "standing", "batch"], "Statistics of batch-norm."
)
flags.DEFINE_string(
    "truncation",
    None,
    "Limit of the latents of the samples, or psi of generators with styles. Default: the run's. "
    "Several, such as 0.3,0.5,1: a table with a column for each, and a picture of the curves.",
)
_REFERENCE = flags.DEFINE_bool(
    "reference", False, "Also print the metrics of real images against others, at equal counts."
)
_BORDER = flags.DEFINE_integer(
    "border", None, "Pixels at each edge that pairs are not compared at.", lower_bound=0
)
_INCEPTION = flags.DEFINE_string("inception", None, "Converted weights of the Inception network.")
# Flags without an effect on two sets.
_OF_RUNS = [
    *("checkpoint", "follow", "poll", "patience", "num_fake", "seed", "seeds", "split"),
    *("data_path", "data_dir", "batch_norm", "truncation", "raw", "import", "reference"),
]


def _main() -> None:
    samples, against = _SAMPLES.value, _AGAINST.value
    of_run = run_flags.RUN.value is not None
    if of_run != (samples is None and against is None):
        raise errors.ConfigError(
            "nothing to measure is given; accepted: --run, or --samples and --against"
        )
    if of_run:
        command_line.refuse(["resolution", "resize"], "--run")
        if _FOLLOW.value:
            command_line.refuse(["checkpoint"], "--follow")
        else:
            command_line.refuse(["poll", "patience"], "a single evaluation, without --follow")
        _measure_run()
    elif samples is not None and against is not None:
        command_line.refuse(_OF_RUNS, "--samples")
        _measure_sets(samples, against)
    else:
        raise errors.ConfigError("--samples and --against go together; accepted: both")


def _measure_run() -> None:
    truncations = command_line.numbers("truncation")
    if len(truncations) > 1:
        command_line.refuse(["follow", "reference"], "several values of --truncation")
    run = run_flags.open_run()
    from gan_jax.runs import run_evaluation

    how: dict[str, Any] = {
        "changes": {
            "metrics": tuple(_METRICS.value) if _METRICS.value else None,
            "num_fake": _NUM_FAKE.value,
            "num_real": _NUM_REAL.value,
            "seed": _SEED.value,
            "seeds": _SEEDS.value,
            "split": _SPLIT.value,
            "batch_size": run_flags.BATCH_SIZE.value,
            "inception": _INCEPTION.value,
            "border": _BORDER.value,
        },
        "data": {"path": _DATA_PATH.value, "data_dir": _DATA_DIR.value},
        "average": not run_flags.RAW.value,
        "batch_norm": _BATCH_NORM.value,
    }
    if len(truncations) > 1:
        print(run_evaluation.sweep(run, truncations, run_flags.CHECKPOINT.value, **how))
        return
    limit = truncations[0] if truncations else None
    evaluator = run_evaluation.RunEvaluator(run, **how, truncation=limit)
    if _FOLLOW.value:
        count = evaluator.follow(poll=_POLL.value, patience=_PATIENCE.value)
        print(f"{count} checkpoints measured: {evaluator.file}")
        return
    evaluator.record(run_flags.CHECKPOINT.value, reference=_REFERENCE.value)
    print(evaluator.file)


def _measure_sets(samples: str, against: str) -> None:
    # Imported late, so that a mistyped flag is reported at once.
    from gan_jax.inference import image_sets, sound_sets
    from gan_jax.runs import allocator, compilation_cache

    if _RESOLUTION.value is None:
        command_line.refuse(["resize"], "--samples without --resolution")
    compilation_cache.enable()
    allocator.keep_freed_memory()
    if sound_sets.is_of_sounds(samples):
        command_line.refuse(["resolution", "inception", "border"], "two sets of sounds")
        sound_sets.measure(
            samples,
            against,
            tuple(_METRICS.value or sound_sets.METRICS),
            num_real=_NUM_REAL.value,
            batch_size=run_flags.BATCH_SIZE.value or 64,
        )
        return
    metrics = tuple(_METRICS.value or ["fid"])
    image_sets.measure(
        samples,
        against,
        metrics,
        resolution=_resolution(),
        resize=_RESIZE.value,
        num_real=_NUM_REAL.value,
        batch_size=run_flags.BATCH_SIZE.value or 64,
        inception=_INCEPTION.value,
        border=_BORDER.value or 0,
    )


def _resolution() -> int | tuple[int, int] | None:
    """Return the value of ``--resolution``."""
    given = _RESOLUTION.value
    if given is None:
        return None
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)?", given):
        raise errors.ConfigError(f"--resolution={given}; accepted: N or HxW, such as 32 or 96x128")
    height, *width = map(int, given.split("x"))
    return (height, width[0]) if width else height


if __name__ == "__main__":
    command_line.run(_main)
