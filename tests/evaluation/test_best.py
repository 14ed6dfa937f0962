"""Which checkpoint is the best, the alarm when samples get far worse, and early stopping."""

import json

import pytest

from gan_jax import errors
from gan_jax.evaluation import best
from gan_jax.evaluation.result import Result
from gan_jax.metrics import names
from gan_jax.report import evaluations
from gan_jax.training import parallel

FID = names.parse("fid", ("inception",))
RECALL = names.parse("recall", ("inception",))
PROTOCOL = {"n_fake": 8}


def judge(path, metric=FID, factor=4.0, patience=0, names=None):
    return best.Judge(path, metric, names or [metric.name], factor, patience, primary=True)


def result(value, name="fid", protocol=PROTOCOL):
    return Result({name: value}, {}, protocol)


def test_lower_is_better_for_distances_and_higher_for_shares(tmp_path):
    fid = judge(tmp_path)
    assert [fid.add(result(v), k, 0.0)[0] for k, v in enumerate([9.0, 7.0, 8.0, 7.0])] == [
        True,
        True,
        False,
        False,
    ]
    assert (fid.best.step, fid.best.value) == (1, 7.0)
    recall = judge(tmp_path, RECALL)
    found = [recall.add(result(v, "recall"), k, 0.0)[0] for k, v in enumerate([0.5, 0.4, 0.6])]
    assert found == [True, False, True]


def test_far_worse_than_the_best_is_an_alarm(tmp_path):
    fid = judge(tmp_path)
    assert fid.add(result(10.0), 100, 0.0) == (True, None)
    assert fid.add(result(39.0), 200, 0.0) == (False, None)
    better, alarm = fid.add(result(41.0), 300, 0.0)
    assert not better
    assert alarm == "fid = 41 at step 300; its best was 10, at step 100"
    recall = judge(tmp_path, RECALL)
    recall.add(result(0.8, "recall"), 100, 0.0)
    assert recall.add(result(0.21, "recall"), 200, 0.0)[1] is None
    assert "recall = 0.19" in recall.add(result(0.19, "recall"), 300, 0.0)[1]


@pytest.mark.parametrize("best_value", [-0.002, 0.0])
@pytest.mark.parametrize("metric", [FID, RECALL])
def test_a_best_value_that_is_not_positive_raises_no_alarm(tmp_path, metric, best_value):
    """KID and a ratio in dB can be negative, where a multiple of the best value is no worse."""
    worse = 0.001 if metric is FID else -0.005
    some = judge(tmp_path, metric)
    some.add(result(best_value, metric.name), 100, 0.0)
    assert some.add(result(worse, metric.name), 200, 0.0) == (False, None)


WAYS = ["fid", "fid_BtoA"]


def both_ways(first, second):
    return Result(dict(zip(WAYS, (first, second), strict=True)), {}, PROTOCOL)


def test_the_mean_of_all_directions_counts(tmp_path):
    fid = judge(tmp_path, patience=20, names=WAYS)
    assert fid.add(both_ways(5.0, 7.0), 10, 0.0) == (True, None)
    better, alarm = fid.add(both_ways(1.0, 60.0), 20, 0.0)
    assert not better
    assert alarm == "mean of fid and fid_BtoA = 30.5 at step 20; its best was 6, at step 10"
    assert fid.add(both_ways(4.0, 8.5), 30, 0.0) == (False, None)
    words = "mean of fid and fid_BtoA has not improved since step 10; eval.patience = 20"
    assert fid.exhausted == words
    assert fid.add(both_ways(9.0, 2.0), 40, 0.0) == (True, None)
    assert (fid.best.metric, fid.best.value) == ("mean of fid and fid_BtoA", 5.5)


def test_a_run_whose_best_was_chosen_by_one_direction_goes_on_by_the_mean(tmp_path):
    old = judge(tmp_path)
    for step, values in enumerate([(5.0, 5.0), (1.0, 20.0), (4.0, 8.0)]):
        old.add(both_ways(*values), step, 0.0)
    old.write()
    assert best.read(tmp_path).step == 1
    recorded(tmp_path, (3, 0.5, PROTOCOL))  # Of one direction alone.
    rows = evaluations.read(tmp_path / "eval.jsonl")
    new = judge(tmp_path, names=WAYS)
    # The checkpoint of step 0 is gone.
    assert new.resume(PROTOCOL, 2, [1, 2, 3])
    assert not judge(tmp_path, names=WAYS).resume(PROTOCOL, 3, [1, 2, 3])
    new.write()
    assert best.read(tmp_path) == best.Best(2, "mean of fid and fid_BtoA", 6.0, PROTOCOL)
    assert evaluations.read(tmp_path / "eval.jsonl") == rows


