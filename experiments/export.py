"""Export the networks of a trained run, for other programs and for other runs.

python -m experiments.export --run=DIR --format=stablehlo --out=exported/
python -m experiments.export --run=DIR --format=safetensors,stablehlo --out=exported/
python -m experiments.export --run=DIR --format=stablehlo --network=discriminator --out=exported/
python -m experiments.export --run=DIR --format=onnx --sizes=height=256,width=256 --out=exported/

stablehlo: what the run samples or translates with, such as generator.stablehlo, which
jax.export.deserialize reads without gan_jax, for batches of any size. The averaged weights and the
truncation are in it. safetensors: the weights of all networks, weights.safetensors, from which
another run starts with --config.init.run=FILE. onnx: as stablehlo, for ONNX Runtime and others.
MODEL_CARD.md is written beside.

stablehlo and safetensors need the extra `export`: pip install -e '.[export]'. onnx needs the extra
`onnx`, and jax2onnx without its dependencies: pip install --no-deps jax2onnx==0.17.1.
"""

from pathlib import Path

from absl import flags

from experiments import command_line, run_flags
from gan_jax import errors, installation

flags.adopt_module_key_flags(run_flags)
# The requirements of jax2onnx cannot be met together with those of gan_jax; see
# `gan_jax.export.onnx_model`.
_JAX2ONNX = "pip install --no-deps jax2onnx==0.17.1"
# Of each format its packages, their extra, and what else is to be installed.
_FORMATS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "stablehlo": (("flatbuffers",), "export", ""),
    "onnx": (("jax2onnx", "onnx", "onnx_ir", "onnxruntime"), "onnx", _JAX2ONNX),
    "safetensors": (("safetensors",), "export", ""),
}
_SYMBOLS = ("batch", "height", "width", "samples")
_ON = ("cpu", "cuda", "rocm", "tpu")
_FORMAT = flags.DEFINE_list(
    "format", None, f"What to write, one or several: {', '.join(_FORMATS)}."
)
_OUT = flags.DEFINE_string("out", None, "The folder to write into.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace existing files.")
_NETWORK = flags.DEFINE_list(
    "network",
    [],
    "Single networks, such as discriminator. Default: of safetensors all networks, otherwise what "
    "the run samples or translates with.",
)
_PLATFORMS = flags.DEFINE_list(
    "platforms", ["cpu", "cuda", "tpu"], "stablehlo: what it runs on: cpu, cuda, rocm, tpu."
)
_SIZES = flags.DEFINE_list(
    "sizes",
    [],
    "onnx: fixed sizes of inputs, such as batch=1 or height=256,width=256; of sounds samples. "
    "Default: a batch of any size, and height and width of the training.",
)
_BATCH_NORM = flags.DEFINE_enum(
    "batch_norm",
    None,
    ["ema", "running", "standing"],
    "stablehlo, onnx: statistics of batch-norm. Default: the run's.",
)
_TRUNCATION = flags.DEFINE_string(
    "truncation",
    None,
    "stablehlo, onnx: limit of normal latents, or psi of generators with styles. Default: the "
    "run's.",
)
_LICENCE = flags.DEFINE_string(
    "licence", "not stated", "The licence of the weights, for the model card."
)
flags.DEFINE_alias("license", "licence")
# Flags that have an effect with some formats only.
_OF_COMPUTATIONS = ("raw", "batch_norm", "truncation")


def _main() -> None:
    folder, formats, networks, sizes = _check()
    run = run_flags.open_run()
    from gan_jax.export import computations, model_card, onnx_model, stablehlo
    from gan_jax.report import atomic
    from gan_jax.runs import weights_file
    from gan_jax.runs.run_directory import choose_step

    how = run.sampling(
        average=not run_flags.RAW.value,
        batch_norm=_BATCH_NORM.value,
        truncation=next(iter(command_line.numbers("truncation")), None),
    )
    paths = [folder / model_card.FILE]
    for name in networks:
        errors.lookup(run.game.networks, name, "--network")
    suffixes = {"stablehlo": stablehlo.SUFFIX, "onnx": onnx_model.SUFFIX}
    if wanted := [suffix for name, suffix in suffixes.items() if name in formats]:
        computations.check(run, how)
        names = computations.names(run.game, networks)
        paths += [folder / f"{name}{suffix}" for name in names for suffix in wanted]
    if "safetensors" in formats:
        paths.append(folder / weights_file.FILE)
    for path in paths:
        atomic.check_free(path, _OVERWRITE.value)

    step = choose_step(run.path, run_flags.CHECKPOINT.value)
    files: list[model_card.File] = []
    if wanted:
        with run.precision():
            step, made = computations.of_run(run, step, how, networks)
            for one in made:
                if "stablehlo" in formats:
                    path = folder / f"{one.name}{stablehlo.SUFFIX}"
                    atomic.write_bytes(path, stablehlo.serialized(one, _PLATFORMS.value))
                    meaning = f"StableHLO for {', '.join(_PLATFORMS.value)}, with the weights"
                    files.append(model_card.File(path, meaning, one))
                if "onnx" in formats:
                    path = folder / f"{one.name}{onnx_model.SUFFIX}"
                    model = onnx_model.converted(one, sizes)
                    atomic.write_bytes(path, model.content)
                    meaning = f"ONNX, with the weights; within {model.difference:.1g} of JAX"
                    files.append(model_card.File(path, meaning, one, model.shapes))
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


def _check() -> tuple[Path, list[str], list[str], dict[str, int]]:
    """Return folder, formats, networks and sizes; raise a `ConfigError` if a flag cannot work."""
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
    mode = f"--format={','.join(formats)}"
    if "stablehlo" not in formats:
        command_line.refuse(["platforms"], mode)
    if "onnx" not in formats:
        command_line.refuse(["sizes"], mode)
    if formats == ["safetensors"]:
        command_line.refuse(_OF_COMPUTATIONS, mode)
    if _NETWORK.value:
        command_line.refuse(["truncation"], "--network")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise errors.ConfigError(f"--out={folder} is a file; accepted: a folder")
    for name in formats:
        installation.require_packages(f"--format={name}", *_FORMATS[name])
    if len(command_line.numbers("truncation")) > 1:
        raise errors.ConfigError(f"--truncation={_TRUNCATION.value}; accepted: one number")
    return folder, formats, list(_NETWORK.value), dict(map(_size, _SIZES.value))


def _size(given: str) -> tuple[str, int]:
    """Return the symbol and the number of one of ``--sizes``."""
    symbol, _, number = given.partition("=")
    if symbol not in _SYMBOLS or not number.isdecimal() or int(number) < 1:
        raise errors.ConfigError(
            f"--sizes={given}; accepted: {', '.join(f'{name}=1' for name in _SYMBOLS)}, or another "
            "whole number"
        )
    return symbol, int(number)


if __name__ == "__main__":
    command_line.run(_main)
