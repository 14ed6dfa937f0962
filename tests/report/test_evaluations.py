import errno
import json
import multiprocessing

import pytest

from gan_jax import errors
from gan_jax.report import evaluations

ROW = {"step": 3, "kimg": 0.5, "fid": 12.5, "protocol": {"n_fake": 10}}


def test_rows_come_back_in_their_order(tmp_path):
    path = tmp_path / "eval.jsonl"
    assert evaluations.read(path) == []
    other = {**ROW, "step": 4}
    assert evaluations.append(path, ROW)
    assert evaluations.append(path, other)
    assert evaluations.read(path) == [ROW, other]


def test_the_very_same_row_is_there_once(tmp_path):
    path = tmp_path / "eval.jsonl"
    evaluations.append(path, ROW)
    assert not evaluations.append(path, ROW)
    assert evaluations.append(path, {**ROW, "fid": 12.6})
    assert len(evaluations.read(path)) == 2


def test_a_row_that_a_crash_cut_off_takes_no_other_with_it(tmp_path):
    path = tmp_path / "eval.jsonl"
    evaluations.append(path, ROW)
    with path.open("a") as file:
        file.write('{"step": 4, "fi')
    assert evaluations.read(path) == [ROW]
    later = {**ROW, "step": 5}
    evaluations.append(path, later)
    assert evaluations.read(path) == [ROW, later]


def test_what_is_not_finite_cannot_be_recorded(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        evaluations.append(tmp_path / "eval.jsonl", {**ROW, "fid": float("nan")})
    assert not (tmp_path / "eval.jsonl").exists()


def _append_many(path, first):
    for step in range(first, first + 50):
        evaluations.append(path, {**ROW, "step": step})


def test_processes_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "eval.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append_many, args=(path, k)) for k in (0, 50)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(row["step"] for row in evaluations.read(path)) == list(range(100))
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    with pytest.raises(errors.WorkdirError, match="Cannot write"):
        evaluations.append(tmp_path / "missing" / "eval.jsonl", ROW)


def test_a_full_disk_is_reported_with_what_to_do(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(evaluations.os, "fsync", fail)
    with pytest.raises(errors.WorkdirError, match=r"eval\.jsonl: No space left .*free space"):
        evaluations.append(tmp_path / "eval.jsonl", ROW)


def test_values_of_directions_belong_to_their_metric():
    row = {
        "fid": 1.0,
        "psnr_y": 2.0,
        "psnr_first": 3.0,
        "attributes_held_out": 4.0,
        "kid768_BtoA": 6.0,
        "kid768": 5.0,
        "kid768_BtoA_std": 7.0,
    }
    found = evaluations.by_metric(row)
    assert found.pop("kid768") == ["kid768_BtoA", "kid768"]
    assert found == {name: [name] for name in row if name not in ("kid768", "kid768_BtoA")}


def test_an_evaluation_is_ranked_by_the_mean_of_its_directions():
    names = ["fid", "fid_BtoA"]
    assert evaluations.mean({"fid": 1.0, "kid": 9.0, "fid_BtoA": 4.0}, names) == 2.5
    assert evaluations.mean({"fid": 1.0, "kid": 9.0}, names) is None
    assert evaluations.mean({"fid": 1.0, "fid_BtoA": 4.0}, ["fid"]) == 1.0
    assert evaluations.mean_words(names) == "mean of fid and fid_BtoA"
    assert evaluations.mean_words(["fid"]) == "fid"


def test_the_table_shows_values_with_their_deviations(capsys):
    evaluations.table(
        [("generated", {"fid": 12.3456, "recall": 0.5}, {"fid": 0.25}), ("real", {"fid": 1.0}, {})],
        note="how it was measured: digits:train:1500 [bold]",
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["generated", "real"]
    assert lines[1].split() == ["fid", "12.35", "±", "0.25", "1"]
    assert lines[2].split() == ["recall", "0.5"]
    assert lines[3] == "how it was measured: digits:train:1500 [bold]"
