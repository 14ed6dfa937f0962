"""Sample from a run directory: ``python -m experiments.sample --run=DIR --num=64``."""

from pathlib import Path

from absl import flags

from experiments import command_line
from gan_jax import errors

_RUN = flags.DEFINE_string("run", None, "The run directory.")
_NUM = flags.DEFINE_integer("num", 64, "How many samples.", lower_bound=1)
_LABEL = flags.DEFINE_integer("label", None, "The class to sample, for class-conditional runs.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the latents.", lower_bound=0)
_RAW = flags.DEFINE_bool("raw", False, "Use the raw weights instead of their moving average.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "latest", "latest, best, or a train step.")
_OUT = flags.DEFINE_string(
    "out", None, "The PNG to write. Default: in the run directory, named after step and seed."
)


def _main(argv: list[str]) -> None:
    if unknown := argv[1:]:
        raise errors.ConfigError(f"unknown argument {unknown[0]!r}; accepted: flags, see --help")
    if _RUN.value is None:
        raise errors.ConfigError("--run is missing; give a run directory")
    # Imported late, so that a mistyped flag is reported at once.
    from gan_jax.report import grids
    from gan_jax.training import compilation_cache, restore, sampling

    compilation_cache.enable()
    run = restore.load_run(_RUN.value, restore.choose_step(_RUN.value, _CHECKPOINT.value))
    restore.check_label(run, _LABEL.value)
    data = sampling.sample(
        run.game,
        run.state,
        num=_NUM.value,
        seed=_SEED.value,
        label=_LABEL.value,
        sampling=sampling.make_sampling(run.config, raw=_RAW.value),
    )
    name = f"sample-step{run.step:08d}-seed{_SEED.value}{'-raw' if _RAW.value else ''}.png"
    out = Path(_OUT.value) if _OUT.value else run.path / name
    image = grids.grid(data) if data.ndim == 4 else grids.scatter(data)
    grids.save_png(out, image)
    print(f"{len(data)} samples of step {run.step}: {out}")


if __name__ == "__main__":
    command_line.run(_main)
