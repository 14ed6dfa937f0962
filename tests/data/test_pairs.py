"""Two images per example: halves, twins and domains; parts of sources; tiles of photographs."""

import io
import itertools
import pickle
import re
import zipfile

import jax
import numpy as np
import pytest
from PIL import Image

from gan_jax.data import device, order
from gan_jax.data import spec as specs
from gan_jax.data.pipeline import make_pipeline, resident_bytes
from gan_jax.data.sources import (
    DomainSource,
    Subset,
    TiledSource,
    TwinSource,
    image_source,
    make_source,
)
from gan_jax.data.sources.tiles import places
from gan_jax.errors import ConfigError, DataError


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def domains(tmp_path):
    """Folders trainA, trainB, testA and testB of PNG files, 5, 7, 2 and 3 of them."""
    for k, (name, count) in enumerate([("trainA", 5), ("trainB", 7), ("testA", 2), ("testB", 3)]):
        for i in range(count):
            save(tmp_path / "set" / name / f"{i:03d}.png", noise([k, i], 8, 8, 3))
    return tmp_path / "set"


def test_side_by_side_is_the_left_half_and_the_right(tmp_path, data_config):
    for i in range(3):
        save(tmp_path / f"{i}.png", noise(i, 6, 12, 3))
    config = data_config(name="folder", path=str(tmp_path), pairing="side_by_side", resolution=None)
    source = make_source(config)
    assert source.spec == specs.pairs((6, 6, 3))
    for i in range(3):
        whole = noise(i, 6, 12, 3)
        np.testing.assert_array_equal(source[i]["a"], whole[:, :6])
        np.testing.assert_array_equal(source[i]["b"], whole[:, 6:])
    config.update(resolution=4, channels=1)
    assert make_source(config).spec == specs.pairs((4, 4, 1))
    save(tmp_path / "3.png", noise(3, 6, 11, 3))
    with pytest.raises(DataError, match=r"3\.png.*6x11.*an even width"):
        make_source(config)


@pytest.mark.parametrize(
    ("halves", "first"),
    [
        ({}, "left"),
        ({"a": "B"}, "right"),
        ({"b": "a"}, "right"),
        ({"a": "right", "b": "left"}, "right"),
        ({"a": "A", "b": "B"}, "left"),
    ],
)
def test_either_half_may_be_the_first_image(tmp_path, data_config, halves, first):
    whole = noise(0, 6, 12, 3)
    save(tmp_path / "0.png", whole)
    fields = {"name": "folder", "path": str(tmp_path), "pairing": "side_by_side"}
    pair = make_source(data_config(**fields, resolution=None, **halves))[0]
    left, right = whole[:, :6], whole[:, 6:]
    expected = (left, right) if first == "left" else (right, left)
    np.testing.assert_array_equal(np.stack([pair["a"], pair["b"]]), np.stack(expected))


def test_twins_are_the_files_of_one_name(tmp_path, data_config):
    for i in (2, 0, 1):
        save(tmp_path / "train" / "in" / f"{i}.png", noise([0, i], 4, 4, 3))
        save(tmp_path / "train" / "out" / f"{i}.bmp", noise([1, i], 4, 4, 3))
    config = data_config(
        name="folder", path=str(tmp_path), pairing="twins", a="in", b="out", resolution=4
    )
    source = make_source(config)
    assert isinstance(source, TwinSource)
    assert (len(source), source.spec) == (3, specs.pairs((4, 4, 3)))
    rows = source.read([2, 0])
    for side, name in enumerate("ab"):
        for row, i in zip(rows[name], (2, 0), strict=True):
            np.testing.assert_array_equal(row, noise([side, i], 4, 4, 3))
    assert "0.png and" in source.item_name(0)
    save(tmp_path / "train" / "in" / "9.png", noise(9, 4, 4, 3))
    with pytest.raises(DataError, match=r"9 is in in, and has no partner in out \(1 such in all"):
        make_source(config)
    save(tmp_path / "train" / "out" / "9.png", noise(9, 4, 4, 3))
    save(tmp_path / "train" / "out" / "9.bmp", noise(9, 4, 4, 3))
    with pytest.raises(DataError, match=r"out has several files of the name 9 that differ"):
        make_source(config)


