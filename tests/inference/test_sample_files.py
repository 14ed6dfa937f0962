"""Exported samples: the same in every form and batch size, continued, never mixed or replaced."""

import json
import os

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax.data import spec as specs
from gan_jax.data.sources import FolderSource, NpzSource, Transform
from gan_jax.errors import WorkdirError
from gan_jax.inference import sample_files
from gan_jax.training.sampling import InTurn, Sampler
from tests.inference.painter import Painter

ABOUT = {"seed": 0, "weights": "a", "truncation": None}
GAME = Painter()
NUM = 23


def sampler(batch_size=8, game=GAME, **options):
    return Sampler(game, seed=0, batch_size=batch_size, **options)


def to_folder(folder, num=NUM, about=ABOUT, batch_size=8, **options):
    return sample_files.to_folder(
        folder, sampler(batch_size), GAME.variables, num, about, **options
    )


def read(folder):
    files = sorted(folder.rglob("*.png"))
    return np.stack([np.asarray(Image.open(file))[..., None] for file in files])


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_folder_and_archive_hold_the_samples_whatever_the_batch(batch_size, tmp_path):
    expected = sampler(NUM).samples(GAME.variables, NUM)
    assert to_folder(tmp_path / "a", batch_size=batch_size) == NUM
    found = read(tmp_path / "a")
    sample_files.to_npz(tmp_path / "a.npz", sampler(batch_size), GAME.variables, NUM, {})
    with np.load(tmp_path / "a.npz") as file:
        np.testing.assert_array_equal(file["image"], found)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).mean() < 0.01


def test_eight_devices_export_what_one_does(tmp_path):
    many = sampler(16, devices=jax.devices())
    sample_files.to_folder(tmp_path / "a", many, GAME.variables, NUM, ABOUT)
    to_folder(tmp_path / "b")
    assert np.abs(read(tmp_path / "a").astype(int) - read(tmp_path / "b")).max() <= 1


def test_files_are_named_by_number_in_the_sub_folders_asked_for(tmp_path):
    folders = ["cat", "dog"]
    to_folder(tmp_path, num=5, place=lambda number: folders[number % 2])
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    cats = {"cat/00000000.png", "cat/00000002.png", "cat/00000004.png"}
    assert files == cats | {"dog/00000001.png", "dog/00000003.png", "samples.json"}
    # It serves as a labelled set.
    source = FolderSource(tmp_path, "all", Transform())
    assert source.class_names == ("cat", "dog")
    assert len(source) == 5


def test_an_export_that_was_stopped_is_continued(tmp_path):
    class Stopped(Exception):
        pass

    def stop(done):
        if done >= 8:
            raise Stopped

    with pytest.raises(Stopped):
        to_folder(tmp_path, advance=stop)
    assert len(list(tmp_path.glob("*.png"))) == 8
    times = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*.png")}
    # What a power cut leaves: a name without its content.
    cut = tmp_path / "00000002.png"
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-5])
    (tmp_path / "00000003.png").write_bytes(b"")
    assert to_folder(tmp_path) == NUM - 6
    assert cut.read_bytes() == whole
    kept = [p for p in times if p.name not in ("00000002.png", "00000003.png")]
    assert all(p.stat().st_mtime_ns == times[p] for p in kept)
    assert to_folder(tmp_path) == 0
    assert to_folder(tmp_path, num=30) == 7
    assert len(read(tmp_path)) == 30


def test_samples_of_music_have_two_files_each_of_which_is_continued(tmp_path):
    class Bars:
        batch_size = 4

        def __init__(self):
            self.spec = {"music": specs.music((2, 3), 60)}

        def batch(self, variables, first):
            return np.ones((4, 2, 3, 1), np.uint8)

    files = [f"{number:08d}{suffix}" for number in range(3) for suffix in (".mid", ".wav")]
    assert sample_files.to_folder(tmp_path, Bars(), {}, 3, ABOUT) == 3
    assert sorted(os.listdir(tmp_path)) == [*files, "samples.json"]
    whole = (tmp_path / files[3]).read_bytes()
    (tmp_path / files[3]).write_bytes(whole[:-1])
    (tmp_path / files[4]).unlink()
    assert sample_files.to_folder(tmp_path, Bars(), {}, 3, ABOUT) == 2
    assert (tmp_path / files[3]).read_bytes() == whole
    assert sample_files.to_folder(tmp_path, Bars(), {}, 3, ABOUT) == 0


def test_nothing_is_sampled_that_is_there(tmp_path):
    to_folder(tmp_path)

    class Refuses:
        batch_size = 8
        spec = sampler().spec

        def batch(self, variables, first):
            raise AssertionError

    progress = []
    sample_files.to_folder(tmp_path, Refuses(), {}, NUM, ABOUT, advance=progress.append)
    assert progress == [8, 16, 23]


def test_a_folder_takes_no_other_samples(tmp_path):
    to_folder(tmp_path / "a")
    before = read(tmp_path / "a")
    with pytest.raises(WorkdirError, match=r"holds other samples: weights is a there and b here"):
        to_folder(tmp_path / "a", about={**ABOUT, "weights": "b"})
    np.testing.assert_array_equal(read(tmp_path / "a"), before)
    # A part of the record is enough to refuse early.
    with pytest.raises(WorkdirError, match="seed is 0 there and 1 here; accepted: a new or empty"):
        sample_files.check_folder(tmp_path / "a", {"seed": 1})
    (tmp_path / "b").mkdir()
    sample_files.check_folder(tmp_path / "b", ABOUT)
    (tmp_path / "b" / "thesis.txt").touch()
    with pytest.raises(WorkdirError, match=r"b is not empty and has no samples\.json"):
        to_folder(tmp_path / "b")
    assert os.listdir(tmp_path / "b") == ["thesis.txt"]
    (tmp_path / "a" / "samples.json").write_text("{")
    with pytest.raises(WorkdirError, match=r"samples\.json is damaged"):
        to_folder(tmp_path / "a")


def test_what_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WorkdirError, match="file"):
        to_folder(tmp_path / "file")
    with pytest.raises(WorkdirError, match=r"Cannot write .*/a\.npz: "):
        sample_files.to_npz(tmp_path / "file" / "a.npz", sampler(), GAME.variables, 3, {})


def test_the_archive_is_a_labelled_source(tmp_path):
    game = Painter(num_classes=3)
    labels = (np.arange(NUM) % 3).astype(np.int32)
    path = tmp_path / "new" / "a.npz"
    about = np.asarray(json.dumps({"seed": 0}))
    cycled = sampler(game=game, class_of=InTurn(game.num_classes))
    sample_files.to_npz(path, cycled, game.variables, NUM, {"label": labels, "about": about})
    source = NpzSource(path, "all", Transform())
    assert (len(source), source.shape, source.num_classes) == (NUM, (8, 8, 1), 3)
    np.testing.assert_array_equal(source.arrays["image"], cycled.samples(game.variables, NUM))
    with np.load(path) as file:
        assert sorted(file.files) == ["about", "image", "label"]
        assert json.loads(str(file["about"])) == {"seed": 0}
    assert os.listdir(path.parent) == ["a.npz"]


def test_an_archive_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")

    def fail(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample_files.to_npz(path, sampler(), GAME.variables, NUM, {}, advance=fail)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_folders_of_classes_sort_as_the_classes_do():
    names = sample_files.class_folders(["zebra", "a/b", *map(str, range(2, 12))])
    assert names[:3] == ["00-zebra", "01-a_b", "02"]
    assert names == sorted(names)
