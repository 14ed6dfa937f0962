"""Classification and membership of whole games, and the runs and splits that are refused."""

from types import SimpleNamespace
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import lapgan
from gan_jax import errors
from gan_jax.data import sources
from gan_jax.evaluation import evaluators, generative, held_out
from gan_jax.evaluation.settings import Settings
from gan_jax.games.game import Network
from gan_jax.metrics import classification, classifier, membership
from gan_jax.metrics.names import Metric
from gan_jax.runs import build
from gan_jax.training.sampling import Sampling
from tests.training import tiny

CLASSES = 3
EACH = 40


def pictures(seed, split="train", count=CLASSES * EACH):
    """Return a source of noise of three classes."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1)).astype(np.uint8)
    return sources.image_source("noise", split, images, np.arange(count) % CLASSES)


TRAINED, UNSEEN = pictures(0), pictures(1, "test")


class Memory(nn.Module):
    """A discriminator of two patches that knows one pixel of the training images of each label."""

    @nn.compact
    def __call__(self, x, condition, *, keys=None, train=True):
        assert not train
        known = jnp.asarray(TRAINED.arrays["image"][:, 0, 0, 0].reshape(-1, CLASSES))
        seen = jnp.round((x[:, 0, 0, 0] + 1.0) * 127.5).astype(jnp.uint8)
        found = (known[:, condition["label"]] == seen).any(0)
        scores = found * self.param("sign", nn.initializers.ones, ())
        return jnp.stack([scores, jnp.ones_like(scores)], axis=1)


class Copier:
    """A class-conditional game whose samples are images of a source."""

    shape = (8, 8, 1)
    latent_dim = 1
    num_classes = CLASSES
    attributes = None
    memory: ClassVar[dict] = {}
    spec = TRAINED.spec

    def __init__(self, source):
        self.images = source.arrays["image"].reshape(-1, CLASSES, 8, 8, 1)
        self.networks = {"discriminator": Network(Memory(), ())}

    def latents(self, keys):
        return jax.vmap(lambda key: jax.random.uniform(key, (1,)))(keys)

    def sample(self, variables, z, condition, *, keys, truncation, train):
        number = (z[:, 0] * len(self.images)).astype(int)
        stored = jnp.asarray(self.images)[number, condition["label"]]
        return stored.astype(jnp.float32) / 127.5 - 1.0


def measured(names, game, sign=1.0, **changes):
    """Return an evaluator of metrics, and what it measures."""
    settings = Settings(metrics=tuple(names), batch_size=64, **{"num_fake": 2000, **changes})
    metrics = [Metric(name, name, None) for name in names]
    how = {"game": game, "source": TRAINED, "devices": jax.devices()[:2]}
    apart = held_out.HeldOut(metrics, settings, unseen=UNSEEN, **how)
    made = generative.GenerativeEvaluator(
        settings, metrics, sampling=Sampling(), held_out=apart, **how
    )
    return made, made({"discriminator": {"params": {"sign": np.float32(sign)}}})


def test_a_game_that_copies_its_training_images_is_found_out():
    names = ("membership_auroc_pixels", "membership_auroc_discriminator")
    made, result = measured(names, Copier(TRAINED))
    assert result.values["membership_auroc_pixels"] == 1.0
    assert result.values["membership_auroc_pixels_standard_error"] == 0.0
    # By one pixel alone, new images are often mistaken.
    by_score = result.values["membership_auroc_discriminator"]
    image, label = (UNSEEN.arrays[name] for name in ("image", "label"))
    pixels, known = image[:, 0, 0, 0], TRAINED.arrays["image"][:, 0, 0, 0].reshape(-1, CLASSES)
    mistaken = np.mean([p in known[:, k] for p, k in zip(pixels, label, strict=True)])
    assert by_score == pytest.approx(1 - mistaken / 2)
    assert by_score > 0.8
    # Real images as samples give nothing away.
    assert result.values["real_auroc_pixels"] == pytest.approx(0.5, abs=0.15)
    columns, note = made.reference({})
    assert (columns, note.split()[:4]) == ([], ["the", "values", "above", "whose"])
    assert made.raw_networks == ("discriminator",)
    assert result.protocol["held_out"] == {
        "data": UNSEEN.fingerprint(),
        "n_held_out": 120,
        "n_train": 120,
        "n_members": 60,
        "mirror": False,
        "classifier_steps": classifier.STEPS,
    }


def test_new_images_and_low_scores_of_training_images():
    names = ("membership_auroc_pixels", "membership_auroc_discriminator")
    _, result = measured(names, Copier(pictures(2)), sign=-1.0)
    error = result.values["membership_auroc_pixels_standard_error"]
    assert 0.03 < error < 0.06
    assert result.values["membership_auroc_pixels"] == pytest.approx(0.5, abs=3 * error)
    assert result.values["membership_auroc_discriminator"] < 0.2


def apart(space, **options):
    """Return what measures one attack."""
    name = f"membership_auroc_{space}"
    settings = Settings(batch_size=64, num_real=options.pop("num_real", None))
    how = {"game": Copier(TRAINED), "source": TRAINED, "devices": jax.devices()[:1]}
    return held_out.HeldOut([Metric(name, name, None)], settings, unseen=UNSEEN, **how, **options)


@pytest.mark.parametrize("num_real", [None, 80])
def test_features_come_from_a_classifier_that_has_seen_neither(num_real, monkeypatch):
    learned, compared = [], []

    def train(images, labels, num_classes):
        learned.append(images)
        raise StopIteration

    def nearness(images, samples, *, mirrored):
        compared.append(images.reshape(-1, 8, 8, 1))
        return np.arange(len(images))

    monkeypatch.setattr(classifier, "train_classifier", train)
    monkeypatch.setattr(membership, "nearness", nearness)
    with pytest.raises(StopIteration):
        apart("classifier", num_real=num_real).measure({}, TRAINED.arrays["image"], None, 0)
    apart("pixels", num_real=num_real).measure({}, TRAINED.arrays["image"], None, 0)
    rows = [{image.tobytes() for image in images} for images in (learned[0], *compared[:2])]
    half = (num_real or 120) // 2
    assert [len(x) for x in rows] == [half, half, 120]
    assert not set.intersection(*rows[:2])
    trained_on = {image.tobytes() for image in TRAINED.arrays["image"]}
    assert rows[0] | rows[1] <= trained_on
    assert not rows[2] & trained_on


def test_mirrored_copies_are_copies_where_the_training_mirrors_its_images():
    mirrored = TRAINED.arrays["image"][:, :, ::-1]
    for mirror, low, high in ((False, 0.3, 0.7), (True, 1.0, 1.0)):
        found = apart("pixels", mirror=mirror).measure({}, mirrored, None, 0)
        assert low <= found["membership_auroc_pixels"] <= high


def test_samples_are_measured_with_the_classes_that_they_were_asked_for(monkeypatch):
    sets = {}

    def accuracies(measures, real, unseen, samples, num_classes, *, seed):
        sets.update(real=real, unseen=unseen, samples=samples, seed=seed)
        return dict.fromkeys(measures, 0.5)

    monkeypatch.setattr(classification, "accuracies", accuracies)
    game = Copier(TRAINED)
    _, result = measured(("gan_train",), game, num_fake=70, seed=4, seeds=2)
    assert (result.values, result.spread) == ({"gan_train": 0.5}, {"gan_train": 0.0})
    assert sets["seed"] == 5
    np.testing.assert_array_equal(sets["unseen"].images, UNSEEN.arrays["image"])
    for name in ("real", "samples"):
        assert len(sets[name].images) == {"real": 120, "samples": 70}[name]
        for image, label in zip(*sets[name], strict=True):
            assert (game.images[:, label] == image).all((1, 2, 3)).any()


def refused(message, name="membership_auroc_pixels", source=TRAINED, game=None, **changes):
    """Assert that a measure of a run is refused, with a message."""
    config = tiny.image_config()
    config.data.update(name="digits", split="train")
    config.data.update(changes.pop("data", {}))
    game = game or SimpleNamespace(num_classes=CLASSES, networks={"discriminator": None})
    settings = Settings(**{"metrics": (name,), **changes})
    with pytest.raises(errors.ConfigError, match=message):
        held_out.choose(config, settings, game, source, [Metric(name, name, None)])


def test_runs_that_a_measure_does_not_suit_are_refused():
    plain = SimpleNamespace(num_classes=None, networks={"discriminator": None})
    refused(
        "'gan_test', which needs samples of each class, but .*such as cgan", "gan_test", game=plain
    )
    refused("class 0 has 40 images; accepted: 100", "gan_augment100")
    refused("num_fake = 29 .*29 images of 3 classes; accepted", "gan_train", num_fake=29)
    few = pictures(0, count=40)
    refused("40 images of noise do not allow: 20 images of 3", "membership_auroc_classifier", few)
    points = sources.make_source(tiny.point_config().data)
    refused("'gan_train', but samples of ring are of kind points", "gan_train", points)
    game = build.make_game(lapgan.get_config("smoke"), tiny.spec_of((16, 16, 1)), None)
    refused(
        "one discriminator, but the networks are generator_8, .*accepted: membership_auroc_pixels",
        "membership_auroc_discriminator",
        game=game,
    )


def test_images_that_were_trained_on_are_refused():
    refused("was trained on split 'train', and eval.split = 'train'", split="train")
    refused("was trained on split 'all', and eval.split = None", data={"split": "all"})
    # 16x16 digits, and 8x8 noise.
    refused("images or classes of split 'test' of noise are unlike those of 'train'")
    metrics = [Metric("membership_auroc_pixels", "membership_auroc_pixels", None)]
    both = np.concatenate([TRAINED.arrays["image"][:13], UNSEEN.arrays["image"][:100]])
    unseen = sources.image_source("noise", "all", both, np.arange(113) % CLASSES)
    how = {"game": Copier(TRAINED), "source": TRAINED, "devices": jax.devices()[:1]}
    with pytest.raises(
        errors.ConfigError, match="13 of 113 images of split 'all' of noise are tra"
    ):
        held_out.HeldOut(metrics, Settings(), unseen=unseen, **how)


def test_splits_may_have_other_captions():
    config = tiny.image_config()
    config.data.update(name="shapes", split="train", resolution=None, toy_size=200)
    game = SimpleNamespace(num_classes=None, networks={"discriminator": None})
    name = "membership_auroc_pixels"
    settings, source = Settings(metrics=(name,)), sources.make_source(config.data)
    _, unseen = held_out.choose(config, settings, game, source, [Metric(name, name, None)])
    assert unseen.split == "test"


def test_one_name_stands_for_all_that_suit(caplog):
    config = tiny.image_config()
    config.data.update(name="digits", split="train")
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    chosen = evaluators.choose(config, Settings(metrics=("membership_auroc",)), game, source)
    config.data.flip = True
    how = {"game": game, "source": source, "devices": jax.devices()[:1], "chosen": chosen}
    made = evaluators.make_evaluator(config, Settings(), sampling=Sampling(), **how)
    record = made.protocol({"generator": {}})["held_out"]
    assert (record["mirror"], record["n_members"], record["n_held_out"]) == (True, 750, 297)
    names = [metric.name for metric in chosen.metrics]
    spaces = ("discriminator", "pixels", "classifier")
    assert names == [f"membership_auroc_{space}" for space in spaces]
    assert (chosen.unseen.split, len(chosen.unseen)) == ("test", 297)
    assert not caplog.text
    settings = Settings(metrics=("membership_auroc", "classifier_fid"), num_real=100, split="all")
    chosen = evaluators.choose(config, settings, game, source)
    assert [metric.name for metric in chosen.metrics] == [*names[:2], "classifier_fid"]
    assert chosen.unseen.split == "all"
    assert "leaves out membership_auroc_classifier, which 100 images of digits" in caplog.text


def test_neither_runs_that_train_nor_translations_have_such_measures():
    config = tiny.image_config()
    config.data.update(name="digits", split="train")
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    settings = Settings(every=2, metrics=("membership_auroc",))
    with pytest.raises(errors.ConfigError, match=r"after training; .*experiments\.evaluate"):
        evaluators.check(config, settings, game, source)
    config = tiny.paired_config()
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    with pytest.raises(errors.ConfigError, match="which is measured on samples, but the game tran"):
        evaluators.choose(config, Settings(metrics=("membership_auroc",)), game, source)
