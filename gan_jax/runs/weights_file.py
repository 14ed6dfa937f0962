"""The weights of a run's networks in one ``.safetensors`` file, from which other runs can start.

An array's name is its path in the train state below ``networks``:
``generator/params/Dense_0/kernel``, ``generator/mutable/batch_stats/...``,
``generator/ema/params/...``. The state of the optimizers is left out. The file's metadata are
texts: the format of these names, the run's ``config`` and ``data`` as JSON, the train ``step``, and
whatever else is known. Of paths only the last name is kept, and no labels of single examples.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from flax import traverse_util

import gan_jax
from gan_jax import errors, installation, paths
from gan_jax.data import spec as specs
from gan_jax.report import atomic, provenance
from gan_jax.runs.checkpoint import Checkpoints
from gan_jax.runs.run_directory import RunDirectory, plain

if TYPE_CHECKING:
    from gan_jax.runs.run import Run

SUFFIX = ".safetensors"
#: The name of the file in a folder of exports.
FILE = f"weights{SUFFIX}"
#: The parts of a network's state that a file has.
PARTS = ("params", "mutable", "ema")
#: The version of names and metadata; raise it with every change that older readers cannot follow.
FORMAT = "gan_jax networks 1"
# The dtypes of variables, by their names in such files.
_DTYPES = ("F32", "I32", "U32", "BOOL")


class Stored(NamedTuple):
    """Arrays of networks, by their path in a train state, and the train step they are of."""

    step: int
    arrays: dict[str, np.ndarray]


def is_weights_file(path: str) -> bool:
    """Return whether a path names a file of weights, and not a run directory."""
    return path.lower().endswith(SUFFIX) and not Path(path).is_dir()


def write(
    path: str | Path,
    run: "Run",
    step: int | None,
    facts: Mapping[str, str],
    *,
    networks: Sequence[str] = (),
) -> int:
    """Write the networks of a checkpoint atomically; an existing file is replaced.

    Args:
      path: the file.
      run: of the checkpoint.
      step: its train step; ``None``: the newest that is whole.
      facts: what the metadata have beside the configuration and the data.
      networks: names of those to write; none: all of the run.

    Returns:
      The train step.

    Raises:
      CheckpointError: there is no such checkpoint, or it is damaged.
      WorkdirError: the file cannot be written.
    """
    from safetensors import numpy as safetensors

    names = networks or list(run.game.networks)
    with Checkpoints(RunDirectory(run.path).checkpoints, read_only=True) as checkpoints:
        restored = checkpoints.read([f"networks/{n}/{part}" for n in names for part in PARTS], step)
    found = traverse_util.flatten_dict(restored.state, sep="/")
    arrays = {
        name.removeprefix("networks/"): np.asarray(array, order="C")
        for name, array in sorted(found.items())
    }
    spec = {
        name: dataclasses.replace(field, vectors=())
        for name, field in specs.from_json(run.data["spec"]).items()
    }
    metadata = {
        **facts,
        "format": FORMAT,
        "step": str(restored.step),
        "gan_jax": gan_jax.__version__,
        "config": _json(plain(run.config)),
        "data": _json({**run.data, "spec": specs.to_json(spec)}),
    }
    atomic.write_bytes(path, safetensors.save(arrays, metadata))
    return restored.step


def _json(content: Any) -> str:
    return json.dumps(provenance.published(content), sort_keys=True)


def read(path: str, networks: Sequence[str], field: str) -> Stored:
    """Return the arrays of some networks, by their path in a train state.

    Args:
      path: the file.
      networks: names; those that the file does not have are left out.
      field: that gave the path, for messages.

    Raises:
      ConfigError: safetensors is not installed, or the path is not on this machine.
      CheckpointError: the file is missing, damaged, or not one that `write` has written.
    """
    installation.require_packages(f"{field} = {path!r}", ("safetensors",), "export")
    from safetensors import SafetensorError, safe_open

    file = paths.local(path, field)
    try:
        with safe_open(file, framework="numpy") as content:
            step = _step(content.metadata() or {}, file)
            names = [n for n in content.keys() if _is_variable(n, networks)]  # noqa: SIM118
            for name in names:
                if (dtype := content.get_slice(name).get_dtype()) not in _DTYPES:
                    raise errors.CheckpointError(
                        f"{file}: {name} has the dtype {dtype}; accepted: {', '.join(_DTYPES)}"
                    )
            return Stored(step, {f"networks/{name}": content.get_tensor(name) for name in names})
    except OSError as error:
        reason = error.strerror or str(error)
        raise errors.CheckpointError(f"Cannot read {file}: {reason}") from error
    except SafetensorError as error:
        raise errors.CheckpointError(f"{file} is damaged: {error}") from error


def _is_variable(name: str, networks: Sequence[str]) -> bool:
    """Return whether an array's name has the form of a variable or average of some networks."""
    network, part, *rest = [*name.split("/"), ""]
    return network in networks and part in PARTS and rest[:-1] != []


def _step(metadata: Mapping[str, Any], file: Path) -> int:
    step = metadata.get("step", "")
    if metadata.get("format") != FORMAT or not step.isdecimal():
        raise errors.CheckpointError(
            f"{file} has the format {metadata.get('format')!r}; accepted: a file that "
            f"{installation.command('export')} has written ({FORMAT!r})"
        )
    return int(step)
