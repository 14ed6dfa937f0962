"""Export the networks of a trained run, for other programs and for other runs.

python -m experiments.export --run=DIR --format=stablehlo --out=exported/
python -m experiments.export --run=DIR --format=safetensors,stablehlo --out=exported/
python -m experiments.export --run=DIR --format=stablehlo --network=discriminator --out=exported/

stablehlo: what the run samples or translates with, such as generator.stablehlo, which
jax.export.deserialize reads without gan_jax, for batches of any size. The averaged weights and the
truncation are in it. safetensors: the weights of all networks, weights.safetensors, from which
another run starts with --config.init.run=FILE. MODEL_CARD.md is written beside.

Needs the extra `export`: pip install -e '.[export]'.
"""

from pathlib import Path

from absl import flags

from experiments import command_line, run_flags
from gan_jax import errors, installation

flags.adopt_module_key_flags(run_flags)
_FORMATS, _ON = ("stablehlo", "safetensors"), ("cpu", "cuda", "rocm", "tpu")
_PACKAGES = {"stablehlo": ("flatbuffers",), "safetensors": ("safetensors",)}
_FORMAT = flags.DEFINE_list(
    "format", None, "What to write, one or several: stablehlo, safetensors."
)
_OUT = flags.DEFINE_string("out", None, "The folder to write into.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace existing files.")
_NETWORK = flags.DEFINE_list(
    "network",
    [],
    "Single networks, such as discriminator. Default: stablehlo: what the run samples or "
    "translates with; safetensors: all networks.",
)
_PLATFORMS = flags.DEFINE_list(
    "platforms", ["cpu", "cuda", "tpu"], "stablehlo: what it runs on: cpu, cuda, rocm, tpu."
)
_BATCH_NORM = flags.DEFINE_enum(
    "batch_norm",
    None,
    ["ema", "running", "standing"],
    "stablehlo: statistics of batch-norm. Default: the run's.",
)
_TRUNCATION = flags.DEFINE_string(
    "truncation",
    None,
    "stablehlo: limit of normal latents, or psi of generators with styles. Default: the run's.",
)
_LICENCE = flags.DEFINE_string(
    "licence", "not stated", "The licence of the weights, for the model card."
)
flags.DEFINE_alias("license", "licence")
_OF_STABLEHLO = ("raw", "platforms", "batch_norm", "truncation")


def _main() -> None:
    folder, formats, networks = _check()
    run = run_flags.open_run()
    from gan_jax.inference import computations, stablehlo
    from gan_jax.pages import model_card
    from gan_jax.report import atomic
    from gan_jax.runs import weights_file
    from gan_jax.runs.run import choose_step

    how = run.sampling(
        average=not run_flags.RAW.value,
        batch_norm=_BATCH_NORM.value,
        truncation=next(iter(command_line.numbers("truncation")), None),
    )
    paths = [folder / model_card.FILE]
    for name in networks:
        errors.lookup(run.game.networks, name, "--network")
    if "stablehlo" in formats:
        computations.check(run, how)
        names = computations.names(run.game, networks)
        paths += [folder / f"{name}{stablehlo.SUFFIX}" for name in names]
    if "safetensors" in formats:
        paths.append(folder / weights_file.FILE)
    for path in paths:
        atomic.check_free(path, _OVERWRITE.value)

    step = choose_step(run.path, run_flags.CHECKPOINT.value)
    files: list[model_card.File] = []
    if "stablehlo" in formats:
        meaning = f"StableHLO for {', '.join(_PLATFORMS.value)}, with the weights"
        with run.precision():
            step, made = computations.of_run(run, step, how, networks)
            for one in made:
                path = folder / f"{one.name}{stablehlo.SUFFIX}"
                atomic.write_bytes(path, stablehlo.serialized(one, _PLATFORMS.value))
                files.append(model_card.File(path, meaning, one))
    if "safetensors" in formats:
        path = folder / weights_file.FILE
        facts = {"licence": _LICENCE.value}
        step = weights_file.write(path, run, step, facts, networks=networks)
        files.append(model_card.File(path, "weights, for `init.run`"))
    assert step is not None
    card = model_card.card(run, step, files, _LICENCE.value)
    atomic.write_text(folder / model_card.FILE, card)
    written = ", ".join([*(file.path.name for file in files), model_card.FILE])
    print(f"step {step:,} of {run.path}: {written} in {folder}")


def _check() -> tuple[Path, list[str], list[str]]:
    """Return folder, formats and networks; raise a `ConfigError` if a flag cannot work."""
    _, formats, out = command_line.require(
        run="a run directory", format=f"one of {', '.join(_FORMATS)}, or several", out="a folder"
    )
    chosen = {"format": (formats, _FORMATS), "platforms": (_PLATFORMS.value, _ON)}
    for flag, (given, accepted) in chosen.items():
        if not given or not set(given) <= set(accepted):
            raise errors.ConfigError(
                f"--{flag}={','.join(given)}; accepted: {', '.join(accepted)}, or several"
            )
    command_line.refuse(["batch_size"], "an export")
    if "stablehlo" not in formats:
        command_line.refuse(_OF_STABLEHLO, f"--format={','.join(formats)}")
    if _NETWORK.value:
        command_line.refuse(["truncation"], "--network")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise errors.ConfigError(f"--out={folder} is a file; accepted: a folder")
    for name in formats:
        installation.require_packages(f"--format={name}", _PACKAGES[name], "export")
    if len(command_line.numbers("truncation")) > 1:
        raise errors.ConfigError(f"--truncation={_TRUNCATION.value}; accepted: one number")
    return folder, formats, list(_NETWORK.value)


if __name__ == "__main__":
    command_line.run(_main)
