"""Whether pictures of shapes show what captions ask for."""

import dataclasses

import numpy as np
import pytest

from configs import text_to_image
from gan_jax.data import captions
from gan_jax.data.sources.shapes import FACTORS, shapes
from gan_jax.errors import ConfigError
from gan_jax.evaluation import evaluators
from gan_jax.evaluation.settings import Settings
from gan_jax.evaluation.shapes import attributes, read
from gan_jax.runs import build
from gan_jax.training import sampling

SOURCE = shapes("test", 960)
FIELD, PICTURES, TOKENS = SOURCE.spec["label"], SOURCE.arrays["image"], SOURCE.arrays["label"]


def test_real_pictures_show_what_their_captions_say():
    found = attributes(FIELD, PICTURES, TOKENS)
    assert set(found) == {
        f"{name}{end}"
        for name in ("attributes", "attributes_held_out")
        for end in ("", "_together", *(f"_{factor}" for factor in FACTORS))
    }
    assert min(found.values()) > 0.99
    noise = np.random.default_rng(0).normal(0, 20, PICTURES.shape)
    noisy = np.clip(PICTURES + noise, 0, 255).astype(np.uint8)
    assert min(attributes(FIELD, noisy, TOKENS).values()) > 0.95


def test_pictures_of_another_size_are_read_alike():
    larger = shapes("test", 192, 24)
    found = attributes(FIELD, larger.arrays["image"], larger.arrays["label"])
    assert min(found.values()) == 1.0


def test_each_wrong_word_costs_its_own_attribute():
    one = captions.tokens(FIELD, "a small red cross left")
    shown = read(PICTURES)
    pictures = PICTURES[(shown == [0, 0, 2, 0]).all(axis=1)]
    assert len(pictures) > 5
    for factor, word, other in (
        ("size", "small", "large"),
        ("colour", "red", "blue"),
        ("form", "cross", "disc"),
        ("place", "left", "right"),
    ):
        text = "a small red cross left".replace(word, other)
        tokens = np.broadcast_to(captions.tokens(FIELD, text), (len(pictures), len(one)))
        found = attributes(FIELD, pictures, tokens)
        wrong = {name for name, share in found.items() if share == 0.0}
        (whole,) = {
            name
            for name in found
            if name.startswith("attributes") and name in ("attributes", "attributes_held_out")
        }
        assert wrong == {f"{whole}_{factor}", f"{whole}_together"}
        assert found[whole] == 0.75


def chosen(split="test", metrics=("auto",), **fields):
    config = text_to_image.get_config("smoke")
    config.eval.split = split
    config.data.toy_size = 200
    config.update_from_flattened_dict(fields)
    source = shapes("train", 200)
    game = build.make_game(config, source.spec)
    settings = Settings(every=1, metrics=metrics, num_fake=64, num_real=128, split=split)
    return evaluators.choose(config, settings, game, source)


def test_what_can_be_measured_depends_on_the_captions_and_the_split():
    def names(found):
        return [metric.name for metric in found.metrics]

    assert names(chosen()) == ["attributes", "attributes_held_out"]
    assert names(chosen(split="train")) == ["attributes"]
    unconditional = {"generator.conditioning": "none", "discriminator.conditioning": "none"}
    unconditional |= {"terms.matching.weight": 0.0}
    found = chosen(**unconditional)
    assert (names(found), found.reason) == (
        [],
        "shapes has captions, and no classes to train a classifier with",
    )
    with pytest.raises(ConfigError, match=r"no combinations that are held out; accepted: eval\.sp"):
        chosen(split="train", metrics=("attributes_held_out",))
    with pytest.raises(ConfigError, match="samples are not asked for by captions of shapes"):
        chosen(metrics=("attributes",), **unconditional)
    assert dataclasses.asdict(chosen().metrics[0])["extractor"] is None


def test_samples_are_asked_for_by_captions_of_the_measured_split():
    config = text_to_image.get_config("smoke")
    config.data.toy_size, config.num_devices = 200, 1
    source = shapes("train", 200)
    training = build.make_training(config, source.spec)
    settings = Settings(every=1, num_fake=64, num_real=128, split="test", batch_size=64)
    how = sampling.make_sampling(config)
    evaluator = evaluators.make_evaluator(
        config,
        settings,
        game=training.game,
        source=source,
        devices=training.devices,
        sampling=how,
        data=source.arrays,
    )
    values = evaluator(sampling.chosen_variables(training.init_state(), how)).values
    assert {"attributes", "attributes_held_out", "attributes_held_out_form"} <= set(values)
