"""Compare runs: fields that differ, results, and, with --out, curves and samples on an HTML page.

python -m experiments.compare runs/a runs/b
python -m experiments.compare runs/a runs/b runs/c --out=compare.html --num=10

The page has curves over each other, and samples of the same latents where the runs have the same
latents; else it says why not. It needs jinja2 and Matplotlib: pip install -e '.[report]'.
"""

from absl import flags

from experiments import command_line, run_flags
from gan_jax import errors
from gan_jax.pages import template

flags.adopt_module_key_flags(run_flags)
_OUT = flags.DEFINE_string("out", None, "The .html file to write. Default: tables in text alone.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace an existing file.")
_NUM = flags.DEFINE_integer("num", 8, "Samples of the same latents; 0: none.", lower_bound=0)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the latents.", lower_bound=0, upper_bound=2**32 - 1
)
# Flags that have an effect on the page alone.
_OF_PAGES = ("overwrite", "num", "seed", "checkpoint", "raw", "batch_size")


def _main(paths: list[str]) -> None:
    command_line.refuse(["run"], "a comparison of the runs that are named without a flag")
    if len(paths) < 2:
        given = "1 run is" if paths else "0 runs are"
        raise errors.ConfigError(f"{given} given; accepted: two or more directories")
    out = None
    if _OUT.value is None:
        command_line.refuse(_OF_PAGES, "a comparison without --out")
    else:
        out = template.check(_OUT.value, _OVERWRITE.value)
    runs = run_flags.open_runs(paths)
    from gan_jax.pages import compare, comparison, same_latents
    from gan_jax.report import atomic

    compared = comparison.compare(runs)
    comparison.show(compared)
    if out is None:
        return
    how = same_latents.How(
        num=_NUM.value,
        seed=_SEED.value,
        checkpoint=run_flags.CHECKPOINT.value,
        raw=run_flags.RAW.value,
        batch_size=run_flags.BATCH_SIZE.value or 64,
    )
    samples, left = same_latents.sample(runs, compared.names, how) if how.num else ([], [])
    atomic.write_text(out, compare.page(compared, samples, left))
    print(f"\ncomparison of {len(runs)} runs: {out}")


if __name__ == "__main__":
    command_line.run_with_arguments(_main)
