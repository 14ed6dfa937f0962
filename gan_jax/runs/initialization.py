"""Weights of another run from which a new run starts (``config.init``)."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import traverse_util
from ml_collections import ConfigDict

from gan_jax import errors
from gan_jax.runs import build, weights_file
from gan_jax.runs.checkpoint import Checkpoints
from gan_jax.runs.leaves import leaf_of, named_leaves, place
from gan_jax.runs.run import open_run
from gan_jax.runs.run_directory import RunDirectory, choose_step
from gan_jax.training.state import TrainState

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Weights:
    """Arrays of another run's checkpoint, as far as they fit into a new run.

    Attributes:
      run: the directory of the other run, or a file of its weights.
      step: of its checkpoint.
      arrays: by the path of the leaf of the new run's state.
      counts: by network, how many of its parameters and other variables were taken, and of how
        many.
      misfits: in words, which ones were not, and why.
    """

    run: Path
    step: int
    arrays: Arrays
    counts: Mapping[str, tuple[int, int]]
    misfits: tuple[str, ...]

    def put(self, state: TrainState) -> TrainState:
        """Return a state, of one run or of several replicas, with these arrays in it."""

        def leaf(name: str, own: Any) -> Any:
            if name not in self.arrays:
                return own
            return place(np.broadcast_to(self.arrays[name], own.shape), own, None)

        leaves = [leaf(name, own) for name, own in named_leaves(state).items()]
        return jax.tree.unflatten(jax.tree.structure(state), leaves)

    @property
    def record(self) -> dict[str, Any]:
        """What is recorded in the new run's directory, JSON-able."""
        return {"run": str(self.run), "step": self.step, "not_taken": list(self.misfits)}

    def words(self) -> list[tuple[str, str]]:
        """Return rows of the plan of the new run."""
        taken = ", ".join(f"{net} {n} of {of} arrays" for net, (n, of) in self.counts.items())
        rows = [("start", f"weights of {self.run}, step {self.step:,}: {taken}")]
        return [*rows, ("not taken", "\n".join(self.misfits))] if self.misfits else rows


def read_weights(config: ConfigDict, training: build.Training) -> Weights | None:
    """Return the weights that a new run starts from; ``None``: it starts from random ones.

    Raises:
      ConfigError: ``init`` has a field without effect, or names a network that there is not.
      WorkdirError: ``init.run`` is no run directory.
      CheckpointError: it has no such checkpoint, is a damaged file, or nothing in it fits.
    """
    init = config.init
    if init.run is None:
        for field in ("networks", "optimizer"):
            if init[field]:
                raise errors.ConfigError(
                    f"init.{field} = {init[field]!r} without init.run; accepted: a run directory "
                    "or a file of weights in init.run"
                )
        return None
    networks = list(init.networks) or list(training.game.networks)
    for name in networks:
        errors.lookup(training.game.networks, name, "init.networks")
    parts = ("params", "mutable", "ema", *(("opt_state",) if init.optimizer else ()))
    origin, step, found = _stored(init, networks, parts)
    wanted = {n: x for n, x in _leaves(training).items() if _part(n) in parts}
    arrays: Arrays = {}
    misfits: list[str] = []
    counts = {}
    for network in networks:
        there, here = _of_network(found, network), _of_network(wanted, network)
        if not there and init.networks:
            raise errors.ConfigError(
                f"init.networks has {network!r}, of which {origin} has no weights"
            )
        fitting = _fitting(there, here)
        own = [name for name in here if _is_variable(name)]
        counts[network] = sum(name in fitting for name in own), len(own)
        arrays |= fitting
        misfits += _misfits(there, here, fitting)
    if not arrays:
        raise errors.CheckpointError(
            f"init.run = {init.run!r}: no array of its networks fits into {', '.join(networks)}"
        )
    return Weights(origin, step, arrays, counts, tuple(misfits))


def _stored(
    init: ConfigDict, networks: Sequence[str], parts: Sequence[str]
) -> tuple[Path, int, Arrays]:
    """Return where ``init`` takes weights from, their train step, and the leaves by path."""
    if weights_file.is_weights_file(init.run):
        for field, default in {"checkpoint": "latest", "optimizer": False}.items():
            if init[field] != default:
                raise errors.ConfigError(
                    f"init.{field} = {init[field]!r} with init.run = {init.run!r}, a file of the "
                    f"weights of one checkpoint; accepted: {default!r}, or a run directory"
                )
        stored = weights_file.read(init.run, networks, "init.run")
        return Path(init.run).absolute(), stored.step, stored.arrays
    run = open_run(init.run)
    with Checkpoints(RunDirectory(run.path).checkpoints, read_only=True) as checkpoints:
        paths = [f"networks/{name}/{part}" for name in networks for part in parts]
        restored = checkpoints.read(paths, choose_step(run.path, init.checkpoint))
    return run.path, restored.step, traverse_util.flatten_dict(restored.state, sep="/")


def _fitting(there: Arrays, here: Mapping[str, Any]) -> Arrays:
    """Return the arrays for a network's leaves: those of the same path, shape and dtype.

    If the other run has kept no averages, they start from its weights.
    """
    averaged = any(_part(name) == "ema" for name in there)
    sources = {name: name if averaged else _raw(name) for name in here}
    return {
        name: there[source]
        for name, source in sources.items()
        if source in there and leaf_of(there[source]) == leaf_of(here[name])
    }


def _misfits(there: Arrays, here: Mapping[str, Any], fitting: Arrays) -> list[str]:
    """Return, in words, what does not fit; an average is not listed beside its variable."""
    missing = [name for name in here if name not in fitting]
    missing = [name for name in missing if _raw(name) == name or _raw(name) not in missing]
    unused = [name for name in there if name not in here and _is_variable(name)]

    def words(leaves: Mapping[str, Any], name: str) -> str:
        return str(leaf_of(leaves[name])) if name in leaves else "none"

    return [
        f"{name.removeprefix('networks/')}: {words(there, name)} there, {words(here, name)} here"
        for name in (*missing, *unused)
    ]


def _leaves(training: build.Training) -> dict[str, Any]:
    """Return the leaves of a run's networks by path, without the counts of its schedules.

    The learning rates of a new run begin anew.
    """

    def is_schedule(x: Any) -> bool:
        return isinstance(x, optax.ScaleByScheduleState)

    networks = jax.tree.map(
        lambda x: None if is_schedule(x) else x,
        training.abstract_member.networks,
        is_leaf=is_schedule,
    )
    return {f"networks/{name}": leaf for name, leaf in named_leaves(networks).items()}


def _of_network(leaves: Mapping[str, Any], network: str) -> dict[str, Any]:
    return {name: x for name, x in leaves.items() if name.startswith(f"networks/{network}/")}


def _part(name: str) -> str:
    """Return the part of a network's state that a leaf belongs to."""
    return name.split("/")[2]


def _is_variable(name: str) -> bool:
    return _part(name) in ("params", "mutable")


def _raw(name: str) -> str:
    """Return the path of the variable that an average is of; that of other leaves is returned."""
    first, network, part, *rest = name.split("/")
    if part != "ema":
        return name
    return "/".join([first, network, *([] if rest[0] == "params" else ["mutable"]), *rest])
