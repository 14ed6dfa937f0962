"""Evaluation while a run trains: what is recorded, which checkpoint stays, when the alarm goes."""

import itertools
import json
import re
import signal

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.data import sources
from gan_jax.evaluation import best, evaluators, generative
from gan_jax.metrics import classifier
from gan_jax.report import evaluations
from gan_jax.runs import build, loop
from gan_jax.runs.run import open_run
from tests.evaluation.short_runs import points, rows, shorten_classifier
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("shared_steps")


@pytest.mark.slow
def test_a_run_is_evaluated_while_it_trains(tmp_path, capsys):
    config = points()
    config.train.steps = 5
    loop.train(config, tmp_path / "run")
    found = rows(tmp_path / "run")
    assert [row["step"] for row in found] == [2, 4, 5]
    assert found[0]["kimg"] == 2 * 16 / 1000
    assert 0 <= found[0]["modes"] <= 8
    assert 0 <= found[0]["high_quality"] <= 1
    assert found[0]["protocol"] == {
        "data": sources.make_source(config.data).fingerprint(),
        "n_real": 512,
        "n_fake": 100,
        "weights": "ema",
        "batch_norm": "none",
        "truncation": "none",
        "seed": 0,
        "seeds": 1,
        "constants": {"within_std": 3.0},
    }
    out = capsys.readouterr().out
    assert re.search(r"evaluation +every 2 steps: modes, high_quality", out)
    assert "evaluation of step 2: modes" in " ".join(out.split())
    # At the end, samples and real points at equal counts.
    table = out[out.index("generated") :].splitlines()
    assert table[0].split() == ["generated", "real"]
    assert table[1].split()[4:] == ["8", "±", "0"]
    assert table[3].startswith("100 of each against 100 others of ring")


