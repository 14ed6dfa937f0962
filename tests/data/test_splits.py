import pytest

from gan_jax.data.sources.splits import choose_split
from gan_jax.errors import ConfigError


def choose(folders, split, inside=""):
    """Choose among one image for each folder; "." is the root."""
    names = sorted(
        f"{inside}{folder}/{k}.png".replace("./", "") for k, folder in enumerate(folders)
    )
    return choose_split(names, inside.rstrip("/"), split, lambda root: f"<{root}>")


@pytest.mark.parametrize("inside", ["", "a/b/"])
@pytest.mark.parametrize(
    ("folders", "split", "used", "class_names", "unused"),
    [
        (("Training/b", "Training/c", "Testing/b"), "train", (0, 1), "b c", ["Testing/ (1)"]),
        (("TRAIN/b", "TRAIN/c", "Valid/c", "x"), "val", (2,), "b c", ["TRAIN/ (2)", "x/ (1)"]),
        (("test/b", "train/b", "train/c", "x"), "train", (1, 2), "b c", ["test/ (1)", "x/ (1)"]),
        (("train/b", "test/c", "."), "test", (1,), "b c", ["1 beside the folders", "train/ (1)"]),
        (("set/train/b", "set/train/c", "set/test/b"), "train", (0, 1), "b c", ["test/ (1)"]),
        (("train/good", "test/good", "test/hole"), "train", (0,), "good hole", ["test/ (2)"]),
        (("train/images", "test/images"), "train", (0,), None, ["test/ (1)"]),
        (("train/images", "test"), "train", (0,), None, ["test/ (1)"]),
        (("car", "train"), "all", (0, 1), "car train", []),
        (("x", "test/b", "train/b"), "x", (0,), None, ["test/ (1)", "train/ (1)"]),
    ],
)
def test_splits_are_not_classes(inside, folders, split, used, class_names, unused):
    part = choose(folders, split, inside)
    assert sorted(int(name[-5]) for name in part.names) == list(used)
    assert part.class_names == (class_names and tuple(class_names.split()))
    for name, label in zip(part.names, part.labels, strict=True):
        assert f"/{part.class_names[label]}/" in f"/{name}" if class_names else label == 0
    assert list(part.unused) == unused


@pytest.mark.parametrize(
    ("folders", "split", "message"),
    [
        (("car", "train"), "train", r"'train' beside others .* accepted: data.split = 'all'"),
        (("cat", "dog", "Test"), "train", "'Test' beside others"),
        ((".", "test"), "train", "'test' beside others or images"),
        (("train", "val", "validation"), "valid", "several such folders; accepted: all, val, val"),
        (("Test", "val"), "train", "no such folder; accepted: all, Test, val"),
    ],
)
def test_an_ambiguous_split_is_refused(folders, split, message):
    with pytest.raises(ConfigError, match=message):
        choose(folders, split)
