"""Translation between two classes of one labelled data set, measured by their classifier."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import cyclegan, gan
from gan_jax import cache, errors
from gan_jax.data import sources
from gan_jax.evaluation import real_images
from gan_jax.metrics import extractors
from gan_jax.metrics.extractor import Extractor
from gan_jax.report import evaluations
from tests.evaluation.short_runs import shorten_classifier
from tests.experiments import program
from tests.games import stub
from tests.training import tiny
from tests.training.images import evaluator, source_of, unpaired, variables_of, with_stubs

ACCURACY = "classifier_accuracy"
# Levels of the images of class 1, whose limits are 50 and 110, and of class 3, from 170 on.
ONES, THREES = [80, 80, 80, 100, 40], [200, 200, 200, 180, 180, 180, 160]


def by_level(setting):
    """Return a classifier of four classes by the mean level: up to 50, 110, 170, and above."""

    def apply(_, images, layers):
        levels = images.astype(jnp.float32).mean((1, 2, 3))
        numbers = (levels[:, None] > jnp.array([50.0, 110.0, 170.0])).sum(1)
        return {"logits": jax.nn.one_hot(numbers, 4)}

    protocol = {"extractor": "classifier", "weights": "levels", "accuracy": 0.75}
    return Extractor("classifier", {"logits": 4}, "logits", "logits", (), apply, protocol)


def levels(others=20):
    """Return a source of four classes whose images are of one level each, and two of them."""
    each = {0: [20] * others, 1: ONES, 2: [140] * others, 3: THREES}
    found = np.concatenate(list(each.values())).astype(np.uint8)
    images = np.broadcast_to(found[:, None, None, None], (len(found), 8, 8, 1)).copy()
    labels = np.repeat(list(each), [len(numbers) for numbers in each.values()])
    whole = source_of(images, labels)
    parts = [sources.Subset(whole, np.flatnonzero(labels == k), f"train-{k}") for k in (1, 3)]
    return whole, sources.DomainSource(*parts, "train")


def moved(game, **offsets):
    """Return variables of translators that make images brighter by some levels."""
    variables = variables_of(game)
    for name, offset in offsets.items():
        params = {"slope": jnp.float32(1.0), "offset": jnp.float32(offset / 127.5)}
        variables[name] = {**variables[name], "params": params}
    return variables


def test_the_share_is_that_of_the_target_domain_in_each_direction(monkeypatch):
    settings = []
    monkeypatch.setitem(
        extractors.EXTRACTORS, "classifier", lambda s: settings.append(s) or by_level(s)
    )
    whole, source = levels()
    game = unpaired(generator=stub.Affine(), history=0)
    made = evaluator(game, source, batch_size=3)
    variables = moved(game, a_to_b=80, b_to_a=-80)
    result = made(variables)
    # Levels of 160, 160, 160, 180 and 120; and of 120 three times, 100 three times, and 80.
    assert result.values == {ACCURACY: 1 / 5, f"{ACCURACY}_BtoA": 4 / 7}
    assert result.protocol["extractors"]["classifier"]["accuracy"] == 0.75
    columns, note = made.reference(variables)
    assert [name for name, _, _ in columns] == ["output", "input", "real"]
    assert columns[0][1] == result.values
    assert columns[1][1] == {ACCURACY: 0.0, f"{ACCURACY}_BtoA": 0.0}
    assert columns[2][1] == {ACCURACY: 6 / 7, f"{ACCURACY}_BtoA": 4 / 5}
    assert note == "5 and 7 of random+random; classifier levels (accuracy 75.0%)"
    # It learns from all four classes, as the classifier of generators does.
    (labelled,) = [setting.labelled for setting in settings]
    assert labelled.fingerprint == real_images.labelled_images(whole).fingerprint
    assert sorted(set(labelled.read()[1].tolist())) == [0, 1, 2, 3]


def test_domains_that_no_classifier_can_recognize_are_refused():
    game = unpaired(generator=stub.Affine(), history=0)
    _, classes = levels()
    _, equal = levels()
    for source, translators, message in (
        (
            sources.DomainSource(equal.a, classes.b, "train"),
            game,
            r"random\+random has no two domains that are classes of one labelled data set",
        ),
        (levels(3)[1], game, r"no classifier can be trained on random: 18 images of 4 classes"),
        (
            classes,
            unpaired(generator=stub.Affine(multiple=5), history=0),
            r"the networks take 5x5 pixels of images of 8x8, which the classifier sees whole",
        ),
    ):
        with pytest.raises(errors.ConfigError, match=rf"'{ACCURACY}', but {message}.*: fid, kid"):
            evaluator(translators, source, metrics=(ACCURACY,))
        assert evaluator(translators, source, metrics=("auto",)) is None
    with pytest.raises(errors.ConfigError, match=r"'accuracy', which is not .*classifier_accuracy"):
        evaluator(game, classes, metrics=("accuracy",))


def test_a_run_between_two_digits_is_measured_by_the_classifier_of_all_digits(
    monkeypatch, tmp_path
):
    with_stubs(tiny.cycle_config(), monkeypatch)
    shorten_classifier(monkeypatch, tmp_path / "cache", 40)
    path = tmp_path / "run"
    ended = program.succeeded(
        program.call(
            "--config=configs/cyclegan.py:digits,smoke",
            "--config.generator.name=stub",
            "--config.discriminator.name=stub",
            "--config.train.steps=2",
            "--config.eval.every=2",
            f"--workdir={path}",
        )
    )
    lines = [line.split() for line in ended.out.splitlines()]
    at = lines.index(["output", "input", "real"])
    table = lines[at : at + 4]
    assert [line[0] for line in table[1:3]] == [ACCURACY, f"{ACCURACY}_BtoA"]
    assert min(float(line[3]) for line in table[1:3]) > 0.4
    assert "30 and 28 of digits+digits; classifier" in ended.out
    (row,) = evaluations.read(path / "eval.jsonl")
    flags = (f"--run={path}", "--reference")
    again = program.succeeded(program.call(*flags, module="experiments.evaluate"))
    assert [line.split() for line in again.out.splitlines()][-5:-1] == table
    assert evaluations.read(path / "eval.jsonl") == [row]
    # It is kept by the run, and is the one of runs that generate digits.
    (kept,), (cached,) = (path / "classifier").iterdir(), (cache.root() / "classifiers").iterdir()
    assert kept.read_bytes() == cached.read_bytes()
    translated = sources.make_source(cyclegan.get_config("digits").data).whole
    generated = sources.make_source(gan.get_config("digits").data)
    one, other = (real_images.labelled_images(x).fingerprint for x in (translated, generated))
    assert one == other
