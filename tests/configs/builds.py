"""Configurations as tests build them: the shapes of their data, their trainings, small runs."""

import dataclasses
import functools

import numpy as np

from configs import base
from gan_jax.data import captions
from gan_jax.data import spec as specs
from gan_jax.runs import build
from tests.configs import variants

SHAPES = {
    "cifar10": (32, 32, 3),
    "mnist": (32, 32, 1),
    "fashion_mnist": (32, 32, 1),
    "folder": (64, 64, 3),
    "digits": (16, 16, 1),
    "photos": (96, 96, 3),
    "tiles": (96, 96, 3),
    "tones": (1024, 1),
    "sounds": (16_384, 1),
    "bouncing": (8, 16, 16, 1),
    "videos": (16, 64, 64, 3),
    "grammar": (11, 29),
    "scales": (16, 16, 1),
    "midi": (16, 48, 1),
    "text": (32, 60),
    "shapes": (16, 16, 3),
}

CLASSES = 10


def source_name(name, data):
    """Return what a variant's data set is called as ``data.name``."""
    if data == "folder" and name in ("stackgan", "text_to_image"):
        return "captioned"
    return "folder" if data == "tiles" else data


def spec(config, data):
    """Return the specification of the stored data of a configuration."""
    if data in base.TEXT:
        length, tokens = SHAPES[data]
        return {"text": specs.text(length, [str(i) for i in range(1, tokens)], " ")}
    if data in base.VIDEO:
        return specs.labelled("video", specs.Field("video", SHAPES[data], "uint8"), CLASSES)
    if len(SHAPES[data]) == 2:
        sound = specs.Field("audio", SHAPES[data], "int16", sample_rate=16_000)
        if (window := config.data.spectrogram.window) > 0:
            stft, scales = (window, config.data.spectrogram.hop), ((0.0, 1.0),) * (window // 2)
            sound = dataclasses.replace(sound, kind="spectrogram", stft=stft, scales=scales)
        return specs.labelled("audio", sound, CLASSES)
    if data in base.MUSIC:
        return specs.labelled("music", specs.music(SHAPES[data][:2], 60), CLASSES)
    if config.generator.conditioning == "text":
        words = np.ones((1, 4), np.int32)
        label = captions.field(4, {str(i): i for i in range(CLASSES)}, words)
        side = config.data.resolution
        return {"image": specs.image((side, side, 3)), "label": label}
    height, width, channels = SHAPES[data]
    if config.data.crop is not None or data == "digits":  # Of another size than is stored.
        height = width = config.data.resolution
    if config.data.pairing != "none":
        return specs.pairs((height, width, channels))
    return specs.images((height, width, channels), CLASSES)


def chosen(name):
    """Return the data sets to build: the default, and the first of the paper's size."""
    return variants.datasets(name)[:2]


@functools.cache
def built(name, data):
    """Return the training of a configuration on one device; tests do not change it."""
    config = variants.load(name, data)
    config.num_devices = 1
    return build.make_training(config, spec(config, data))


def small(name):
    """Return a smoke run that compiles quickly."""
    config = variants.load(name, "smoke")
    config.num_devices = 1
    config.train.update(steps=2, batch_size=4, log_every=1, checkpoint_every=1)
    config.game.discriminator_steps = 1
    config.game.paired.content_steps = min(config.game.paired.content_steps, 1)
    config.game.cycle.identity_weight = 0.0
    config.game.progressive.update(stable_images=1, fade_images=1)
    config.generator.translator.downsamplings = 1
    if config.data.name == "digits" and config.discriminator.name == "dcgan":
        config.data.resolution = 8  # One level less.
    if config.data.crop is not None:
        config.data.update(resolution=24, crop=16)
    return config