def test_every_evaluation_is_recorded(tmp_path):
    fid = judge(tmp_path)
    fid.add(Result({"fid": 9.0}, {"fid": 0.5}, PROTOCOL), 100, 6.4)
    assert evaluations.read(tmp_path / "eval.jsonl") == [
        {"step": 100, "kimg": 6.4, "fid": 9.0, "fid_std": 0.5, "protocol": PROTOCOL}
    ]


def recorded(path, *rows):
    for step, value, protocol in rows:
        evaluations.append(
            path / "eval.jsonl", {"step": step, "kimg": 0.0, "fid": value, "protocol": protocol}
        )


def test_a_run_that_goes_on_knows_its_best(tmp_path):
    recorded(tmp_path, (1, 9.0, PROTOCOL), (2, 5.0, PROTOCOL), (3, 7.0, PROTOCOL))
    fid = judge(tmp_path)
    assert fid.resume(PROTOCOL, 3, [2, 3])
    assert (fid.best.step, fid.best.value) == (2, 5.0)


def test_patience_counts_train_steps_from_the_best(tmp_path):
    fid = judge(tmp_path, patience=20)
    found = []
    for step, value in (
        (10, 9.0),
        (20, 9.5),
        (25, 8.0),
        (35, 9.0),
        (44, 8.5),
        (45, 8.0),
        (46, 7.0),
    ):
        fid.add(result(value), step, 0.0)
        found.append(bool(fid.exhausted))
    assert found == [False, False, False, False, False, True, False]
    again = judge(tmp_path, patience=20)
    assert again.resume(PROTOCOL, 45, [25, 45])
    assert again.exhausted == "fid has not improved since step 25; eval.patience = 20"
    patient = judge(tmp_path)
    patient.resume(PROTOCOL, 45, [25, 45])
    assert not patient.exhausted


def test_all_processes_decide_as_process_0_does(tmp_path, monkeypatch):
    # This process measures the values beside those of process 0, which differ in the last digits.
    pairs = [(8.0, 8.0), (8.0 - 1e-6, 8.0 + 1e-6), (8.0 + 2e-6, 8.0 + 2e-6)]
    first = judge(tmp_path, patience=20)
    decisions = []
    for step, (value, _) in zip((10, 20, 30), pairs, strict=True):
        better, _ = first.add(result(value), step, 0.0)
        decisions += [False, better, bool(first.exhausted)]
    answers = iter(decisions)
    monkeypatch.setattr(parallel.jax, "process_count", lambda: 2)
    monkeypatch.setattr(parallel.multihost_utils, "broadcast_one_to_all", lambda x: next(answers))
    other = best.Judge(tmp_path, FID, ["fid"], 4.0, 20, primary=False)
    for step, (_, value) in zip((10, 20, 30), pairs, strict=True):
        other.add(result(value), step, 0.0)
    # By its own values it would have ended at step 30.
    assert (other.best.step, other.exhausted) == (20, "")
    assert next(answers, None) is None


def test_what_a_killed_process_did_later_does_not_count(tmp_path):
    recorded(tmp_path, (1, 9.0, PROTOCOL), (3, 5.0, PROTOCOL))
    fid = judge(tmp_path)
    assert not fid.resume(PROTOCOL, 2, [1, 2])
    assert fid.best.step == 1


def test_numbers_of_another_protocol_or_without_a_checkpoint_do_not_count(tmp_path):
    recorded(tmp_path, (1, 3.0, {"n_fake": 9}), (2, 4.0, PROTOCOL), (3, 6.0, PROTOCOL))
    fid = judge(tmp_path)
    assert fid.resume(PROTOCOL, 3, [1, 3])
    assert fid.best.step == 3


def test_the_record_of_the_best_is_read_back(tmp_path):
    assert best.read(tmp_path) is None
    fid = judge(tmp_path)
    fid.add(result(9.0), 100, 0.0)
    fid.write()
    assert best.read(tmp_path) == fid.best
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 100
    (tmp_path / "best.json").write_text("{")
    with pytest.raises(errors.WorkdirError, match=r"best\.json is damaged"):
        best.read(tmp_path)
