"""kill -9 at random moments: nothing that was saved is lost, nothing is half written."""

import json

import pytest

from tests.experiments.program import succeeded
from tests.faults.kills import kill_often


@pytest.mark.slow
@pytest.mark.exhaustive  # test_stops.py kills three times.
def test_twenty_five_kills_of_the_program(start, tmp_path):
    inside_saves = kill_often(start, tmp_path, kills=25, seed=2)
    assert inside_saves >= 5  # else this test has not tested what it is for


@pytest.mark.slow
@pytest.mark.parametrize("kills", [7, pytest.param(75, marks=pytest.mark.exhaustive)])
def test_kills_of_what_saves(kills, start, tmp_path):
    # 75 kills take a minute of a machine that has nothing else to do.
    ended = succeeded(start(tmp_path, str(kills), "3", module="tests.faults.saver").wait(600))
    found = json.loads(ended.out)
    assert found["wrong"] == []
    assert found["kills"] == kills
    assert found["saved"] > kills  # steps, of which every third is waited for
    assert found["inside"] >= kills // 4
