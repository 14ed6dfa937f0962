"""Labels from metadata.csv and metadata.jsonl."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from gan_jax.data import attributes, kinds
from gan_jax.data import spec as specs
from gan_jax.data.sources import make_source
from gan_jax.errors import ConfigError, DataError

COLUMNS = {"size": ("small", "large", "small", "large"), "digit": (10, 9, 9, 10)}


def images(root, *names):
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 20 * k).save(root / name)


def rows(names, **columns):
    return [
        dict(zip(columns, row, strict=True)) | {"file_name": n}
        for n, *row in zip(names, *columns.values(), strict=True)
    ]


def csv(path, found):
    names = list(found[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in found)]
    path.write_text("\n".join(lines))


def jsonl(path, found):
    path.write_text("\n".join(map(json.dumps, found)) + "\n")


@pytest.fixture
def make(tmp_path, data_config):
    """Return a function that makes the source of ``tmp_path``."""

    def source(**fields):
        return make_source(data_config(**{"name": "folder", "path": str(tmp_path)} | fields))

    return source


NAMES = ("a.png", "b.png", "deep/c.png", "d.png")


@pytest.mark.parametrize("write", [csv, jsonl])
def test_a_column_is_the_label(tmp_path, make, write):
    images(tmp_path, *NAMES)
    write(tmp_path / f"metadata.{write.__name__}", rows(NAMES, **COLUMNS))
    # The images are sorted by path: a, b, d, deep/c. Numbers are sorted by size.
    source = make(labels=("digit",))
    assert (source.class_names, source.labels.tolist()) == (("9", "10"), [1, 0, 1, 0])
    assert int(source[3]["label"]) == 0
    assert source.unused == ("columns of the metadata: size",)
    assert source.notes[-1] == "labelled by the column digit of the metadata"
    assert attributes.of(source.spec) is None
    source = make(labels=("size",))
    assert (source.class_names, source.labels.tolist()) == (("large", "small"), [1, 0, 0, 1])
    # No column is named label, so without data.labels there are no classes.
    assert make().class_names is None
    with pytest.raises(ConfigError, match=r"data\.labels = 'sise'.*Did you mean \"size\"\?"):
        make(labels=("sise",))


def test_several_columns_are_a_vector(tmp_path, make):
    images(tmp_path, *NAMES)
    csv(tmp_path / "metadata.csv", rows(NAMES, **COLUMNS, smiling=(-1, 1, 1, -1)))
    source = make(labels=("size", "digit", "smiling"))
    field = source.spec["label"]
    # A text is a one-hot vector, and a number itself. The images are a, b, d, deep/c.
    assert field.attributes == ("size=large", "size=small", "digit", "smiling")
    vectors = [[0, 1, 10, -1], [1, 0, 9, 1], [1, 0, 10, -1], [0, 1, 9, 1]]
    np.testing.assert_array_equal(source.labels, vectors)
    np.testing.assert_array_equal(source[3]["label"], vectors[3])
    assert (source.class_names, source.num_classes, field.vectors[1]) == (None, None, (1, 0, 9, 1))
    # Networks see numbers within -1 and 1 as they are; digits are 9.5 with a deviation of 0.5.
    seen = kinds.of(field).to_network(source.labels)
    np.testing.assert_allclose(seen, [[0, 1, 1, -1], [1, 0, -1, 1], [1, 0, 1, -1], [0, 1, -1, 1]])
    np.testing.assert_allclose(kinds.of(field).to_stored(seen), vectors)
    recorded = json.loads(json.dumps(specs.to_json(source.spec)))
    assert specs.from_json(recorded) == source.spec


def test_fractions_are_attributes(tmp_path, make):
    images(tmp_path, *NAMES)
    jsonl(tmp_path / "metadata.jsonl", rows(NAMES, age=(0.5, 0.25, 2, 0.5)))
    source = make(labels=("age",))
    assert source.spec["label"].attributes == ("age",)
    np.testing.assert_array_equal(source.labels[:, 0], [0.5, 0.25, 0.5, 2])


def test_any_number_of_combinations(tmp_path, make):
    images(tmp_path, *(f"{k:04d}.png" for k in range(300)))
    signs = np.random.default_rng(0).choice([-1, 1], (5000, 40))
    columns = {f"c{k}": signs[:, k] for k in range(40)}
    csv(tmp_path / "metadata.csv", rows([f"{k:04d}.png" for k in range(5000)], **columns))
    source = make(labels=tuple(columns))
    np.testing.assert_array_equal(source.labels, signs[:300])
    assert len(source.spec["label"].vectors) == 256
    # The fingerprint depends on every number.
    columns["c39"] = 0.5 * columns["c39"]
    csv(tmp_path / "metadata.csv", rows([f"{k:04d}.png" for k in range(5000)], **columns))
    assert make(labels=tuple(columns)).fingerprint() != source.fingerprint()


def test_attributes_that_are_asked_for(tmp_path, make):
    images(tmp_path, *NAMES)
    csv(tmp_path / "metadata.csv", rows(NAMES, **COLUMNS))
    field = make(labels=("size", "digit")).spec["label"]
    # What is not named is that of an image.
    np.testing.assert_array_equal(attributes.asked(field, "digit=9.5"), [[0, 1, 9.5], [1, 0, 9.5]])
    np.testing.assert_array_equal(attributes.asked(field, "size=large"), [[1, 0, 9], [1, 0, 10]])
    np.testing.assert_array_equal(attributes.asked(field, "0, 1,-3"), [[0, 1, -3]])
    for text in ("digid=1", "9", "size=larg", "digit=", "1,2,x"):
        with pytest.raises(ConfigError, match="label"):
            attributes.asked(field, text)


def test_splits_have_metadata_of_their_own_in_a_zip(tmp_path, make):
    root = tmp_path / "set"
    images(root, "train/a.png", "train/b.png", "test/c.png")
    csv(root / "train" / "metadata.csv", rows(("a.png", "b.png"), label=("x", "z")))
    csv(root / "test" / "metadata.csv", rows(("c.png",), label=("y",)))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in root.rglob("*.*"):
            archive.write(file, file.relative_to(root))
    for path in (root, tmp_path / "set.zip"):
        # The column "label" needs no name, and classes are numbered over all splits.
        train, test = (make(path=str(path), split=split) for split in ("train", "test"))
        assert (train.class_names, train.labels.tolist()) == (("x", "y", "z"), [0, 2])
        assert test.labels.tolist() == [1]


def test_folders_are_the_classes_unless_a_column_is_asked_for(tmp_path, make):
    images(tmp_path, "cat/a.png", "dog/b.png")
    csv(tmp_path / "metadata.csv", rows(("cat/a.png", "dog/b.png"), label=("y", "x")))
    assert make().class_names == ("cat", "dog")
    assert make().unused[-1] == "columns of the metadata: label"
    assert make(labels=("label",)).labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([{"file_name": "a.png", "label": "x"}], r"b\.png has no row.*\(1 such images in all\)"),
        ([{"name": "a.png", "label": "x"}], r"metadata\.jsonl has a row without a path in .*"),
        ([{"file_name": "a.png"}, {"name": "b.png"}], "has a row without a path"),
        ([{"file_name": n, "label": None} for n in ("a.png", "b.png")], "a.png has no value in"),
    ],
)
def test_metadata_that_do_not_fit(tmp_path, make, found, message):
    images(tmp_path, "a.png", "b.png")
    jsonl(tmp_path / "metadata.jsonl", found)
    with pytest.raises(DataError, match=message):
        make(labels=("label",) if "label" in str(found) else ())


def test_metadata_that_cannot_be_read_or_have_no_use(tmp_path, make):
    images(tmp_path, "a.png")
    jsonl(tmp_path / "metadata.jsonl", rows(("a.png", "gone.png"), label=("x", "y")))
    assert make().unused == ("1 rows of the metadata without an image",)
    # Another file of this name is not of this convention.
    csv(tmp_path / "metadata.csv", [{"id": 1, "label": "x"}])
    assert make().class_names == ("x", "y")
    (tmp_path / "metadata.csv").unlink()
    (tmp_path / "metadata.jsonl").write_text("{")
    with pytest.raises(DataError, match=r"metadata\.jsonl cannot be read"):
        make()
    (tmp_path / "metadata.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"there is no metadata\.csv or metadata\.jsonl"):
        make(labels=("label",))
    with pytest.raises(ConfigError, match=r"data\.labels = .* with data\.name = 'digits'"):
        make(name="digits", labels=("label",))


def test_rows_of_an_image_that_differ_are_refused(tmp_path, make):
    images(tmp_path, "a.png", "b.png")
    same = [{"file_name": "a.png", "label": "x"}, {"file_name": "b.png", "label": "y"}]
    csv(tmp_path / "metadata.csv", [*same, same[0]])
    jsonl(tmp_path / "metadata.jsonl", same)
    assert make().labels.tolist() == [0, 1]
    jsonl(tmp_path / "metadata.jsonl", [{"file_name": "a.png", "label": "y"}])
    with pytest.raises(DataError, match=r"has other values for a\.png than an earlier row"):
        make()


def test_a_column_of_splits_is_not_ignored(tmp_path, make):
    images(tmp_path, "a.png", "b.png")
    csv(tmp_path / "metadata.csv", rows(("a.png", "b.png"), split=("train", "Test")))
    with pytest.raises(DataError, match=r"column split of the metadata has Test, train.*split=all"):
        make()
    assert len(make(split="all")) == len(make(labels=("split",))) == 2


def test_other_separators_are_read_and_other_files_are_shown(tmp_path, make):
    images(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.csv").write_text("file_name; label\na.png;7\nb.png;6\n")
    assert make().class_names == ("6", "7")
    (tmp_path / "metadata.csv").write_text("file,label\na.png,7\nb.png,6\n")
    source = make()
    assert source.class_names is None
    assert source.unused == ("metadata.csv, which has no column file_name",)
