"""Images in Parquet files, by the convention of Hugging Face."""

import io
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from gan_jax.data.sources import make_source
from gan_jax.errors import DataError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, values, labels, *, plain=False):
    """Write images of one grey value each, two per row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [png(v) if plain else {"bytes": png(v), "path": f"{v}.png"} for v in values]
    table = pa.table({"image": images, "label": labels, "mass": [v / 8 for v in values]})
    features = {"image": {"_type": "Image"}, "label": {"names": ["zebra", "ant"]}}
    about = json.dumps({"info": {"features": features}})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), path, row_group_size=2)


@pytest.fixture
def make(tmp_path, data_config):
    def source(path=tmp_path, **fields):
        return make_source(data_config(name="folder", path=str(path), **fields))

    return source


def greys(source):
    return source.read(range(len(source)))["image"][:, 0, 0, 0].tolist()


@pytest.mark.parametrize("plain", [False, True])
def test_splits_and_labels_are_those_of_the_files(tmp_path, make, plain):
    write(tmp_path / "data/train-00000-of-00002.parquet", [20, 40, 60], [0, 1, 0], plain=plain)
    write(tmp_path / "data/train-00001-of-00002.parquet", [80], [1], plain=plain)
    write(tmp_path / "data/test-00000-of-00001.parquet", [100], [1], plain=plain)
    train, test = make(resolution=4), make(resolution=4, split="test")
    assert (greys(train), greys(test)) == ([20, 40, 60, 80], [100])
    assert (train.class_names, train.labels.tolist()) == (("ant", "zebra"), [1, 0, 1, 0])
    assert test.labels.tolist() == [0]
    assert train.unused[-1] == "columns of the metadata: mass"
    again = pickle.loads(pickle.dumps(train))
    assert greys(again) == greys(train)
    assert again.fingerprint() == train.fingerprint() != test.fingerprint()
    moved = tmp_path / "elsewhere"
    (tmp_path / "data").rename(moved)
    assert make(moved, resolution=4).fingerprint() == train.fingerprint()
    assert make(moved, resolution=4, labels=("mass",)).labels[:, 0].tolist() == [2.5, 5, 7.5, 10]


def test_one_file(tmp_path, make):
    write(tmp_path / "0001.parquet", [30, 90, 60], [0, 0, 1])
    source = make(tmp_path / "0001.parquet", resolution=4)
    assert (greys(source), source.num_classes) == ([30, 90, 60], 2)
    pq.write_table(pa.table({"img": [png(7), png(8)]}), tmp_path / "0001.parquet")
    assert (greys(make(resolution=4)), make(resolution=4).class_names) == ([7, 8], None)


def test_what_is_no_set_of_images(tmp_path, make):
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet has no column of images"):
        make()
    (tmp_path / "a.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        make()
    (tmp_path / "b.png").write_bytes(png(50))  # Beside images, a table is no set of its own.
    assert make(resolution=4).unused == ("1 .parquet",)


def test_files_may_be_in_folders_of_splits(tmp_path, make):
    for split, value in (("train", 10), ("test", 20)):
        write(tmp_path / "default" / split / "0000.parquet", [value], [0])
        write(tmp_path / f"flat/{split}_0.PARQUET", [value], [0])
    for path in (tmp_path / "default", tmp_path / "flat"):
        assert greys(make(path, resolution=4)) == [10]
        assert greys(make(path, resolution=4, split="test")) == [20]


def test_the_image_is_the_column_of_that_name(tmp_path, make):
    def table(**columns):
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        return make(tmp_path / "a.parquet", resolution=4)

    source = table(mask=[png(200)], image=[png(10)], id=[1])
    assert greys(source) == [10]
    assert source.unused == ("columns of the metadata: mask, id",)
    with pytest.raises(DataError, match=r"has mask, photo of images; accepted: .* in one column"):
        table(mask=[png(200)], photo=[png(10)])


def test_a_row_without_an_image_is_left_out_or_an_error(tmp_path, make):
    pq.write_table(pa.table({"image": [png(10), None]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"00000001\.png is not an image"):
        make(resolution=4).read([0, 1])
    assert greys(make(resolution=4, on_error="skip")) == [10, 10]


def test_a_missing_or_damaged_part_is_named(tmp_path, make):
    write(tmp_path / "train-00000-of-00002.parquet", [10], [0])
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet does not exist, but"):
        make()
    (tmp_path / "train-00001-of-00002.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"00001-of-00002\.parquet cannot be read as Parquet"):
        make()
