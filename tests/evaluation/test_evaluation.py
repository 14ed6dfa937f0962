"""What an evaluation measures, and which settings and data it refuses."""

import json
from typing import ClassVar

import jax
import numpy as np
import pytest
from PIL import Image

from configs import base
from gan_jax import errors
from gan_jax.data import sources
from gan_jax.evaluation import choosing, evaluators, generative, real_images
from gan_jax.evaluation.settings import Settings, make_settings
from gan_jax.metrics import inception
from gan_jax.metrics.statistics import Extraction
from gan_jax.runs import build, loop
from gan_jax.runs.run import Run, open_run
from gan_jax.runs.run_evaluation import RunEvaluator
from gan_jax.training import sampling
from tests.evaluation.short_runs import points, rows, shorten_classifier
from tests.metrics import stub
from tests.training import tiny


def test_the_defaults_are_those_of_the_configuration():
    assert make_settings(base.get_config()) == Settings()
    config = base.get_config()
    # It keeps no moving average, so that the raw weights are all there is.
    assert sampling.make_sampling(config) == sampling.Sampling(raw=True)
    config.ema.half_life = 1.0
    assert sampling.make_sampling(config) == sampling.Sampling()


def evaluator(config=None, devices=1, batch_size=16, **changes):
    """Return an evaluator of a small image game by our own extractor, and a state of the game."""
    config = config or tiny.image_config()
    config.num_devices = 1
    config.eval.update(metrics=("quarters_fid", "quarters_precision", "quarters_kid"), num_fake=40)
    config.eval.update(batch_size=batch_size, **changes)
    training = build.make_training(config, tiny.spec(config))
    # Brighter than the grey of an untrained generator.
    shape = (60, *tiny.spec(config)["image"].shape)
    images = np.random.default_rng(3).integers(100, 256, shape, np.uint8)
    source = sources.image_source("noise", "train", images, None)
    made = evaluators.make_evaluator(
        config,
        make_settings(config),
        game=training.game,
        source=source,
        devices=jax.devices()[:devices],
        sampling=sampling.make_sampling(config),
    )
    how = sampling.make_sampling(config)
    return made, sampling.chosen_variables(training.init_state(), how)


