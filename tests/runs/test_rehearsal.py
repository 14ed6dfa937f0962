"""Dry runs: the time, the size and the preview that they give are those of the run."""

import contextlib
import itertools
import re
from unittest import mock

import jax
import numpy as np
import pytest

from gan_jax import errors
from gan_jax.augment import DiffAugment
from gan_jax.runs import build, fitting, loop, plan, rehearsal, replicas
from gan_jax.training import parallel
from tests.training import tiny


def planned(config, tmp_path, capsys, **shown):
    """Return what a dry run prints, in one line."""
    loop.train(config, tmp_path / "run", dry_run=rehearsal.DryRun(**shown))
    assert not (tmp_path / "run").exists()
    return " ".join(capsys.readouterr().out.split())


class Compiled:
    def memory_analysis(self):
        return None


@pytest.fixture
def uncompiled(monkeypatch):
    """Let dry runs neither compile the train step nor time it."""
    monkeypatch.setattr(build.Training, "lower_step", lambda *_: lambda: Compiled())
    monkeypatch.setattr(build.Training, "init_state", lambda _: None)
    monkeypatch.setattr(rehearsal, "_seconds_per_call", lambda *_: 0.5)


def test_memory_counts_donated_arrays_once():
    analysis = mock.Mock(
        argument_size_in_bytes=5 * 2**20,
        output_size_in_bytes=4 * 2**20,
        alias_size_in_bytes=3 * 2**20,
        temp_size_in_bytes=2**30,
    )
    compiled = mock.Mock(memory_analysis=lambda: analysis)
    assert plan.memory_rows(compiled) == [("memory", "1,030 MiB per device")]
    assert plan.memory_rows(Compiled()) == []


def image_config(**fields):
    config = tiny.image_config()
    for name, value in fields.items():
        config.data[name] = value
    return config


@pytest.mark.parametrize(("per_call", "stages"), [(1, 1), (5, 1), (1, 3)])
def test_the_time_is_that_of_all_steps(uncompiled, tmp_path, capsys, monkeypatch, per_call, stages):
    config = tiny.point_config()
    config.train.update(steps=7200, steps_per_call=per_call, batch_size=8)
    config.train.update(log_every=7200, sample_every=7200, checkpoint_every=7200)
    monkeypatch.setattr(rehearsal, "_seconds_per_call", lambda *_: 0.5 * per_call)
    if stages > 1:
        game = build.make_game(config, fitting.fitted(config)[1].spec)
        monkeypatch.setattr(type(game), "stages", tuple(range(stages)))
    out = planned(config, tmp_path, capsys)
    of = " of the first of 3 stages" if stages > 1 else ""
    assert f"time 1 h at 500 ms per train step{of} (16 examples per second)" in out


def test_steps_before_the_discriminator_plays_are_timed_apart(
    uncompiled, tmp_path, capsys, monkeypatch
):
    config = tiny.paired_config()
    config.game.paired.content_steps = 3600
    config.train.update(steps=7200, log_every=7200, sample_every=7200, checkpoint_every=7200)
    monkeypatch.setattr(rehearsal, "_seconds_per_call", lambda *given: 0.5 if given[2] else 0.25)
    out = planned(config, tmp_path, capsys)
    assert "time 45 min at 250 ms per train step, 500 ms from step 3,600 on (" in out


def test_steps_are_timed_without_the_first_one(monkeypatch):
    config = tiny.point_config()
    config.num_devices = 1
    config, source = fitting.fitted(config)
    training = build.make_training(config, source.spec)
    pipeline = replicas.make_pipeline(config, training, source)
    training.lower_step(pipeline)()
    clock = iter(np.cumsum([0, 100, 0, 4, 0, 1, 0, 2, 0, 3, 0]).tolist())  # Start, end, start, ...
    monkeypatch.setattr(rehearsal.time, "perf_counter", lambda: next(clock))
    # The first call takes 100 s; three others are the least, and take more than three seconds.
    made = []
    make = type(training.parallel).__call__
    monkeypatch.setattr(
        type(training.parallel),
        "__call__",
        lambda step, state, *rest: made.append(int(state.step)) or make(step, state, *rest),
    )
    assert rehearsal._seconds_per_call(training, pipeline, 70) == 2
    assert made == [70, 71, 72, 73]


