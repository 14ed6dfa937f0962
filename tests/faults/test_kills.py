"""A hundred times kill -9: nothing that was saved is lost, nothing is half written."""

import json

import pytest

from tests.experiments.program import succeeded
from tests.faults.kills import kill_often


@pytest.mark.slow
def test_twenty_five_kills_of_the_program(start, run, tmp_path):
    inside_saves = kill_often(start, run, tmp_path, kills=25, seed=2)
    assert inside_saves >= 5  # else this test has not tested what it is for


@pytest.mark.slow
def test_seventy_five_kills_of_what_saves(start, tmp_path):
    # A minute of a machine that has nothing else to do.
    ended = succeeded(start(tmp_path, "75", "3", module="tests.faults.saver").wait(600))
    found = json.loads(ended.out)
    assert found["wrong"] == []
    assert found["kills"] == 75
    assert found["saved"] > 75  # steps, of which every third is waited for
    assert found["inside"] >= 20
