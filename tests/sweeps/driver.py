"""A sweep of the stand-in for training on Ray, in a process that a test can kill.

``python -m tests.sweeps.driver FOLDER SETTINGS``, settings being JSON.
"""

import dataclasses
import json
import sys
import threading
import time
from typing import Any

from gan_jax.sweeps import ray_tune, record, summary
from tests.sweeps.conftest import PLAN, make_sweep


def start_cluster(folder: record.Folder, names: list[str]) -> Any:
    """Start a cluster of two machines, and end the second when all runs have begun.

    The GPUs do not exist: Ray counts the given numbers.
    """
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "num_gpus": 2})
    second = cluster.add_node(num_cpus=4, num_gpus=1)

    def lose() -> None:
        while not all((folder.run(name) / "step").exists() for name in names):
            time.sleep(0.1)
        cluster.remove_node(second, allow_graceful=False)

    threading.Thread(target=lose, daemon=True).start()
    return cluster


def main(path: str, settings: str) -> None:
    """Run a sweep; print the outcome that the test checks as a last line."""
    given = json.loads(settings)
    folder = record.Folder(path)
    cluster = start_cluster(folder, list(given["runs"])) if given.get("cluster") else None

    def define(add):
        for name, overrides in given["runs"].items():
            add(name, **overrides)

    search = given.get("search")
    sweep = make_sweep(None if search else define, search=search, **given.get("common", {}))
    with folder.claim():
        sweep, _, _ = record.merge(folder.read(), sweep)
        folder.write(sweep)
        plan = dataclasses.replace(
            PLAN,
            num_parallel=given.get("num_parallel", 2),
            gpus=given.get("gpus"),
            cpus=0.5,
            retries=1,
            environment={**PLAN.environment, **given.get("environment", {})},
        )
        address = cluster.address if cluster else given.get("address")
        agenda, asked = ray_tune.run(sweep, folder, plan, address)
    states = {s.run.name: s.state for s in summary.look(agenda.sweep, folder)}
    if cluster:
        cluster.shutdown()
    print(json.dumps({"states": states, "asked": asked}))


if __name__ == "__main__":
    main(*sys.argv[1:])
