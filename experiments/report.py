"""Write the report of a run: one HTML file that needs no other file and no network.

python -m experiments.report --run=DIR --out=report.html

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


def _main() -> None:
    command_line.refuse(["checkpoint", "raw", "batch_size"], "a report")
    command_line.require(run="a run directory")
    out = template.check(_OUT.value, _OVERWRITE.value)
    run = run_flags.open_run()
    from gan_jax.pages import report
    from gan_jax.report import atomic

    atomic.write_text(out, report.page(run))
    print(f"report of {run.path}: {out}")


if __name__ == "__main__":
    command_line.run(_main)
