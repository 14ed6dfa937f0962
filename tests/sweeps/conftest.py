"""Sweeps of the stand-in for training."""

import json
import sys

import pytest

from gan_jax.sweeps import definition, execution, record, space
from tests.experiments.program import REPO
from tests.sweeps import fake_config

PLAN = execution.Plan([sys.executable, "-m", "tests.sweeps.fake"], {"PYTHONPATH": str(REPO)})
CONFIG = REPO / "tests" / "sweeps" / "fake_config.py"


def make_sweep(define=None, *, seeds=None, search=None, **fields):
    """Return a sweep of the stand-in: a grid that ``define`` names, or a search."""
    config = fake_config.get_config()
    config.update_from_flattened_dict(fields)
    entries, plan = (), record.Search(seeds=seeds, metric="fid")
    if search is None:
        entries = tuple(map(record.Entry, definition.collect(define, config, fields, seeds)))
    else:
        parameters = space.collect(fake_config.search, config, fields)
        plan = record.Search(metric="fid", parameters=parameters, seeds=seeds, **search)
    return record.Sweep(
        config=str(CONFIG),
        common=json.loads(json.dumps(fields)),
        fields=json.loads(json.dumps(definition.leaves(config))),
        search=plan,
        entries=entries,
        cwd=str(REPO),
    )


@pytest.fixture
def folder(tmp_path):
    """Return a new sweep's directory."""
    return record.Folder(tmp_path / "sweep")


def devices(folder, name):
    """Return, for each start of a run, its platforms, its GPUs and its share of their memory."""
    file = folder.run(name) / "starts"
    return file.read_text().split() if file.exists() else []


def starts(folder, name):
    """Return how often a run was started."""
    return len(devices(folder, name))
