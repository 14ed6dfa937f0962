"""Which images of a folder are trained on as normal, and which are measured as anomalies."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from configs import ganomaly
from gan_jax import errors
from gan_jax.data import sources
from gan_jax.evaluation import anomalies, evaluators
from gan_jax.evaluation.settings import make_settings
from gan_jax.runs import build

NORMAL, DEFECT = 40, 200


def make(root, counts):
    """Write grey images, ``{folder: number}``; those of folders named as normal are dark."""
    for folder, count in counts.items():
        level = NORMAL if folder.rpartition("/")[2] in ("good", "0.normal", "train", "") else DEFECT
        (root / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.full((32, 32), level + i, np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{i:03d}.png")
    return root


def folder_config(root, **data):
    config = ganomaly.get_config("folder,smoke")
    config.data.update(path=str(root), resolution=32, channels=1, **data)
    return config


def found(config):
    """Return the levels trained on, the split measured, and the levels measured as anomalies."""
    source = sources.make_source(config.data)
    game = build.make_game(config, source.spec, None)
    settings = dataclasses.replace(make_settings(config), every=1)
    evaluators.check(config, settings, game, source)
    measured = anomalies.measured_source(config, settings)
    classes = anomalies.anomalous_classes(config, source, measured)
    metrics = evaluators.choose(config, settings, game, source).metrics
    assert [m.name for m in metrics] == (["auroc", "average_precision"] if classes else [])

    def levels(source, rows):
        return sorted(int(source[i]["image"].max()) for i in rows)

    labels = sources.labels_of(measured) if classes else np.zeros(len(measured))
    anomalous = np.flatnonzero(np.isin(labels, classes)).tolist()
    return levels(source, range(len(source))), measured.split, levels(measured, anomalous)


MVTEC = {"train/good": 5, "test/good": 2, "test/bent": 3, "test/zip": 1, "ground_truth/bent": 3}
OWN = {"train/0.normal": 4, "test/0.normal": 2, "test/1.abnormal": 3}
PLAIN = {"good": 3, "bad": 2, "crack": 1}


@pytest.mark.parametrize(
    ("counts", "data", "trained", "split", "anomalous"),
    [
        (MVTEC, {}, 5, "test", [200, 200, 201, 202]),
        (MVTEC, {"normal": ("good",)}, 5, "test", [200, 200, 201, 202]),
        (OWN, {}, 4, "test", [200, 201, 202]),
        (PLAIN, {"normal": ("good",)}, 3, "train", [200, 200, 201]),
        (PLAIN, {"without": ("bad", "crack")}, 3, "train", [200, 200, 201]),
        ({"train": 3, "test/good": 2, "test/bad": 2}, {"normal": ("good",)}, 3, "test", [200, 201]),
        ({"": 4}, {}, 4, "train", []),
        ({"good": 4}, {"normal": ("good",)}, 4, "train", []),
        ({"train/good": 3, "test/good": 2}, {}, 3, "test", []),
        ({"train/good": 3, "test/bad": 2}, {}, 3, "test", []),
        ({"train/good": 3, "valid/good": 1, "valid/bad": 2}, {}, 3, "val", [200, 201]),
    ],
)
def test_normal_images_are_trained_on_and_all_others_are_anomalies(
    tmp_path, counts, data, trained, split, anomalous
):
    config = folder_config(make(tmp_path / "set", counts), **data)
    assert found(config) == (list(range(NORMAL, NORMAL + trained)), split, anomalous)


@pytest.mark.parametrize(
    ("counts", "data", "message"),
    [
        (PLAIN, {}, r"data\.normal = \(\), and set has images of 3 classes .*: bad, crack, good;"),
        (
            {f"{split}/{name}": 2 for split in ("train", "test") for name in ("good", "scratch")},
            {},
            r"data\.normal = \(\), and set has images of 2 classes in split 'train': good, scratch",
        ),
        ({"train": 3, "test/good": 2, "test/bad": 2}, {}, r"2 classes in split 'test': bad, good"),
        (PLAIN, {"normal": ("god",)}, r"data\.normal = 'god' is unknown.*Did you mean \"good\""),
        (PLAIN, {"normal": ("good",), "without": ("bad",)}, r"accepted: one of them"),
        ({"": 2, **PLAIN}, {"normal": ("good",)}, r"has 2 images beside the folders"),
        ({"train/good": 3, "test": 2, "test/good": 2, "test/bad": 2}, {}, r"test has 2 images"),
        (
            {"train": 3, "test/good": 2, "test/bad": 2},
            {"normal": ("god",)},
            r"data\.normal = 'god' is unknown",
        ),
    ],
)
def test_what_is_normal_is_never_guessed(tmp_path, counts, data, message):
    with pytest.raises(errors.ConfigError, match=message):
        found(folder_config(make(tmp_path / "set", counts), **data))


def test_a_split_without_normal_images_is_not_called_one_without_anomalies(tmp_path):
    def words(counts):
        config = folder_config(make(tmp_path / f"set{len(counts)}", counts))
        measured = anomalies.measured_source(config, make_settings(config))
        return anomalies.lacking(config, sources.make_source(config.data), measured)

    counts = {"train/normal": 1, "test/bent": 2}
    assert words(counts) == "no images of normal in split test, but of bent"
    assert words({**counts, "test/good": 1}).endswith("test, but of bent, good")
    assert words({**counts, "test/good": 1, "test/normal": 1}).startswith("none beside normal")
