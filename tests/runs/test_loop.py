"""Whole runs: what they write, how they stop, and that they go on as if they never had."""

import errno
import gc
import json
import os
import shutil
import threading

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax import errors
from gan_jax.data import spec as specs
from gan_jax.report import writers
from gan_jax.runs import (
    build,
    checkpoint,
    fitting,
    loop,
    pictures,
    plan,
    recording,
    rehearsal,
    replicas,
    run_directory,
)
from gan_jax.runs.config import chosen
from gan_jax.runs.run import open_run
from gan_jax.training import parallel, step
from tests.experiments import program
from tests.training import tiny

pytestmark = pytest.mark.usefixtures("shared_steps")


def status(path):
    return json.loads((path / "status.json").read_text())


def rows(path):
    return writers.read_rows(path / writers.METRICS)


def final(path, **arguments):
    """Return every leaf of the newest state of a run, by name, as bytes."""
    return tiny.bits(open_run(path).state(**arguments))


def configuration(kind):
    if kind == "image":
        config = tiny.image_config(critic_steps=1)
        config.discriminator.dcgan.normalization = "spectral"
        config.data.flip = True
    else:
        config = tiny.point_config()
    if kind == "streamed":
        config.data.update(device_cache_gib=0.0, workers=0)
    config.train.update(log_every=3, checkpoint_every=100, sample_every=100)
    config.num_devices = 1
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return a finished run of the resident configuration; to be copied, not changed."""
    path = tmp_path_factory.mktemp("finished") / "run"
    loop.train(configuration("resident"), path)
    return path


@pytest.fixture
def copied(finished, tmp_path):
    """Return a copy of the finished run."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.core