@pytest.mark.parametrize(
    ("folders", "fields"),
    [
        (("TrainA", "trainb"), {}),
        (("Training/horse", "Training/zebra"), {"a": "horse", "b": "zebra"}),
        (("set/Images/TRAIN", "set/Masks/TRAIN"), {"a": "images", "b": "masks"}),
    ],
)
def test_sides_are_found_whatever_their_case(tmp_path, data_config, folders, fields):
    for side, folder in enumerate(folders):
        save(tmp_path / folder / "0.png", np.full((4, 4, 3), side + 1, np.uint8))
    config = data_config(name="folder", path=str(tmp_path), pairing="twins", resolution=4, **fields)
    assert [int(x.max()) for x in make_source(config)[0].values()] == [1, 2]
    if not fields:  # What is spelled as asked for comes first.
        save(tmp_path / "trainA" / "0.png", np.full((4, 4, 3), 9, np.uint8))
        assert make_source(config)[0]["a"].max() == 9


def test_two_folders_are_no_halves(tmp_path, data_config):
    for name in ("trainA", "trainB"):
        save(tmp_path / name / "0.png", noise(0, 4, 8, 3))
    config = data_config(name="folder", path=str(tmp_path), pairing="side_by_side", resolution=4)
    with pytest.raises(ConfigError, match=r"has the folders trainA, trainB; accepted: 'twins'"):
        make_source(config)


@pytest.mark.parametrize(
    ("second", "resize", "accepted"),
    [
        ((12, 16), "resize", None),
        ((9, 11), "resize", None),
        ((8, 6), "resize", "one ratio"),
        ((8, 6), "letterbox", "one ratio"),
        ((8, 6), "squeeze", None),
        ((12, 16), "crop", "one size"),
    ],
)
def test_twins_of_other_shapes_would_not_be_aligned(
    tmp_path, data_config, second, resize, accepted
):
    save(tmp_path / "A" / "0.png", noise(0, 6, 8, 3))
    save(tmp_path / "B" / "0.png", noise(0, *second, 3))
    config = data_config(
        name="folder", path=str(tmp_path), pairing="twins", resolution=4, resize=resize
    )
    if accepted is None:
        assert len(make_source(config)) == 1
    else:
        with pytest.raises(DataError, match=rf"6x8, .*B/0\.png {second[0]}x.*: {accepted}"):
            make_source(config)


@pytest.mark.parametrize("zipped", [False, True])
def test_names_of_twins_may_have_dots_and_any_suffix(tmp_path, data_config, zipped):
    """Sorted with their suffixes, a.jpg < a.night.jpg, but a.night.png < a.png."""
    stems = ("a", "a.night", "sub/b.v1.2", "sub/b")
    for i, stem in enumerate(stems):
        save(tmp_path / "set" / "A" / f"{stem}.bmp", np.full((4, 4, 3), i, np.uint8))
        save(tmp_path / "set" / "B" / f"{stem}.png", np.full((4, 4, 3), 100 + i, np.uint8))
    path = tmp_path / "set"
    if zipped:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in (tmp_path / "set").rglob("*.*"):
                archive.write(file, file.relative_to(tmp_path))
    fields = {"name": "folder", "path": str(path), "pairing": "twins", "resolution": 4}
    rows = make_source(data_config(**fields)).read(range(4))
    np.testing.assert_array_equal(rows["b"], rows["a"] + 100)
    assert set(rows["a"].ravel()) == set(range(4))
    other_way = make_source(data_config(**fields, a="B", b="A")).read(range(4))
    np.testing.assert_array_equal(other_way["a"], other_way["b"] + 100)
    with pytest.raises(
        ConfigError, match=r"data\.a and data\.b are both 'B'; accepted: two different"
    ):
        make_source(data_config(**fields, a="B"))


def test_twins_of_grey_and_colour_are_both_in_colour(tmp_path, data_config):
    save(tmp_path / "A" / "x.png", noise(0, 4, 4))
    save(tmp_path / "B" / "x.png", noise(1, 4, 4, 3))
    config = data_config(name="folder", path=str(tmp_path), pairing="twins", resolution=4)
    pair = make_source(config)[0]
    np.testing.assert_array_equal(pair["a"], noise(0, 4, 4)[..., None].repeat(3, -1))
    np.testing.assert_array_equal(pair["b"], noise(1, 4, 4, 3))