@pytest.mark.slow
def test_neither_devices_nor_batches_change_a_number(quarters):
    one = evaluator()
    expected = one[0](one[1])
    assert expected.protocol["extractors"]["quarters"]["weights"] == "v1"
    for devices, batch_size in ((2, 16), (1, 7)):
        made, state = evaluator(devices=devices, batch_size=batch_size)
        found = made(state)
        assert found.protocol == expected.protocol
        for name, value in expected.values.items():
            assert found.values[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name


def test_several_seeds_give_a_mean_and_a_deviation(quarters):
    made, state = evaluator(seeds=2)
    result = made(state)
    each = []
    for seed in range(2):
        single, _ = evaluator(seeds=1, seed=seed)
        each.append(single(state).values["quarters_fid"])
    assert result.values["quarters_fid"] == pytest.approx(np.mean(each), rel=1e-6)
    assert result.spread["quarters_fid"] == pytest.approx(np.std(each, ddof=1), rel=1e-4)
    assert each[0] != each[1]


def test_real_against_real_is_far_better_than_noise_against_real(quarters):
    made, state = evaluator()
    ((_, generated, _), (_, real, spread)), note = made.reference(state)
    assert real["quarters_fid"] < 0.2 * generated["quarters_fid"]
    assert real["quarters_kid"] < 0.2 * generated["quarters_kid"]
    assert real["quarters_precision"] > generated["quarters_precision"]
    assert spread["quarters_fid"] > 0
    assert note.startswith("30 of each against 30 others of noise")


@pytest.mark.slow
def test_the_normalisation_of_the_discriminator_is_ignored(quarters):
    def recorded(generator, discriminator):
        config = tiny.batch_norm_config()
        config.generator.name, config.discriminator.name = generator, discriminator
        made, state = evaluator(config)
        having = [name for name, own in state.items() if "batch_stats" in own]
        return having, made.protocol(state)["batch_norm"]

    assert recorded("dcgan", "mlp") == (["generator"], "ema")
    assert recorded("mlp", "dcgan") == (["discriminator"], "none")


def test_real_images_are_looked_at_once(quarters, monkeypatch):
    evaluator()

    original = sources.ArraySource.read

    def read(self, indices):
        # Single images identify how they were prepared.
        assert len(indices) == 1, "the images were read again"
        return original(self, indices)

    monkeypatch.setattr(sources.ArraySource, "read", read)
    evaluator()


def test_part_of_a_sorted_set_is_a_mixture_of_it(quarters):
    images = np.repeat(np.arange(100, dtype=np.uint8), 10).reshape(-1, 1, 1, 1)
    images = np.broadcast_to(images, (1000, 4, 4, 1)).copy()
    source = sources.image_source("sorted", "train", images, None)
    run = Extraction(stub.extractor(), ("features",), jax.devices()[:1], 64)
    needs = {"features": frozenset({"features"})}
    found = real_images.real_statistics(source, 200, run, needs).features["features"][:, 0] * 255
    assert found.mean() == pytest.approx(49.5, abs=5.0)
    assert found.max() > 90


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ("fidd",)}, r"eval\.metrics has 'fidd'; accepted: fid, kid"),
        ({"metrics": ("fid",)}, r"'fid', but samples of ring are unpaired points"),
        ({"metrics": ()}, r"eval\.metrics is empty"),
        ({"best": "fid"}, r"eval\.best = 'fid' is unknown; accepted: high_quality, modes"),
        ({"num_fake": 1}, r"eval\.num_fake = 1; accepted: 2 or more"),
        ({"num_real": 3}, r"eval\.num_real = 3; accepted for modes: 4 or more"),
        ({"seeds": 0}, r"eval\.seeds = 0; accepted: 1 or more"),
        ({"every": -1}, r"eval\.every = -1; accepted: 0 or more"),
        ({"alarm": 1.0}, r"eval\.alarm = 1\.0; accepted: above 1"),
        ({"on_alarm": "ring"}, r"eval\.on_alarm = 'ring' is unknown; accepted: stop, warn"),
    ],
)
def test_mistakes_are_reported_before_anything_is_written(tmp_path, changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        loop.train(points(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_interval_must_fit_the_calls(tmp_path):
    config = points(every=3)
    config.train.update(steps_per_call=2, log_every=2)
    with pytest.raises(errors.ConfigError, match=r"eval\.every = 3; accepted: a multiple of .* 2"):
        loop.train(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (("modes",), "'modes', but samples of noise are unpaired images"),
        (("classifier_fid",), "'classifier_fid', but noise has no labels"),
        (("psnr",), "'psnr', but samples of noise are unpaired images"),
    ],
)
def test_a_metric_must_suit_the_data(metrics, message):
    images = np.zeros((16, 8, 8, 1), np.uint8)
    source = sources.image_source("noise", "train", images, None)
    with pytest.raises(errors.ConfigError, match=message):
        choosing.choose_metrics(Settings(metrics=metrics), source)


def test_automatic_metrics_suit_the_data(tmp_path):
    def chosen(source, classes=None):
        metrics = choosing.choose_metrics(Settings(), source, classes)
        return [metric.name for metric in metrics]

    images = np.zeros((20, 8, 8, 1), np.uint8)
    labelled = sources.image_source("a", "train", images, np.arange(20) % 2)
    assert chosen(labelled) == ["classifier_fid", "classifier_precision", "classifier_recall"]
    assert chosen(labelled, 2)[3:] == ["classifier_accuracy"]
    assert chosen(sources.image_source("a", "train", images, None)) == []
    config = tiny.point_config()
    assert chosen(sources.make_source(config.data)) == ["modes", "high_quality"]
    config.data.name = "swiss_roll"
    assert chosen(sources.make_source(config.data)) == []
    config.data.name = "grammar"
    assert chosen(sources.make_source(config.data)) == [
        "bigram_kl",
        "valid",
        "nll",
        "reverse_nll",
        "unique",
    ]
    path = tmp_path / "a.txt"
    path.write_text("aa\nab\n" * 5)
    config.data.update(name="text", path=str(path))
    assert chosen(sources.make_source(config.data)) == ["bigram_kl", "reverse_nll", "unique"]
    for name, message in (("valid", "no known probabilities"), ("fid", "are unpaired text")):
        with pytest.raises(errors.ConfigError, match=message):
            choosing.choose_metrics(Settings(metrics=(name,)), sources.make_source(config.data))
    config.data.update(name="scales", toy_size=8)
    bars = sources.make_source(config.data)
    assert chosen(bars) == ["scale_violations", "polyphony_tv", "interval_tv", "empty_bars"]
    plain = sources.ArraySource("plain", "train", bars.arrays, bars.spec)
    assert chosen(plain) == ["polyphony_tv", "interval_tv", "empty_bars"]
    with pytest.raises(errors.ConfigError, match="the scales of plain are unknown; accepted: sca"):
        choosing.choose_metrics(Settings(metrics=("scale_violations",)), plain)


def test_music_is_measured_by_the_scales_that_were_asked_for(monkeypatch):
    config = tiny.conditional_config()
    config.num_devices = 1
    config.eval.update(num_fake=40, batch_size=16)
    source = sources.scales("train", 200)
    training = build.make_training(config, source.spec)
    made = evaluators.make_evaluator(
        config,
        make_settings(config),
        game=training.game,
        source=source,
        devices=jax.devices()[:1],
        sampling=sampling.make_sampling(config),
    )

    def samples(sampler, variables, count, seed):
        # Real bars of the classes that were asked for.
        del variables
        batches = [sampler.latents(first, seed)[1] for first in range(0, count, 16)]
        labels = np.concatenate(jax.device_get(batches))[:count]
        taken = [4 * i + label for i, label in enumerate(labels)]
        return source.arrays["music"][taken]

    monkeypatch.setattr(sampling.Sampler, "samples", samples)
    state = sampling.chosen_variables(training.init_state(), sampling.make_sampling(config))
    found = made(state).values
    assert found["scale_violations"] == found["empty_bars"] == 0.0
    assert 0.0 < found["polyphony_tv"] < 0.1
    for _, means, _ in made.reference(state)[0]:
        assert means["scale_violations"] == 0.0


def of_classes(count, labels, size=8, split="train"):
    images = np.zeros((count, size, size, 1), np.uint8)
    return sources.image_source("few", split, images, np.asarray(labels))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (of_classes(600, np.arange(600) // 2), "600 images of 300 classes; accepted: at least 10"),
        (of_classes(40, np.full(40, 1)), "all are of one class"),
        (of_classes(40, np.arange(40) % 2, size=4), "images of shape 4x4x1; accepted: at least 8"),
    ],
)
def test_data_that_no_classifier_learns_from_are_not_measured_by_default(source, reason):
    config = tiny.image_config()
    game = build.make_game(config, tiny.spec_of((8, 8, 1), 2), None)
    found = evaluators.choose(config, Settings(every=1), game, source)
    assert found.metrics == []
    assert found.reason.startswith(f"no classifier can be trained on few: {reason}")
    with pytest.raises(errors.ConfigError, match=f"'classifier_fid', but no classifier .*{reason}"):
        choosing.choose_metrics(Settings(metrics=("classifier_fid",)), source)


def test_a_split_of_few_images_is_not_measured_by_default():
    source, real = (of_classes(n, np.arange(n) % 2) for n in (40, 3))
    assert choosing.choose_metrics(Settings(), source, real=real) == []
    reason = choosing.refusal(Settings(), source, real)
    assert reason == "few has 3 images of split train; accepted: 12"
    with pytest.raises(errors.ConfigError, match=r"num_real = 3; accepted for classifier_prec"):
        choosing.choose_metrics(Settings(metrics=("classifier_precision",)), source, real=real)


@pytest.mark.slow
def test_a_run_on_few_images_per_class_is_trained_without_an_evaluation(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for label in range(30):
        folder = tmp_path / "few" / f"{label:02}"
        folder.mkdir(parents=True)
        for i in range(2):
            image = rng.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(image).save(folder / f"{i}.png")
    config = tiny.conditional_config()
    config.data.update(name="folder", path=str(tmp_path / "few"))
    config.train.steps = 2
    config.eval.every = 1
    config.num_devices = 1
    assert loop.train(config, tmp_path / "run").state == "done"
    shown = " ".join(capsys.readouterr().out.split())
    assert "evaluation none: no classifier can be trained on few: 60 images of 30 classes" in shown
    with pytest.raises(errors.ConfigError, match="metrics is missing: no classifier can be"):
        open_run(tmp_path / "run").evaluate()
    config.eval.patience = 5
    with pytest.raises(errors.ConfigError, match=r"eval\.patience = 5, but nothing is measured"):
        loop.train(config, tmp_path / "impatient")


def test_images_of_many_channels_have_no_metrics():
    images = np.zeros((2000, 8, 8, 5), np.uint8)
    source = sources.image_source("a", "train", images, np.arange(2000) % 2)
    assert choosing.choose_metrics(Settings(), source) == []
    with pytest.raises(errors.ConfigError, match="have 5 channels; accepted: images of 1"):
        choosing.choose_metrics(Settings(metrics=("classifier_fid",)), source)


def test_missing_weights_are_reported_before_anything_is_written(tmp_path):
    config = tiny.image_config()
    config.num_devices = 1
    config.eval.update(every=2, metrics=("fid",), inception=str(tmp_path / "none.npz"))
    with pytest.raises(errors.MetricError, match="convert_inception"):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_is_not_measured_against_other_data(tmp_path):
    config = points(every=0)
    loop.train(config, tmp_path)
    opened = open_run(tmp_path)
    with pytest.raises(errors.DataError, match="the data set is not the one of the run"):
        RunEvaluator(opened, changes={}, data={"toy_size": 256})


@pytest.mark.slow
def test_a_checkpoint_that_is_gone_before_it_is_read_is_passed_over(tmp_path, monkeypatch, capsys):
    config = points(every=0)
    config.train.keep_latest = 3
    loop.train(config, tmp_path)
    opened = open_run(tmp_path)
    run = RunEvaluator(opened, changes={"num_fake": 50}, data={})
    listed = iter([[2, 3, 4], [2, 4, 6], [2, 4, 6], [2, 4, 6]])
    monkeypatch.setattr(Run, "steps", property(lambda self: next(listed)))
    assert run.follow(poll=0.0) == 3
    assert "step 3 is gone" in capsys.readouterr().out
    assert [row["step"] for row in rows(tmp_path)] == [2, 4, 6]


@pytest.mark.slow
def test_patience_ends(tmp_path):
    config = points(every=0)
    config.train.steps = 4
    loop.train(config, tmp_path)
    status_file = tmp_path / "status.json"
    content = json.loads(status_file.read_text())
    status_file.write_text(json.dumps({**content, "state": "running"}))
    run = RunEvaluator(open_run(tmp_path), changes={"num_fake": 50}, data={})
    slept = []
    assert run.follow(poll=5.0, patience=12.0, sleep=slept.append) == 2
    assert slept == [5.0, 5.0, 5.0]


@pytest.mark.slow
def test_a_layer_that_the_weights_do_not_reach_is_reported_before_anything_is_written(tmp_path):
    weights = {name: np.zeros(shape, np.float32) for name, shape in inception.shapes("64").items()}
    inception.save_weights(tmp_path / "shallow.npz", weights)
    config = tiny.image_config()
    config.num_devices = 1
    config.eval.update(every=2, metrics=("fid",), inception=str(tmp_path / "shallow.npz"))
    with pytest.raises(errors.ConfigError, match=r"'fid'.*have no such layer; accepted: fid64"):
        loop.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("metric", "classes", "message"),
    [
        ("classifier_accuracy", None, "which asks for classes; accepted: classifier_accuracy, for"),
        ("accuracy", 2, "which needs a classifier of these data"),
    ],
)
def test_an_accuracy_that_cannot_be_had_is_refused(metric, classes, message):
    images = np.zeros((20, 8, 8, 1), np.uint8)
    source = sources.image_source("a", "train", images, np.arange(20) % 2)
    settings = Settings(metrics=(metric,))
    with pytest.raises(errors.ConfigError, match=message):
        choosing.choose_metrics(settings, source, classes)


class Echo:
    """A game whose sample is the real image of its class, but for one class."""

    shape = (8, 8, 1)
    latent_dim = 1
    num_classes = 4
    attributes = None
    networks: ClassVar[dict] = {}
    memory: ClassVar[dict] = {}
    spec = tiny.spec_of((8, 8, 1), 4)

    def latents(self, keys):
        return jax.numpy.zeros((len(keys), 1))

    def sample(self, variables, z, condition, *, keys, truncation, train):
        labels = condition["label"]
        shown = jax.numpy.where(labels == 3, 0, labels)
        return jax.numpy.asarray(corners(), "float32")[shown] * 2.0 / 255.0 - 1.0


def corners():
    """Return an image for each of four classes: a white corner on black."""
    images = np.zeros((4, 8, 8, 1), np.uint8)
    for label, (row, column) in enumerate(((0, 0), (0, 4), (4, 0), (4, 4))):
        images[label, row : row + 4, column : column + 4] = 255
    return images


@pytest.mark.slow
def test_class_consistency_is_judged_by_the_classifier(monkeypatch, tmp_path):
    shorten_classifier(monkeypatch, tmp_path / "cache", 60)
    labels = np.repeat(np.arange(4), 100)
    images = corners()[labels]
    noise = np.random.default_rng(0).integers(0, 30, images.shape).astype(np.uint8)
    source = sources.image_source("corners", "train", np.maximum(images, noise), labels)
    settings = Settings(metrics=("classifier_accuracy",), num_fake=210, batch_size=16)
    evaluator = generative.GenerativeEvaluator(
        settings,
        choosing.choose_metrics(settings, source, 4),
        game=Echo(),
        source=source,
        devices=jax.devices()[:1],
        sampling=sampling.Sampling(),
    )
    drawn = sampling.Sampler(Echo(), seed=0, batch_size=210).latents(0)[1]
    expected = np.mean(np.asarray(drawn) != 3)

    assert evaluator({}).values["classifier_accuracy"] == pytest.approx(expected)
    columns, _ = evaluator.reference({})
    (_, generated, _), (_, real, _) = columns
    assert real["classifier_accuracy"] == 1.0
    assert 0.6 < generated["classifier_accuracy"] < 0.9