def long_points():
    """Return a configuration of which the best checkpoint is kept, beside the newest."""
    config = points(best="high_quality")
    config.train.update(steps=8, keep_latest=1, checkpoint_every=2)
    return config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return an uninterrupted run of `long_points`."""
    path = tmp_path_factory.mktemp("whole")
    loop.train(long_points(), path)
    return path


@pytest.mark.slow
def test_the_evaluation_changes_nothing_of_the_training(tmp_path, whole):
    config = long_points()
    config.eval.every = 0
    loop.train(config, tmp_path / "without")
    ours, theirs = (open_run(path).state() for path in (whole, tmp_path / "without"))
    for a, b in zip(jax.tree.leaves(ours.networks), jax.tree.leaves(theirs.networks), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not (tmp_path / "without" / "eval.jsonl").exists()
    assert not (tmp_path / "without" / "best.json").exists()


@pytest.mark.slow
def test_a_run_on_several_devices_is_evaluated_alike(tmp_path):
    config = tiny.sgd(points())
    config.data.toy_noise = 0.3  # Wide modes, in which some points of any generator lie.
    loop.train(config, tmp_path / "one")
    config.num_devices = 4
    loop.train(config, tmp_path / "four")
    for one, four in zip(rows(tmp_path / "one"), rows(tmp_path / "four"), strict=True):
        assert one["protocol"] == four["protocol"]
        assert 0 < one["high_quality"] < 1
        assert four["high_quality"] == pytest.approx(one["high_quality"], abs=0.011)


def scripted(monkeypatch, values):
    """Let the evaluations of a run find given values of ``high_quality``, in their order."""
    queue = iter(values)

    def measure(self, variables, seed):
        return {"modes": 8.0, "high_quality": next(queue)}

    monkeypatch.setattr(generative.GenerativeEvaluator, "_measure", measure)


@pytest.mark.slow
def test_the_best_checkpoint_stays(tmp_path, monkeypatch):
    scripted(monkeypatch, [0.5, 0.9, 0.8, 0.7, 0.6, 0.5])
    config = points(best="high_quality")
    config.train.update(steps=12, keep_latest=1, checkpoint_every=3)
    loop.train(config, tmp_path)
    # Step 4 is no multiple of 3: it was saved because it was the best.
    assert open_run(tmp_path).steps == [4, 12]
    found = best.read(tmp_path)
    assert (found.step, found.metric, found.value) == (4, "high_quality", 0.9)
    assert open_run(tmp_path).state("best").step == 4


def test_a_signal_ends_an_evaluation_which_is_repeated(tmp_path, monkeypatch, whole):
    measure, count = generative.GenerativeEvaluator._measure, itertools.count(1)

    def interrupted(self, variables, seed):
        if next(count) == 2:
            signal.raise_signal(signal.SIGINT)
        return measure(self, variables, seed)

    monkeypatch.setattr(generative.GenerativeEvaluator, "_measure", interrupted)
    result = loop.train(long_points(), tmp_path)
    assert (result.state, result.step, result.reason) == ("preempted", 4, "SIGINT")
    assert [row["step"] for row in rows(tmp_path)] == [2]
    assert loop.train(long_points(), tmp_path).state == "done"
    assert rows(tmp_path) == rows(whole)
    assert best.read(tmp_path) == best.read(whole)
    assert tiny.bits(open_run(tmp_path).state()) == tiny.bits(open_run(whole).state())


@pytest.mark.slow
def test_the_evaluation_is_prepared_after_the_first_step(tmp_path, monkeypatch, capsys):
    make, shown = evaluators.make_evaluator, []

    def prepared(*arguments, **options):
        shown.append(capsys.readouterr().out)
        return make(*arguments, **options)

    monkeypatch.setattr(evaluators, "make_evaluator", prepared)
    config = points()
    loop.train(config, tmp_path)
    (before,) = shown
    assert re.search(r"step 1/6 .* img/s", before)
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6]
    signals = iter([signal.SIGINT])

    def interrupted(*arguments, **options):
        signal.raise_signal(next(signals))

    monkeypatch.setattr(evaluators, "make_evaluator", interrupted)
    result = loop.train(config, tmp_path / "stopped")
    assert (result.state, result.step) == ("preempted", 1)
    monkeypatch.setattr(evaluators, "make_evaluator", make)
    loop.train(config, tmp_path / "stopped")
    assert rows(tmp_path / "stopped") == rows(tmp_path)


def test_labels_are_counted_without_decoding_images(tmp_path, monkeypatch):
    for label, count in (("a", 3), ("b", 1)):
        (tmp_path / label).mkdir()
        for i in range(count):
            Image.new("L", (8, 8)).save(tmp_path / label / f"{i}.png")
    config = tiny.conditional_config()
    config.data.update(name="folder", path=str(tmp_path))
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    monkeypatch.setattr(type(source), "read", None)
    np.testing.assert_array_equal(generative._class_shares(game, source, None), [0.75, 0.25])


@pytest.mark.slow
def test_a_run_keeps_its_classifier(tmp_path, monkeypatch):
    config = tiny.image_config(critic_steps=1)
    config.num_devices = 1
    config.train.update(steps=2, log_every=2, checkpoint_every=2)
    config.eval.update(every=2, num_fake=40, num_real=40)
    shorten_classifier(monkeypatch, tmp_path / "cache", 2)
    loop.train(config, tmp_path / "run")
    # Another machine, or an empty cache.
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(classifier, "train_classifier", None)
    result = open_run(tmp_path / "run").evaluate()
    (row,) = rows(tmp_path / "run")
    assert result.protocol == row["protocol"]
    assert result.values["classifier_fid"] == pytest.approx(row["classifier_fid"], rel=1e-4)


class Killed(BaseException):
    """An end without notice."""


@pytest.mark.slow
@pytest.mark.parametrize("when", ["append", "keep", "write"])
def test_a_run_killed_around_an_evaluation_goes_on_as_if_not(tmp_path, monkeypatch, whole, when):
    calls = []
    place, name = {
        "append": (evaluations, "append"),  # measured, and not yet recorded
        "keep": (best.Judge, "add"),  # recorded, and not yet saved
        "write": (best.Judge, "write"),  # saved, and not yet known as the best
    }[when]
    original = getattr(place, name)

    def killed(*args, **options):
        calls.append(args)
        # The third evaluation; the record of the best is first written at some evaluation.
        if len(calls) == (1 if when == "write" else 3):
            if when == "keep":
                original(*args, **options)
            raise Killed
        return original(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(place, name, killed)
        with pytest.raises(Killed):
            loop.train(long_points(), tmp_path)
    loop.train(long_points(), tmp_path)
    assert rows(tmp_path) == rows(whole)
    assert best.read(tmp_path) == best.read(whole)
    assert open_run(tmp_path).steps == open_run(whole).steps


@pytest.mark.slow
def test_a_stopped_run_has_the_same_evaluations(tmp_path, monkeypatch, whole):
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 3)
        loop.train(long_points(), tmp_path)
    loop.train(long_points(), tmp_path)
    assert rows(tmp_path) == rows(whole)


@pytest.mark.slow
def test_an_alarm_is_reported_and_the_run_goes_on(tmp_path, monkeypatch, caplog):
    scripted(monkeypatch, [0.8, 0.1, 0.7])
    config = points(best="high_quality")
    assert loop.train(config, tmp_path).state == "done"
    assert "high_quality = 0.1 at step 4; its best was 0.8, at step 2" in caplog.text


@pytest.mark.slow
def test_an_alarm_can_end_the_run(tmp_path, monkeypatch):
    scripted(monkeypatch, [0.8, 0.1, 0.7])
    config = points(best="high_quality", on_alarm="stop")
    with pytest.raises(errors.DivergenceError, match=r"high_quality = 0\.1 at step 4"):
        loop.train(config, tmp_path)
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["state"] == "diverged"
    assert "at step 4" in status["reason"]
    assert [row["step"] for row in rows(tmp_path)] == [2, 4]
    assert best.read(tmp_path).step == 2


@pytest.mark.slow
def test_evaluation_settings_may_change_in_a_run(tmp_path, monkeypatch):
    config = points()
    config.train.steps = 4
    loop.train(config, tmp_path)
    config.train.steps = 6
    config.eval.update(num_fake=50, every=3)
    loop.train(config, tmp_path)
    assert [(row["step"], row["protocol"]["n_fake"]) for row in rows(tmp_path)] == [
        (2, 100),
        (4, 100),
        (6, 50),
    ]
    # What was measured otherwise is no best to compare with.
    assert best.read(tmp_path).step == 6


def impatient(patience):
    """Return a configuration of 12 steps that are evaluated at every second one."""
    config = points(best="high_quality", patience=patience)
    config.train.update(steps=12, checkpoint_every=3)
    return config


def test_a_run_ends_once_its_patience_is_exhausted(tmp_path, monkeypatch):
    # The best of step 4 has stood for 4 steps at step 8, which is no multiple of 3.
    scripted(monkeypatch, [0.5, 0.9, 0.8, 0.9, 0.95, 0.7])
    result = loop.train(impatient(4), tmp_path)
    assert (result.state, result.step) == ("done", 8)
    reason = "high_quality has not improved since step 4; eval.patience = 4"
    assert result.reason == reason
    status = json.loads((tmp_path / "status.json").read_text())
    assert (status["state"], status["reason"], status["step"]) == ("done", reason, 8)
    assert open_run(tmp_path).steps[-1] == 8
    assert best.read(tmp_path).step == 4

    # The same command trains no further; a larger patience does.
    assert loop.train(impatient(4), tmp_path).step == 8
    result = loop.train(impatient(5), tmp_path)
    assert (result.state, result.step, result.reason) == ("done", 12, "")
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6, 8, 10, 12]


@pytest.mark.slow
def test_a_stopped_run_ends_as_early(tmp_path, monkeypatch):
    values = [0.5, 0.9, 0.8, 0.7]
    scripted(monkeypatch, values)
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 7)
        assert loop.train(impatient(4), tmp_path).step == 7
    result = loop.train(impatient(4), tmp_path)
    assert (result.state, result.step) == ("done", 8)


def test_a_new_best_value_restores_the_patience(tmp_path, monkeypatch):
    scripted(monkeypatch, [0.5, 0.4, 0.6, 0.5, 0.7, 0.6])
    result = loop.train(impatient(4), tmp_path)
    assert (result.state, result.step, result.reason) == ("done", 12, "")


def test_patience_that_is_exhausted_at_the_last_step_ends_nothing_early(tmp_path, monkeypatch):
    scripted(monkeypatch, [0.5, 0.6, 0.7, 0.9, 0.8, 0.7])
    result = loop.train(impatient(4), tmp_path)
    assert (result.state, result.step, result.reason) == ("done", 12, "")


def test_replicas_end_when_the_patience_with_each_is_exhausted(tmp_path, monkeypatch):
    # Of two replicas: the first is at its best at step 2, the second at step 4.
    scripted(monkeypatch, [0.9, 0.5, 0.8, 0.6, 0.7, 0.5, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5])
    config = impatient(4)
    config.train.replicas = 2
    result = loop.train(config, tmp_path)
    assert (result.state, result.step) == ("done", 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"every": 0}, r"eval\.patience = 4; accepted: 0, with eval\.every = 0"),
        ({"patience": -1}, r"eval\.patience = -1; accepted: 0 or more"),
    ],
)
def test_patience_needs_evaluations(tmp_path, changes, message):
    config = impatient(4)
    config.eval.update(changes)
    with pytest.raises(errors.ConfigError, match=message):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