def test_processes_call_the_step_equally_often(monkeypatch):
    """Each has a clock of its own, and would wait forever for the other's last call."""
    decisions = iter([1, 1, 1, 1, 1, 1, 0])
    monkeypatch.setattr(parallel.jax, "process_count", lambda: 2)
    monkeypatch.setattr(
        parallel.multihost_utils, "broadcast_one_to_all", lambda own: next(decisions)
    )
    training = mock.Mock(parallel=mock.Mock(side_effect=lambda state, *_: (state, {})))
    pipeline = mock.Mock(batches=lambda first: contextlib.nullcontext(itertools.repeat({})))
    training.init_state().step = 0
    rehearsal._seconds_per_call(training, pipeline)
    assert training.parallel.call_count == 6


def test_the_size_is_that_of_the_checkpoints_that_are_kept(tmp_path, capsys):
    config = tiny.image_config()
    config.train.update(steps=4, checkpoint_every=1, keep_latest=2, keep_every=2)
    config.eval.every = 0
    config.num_devices = 1
    out = planned(config, tmp_path, capsys)
    found = re.search(r"disk ([\d.]+ MiB) per checkpoint, of which up to (\d+) are kept", out)
    size, kept = found.groups()
    loop.train(config, tmp_path / "real")
    steps = [path for path in (tmp_path / "real" / "checkpoints").iterdir() if path.name.isdigit()]
    # Steps 2 and 4 stay forever; 3 and 4 are the latest.
    assert int(kept) == len(steps) == 3
    state = build.make_training(config, fitting.fitted(config)[1].spec).abstract_state
    exact = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)) / 2**20
    assert size == f"{exact:.1f} MiB"


def test_a_preview_shows_images_as_they_are_mirrored(tmp_path):
    pictures = []
    for flip in (False, True):
        config, source = fitting.fitted(image_config(flip=flip))
        training = build.make_training(config, source.spec)
        pictures.append(rehearsal.previews(config, training, source)["image"])
    plain, mirrored = (
        picture[2:34, 2:274].reshape(32, 8, 34, 1)[:, :, :32] for picture in pictures
    )
    same = (plain == mirrored).all((0, 2, 3))
    turned = (plain[:, :, ::-1] == mirrored).all((0, 2, 3))
    assert (same | turned).all()
    assert same.any()
    assert turned.any()


def test_a_preview_has_the_augmentations_of_the_game(tmp_path):
    config, source = fitting.fitted(image_config(flip=False))
    plain = rehearsal.previews(config, build.make_training(config, source.spec), source)["image"]
    config.augment.diffaug.policy = ("translation",)
    training = build.make_training(config, source.spec)
    assert any(isinstance(one, DiffAugment) for one in training.game.augment.values())
    moved = rehearsal.previews(config, training, source)["image"]
    assert moved.shape == plain.shape
    assert (moved != plain).any()


def test_pairs_have_two_previews(uncompiled, tmp_path, capsys):
    out = planned(tiny.cycle_config(), tmp_path, capsys, preview=tmp_path / "seen.png")
    # A run without a penalty has no words on it.
    assert "variant cyclegan: least_squares loss data digits+digits: " in out
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["seen_a.png", "seen_b.png"]


def test_a_preview_of_text_is_refused(tmp_path, capsys):
    message = (
        "--preview, but the data are of kind 'text'; accepted: data that are shown as pictures"
    )
    with pytest.raises(errors.ConfigError, match=message):
        planned(tiny.text_config(), tmp_path, capsys, preview=tmp_path / "seen.png")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.2, "1 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (90_061, "1 d 1 h")],
)
def test_durations_have_two_units(seconds, expected):
    assert rehearsal.words(seconds) == expected
