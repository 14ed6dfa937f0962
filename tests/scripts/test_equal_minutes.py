"""Equal minutes: turns, lengths, data and judges are the same for both; rows say what was made."""

import functools
import json

import jax
import numpy as np
import pytest

from gan_jax import compiler, errors
from gan_jax.data import degrade, order
from gan_jax.data import spec as specs
from gan_jax.runs import build, fitting
from scripts import benchmark, contestants, equal_minutes, tables, train_steps

torch = pytest.importorskip("torch", reason="PyTorch is the other side (extra: parity)")

from scripts.pytorch import data, measures  # noqa: E402
from scripts.pytorch.contestant import Theirs, rates  # noqa: E402
from scripts.pytorch.judge import make_judge  # noqa: E402
from scripts.pytorch.system import Placement  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Clock:
    """A clock that goes on when a contestant makes a step."""

    def __init__(self):
        self.seconds = 0.0

    def perf_counter(self):
        return self.seconds


class Stub(contestants.Contestant):
    """A contestant whose steps take a fixed time, and whose images are what it was made with."""

    def __init__(self, clock=None, seconds=0.0, allotted=0.0, made=None):
        super().__init__()
        self.clock, self.seconds, self.allotted = clock, seconds, allotted
        self.made, self.slices = made, []

    def run(self, seconds):
        super().run(seconds)
        self.slices.append(self.clock.seconds)

    def _start(self):
        self.clock.seconds += 3.0

    def _step(self):
        self.clock.seconds += self.seconds
        return 1

    def sample(self, count, class_of):
        return self.made(count, class_of)

    def translate(self, inputs, direction):
        return self.made(inputs, direction)


