"""What a sweep's directory remembers, and how a later definition goes on with it."""

import dataclasses
import os
import socket

import pytest

from gan_jax import errors
from gan_jax.sweeps import record
from tests.sweeps import fake_config
from tests.sweeps.conftest import make_sweep


def names(sweep):
    return [run.name for run in sweep.runs]


def grid(*rates, **fields):
    return make_sweep(lambda add: [add(f"r{rate}", rate=rate) for rate in rates], **fields)


def test_a_record_is_read_as_it_was_written(folder):
    assert folder.read() is None
    for sweep in (
        make_sweep(lambda add: fake_config.sweep(add, ""), policy=("a", "b")).stopping(
            "rate=0.1_seed=0"
        ),
        make_sweep(search={"method": "tpe", "num_samples": 3}, seeds=2),
    ):
        folder.write(sweep)
        assert folder.read() == sweep


def test_a_damaged_record_is_reported(folder):
    folder.write(grid(0.1))
    file = folder.path / record.FILE
    file.write_text(file.read_text()[:50])
    with pytest.raises(errors.WorkdirError, match=r"sweep\.json is not a record of a sweep"):
        folder.read()


def test_runs_are_added_and_vanished_ones_keep_their_number():
    merged, added, vanished = record.merge(grid(0.1, 0.2, 0.3), grid(0.3, 0.4, 0.1))
    assert (added, vanished) == (["r0.4"], ["r0.2"])
    assert [entry.run.name for entry in merged.entries] == ["r0.1", "r0.2", "r0.3", "r0.4"]
    assert names(merged) == ["r0.1", "r0.3", "r0.4"]
    back, added, vanished = record.merge(merged, grid(0.2))
    assert (added, vanished) == ([], ["r0.1", "r0.3", "r0.4"])
    assert names(back) == ["r0.2"]


def test_what_the_search_has_stopped_stays_stopped():
    old = make_sweep(search={"method": "asha", "num_samples": 2})
    run = record.Run("trial-0000", "trial-0000", {"rate": 0.5, "flip": True})
    old = old.adding([run]).stopping("trial-0000")
    new = make_sweep(search={"method": "asha", "num_samples": 5})
    merged, _, _ = record.merge(old, new)
    assert merged.search.num_samples == 5  # A search may be made longer.
    assert merged.entries == (record.Entry(run, stopped=True),)


def test_other_common_overrides_are_refused_with_a_list():
    with pytest.raises(errors.SweepError) as error:
        record.merge(grid(0.1), grid(0.1, mode="fails", clip=2.0))
    assert "clip: None there, 2.0 now; mode: 'good' there, 'fails' now" in str(error.value)
    # What changes nothing of what is trained may change.
    new = grid(0.1, **{"train.log_every": 7})
    merged, _, _ = record.merge(grid(0.1), new, ["train.log_every"])
    assert merged.common == {"train.log_every": 7}


def test_a_long_list_of_differences_is_cut():
    old = grid(0.1)
    fields = {**old.fields, **{f"field{i}": i for i in range(30)}}
    with pytest.raises(errors.SweepError, match="; and 20 more"):
        record.merge(dataclasses.replace(old, fields=fields), old)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ({"method": "random", "num_samples": 3}, "--search: 'tpe' there, 'random' now"),
        ({"method": "tpe", "num_samples": 3, "seed": 1}, "--search-seed: 0 there, 1 now"),
    ],
)
def test_another_search_is_refused(new, message):
    old = make_sweep(search={"method": "tpe", "num_samples": 3})
    with pytest.raises(errors.SweepError) as error:
        record.merge(old, make_sweep(search=new))
    assert message in str(error.value)


def test_another_space_is_refused():
    old = make_sweep(search={"method": "tpe", "num_samples": 3})
    fewer = dataclasses.replace(old.search, parameters=old.search.parameters[:1])
    with pytest.raises(errors.SweepError, match="search of flip: Parameter"):
        record.merge(old, dataclasses.replace(old, search=fewer))


def test_a_name_keeps_its_overrides():
    with pytest.raises(errors.SweepError, match='the run "a" has other overrides now'):
        record.merge(
            make_sweep(lambda add: add("a", rate=0.1)), make_sweep(lambda add: add("a", rate=0.2))
        )


def test_one_sweep_holds_the_directory_and_single_runs_share_it(folder):
    with folder.claim():
        holder = f"process {os.getpid()} on {socket.gethostname()}"
        for shared in (False, True):
            with pytest.raises(errors.WorkdirError, match=f"in use by {holder}"):
                folder.claim(shared=shared).__enter__()
    alone = folder.claim()
    refused = pytest.raises(errors.WorkdirError, match=r"single runs of it \(--only\)")
    with folder.claim(shared=True), folder.claim(shared=True), refused:
        alone.__enter__()
    with folder.claim():
        pass


def test_a_directory_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.WorkdirError, match="cannot be written to: Not a directory"):
        record.Folder(tmp_path / "file" / "sweep").claim().__enter__()


def test_a_request_reaches_whoever_asks(folder):
    assert not folder.asked_to_stop()
    folder.ask(stop=True)
    assert record.Folder(folder.path).asked_to_stop()
    folder.ask(stop=False)
    assert not folder.asked_to_stop()
