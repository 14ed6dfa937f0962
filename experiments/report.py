"""Write the report of a run: one HTML file that needs no other file and no network.

python -m experiments.report --run=DIR --out=report.html
python -m experiments.report --run=DIR --samples=8              # takes a checkpoint; sounds play
python -m experiments.report --run=DIR --neighbours=5           # takes the data and a checkpoint

It has the pictures of samples over time, the curves, the evaluations with their protocols, what the
configuration changes, the data, the environment, and the command that repeats the run. The run may
still be training. The page needs jinja2 and Matplotlib: pip install -e '.[report]'.
"""

from absl import flags

from experiments import command_line, run_flags
from gan_jax.pages import template

flags.adopt_module_key_flags(run_flags)
_OUT = flags.DEFINE_string("out", "report.html", "The .html file to write.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an existing file.")
_SAMPLES = flags.DEFINE_integer(
    "samples",
    None,
    "Also show this many samples of a checkpoint one by one; sounds and videos play.",
    lower_bound=1,
    upper_bound=64,
)
_NEIGHBOURS = flags.DEFINE_integer(
    "neighbours",
    None,
    "Also show samples of a checkpoint beside this many nearest training images of each.",
    lower_bound=1,
)
_DATA_PATH = flags.DEFINE_string(
    "data_path", None, "--neighbours: where the run's images are now (data.path)."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "--neighbours: where TFDS sets are now (data.data_dir)."
)
_OF_NEIGHBOURS = ("data_path", "data_dir")
_OF_CHECKPOINTS = ("checkpoint", "raw", "batch_size")


def _main() -> None:
    if _NEIGHBOURS.value is None:
        command_line.refuse(_OF_NEIGHBOURS, "a report without --neighbours")
        if _SAMPLES.value is None:
            command_line.refuse(_OF_CHECKPOINTS, "a report without --neighbours and --samples")
    command_line.require(run="a run directory")
    out = template.check(_OUT.value, _OVERWRITE.value)
    run = run_flags.open_run()
    from gan_jax.games.game import as_generative
    from gan_jax.inference import sample_request
    from gan_jax.pages import report
    from gan_jax.report import atomic

    near = made = None
    if _NEIGHBOURS.value is not None or _SAMPLES.value is not None:
        as_generative(run.game, "--neighbours" if _SAMPLES.value is None else "--samples")
        ask = sample_request.Request(
            run,
            checkpoint=run_flags.CHECKPOINT.value,
            raw=run_flags.RAW.value,
            batch_size=run_flags.BATCH_SIZE.value or 64,
        )
        if _SAMPLES.value is not None:
            made = report.samples(ask, _SAMPLES.value)
        if _NEIGHBOURS.value is not None:
            data = {"path": _DATA_PATH.value, "data_dir": _DATA_DIR.value}
            near = report.neighbours(ask, _NEIGHBOURS.value, data)
    atomic.write_text(out, report.page(run, near, made))
    print(f"report of {run.path}: {out}")


if __name__ == "__main__":
    command_line.run(_main)