@pytest.mark.parametrize("zipped", [False, True])
def test_domains_are_found_by_split(domains, data_config, tmp_path, zipped):
    path = domains
    if zipped:
        path = tmp_path / "set.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(domains.rglob("*.png")):
                archive.write(file, f"set/{file.relative_to(domains)}")
    config = data_config(name="folder", path=str(path), pairing="domains", resolution=8)
    source = make_source(config)
    assert isinstance(source, DomainSource)
    assert (len(source.a), len(source.b), len(source)) == (5, 7, 7)
    row = source[5]
    np.testing.assert_array_equal(row["a"], noise([0, 0], 8, 8, 3))
    np.testing.assert_array_equal(row["b"], noise([1, 5], 8, 8, 3))
    config.split = "test"
    assert len(make_source(config)) == 3
    config.split = "val"
    with pytest.raises(ConfigError, match=r"data\.a = .* = 'val': .* valA, val/A"):
        make_source(config)


def test_domains_may_be_classes(data_config):
    source = make_source(
        data_config(name="digits", pairing="domains", a="3", b="8", resolution=None)
    )
    whole = make_source(data_config(name="digits", resolution=None))
    for side, digit in ((source.a, 3), (source.b, 8)):
        assert isinstance(side, Subset)
        expected = whole.arrays["image"][whole.arrays["label"] == digit]
        np.testing.assert_array_equal(side.read(range(len(side)))["image"], expected)
    with pytest.raises(ConfigError, match=r"data\.b = 'x' is unknown; accepted: 0, 1, 2"):
        make_source(data_config(name="digits", pairing="domains", a="3", b="x"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pairing": "pairs"}, r"data\.pairing = 'pairs' is unknown; accepted: domains"),
        ({"pairing": "twins"}, r"data\.name = 'digits'; accepted for data\.pairing = 'twins'"),
        (
            {"pairing": "side_by_side", "name": "folder"},
            r"data\.path is not set; accepted for data\.name = 'folder'",
        ),
        ({"pairing": "domains", "without": ("1",)}, r"data\.without = .*; accepted: \(\)"),
        ({"pairing": "domains", "normal": ("1",)}, r"data\.normal = .*; accepted: \(\)"),
        (
            {"pairing": "side_by_side", "name": "folder", "path": ".", "a": "C"},
            r"data\.a = 'c' is unknown; accepted: a, b, left, right",
        ),
        (
            {"pairing": "side_by_side", "name": "folder", "path": ".", "a": "A", "b": "left"},
            r"data\.a = 'A' and data\.b = 'left' are one half; accepted: two",
        ),
        ({"without": ("11",)}, r"data\.without = '11' is unknown"),
        ({"without": tuple("0123456789")}, r"leaves nothing of digits"),
        ({"resize": "tile"}, r"data\.resize = 'tile' with data\.name = 'digits'"),
    ],
)
def test_what_cannot_work_is_refused(data_config, fields, message):
    with pytest.raises(ConfigError, match=message):
        make_source(data_config(**fields))


def test_classes_can_be_left_out(data_config):
    whole = make_source(data_config())
    source = make_source(data_config(without=("0", "7")))
    kept = ~np.isin(whole.arrays["label"], [0, 7])
    assert len(source) == kept.sum()
    rows = source.read(range(len(source)))
    np.testing.assert_array_equal(rows["image"], whole.arrays["image"][kept])
    np.testing.assert_array_equal(rows["label"], whole.arrays["label"][kept])
    assert source.num_classes == 10
    assert source.fingerprint() != whole.fingerprint()
    other = make_source(data_config(without=("0", "6")))
    assert source.fingerprint() != other.fingerprint()
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(again[3]["image"], source[3]["image"])


def domain_source(sizes=(5, 7)):
    """Return two domains whose pixels are their images' numbers: A from 0, B from 100 on."""
    parts = []
    for size, first in zip(sizes, (0, 100), strict=True):
        images = np.arange(first, first + size, dtype=np.uint8).repeat(16).reshape(size, 4, 4, 1)
        parts.append(image_source("numbers", "train", images, None))
    return DomainSource(*parts, "train")


