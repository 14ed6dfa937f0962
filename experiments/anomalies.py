"""Score image files by a run that detects anomalies: one number per file, the highest first.

python -m experiments.anomalies --run=DIR --input=parts/ --out=scores.csv
python -m experiments.anomalies --run=DIR --input=parts.zip --out=scores.csv --worst=16

Beside the table, a picture of the files with the highest scores is written: each image, its
reconstruction, and their difference. Images are prepared as those of the training were. A file that
cannot be used is reported, the others are scored, and the exit code is 1.
"""

import sys

from absl import flags

from experiments import command_line, run_flags

flags.adopt_module_key_flags(run_flags)
flags.DEFINE_string("input", None, "An image, a folder, a .zip or a place inside one.")
flags.DEFINE_string("out", None, "The .csv to write: file, score.")
_PICTURE = flags.DEFINE_string(
    "picture", None, "The .png of the files with the highest scores. Default: beside the .csv."
)
_WORST = flags.DEFINE_integer("worst", 8, "Rows of that picture; 0: none.", lower_bound=0)
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace existing files.")


def _main() -> None:
    _, source, out = command_line.require(
        run="a run directory",
        input="an image, a folder or a .zip of images",
        out="a .csv to write",
    )
    run = run_flags.open_run()
    from gan_jax.inference import anomaly_scores

    request = anomaly_scores.Request(
        run,
        source,
        out,
        picture=_PICTURE.value,
        worst=_WORST.value,
        checkpoint=run_flags.CHECKPOINT.value,
        raw=run_flags.RAW.value,
        batch_size=run_flags.BATCH_SIZE.value or 64,
        overwrite=_OVERWRITE.value,
    )
    with run.precision():
        summary = anomaly_scores.score(request)
    print(summary.text)
    if summary.failures:
        sys.exit(1)


if __name__ == "__main__":
    command_line.run(_main)
