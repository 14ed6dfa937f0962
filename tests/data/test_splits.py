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
        (
            ("train/b", "test/c", "."),
            "test",
            (1,),
            "b c",
            ["2.png beside the folders", "train/ (1)"],
        ),
        (("set/train/b", "set/train/c", "set/test/b"), "train", (0, 1), "b c", ["test/ (1)"]),
        (("train/good", "test/good", "test/hole"), "train", (0,), "good hole", ["test/ (2)"]),
        (("train/images", "test/images"), "train", (0,), None, ["test/ (1)"]),
        (("train/images", "test"), "train", (0,), None, ["test/ (1)"]),
        (("car", "train"), "all", (0, 1), "car train", []),
        (("x", "test/b", "train/b"), "x", (0,), None, ["test/ (1)", "train/ (1)"]),
        (("train_set/b", "train_set/c", "TestSet/b"), "train", (0, 1), "b c", ["TestSet/ (1)"]),
        (("Train Images", "val2017", "x"), "train", (0,), None, ["val2017/ (1)", "x/ (1)"]),
        (("trainval/b", "trainval/c", "images-test/b"), "test", (2,), "b c", ["trainval/ (2)"]),
        (
            ("seg_train/seg_train/b", "seg_train/seg_train/c", "seg_test/seg_test/b"),
            "train",
            (0, 1),
            "b c",
            ["seg_test/ (1)"],
        ),
        (
            ("good", "hole", "ground_truth/hole"),
            "train",
            (0, 1),
            "good hole",
            ["1 in ground_truth/"],
        ),
        (
            ("train/good", "test/good", "test/Ground Truth"),
            "train",
            (0,),
            None,
            ["1 in ground_truth/", "test/ (1)"],
        ),
        (("images/b", "images/c"), "train", (0, 1), "b c", []),
        (("images", "masks"), "all", (0, 1), "images masks", []),
        (("trainA", "trainB"), "train", (0, 1), "trainA trainB", []),
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
        (("cat/train", "cat/test", "dog/train"), "train", "'cat' has 'test', 'train'; accepted"),
        (("images/train", "images/val", "x"), "train", "'images' has 'train', 'val'; accepted"),
        (
            ("trainA", "trainB", "testA"),
            "train",
            "'testA', 'trainA', 'trainB', which are splits of",
        ),
        (("images", "masks"), "train", "'images' beside 'masks', which may be masks or classes"),
        (("train/img", "train/labels", "val/img"), "train", "'img' beside 'labels'"),
    ],
)
def test_an_ambiguous_split_is_refused(folders, split, message):
    with pytest.raises(ConfigError, match=message):
        choose(folders, split)


def strays(names, split="train"):
    return choose_split(sorted(names), "", split, lambda root: f"<{root}>")


def test_a_few_images_beside_folders_are_named_and_not_used():
    classes = ["b/0.png", "b/1.png", "c/0.png", "c/1.png"]
    part = strays([*classes, "preview.png"])
    assert part.names == classes
    assert part.class_names == ("b", "c")
    assert part.unused == ("preview.png beside the folders",)
    part = strays(["logo.png", *(f"set/{s}/{name}" for s in ("train", "test") for name in classes)])
    assert part.names == [f"set/train/{name}" for name in classes]
    assert part.unused == ("logo.png beside the folders", "test/ (4)")
    part = strays([f"{s}/{name}" for s in ("train", "test") for name in (*classes, "x.png")])
    assert part.class_names == ("b", "c")
    assert part.unused == ("test/ (5)", "x.png beside the folders")


def test_many_images_beside_folders_are_refused_unless_all_are_wanted():
    names = ["0.png", "1.png", "thumbnails/0.png"]
    with pytest.raises(ConfigError, match="has 2 images beside the folders 'thumbnails', which"):
        strays(names)
    with pytest.raises(ConfigError, match="has 2 sounds beside the folders 'thumbnails', which"):
        choose_split(names, "", "train", str, what="sounds")
    part = strays(names, "all")
    assert (part.names, part.class_names, part.unused) == (names, None, ())