def calls(pipe, start, count):
    with pipe.batches(start) as batches:
        taken = list(itertools.islice(batches, count))
    fetch = jax.jit(device.fetch)
    return [jax.tree.map(np.asarray, fetch_rows(fetch, pipe, call)) for call in taken]


def fetch_rows(fetch, pipe, call):
    flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), call)
    return fetch(pipe.data, flat)


def make(source, **changes):
    settings = {"seed": 4, "global_batch": 6, "batches_per_step": 2, "steps_per_call": 1}
    return make_pipeline(source, **settings | changes)


def test_each_domain_has_an_order_of_its_own():
    source = domain_source()
    rows = calls(make(source), 0, 10)
    for side, size, first, seed in [("a", 5, 0, 4), ("b", 7, 100, 4 + 2**32)]:
        seen = np.concatenate([row[side][:, 0, 0, 0] for row in rows])
        expected = order.indices(seed, 0, len(seen), size)
        np.testing.assert_array_equal(seen, expected + first)
        # Each image once in every epoch of its domain, whatever the other one does.
        for start in range(0, len(seen) - size, size):
            assert sorted(seen[start : start + size]) == list(range(first, first + size))


@pytest.mark.parametrize("start", [0, 5])
def test_domains_on_the_device_are_those_streamed(start):
    source = domain_source()
    resident, streamed = make(source), make(source, resident=False)
    assert resident.resident
    assert not streamed.resident
    for one, other in zip(calls(resident, start, 3), calls(streamed, start, 3), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)
    assert resident_bytes(source) == 5 * 16 + 7 * 16


def test_processes_share_the_batches_of_domains():
    source = domain_source()
    whole = next(make(source).batches(3))
    parts = [next(make(source, process_index=p, process_count=2).batches(3)) for p in (0, 1)]
    for side in "ab":
        joined = np.concatenate([part[side] for part in parts], axis=2)
        np.testing.assert_array_equal(joined, whole[side])


@pytest.mark.parametrize("resident", [True, False])
def test_the_abstract_shapes_are_those_of_the_arrays(resident):
    for source in (domain_source(), domain_source().a):
        pipe = make(source, resident=resident)
        found = {name: (x.shape, x.dtype) for name, x in pipe.data.items()}
        assert found == pipe.abstract_data()
        call = next(pipe.batches(0))
        assert {name: (x.shape, x.dtype) for name, x in call.items()} == pipe.abstract_batch()


def test_an_undecodable_twin_is_skipped_and_counted(tmp_path, data_config):
    for i in range(4):
        for side in "AB":
            save(tmp_path / side / f"{i}.png", noise(i, 4, 4, 3))
    (tmp_path / "B" / "2.png").write_bytes(b"no image")
    fields = {"name": "folder", "path": str(tmp_path), "pairing": "twins", "resolution": 4}
    source = make_source(data_config(**fields, on_error="skip", channels=3))
    rows = source.read(range(4))
    assert list(source.failures) == [2]
    # The whole pair is replaced, not the damaged side alone.
    for side in "ab":
        np.testing.assert_array_equal(rows[side][2], rows[side][3])
        np.testing.assert_array_equal(rows[side][3], noise(3, 4, 4, 3))
    with pytest.raises(DataError, match=r"2\.png"):
        make_source(data_config(**fields, channels=3))[2]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 20), (31, 8), (16, 24)])