@pytest.mark.parametrize(
    ("kind", "steps_per_call"),
    [
        pytest.param("resident", 2, marks=pytest.mark.slow),
        ("streamed", 1),
        pytest.param("image", 1, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(kind, steps_per_call, tmp_path, monkeypatch):
    config = configuration(kind)
    config.train.update(steps=8, steps_per_call=steps_per_call, log_every=6)
    assert loop.train(config, tmp_path / "whole").state == "done"

    tiny.stop_at(monkeypatch, 4 // steps_per_call)  # between two log steps
    result = loop.train(config, tmp_path / "parts")
    assert (result.state, result.step, result.reason) == ("preempted", 4, "SIGTERM")
    assert status(tmp_path / "parts")["state"] == "preempted"
    tiny.stop_at(monkeypatch, None)
    assert loop.train(config, tmp_path / "parts").state == "done"

    whole, parts = final(tmp_path / "whole"), final(tmp_path / "parts")
    assert kind != "image" or any("spectral" in name for name in whole)
    assert whole.keys() == parts.keys()
    assert [name for name in whole if whole[name] != parts[name]] == []
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    # The files' texts name their run.
    drawn = [Image.open(tmp_path / run / "samples/00000008.png") for run in ("whole", "parts")]
    np.testing.assert_array_equal(*map(np.asarray, drawn))


@pytest.mark.slow
def test_a_run_killed_between_checkpoints_repeats_only_the_lost_steps(tmp_path, monkeypatch):
    config = configuration("resident")
    config.train.checkpoint_every = 3
    loop.train(config, tmp_path / "whole")

    class Killed(BaseException):
        pass

    tiny.stop_at(monkeypatch, 5, Killed())
    with pytest.raises(Killed):
        loop.train(config, tmp_path / "parts")
    assert status(tmp_path / "parts")["state"] == "failed"
    tiny.stop_at(monkeypatch, None)
    loop.train(config, tmp_path / "parts")
    assert final(tmp_path / "whole") == final(tmp_path / "parts")
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")


@pytest.mark.slow
def test_a_run_moves_to_another_number_of_devices(tmp_path, monkeypatch):
    config = tiny.sgd(configuration("resident"))
    loop.train(config, tmp_path / "one")
    config.num_devices = 8
    tiny.stop_at(monkeypatch, 3)
    loop.train(config, tmp_path / "moved")
    tiny.stop_at(monkeypatch, None)
    config.num_devices = 2
    loop.train(config, tmp_path / "moved")
    one = open_run(tmp_path / "one").state().networks
    moved = open_run(tmp_path / "moved").state().networks
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(moved), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_the_run_directory_records_everything(tmp_path):
    config = tiny.image_config(critic_steps=1)
    config.train.update(steps=4, log_every=2, sample_every=2, checkpoint_every=2)
    loop.train(config, tmp_path)
    written = run_directory.RunDirectory(tmp_path).read_config().to_dict()
    assert written == json.loads(json.dumps(chosen(config).to_dict()))
    # All groups, but of their alternatives only the one chosen.
    assert written.keys() == set(config.keys())
    assert written["loss"] == {"name": "wasserstein"}
    shared = {"name", "weight", "every", "end_factor", "decay_steps"}
    assert written["penalty"].keys() == shared | {"wgan_gp"}
    assert written["generator"]["dcgan"] == json.loads(json.dumps(config.generator.dcgan.to_dict()))
    assert not {"mlp", "resnet"} & written["generator"].keys()
    data = json.loads((tmp_path / "data.json").read_text())
    assert (data["name"], data["size"]) == ("digits", 1500)
    assert specs.from_json(data["spec"]) == specs.images((8, 8, 1), 10)
    logged = rows(tmp_path)
    assert [row["step"] for row in logged] == [2, 4]
    assert logged[1]["kimg"] == pytest.approx(4 * 16 / 1000)
    for name in ("discriminator/loss", "discriminator/penalty", "generator/learning_rate"):
        assert np.isfinite(logged[1][name])
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        "00000000.png",
        "00000002.png",
        "00000004.png",
    ]
    # 16 tiles of 8x8, magnified to 32, in a square with lines of 2.
    with Image.open(tmp_path / "samples/00000004.png") as picture:
        assert picture.size == (4 * 34 + 2, 4 * 34 + 2)
    assert list((tmp_path / "tensorboard").iterdir())
    assert len(json.loads((tmp_path / "environment.json").read_text())) == 1
    ended = status(tmp_path)
    assert (ended["state"], ended["step"], ended["total_steps"]) == ("done", 4, 4)
    (start,) = json.loads((tmp_path / "environment.json").read_text())
    # Both to the second; the directory is ours before its environment is recorded.
    assert ended["started"] <= start["time"] <= ended["updated"]


@pytest.mark.slow
def test_a_finished_run_started_again_does_nothing(copied):
    before, logged = final(copied), rows(copied)
    result = loop.train(configuration("resident"), copied)
    assert (result.state, result.step) == ("done", 6)
    assert (final(copied), rows(copied)) == (before, logged)


def refused(config, path, error, match):
    """Expect that a run is refused and stays as it is, byte for byte; return the message."""
    before = program.files(path)
    with pytest.raises(error, match=match) as caught:
        loop.train(config, path)
    after = program.files(path)
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert [name for name in changed if name.name != ".lock"] == []
    return str(caught.value)


def test_another_configuration_is_refused_with_the_fields_that_differ(copied):
    config = configuration("resident")
    config.loss.name = "hinge"
    config.train.batch_size = 8
    config.train.log_every = 1  # may change: it decides what is shown, not what is computed
    match = "loss.name: 'non_saturating' there, 'hinge' now; train.batch_size: 16 there, 8 now"
    assert "log_every" not in refused(config, copied, errors.WorkdirError, match)


def test_a_field_that_is_newer_than_a_run_has_its_default_there(copied):
    file = copied / "config.json"
    saved = json.loads(file.read_text())
    del saved["init"], saved["data"]["toy_noise"], saved["optimizer"]["generator"]["freeze"]
    file.write_text(json.dumps(saved))
    config = configuration("resident")
    assert open_run(copied).config.data.toy_noise == 0.02
    config.data.toy_noise = 0.03
    refused(config, copied, errors.WorkdirError, r"data.toy_noise: 0.02 there, 0.03 now")
    config.data.toy_noise = 0.02
    assert loop.train(config, copied).state == "done"


@pytest.mark.slow
def test_a_start_that_failed_does_not_fix_the_configuration(tmp_path, monkeypatch):
    config = configuration("resident")
    with monkeypatch.context() as patched:
        patched.delattr(loop.plan, "show")
        with pytest.raises(AttributeError):
            loop.train(config, tmp_path)
    assert status(tmp_path)["state"] == "failed"
    config.train.update(batch_size=8, steps=1)
    assert loop.train(config, tmp_path).step == 1
    assert json.loads((tmp_path / "config.json").read_text())["train"]["batch_size"] == 8
    config.train.batch_size = 16
    refused(config, tmp_path, errors.WorkdirError, "train.batch_size: 8 there, 16 now")


def test_what_a_start_needs_is_traced_once_while_other_programs_compile(
    tmp_path, monkeypatch, capsys
):
    traced, lowered, shown, came = [], threading.Event(), threading.Event(), []

    def watch(module, name, seen):
        original = getattr(module, name)

        def watched(*arguments, **options):
            seen()
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, watched)

    def delay(module, name, event):
        """Let what a function lowers wait, before it is compiled, for what is done beside it."""
        lower = getattr(module, name)

        def delayed(*arguments, **options):
            compiled = lower(*arguments, **options)
            return lambda: (came.append(event.wait(30)), compiled())[1]

        monkeypatch.setattr(module, name, delayed)

    watch(step, "init_state", lambda: traced.append("state"))
    watch(parallel, "_several_steps", lambda: traced.append(("step", gc.isenabled())))
    delay(parallel.Parallel, "lower_init", lowered)
    delay(parallel.Parallel, "lower", shown)
    watch(parallel.Parallel, "lower", lowered.set)
    watch(plan, "show", shown.set)
    config = configuration("resident")
    config.train.update(steps=1, seed=5)
    loop.train(config, tmp_path)
    assert traced == ["state", ("step", False)]
    assert came == [True, True]
    assert gc.isenabled()
    # The plan is shown meanwhile, and its last row when the step has been compiled.
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[0] != " "]
    lines = [word for word in lines if word != "compiling"]
    assert lines[-6:-1] == ["devices", "discriminator", "generator", "memory", "step"]


def test_the_first_picture_is_of_the_state_before_the_first_step(tmp_path, monkeypatch):
    """It is drawn after that step, which takes the arrays of the state for its own."""
    draw, call, done = recording.Recorder.draw, parallel.Parallel.__call__, []

    def drawing(self, step, *arguments):
        done.append(step)
        draw(self, step, *arguments)

    def calling(self, *arguments):
        done.append("call")
        return call(self, *arguments)

    monkeypatch.setattr(recording.Recorder, "draw", drawing)
    monkeypatch.setattr(parallel.Parallel, "__call__", calling)
    config = configuration("image")
    config.train.update(steps=2, sample_every=2, checkpoint_every=1)
    config.optimizer.generator.learning_rate = 0.1
    loop.train(config, tmp_path)
    drawn = [tmp_path / f"samples/{step:08d}.png" for step in (0, 2)]
    assert done == ["call", 0, "call", 2]
    config, source = fitting.fitted(config)
    training = build.make_training(config, source.spec)
    pipeline = replicas.make_pipeline(config, training, source)
    expected = pictures.make_picture(config, training, pipeline)(
        training.init_state(), config.train.seed
    )
    first, second = (np.asarray(Image.open(path)) for path in drawn)
    np.testing.assert_array_equal(first, np.squeeze(expected))
    assert np.abs(second.astype(int) - first).max() > 30
    # A run that goes on has nothing to draw at first.
    shutil.rmtree(tmp_path / "checkpoints/2")
    loop.train(config, tmp_path)
    assert done[4:] == ["call", 2]


def test_saves_that_cannot_work_end_a_run_before_it_has_trained_in_vain(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(checkpoint, "make_manager", fail)
    with pytest.raises(errors.CheckpointError, match="Cannot keep checkpoints"):
        loop.train(configuration("resident"), tmp_path)
    assert rows(tmp_path) == []


def test_what_a_step_needs_is_shown_where_there_is_too_little(tmp_path, monkeypatch, capsys):
    def call(self, *arguments):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(parallel.Parallel, "__call__", call)
    with pytest.raises(errors.DeviceMemoryError):
        loop.train(configuration("resident"), tmp_path)
    assert "memory         0 MiB per device" in capsys.readouterr().out


def test_a_run_may_be_made_longer_where_no_schedule_depends_on_it(copied):
    config = configuration("resident")
    config.train.steps = 9
    assert loop.train(config, copied).step == 9
    config.train.steps = 6
    refused(config, copied, errors.WorkdirError, r"train.steps = 6, .* taken 9 steps already")

    config.optimizer.generator.schedule.name = "linear"
    run_directory.RunDirectory(copied).write_config(config)
    config.train.steps = 9
    refused(config, copied, errors.WorkdirError, "train.steps: 6 there, 9 now")


def test_calls_that_would_step_over_the_end_are_refused(copied):
    config = configuration("resident")
    config.train.update(steps=8, steps_per_call=4, log_every=4, checkpoint_every=4, sample_every=4)
    refused(config, copied, errors.ConfigError, r"steps_per_call = 4, .* a divisor of 6")


def test_checkpoints_without_a_configuration_are_not_touched(copied):
    (copied / "config.json").unlink()
    refused(configuration("resident"), copied, errors.WorkdirError, r"no config\.json")


def test_a_changed_data_set_is_refused(copied, monkeypatch):
    config = configuration("resident")
    source = type(loop.sources.make_source(config.data))
    monkeypatch.setattr(source, "fingerprint", lambda self: "another")
    refused(config, copied, errors.WorkdirError, r"data set has changed since .* step 6")


@pytest.mark.slow
def test_divergence_stops_with_the_last_good_checkpoint(tmp_path):
    config = tiny.sgd(configuration("resident"), learning_rate=1e-3)
    config.loss.name = "least_squares"
    config.train.update(steps=2, log_every=1, checkpoint_every=2)
    loop.train(config, tmp_path)
    good = final(tmp_path)
    # The same run, but what it would do next explodes.
    explode = config.copy_and_resolve_references()
    explode.train.steps = 60
    explode.optimizer.generator.learning_rate = 1e30
    explode.optimizer.discriminator.learning_rate = 1e30
    stored = run_directory.RunDirectory(tmp_path)
    stored.write_config(explode)
    with pytest.raises(errors.DivergenceError, match=r"not finite by step \d.*of step 2"):
        loop.train(explode, tmp_path)
    ended = status(tmp_path)
    assert ended["state"] == "diverged"
    assert "last good checkpoint is of step 2" in ended["reason"]
    assert final(tmp_path, step=2) == good


def test_a_directory_in_use_is_refused_and_its_holder_named(tmp_path):
    run = run_directory.RunDirectory(tmp_path)
    run.claim()
    with pytest.raises(errors.WorkdirError, match=r"is in use by process \d+ on "):
        loop.train(configuration("resident"), tmp_path)
    assert not (tmp_path / "config.json").exists()
    run.release()
    other = run_directory.RunDirectory(tmp_path)
    other.claim()
    other.release()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.WorkdirError, match="cannot be written to: Not a directory"):
        loop.train(configuration("resident"), tmp_path / "file" / "run")


def test_a_dry_run_writes_nothing_and_records_the_plan(tmp_path, capsys):
    result = loop.train(configuration("image"), tmp_path / "run", dry_run=rehearsal.DryRun())
    assert result.state == "planned"
    assert not (tmp_path / "run").exists()
    out = " ".join(capsys.readouterr().out.split())  # A line may be wrapped anywhere.
    assert "variant wgan_gp: wasserstein loss, wgan_gp penalty data digits: " in out
    assert "discriminator 1 step, then generator 1 step" in out
    assert "digits: 1,500 of 8x8x1, on the device, split train, mirrored at random" in out
    assert "10: 0 (151), 1 (151), 2 (150)" in out
    assert "DCGANGenerator" in out
    assert "MiB per device" in out
    assert "generator Dense_0 512 " in out
    assert "Dense_0.kernel" not in out


def test_a_profile_is_written_for_its_window(tmp_path):
    config = configuration("resident")
    config.profile.update(start=2, steps=2)
    loop.train(config, tmp_path)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("train.log_every", 0, "train.log_every = 0; accepted: 1 or more"),
        ("train.steps_per_call", 4, "train.steps = 6; accepted: a multiple of .* = 4"),
        ("train.seed", -1, "train.seed = -1; accepted"),
        ("sample.num", 0, "sample.num = 0; accepted"),
        ("game.discriminator_steps", 0, "game.discriminator_steps = 0; accepted: 1 or more"),
        ("game.clip", -1.0, "game.clip = -1.0; accepted"),
        ("game.name", "adversary", 'game.name = .*Did you mean "adversarial"'),
        ("penalty.every", 0, "penalty.every = 0; accepted: 1 or more"),
        ("penalty.weight", -1.0, "penalty.weight = -1.0; accepted"),
        ("penalty.name", "wgangp", 'penalty.name = .*Did you mean "wgan_gp"'),
        ("loss.name", "wassersteim", 'loss.name = .*Did you mean "wasserstein"'),
        ("loss.non_saturating.smoothing", 2.0, "loss.non_saturating.smoothing = 2.0"),
        ("generator.name", "mpl", 'generator.name = .*Did you mean "mlp"'),
        ("discriminator.name", "unet", "discriminator.name = 'unet' is unknown; accepted: .*dcgan"),
        ("optimizer.generator.name", "adan", "optimizer.generator: .*adan"),
        ("precision", "float16", "precision = 'float16' is unknown; accepted: bfloat16"),
        ("ema.half_life", -1.0, "ema.half_life = -1.0; accepted"),
        ("data.name", "rign", "rign"),
        ("train.batch_size", 0, "train.batch_size = 0"),
    ],
)
def test_a_bad_field_is_named_before_anything_is_written(field, value, message, tmp_path):
    config = configuration("resident")
    with config.unlocked():
        config.update_from_flattened_dict({field: value})
    if field.startswith("penalty.") and field != "penalty.name":
        config.penalty.name = "wgan_gp"
    with pytest.raises((errors.ConfigError, errors.DataError), match=message):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