def test_a_call_of_several_steps_at_the_start_does_not_shorten_the_time_of_a_step(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(contestants, "time", clock)
    stub = Stub(clock, 0.5)
    monkeypatch.setattr(stub, "_step", lambda: 10 * Stub._step(stub))
    stub.start()
    stub.run(1.0)
    assert (stub.steps, stub.step_seconds) == (30, 0.05)


def test_turns_alternate_until_each_has_spent_its_seconds(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(contestants, "time", clock)
    quick, slow = Stub(clock, 0.25, allotted=20.0), Stub(clock, 0.5, allotted=10.0)
    quick.start()
    assert (quick.startup, quick.steps) == (3.25, 1)
    contestants.take_turns([quick, slow])
    assert (quick.spent, quick.steps, quick.step_seconds) == (20.0, 81, 0.25)
    assert (slow.spent, slow.steps) == (10.0, 20)
    # Twice as many slices for twice the time, throughout, so that they end together.
    assert np.all(np.diff(slow.slices) == 6.0)
    assert np.all(np.diff(quick.slices) <= 4.0)
    assert abs(quick.slices[-1] - slow.slices[-1]) <= contestants.SLICE_SECONDS


def test_a_shorter_length_keeps_the_shares_of_what_is_counted_in_steps():
    config = benchmark.load("cyclegan:folder")
    assert config.train.steps == 200_000
    short = contestants.of_length(config, 50)
    assert (short.train.steps, short.train.steps_per_call) == (50, 1)
    assert short.optimizer.generator.schedule.linear.decay_start == 25
    assert config.optimizer.generator.schedule.linear.decay_start == 100_000
    training = build.make_training(short, specs.pairs((143, 143, 3)))
    rate = config.optimizer.generator.learning_rate
    line = rate * np.clip((50 - np.arange(51)) / 25, 0, 1)
    for player in ("generators", "discriminators"):
        np.testing.assert_allclose(rates(training, 50)[player], line, rtol=1e-5, atol=1e-9)
    assert contestants.of_length(benchmark.load("srgan"), 100).game.paired.content_steps == 75


def test_rates_of_a_player_that_rests_begin_when_it_plays():
    config = contestants.of_length(benchmark.load("srgan"), 8)
    config.optimizer.discriminator.schedule.name = "linear"
    training = build.make_training(config, specs.images((96, 96, 3)))
    found, rate = rates(training, 8), config.optimizer.discriminator.learning_rate
    expected = rate * np.array([1, 1, 1, 1, 1, 1, 1, 0.5, 0])
    np.testing.assert_allclose(found["discriminator"], expected, rtol=1e-5, atol=1e-9)
    assert found["generator"][8] == pytest.approx(0, abs=1e-9)  # Half a cosine wave.


def batches(name, arrays, spec, layout, flip=False, crop=None):
    """Return a step's batches of a configuration with these crops and reflections."""
    config = benchmark.load(name)
    config.data.update(flip=flip, crop=crop)
    game, prepare = build.make_game(config, spec), build.make_prepare(config, spec)
    return next(data.Batches(arrays, layout, prepare, game, Placement(), seed=0))


def test_batches_are_those_of_our_order():
    rng = np.random.default_rng(0)
    arrays = {"image": rng.integers(0, 256, (7, 4, 4, 1), np.uint8), "label": np.arange(7) % 3}
    layout = order.Layout(seed=5, sizes=(7,), global_batch=3, batches_per_step=2)
    found = batches("gan", arrays, specs.images((4, 4, 1), 3), layout)
    assert len(found) == 2
    for batch, rows in zip(found, layout.indices(0, 2)[0], strict=True):
        images = data.channels_last(data.to_uint8(batch["image"]))
        np.testing.assert_array_equal(images, arrays["image"][rows])
        np.testing.assert_array_equal(batch["label"], arrays["label"][rows])
        assert float(batch["image"].abs().max()) <= 1


def test_pairs_are_cropped_and_mirrored_alike():
    # Pixels are numbered by row and column.
    rows, columns = np.meshgrid(np.arange(40), np.arange(40), indexing="ij")
    image = np.stack([rows, columns, 0 * rows], -1).astype(np.uint8)
    arrays = {"a": np.stack([image] * 32), "b": np.stack([image + 100] * 32)}
    layout = order.Layout(seed=0, sizes=(32,), global_batch=32, batches_per_step=1)
    spec = specs.pairs((40, 40, 3))
    (batch,) = batches("pix2pix:folder,smoke", arrays, spec, layout, flip=True, crop=32)
    inputs, target = (
        data.channels_last(data.to_uint8(batch[name])).astype(int) for name in ("inputs", "target")
    )
    assert inputs.shape == (32, 32, 32, 3)
    np.testing.assert_array_equal(target, inputs + 100)
    steps = np.diff(inputs[:, :, :, 1], axis=2)
    mirrored = steps[:, 0, 0] == -1
    assert 0 < mirrored.sum() < 32
    assert np.all(steps == np.where(mirrored, -1, 1)[:, None, None])
    assert len(np.unique(inputs[:, 0, 0, 0])) > 3
    assert np.all(np.diff(inputs[:, :, :, 0], axis=1) == 1)


@pytest.mark.parametrize("name", ["grey", "downsample"])
def test_degradations_are_the_same(name):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    how = degrade.make(name)
    floats = (images.astype(np.float32) - 127.5) / 127.5
    ours = jax.jit(how)(jax.random.split(jax.random.key(0), 2), floats).input
    theirs = data.degrade(how, data.to_float(data.channels_first(images)))
    difference = np.abs(np.asarray(ours) - data.channels_last(theirs))
    assert difference.max() < 1.01 * 2 / 255  # A byte, where a number is rounded otherwise.
    assert np.mean(difference > 1e-6) < 0.01


@functools.cache
def squares():
    """Return grey images of two classes, a bright square at the left or at the right."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (200, 8, 8, 1), np.uint8)
    labels = rng.integers(0, 2, 200)
    for image, label in zip(images, labels, strict=True):
        image[2:6, 4 * label + 1 : 4 * label + 3] = 200
    return images, labels


@pytest.mark.slow
def test_the_judge_depends_on_its_set_alone_and_is_kept(tmp_path):
    images, labels = squares()
    first = make_judge(tmp_path / "a", images, labels, 2, steps=20)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    again = make_judge(tmp_path / "b", images, labels, 2, steps=20)
    assert torch.equal(torch.get_rng_state(), state)
    kept = make_judge(tmp_path / "a", images, labels, 2, steps=20)
    assert first.accuracy == again.accuracy == kept.accuracy > 0.9
    assert len(list((tmp_path / "a").iterdir())) == 1
    for other in (again, kept):
        assert other.hash == first.hash
        for a, b in zip(first.look(images[:20]), other.look(images[:20]), strict=True):
            np.testing.assert_array_equal(a, b)
    other = make_judge(tmp_path / "a", images, 1 - labels, 2, steps=20)
    assert other.hash != first.hash
    for few in (images[:15], np.zeros_like(images)):
        same = labels[: len(few)] if len(few) < 20 else 0 * labels
        with pytest.raises(errors.MetricError, match="accepted: 20 or more, of two classes"):
            make_judge(tmp_path, few, same, 2, steps=1)


def test_a_set_beside_itself_is_perfect_and_another_is_not(tmp_path):
    images, labels = squares()
    judge = make_judge(tmp_path, images, labels, 2, steps=40)
    views = measures.Views(judge, images)
    values = views.compare(images, labels)
    assert values["fid"] == pytest.approx(0, abs=1e-4)
    assert (values["precision"], values["recall"]) == (1, 1)
    assert values["accuracy"] > 0.95
    left = images[labels == 0]
    half = views.compare(left, np.ones(len(left)))
    assert half["fid"] > 1
    assert half["precision"] == 1
    assert half["recall"] < 0.9
    assert half["accuracy"] < 0.05


def match_of(name):
    config, source = fitting.fitted(benchmark.load(name))
    game = build.make_game(config, source.spec)
    match = equal_minutes.Match(name, config, source, game)
    return match, equal_minutes.task_of(match, config.train.steps)


def test_pytorch_begins_with_the_given_weights_and_follows_the_schedule():
    match, _ = match_of("gan:smoke")
    for optimizer in match.config.optimizer.values():
        optimizer.schedule.name = "linear"
    initial = {
        name: jax.tree.map(
            lambda x: np.full(x.shape, 0.5, np.float32),
            jax.eval_shape(network.init, jax.random.key(0))["params"],
        )
        for name, network in match.game.networks.items()
    }
    theirs = Theirs(equal_minutes.task_of(match, 10), initial)
    for network in theirs._system.networks.values():
        assert all(torch.all(x == 0.5) for x in network.parameters())
    theirs.start()
    theirs.run(1e-4)
    for name, optimizer in theirs._system.optimizers.items():
        rate = match.config.optimizer[name].learning_rate * max(0, 1 - (theirs.steps - 1) / 10)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(rate)


def test_restoration_is_measured_on_held_out_pairs(tmp_path):
    match, task = match_of("pix2pix:smoke")
    measure = measures.make_measure(tmp_path, task, match.game)
    target = measure.shown["target"]
    assert "split test" in measure.protocol
    assert 5 < measure.reference.values["psnr"] < 40
    perfect = measure.outcome(Stub(made=lambda inputs, way: measure._targets))
    assert perfect.values["ssim"] == pytest.approx(1)
    assert np.array_equal(perfect.shown, target)
    grey = measure.outcome(Stub(made=lambda inputs, way: np.repeat(inputs, 3, -1)))
    assert grey.values == measure.reference.values


def test_our_step_is_compiled_with_the_options_of_a_run(monkeypatch):
    given, compiled = [], jax.stages.Lowered.compile

    def recorded(lowered, options=None):
        given.append(options)
        return compiled(lowered, options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", recorded)
    _, task = match_of("gan:smoke")
    ours = contestants.Ours(task)
    ours.start()
    assert ours.steps == 1
    assert compiler.options() in given


@pytest.mark.slow
def test_transfer_is_measured_both_ways(tmp_path, monkeypatch):
    monkeypatch.setattr(measures, "make_judge", functools.partial(make_judge, steps=25))
    monkeypatch.setattr(measures, "CROPS", 60)
    match, task = match_of("cyclegan:smoke")
    measure = measures.make_measure(tmp_path, task, match.game)
    assert measure.reference.values["accuracy"] > 0.8
    crops = {"AtoB": measure._inputs[1], "BtoA": measure._inputs[0]}
    perfect = measure.outcome(Stub(made=lambda inputs, way: crops[way]))
    assert perfect.values["fid"] == pytest.approx(0, abs=1e-3)
    assert perfect.values["precision"] == 1
    same = measure.outcome(Stub(made=lambda inputs, way: inputs))
    assert same.values["fid"] > 2 * measure.reference.values["fid"]
    assert same.values["accuracy"] < 0.2


@pytest.mark.slow
def test_smoke_both_are_trained_and_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measures, "make_judge", functools.partial(make_judge, steps=20))
    monkeypatch.setattr(measures, "MOST_SAMPLES", 100)
    monkeypatch.setattr(contestants, "SLICE_SECONDS", 0.05)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")  # Set by the command, for itself.
    out = tmp_path / "out"
    arguments = ["--config=acgan:smoke", "--minutes=0.01", "--stepping", f"--out={out}"]
    equal_minutes.main(arguments)
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["contestant"] for row in rows] == ["real data", "gan_jax", "PyTorch"]
    for row in rows:
        assert row["fid"] > 0
        assert min(row["precision"], row["recall"], row["accuracy"]) >= 0
    real, *trained = rows
    assert (real["steps"], real["fid"] < min(row["fid"] for row in trained)) == (None, True)
    for row in trained:
        assert 0.01 <= row["minutes of steps"] < 0.03
        assert row["with start-up"] > row["minutes of steps"]
        assert row["steps"] >= 2
        assert row["expected steps"] >= 1
    assert "| acgan:smoke | digits | PyTorch " in (out / "results.md").read_text()
    with tables.RESULTS.open() as kept, (out / "results.csv").open() as made:
        assert made.readline() == kept.readline()
    (result,) = tables.read_results(out / "results.csv")
    assert result.values["pytorch_fid"] == equal_minutes._number(trained[1]["fid"])
    assert "`acgan:smoke`" in tables.equal_minutes_table([result])
    assert (out / "acgan_smoke.png").stat().st_size > 1000
    capsys.readouterr()
    equal_minutes.main(arguments)
    assert capsys.readouterr().out == f"acgan:smoke: in {out} already\n"
    with pytest.raises(SystemExit, match="results of other settings"):
        equal_minutes.main([*arguments, "--seed=1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config=dcgn"], 'Did you mean "dcgan"'),
        (["--config=gan,cgan"], "--config = 'cgan'; accepted: configurations with a PyTorch ref"),
        (["--minutes=0"], "--minutes = 0.0; accepted: a number above 0"),
        (["--data=images"], "accepted: none, for the embedded data of gan"),
        (["--config=gan:folder", "--data=FOLDER"], "accepted: images with labels of two classes"),
        (["--config=pix2pix:folder", "--data=FOLDER"], "accepted: data with a split test or val"),
        ([], "has other files; accepted: a new or empty folder"),
    ],
)
def test_mistakes_are_found_before_anything_is_trained(tmp_path, arguments, message):
    folder, out = tmp_path / "images", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    (out / "notes.txt").write_text("kept")
    pixels = np.zeros((16, 16), np.uint8)
    for i in range(3):
        (folder / f"{i}.png").write_bytes(equal_minutes.grids.png(pixels))
    chosen = [argument.replace("FOLDER", str(folder)) for argument in arguments]
    with pytest.raises(SystemExit, match=message):
        equal_minutes.main([*chosen, f"--out={out}"])
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_a_missing_pytorch_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(train_steps, "references", lambda: None)
    with pytest.raises(SystemExit, match="none, where PyTorch is missing"):
        equal_minutes.main([f"--out={tmp_path / 'out'}"])


def test_configurations_that_are_not_finished_have_no_line(tmp_path):
    about = {"stepping": False, "measured": "so", "batch_size": 8, "seed": 0}
    about |= {"commit": None, "machine": {"processor": "x86_64", "devices": ["H200"]}}
    row = {"data": "digits", "protocol": about, "steps": 5, "with start-up": 120.04, "fid": 1.0}
    done = [{**row, "config": "gan", "contestant": name} for name in ("real", "ours", "theirs")]
    path = tmp_path / "results.csv"
    equal_minutes.write_csv(path, [{**row, "config": "dcgan"}, *done])
    (result,) = tables.read_results(path)
    assert (result.config, result.minutes, result.values["pytorch_fid"]) == ("gan", "120", "1")
    assert result.machine.endswith(" cores, x86_64, H200")


def test_the_table_has_ours_theirs_and_the_reference():
    values = {"pytorch_steps": "1200"}
    for side, fid, accuracy in (("gan_jax", 2, 0.9), ("pytorch", 3, 0.8), ("reference", 1, 1)):
        values |= {f"{side}_fid": str(fid), f"{side}_accuracy": str(accuracy)}
    fields = dict.fromkeys(tables.Result._fields, "")
    fields |= {"config": "acgan", "data": "digits", "steps": "1,500", "minutes": "3"}
    result = tables.Result(**{**fields, "values": values})
    other = tables.Result(**{**fields, "values": {"psnr": "20"}})
    heading, _, *rows = tables.equal_minutes_table([other, result]).splitlines()
    assert heading.count("|") == rows[0].count("|")
    assert rows == [
        "| `acgan` | digits | 3 | 1,500 / 1,200 | 2 / 3 (1) |  |  | 0.9 / 0.8 (1) |  |  |"
    ]