def test_tiles_cover_a_photograph_and_begin_at_its_edges(height, width):
    covered = np.zeros((height, width), int)
    for top, left in places(height, width, 8):
        assert 0 <= top <= height - 8
        assert 0 <= left <= width - 8
        covered[top : top + 8, left : left + 8] += 1
    assert covered.min() == 1
    # No more than needed.
    assert len(places(height, width, 8)) == -(-height // 8) * -(-width // 8)


def test_tiles_are_cut_unscaled_from_photographs_of_any_size(tmp_path, data_config):
    sizes = [(20, 33), (33, 20), (16, 16)]
    for i, (height, width) in enumerate(sizes):
        save(tmp_path / f"{i}.png", noise(i, height, width, 3))
    fields = {"name": "folder", "path": str(tmp_path), "resize": "tile"}
    source = make_source(data_config(**fields, resolution=16))
    assert isinstance(source, TiledSource)
    expected = [
        noise(i, *size, 3)[top : top + 16, left : left + 16]
        for i, size in enumerate(sizes)
        for top, left in places(*size, 16)
    ]
    np.testing.assert_array_equal(source.read(range(len(source)))["image"], expected)
    assert source.shape == (16, 16, 3)
    order_ = [5, 0, 12, 1]
    again = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(
        again.read(order_)["image"], np.stack([expected[i] for i in order_])
    )
    np.testing.assert_array_equal(source[-1]["image"], expected[-1])
    assert source.item_name(12).endswith("2.png[0]")
    small = r"2\.png is 16x16, smaller than data\.resolution = 17"
    with pytest.raises(DataError, match=small):
        make_source(data_config(**fields, resolution=17))
    source = make_source(data_config(**fields, resolution=17, on_error="skip"))
    assert len(source) == sum(len(places(*size, 17)) for size in sizes if min(size) >= 17)
    assert re.search(r"1 photographs, the first: .*" + small, source.unused[-1])
    with pytest.raises(DataError, match=r"has no tiles; the first image: .*0\.png is"):
        make_source(data_config(**fields, resolution=99, on_error="skip"))


def test_a_photograph_turned_by_its_camera_is_cut_as_it_is_seen(tmp_path, data_config):
    pixels = noise(0, 16, 32, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by a quarter.
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", exif=exif)
    (tmp_path / "x.png").write_bytes(buffer.getvalue())
    config = data_config(name="folder", path=str(tmp_path), resize="tile", resolution=16)
    source = make_source(config)
    turned = np.rot90(pixels, -1)
    np.testing.assert_array_equal(source[0]["image"], turned[:16])
    np.testing.assert_array_equal(source[1]["image"], turned[16:])


def test_a_damaged_photograph_is_named_or_left_out(tmp_path, data_config):
    save(tmp_path / "a.png", noise(0, 16, 32, 3))
    (tmp_path / "b.png").write_bytes(b"nothing")
    fields = {"name": "folder", "path": str(tmp_path), "resize": "tile", "resolution": 16}
    with pytest.raises(DataError, match=r"b\.png"):
        make_source(data_config(**fields))
    assert len(make_source(data_config(**fields, on_error="skip"))) == 2


def test_the_embedded_photographs_hold_a_part_out(data_config):
    fields = {"name": "photos", "resize": "tile", "resolution": 96, "channels": 3}
    train = make_source(data_config(**fields))
    test = make_source(data_config(**fields, split="test"))
    assert train.class_names == ("china", "flower")
    assert train.shape == test.shape == (96, 96, 3)
    assert len(train) > len(test) > 20
    seen = {image.tobytes() for image in train.arrays["image"]}
    assert not any(image.tobytes() in seen for image in test.arrays["image"])
    with pytest.raises(ConfigError, match="accepted for split 'test' of 'photos': 160 or less"):
        make_source(data_config(**fields | {"resolution": 200}, split="test"))
    with pytest.raises(ConfigError, match=r"data\.resize = 'resize'"):
        make_source(data_config(**fields | {"resize": "resize"}))


def test_horses_and_zebras_are_two_domains(shared_data, data_config):
    path = str(shared_data("horse2zebra_128.zip"))
    config = data_config(name="folder", path=path, pairing="domains", resolution=128, channels=3)
    train = make_source(config)
    assert (len(train.a), len(train.b)) == (1067, 1334)
    config.split = "test"
    test = make_source(config)
    assert (len(test.a), len(test.b)) == (120, 140)
    assert test.spec["a"].shape == test.spec["b"].shape == (128, 128, 3)


def test_photographs_that_lie_and_that_stand_become_tiles(shared_data, data_config):
    path = str(shared_data("bsds500.zip"))
    fields = {"name": "folder", "path": path, "resize": "tile", "resolution": 160}
    train = make_source(data_config(**fields, channels=3))
    val = make_source(data_config(**fields, channels=3, split="val"))
    # 481x321 either way: 4 tiles along one side and 3 along the other.
    assert (len(train), len(val)) == (200 * 12, 100 * 12)
    rows = val.read([5, 700])["image"]
    assert rows.shape == (2, 160, 160, 3)
    assert rows.std() > 20
