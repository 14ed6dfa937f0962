"""Archives and folders that are made to do harm: nothing escapes, hangs or fills the memory."""

import io
import os
import pickle
import struct
import subprocess
import tracemalloc
import zipfile

import numpy as np
import pytest
from PIL import Image

from gan_jax import arrays, errors
from gan_jax.data.sources import FolderSource, NpzSource, Transform
from gan_jax.data.sources.containers import open_files
from gan_jax.data.sources.images import decode
from gan_jax.inference import image_files, sample_files
from gan_jax.metrics import classifier_files, inception, statistics
from scripts import convert_inception
from tests.fuzz.pictures import png

PNG = png()
AS_IT_IS = Transform()


def archive(path, entries, kind=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in entries:
            file.writestr(name, content)
    return path


def source(path, on_error="raise"):
    return FolderSource(path, "all", AS_IT_IS, on_error)


def found(path):
    return image_files.find(path, "--input")


@pytest.mark.parametrize("name", ["../../x.png", "a/../../x.png", "/../x.png"])
def test_a_name_that_leads_out_of_the_folder_of_outputs_is_left_out_and_refused(name, tmp_path):
    path = archive(tmp_path / "a.zip", [("b.png", PNG), (name, PNG)])
    assert [file.name for file in found(path)] == ["b.png"]
    files, _ = open_files(path)
    with pytest.raises(errors.DataError, match=r"x\.png would be written outside --out="):
        image_files.outputs([image_files.ImageFile(name, files, name)], tmp_path / "out", "png")


@pytest.mark.parametrize("name", ["/etc/x.png", "//etc/x.png", "C:\\x.png", "a//x.png"])
def test_any_other_name_stays_in_the_folder_of_outputs(name, tmp_path):
    out = tmp_path / "out"
    (place,) = image_files.outputs(found(archive(tmp_path / "a.zip", [(name, PNG)])), out, "png")
    assert out in place.parents
    assert out.resolve() in place.resolve().parents


@pytest.mark.parametrize(
    "names", [("a.png", "a.jpg"), ("a/b.png", "a//b.png"), ("a.png", "/a.png"), ("a.png/b", "a")]
)
def test_two_entries_never_share_a_place(names, tmp_path):
    names = [name if "." in name[-4:] else f"{name}.png" for name in names]
    files = found(archive(tmp_path / "a.zip", [(name, PNG) for name in names]))
    with pytest.raises(errors.ConfigError, match="--input has"):
        image_files.outputs(files, tmp_path / "out", "png")


def test_a_name_too_long_to_write_is_refused(tmp_path):
    files = found(archive(tmp_path / "a.zip", [(f"{'x' * 300}.png", PNG)]))
    with pytest.raises(errors.DataError, match="a name of 304 bytes; accepted: up to"):
        image_files.outputs(files, tmp_path / "out", "png")


def test_a_link_in_a_zip_is_not_followed(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "secret.png")
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    path = archive(tmp_path / "a.zip", [(link, str(tmp_path / "secret.png"))])
    with pytest.raises(errors.DataError, match=r"a\.png is not an image"):
        source(path)
    with pytest.raises(errors.DataError, match="is not an image"):
        image_files.read(found(path)[0], 1)


def test_a_zip_that_unfolds_to_more_than_it_says_takes_no_more_memory(tmp_path):
    path = archive(tmp_path / "a.zip", [("a.png", bytes(2**26))], zipfile.ZIP_DEFLATED)
    raw = bytearray(path.read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + 24 : central + 28] = struct.pack("<I", 1000)
    path.write_bytes(raw)
    files, _ = open_files(path)
    tracemalloc.start()
    with pytest.raises(zipfile.BadZipFile):
        files.read("a.png")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (24, 0xFFFFFFF0, "unfolds to more than"),  # the unfolded size
        (20, 0xFFFFFFF0, "lies outside"),  # the size in the archive
        (42, 0x7FFFFFFF, "lies outside"),  # where it begins
    ],
)
def test_absurd_sizes_are_refused(offset, value, message, tmp_path):
    path = archive(tmp_path / "a.zip", [("a.png", PNG)])
    raw = bytearray(path.read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + offset : central + offset + 4] = struct.pack("<I", value)
    path.write_bytes(raw)
    with pytest.raises(errors.DataError, match=rf"a\.png is damaged: .*{message}") as caught:
        source(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("offset", "value"), [(8, 1), (10, zipfile.ZIP_BZIP2)])
def test_encryption_and_other_compression_are_refused(offset, value, tmp_path):
    path = archive(tmp_path / "a.zip", [("a.png", PNG)])
    raw = bytearray(path.read_bytes())
    central = raw.index(b"PK\x01\x02")
    raw[central + offset : central + offset + 2] = struct.pack("<H", value)
    path.write_bytes(raw)
    with pytest.raises(errors.DataError, match=r"a\.png cannot be read: .*stored or deflated, not"):
        source(path, "skip")


def test_too_many_pixels_are_refused_in_one_line(tmp_path):
    # A header is enough: the limit is checked before anything is unfolded.
    (tmp_path / "a.png").write_bytes(png(size=(30_000, 30_000)))
    for read in (lambda: source(tmp_path), lambda: image_files.read(found(tmp_path)[0], 3)):
        with pytest.raises(errors.DataError, match="900000000 pixels") as caught:
            read()
        assert "\n" not in str(caught.value)


def test_nothing_but_the_formats_of_images_is_tried(monkeypatch):
    # For PostScript, Pillow would start Ghostscript.
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(Exception, match="cannot identify image file"):
        decode(postscript)


def test_what_is_no_plain_file_is_left_out(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    os.mkfifo(tmp_path / "pipe.png")  # Reading it would wait for ever.
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    assert source(tmp_path).names == ["a.png"]


def test_folders_that_link_to_one_another_are_read_once(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(PNG)
        for other in "abcd":
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / ("b" if name == "a" else "a"))
        (tmp_path / name / "up").symlink_to(tmp_path)
    assert len(source(tmp_path)) == 2 * (1 + 4)


def test_links_with_factorially_many_paths_are_refused_at_once(tmp_path):
    # Of these there are some 10! paths.
    for name in "abcdefghij":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(PNG)
        for other in "abcdefghij".replace(name, ""):
            (tmp_path / name / f"to_{other}").symlink_to(tmp_path / other)
    for read in (source, found):
        with pytest.raises(errors.DataError, match="more than 100 paths lead to this") as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)


def test_a_folder_that_links_lead_to_from_several_places_is_in_each_of_them(tmp_path):
    (tmp_path / ".store" / "real").mkdir(parents=True)
    (tmp_path / ".store" / "real" / "x.png").write_bytes(PNG)
    for name in ("test", "val"):
        (tmp_path / name).symlink_to(tmp_path / ".store" / "real")
    assert source(tmp_path).names == ["test/x.png", "val/x.png"]


@pytest.mark.parametrize("target", ["gone.png", "b.png", "b.txt"])
def test_a_broken_link_to_an_image_is_refused_and_any_other_ignored(target, tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    (tmp_path / "b.txt").symlink_to(tmp_path / target)
    assert len(source(tmp_path)) == 1
    (tmp_path / "b.png").symlink_to(tmp_path / target)
    with pytest.raises(errors.DataError, match=r"b\.png cannot be read: it is a broken link"):
        source(tmp_path)


@pytest.fixture
def depth(tmp_path):
    """How deep to nest folders ``d``; removed by `rm`, as pytest, which recurses, cannot."""
    yield 1300
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


def test_folders_may_lie_deep_in_one_another(depth, tmp_path):
    folder = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=folder)
        inner = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    with open(os.open("x.png", os.O_WRONLY | os.O_CREAT, dir_fd=folder), "wb") as file:
        file.write(PNG)
    os.close(folder)
    assert source(tmp_path).names == ["d/" * depth + "x.png"]


def test_names_with_control_characters_are_escaped(tmp_path):
    path = archive(tmp_path / "a.zip", [("\x1b[2Jbad\nname.png", b"no image")])
    with pytest.raises(errors.DataError, match=r"\\x1b\[2Jbad\\nname\.png is not an image"):
        source(path)


def test_a_name_that_is_no_text_can_be_read(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.png")).write_bytes(PNG)
    one = source(tmp_path)
    assert one.item_name(0).isprintable()
    assert one.fingerprint()


# Arrays.


class Harm:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def harmful(path, proof):
    """Write arrays of an object that would make ``proof``; of every name that is asked for."""
    objects = np.array([Harm(proof)], dtype=object)
    np.savez(path, image=objects, count=objects, features=objects, about=objects)
    return path


def test_nothing_in_arrays_is_run(tmp_path):
    proof = tmp_path / "proof"
    path = harmful(tmp_path / "a.npz", proof)
    with pytest.raises(errors.DataError, match="allow_pickle"):
        NpzSource(path, "all", AS_IT_IS)
    with pytest.raises(errors.MetricError, match="allow_pickle"):
        inception.read_arrays(path)
    with pytest.raises(errors.MetricError, match="allow_pickle"):
        classifier_files.load(path)
    with pytest.raises(errors.MetricError):
        convert_inception.convert(path)
    for kind in ("features", "moments"):
        assert statistics._load(path, kind, 4) is None
    assert not proof.exists()


def test_nothing_in_weights_is_run(tmp_path):
    pytest.importorskip("torch")
    proof = tmp_path / "proof"
    for protocol in (2, 4):
        (tmp_path / "a.pth").write_bytes(pickle.dumps(Harm(proof), protocol=protocol))
        with pytest.raises(errors.MetricError):
            convert_inception.convert(tmp_path / "a.pth")
    archive(tmp_path / "b.pth", [("x/data.pkl", pickle.dumps(Harm(proof))), ("x/version", "3")])
    with pytest.raises(errors.MetricError):
        convert_inception.convert(tmp_path / "b.pth")
    assert not proof.exists()


def test_arrays_larger_than_the_machine_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, image=np.zeros((2, 4, 4), np.uint8))
    raw = path.read_bytes().replace(b"'shape': (2, 4, 4), }", b"'shape': (2**60,4), }")
    assert len(raw) == path.stat().st_size
    path.write_bytes(raw)
    with pytest.raises(arrays.UnreadableError):
        arrays.read_npz(path)
    np.savez(path, image=np.zeros((2, 4, 4), np.uint8))
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        assert file.infolist()[0].file_size == 160
    raw = bytearray(whole)
    central = raw.index(b"PK\x01\x02")
    # A field that says the size is in the extra field after the name, where it is of 64 bits.
    raw[central + 24 : central + 28] = b"\xff\xff\xff\xff"
    raw[central + 30 : central + 32] = struct.pack("<H", 12)
    name_length = struct.unpack("<H", raw[central + 28 : central + 30])[0]
    end = central + 46 + name_length
    raw[end:end] = struct.pack("<HHQ", 1, 8, 2**60)
    last = raw.rindex(b"PK\x05\x06")
    size = struct.unpack("<I", raw[last + 12 : last + 16])[0]
    raw[last + 12 : last + 16] = struct.pack("<I", size + 12)
    path.write_bytes(raw)
    with pytest.raises(arrays.UnreadableError, match="unfolds to 1,152,921,504,606,846,976 bytes"):
        arrays.read_npz(path)


def test_a_member_that_is_no_array_is_refused(tmp_path):
    path = archive(tmp_path / "a.npz", [("image.npy", b"hello")])
    with pytest.raises(arrays.UnreadableError, match="'image' in it is no array"):
        arrays.read_npz(path)
    with pytest.raises(errors.DataError, match=r"a\.npz cannot be read as arrays: 'image' in it"):
        NpzSource(path, "all", AS_IT_IS)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names", [("image.npy", "image"), ("image", "image.npy"), ("image.npy", "image.npy")]
)
def test_a_name_of_two_members_is_refused(names, tmp_path):
    # Of both, one would be measured, and the other one be read.
    content = io.BytesIO()
    np.save(content, np.zeros((2, 4, 4), np.uint8), allow_pickle=False)
    path = archive(tmp_path / "a.npz", [(name, content.getvalue()) for name in names])
    with pytest.raises(arrays.UnreadableError, match="several of its members are called 'image"):
        arrays.read_npz(path)
    with pytest.raises(errors.DataError, match=r"a\.npz cannot be read as arrays: several of its"):
        NpzSource(path, "all", AS_IT_IS)


def test_a_label_that_would_make_a_billion_classes_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 4, 4), np.uint8), y=np.array([0, 10**9]))
    with pytest.raises(errors.DataError, match="accepted: integers from 0 to 999,999"):
        NpzSource(tmp_path / "a.npz", "all", AS_IT_IS)


def test_classes_cannot_lead_out_of_a_folder_of_samples():
    names = sample_files.class_folders(["..", "/etc", "../../x", "\x00", "a/b"])
    assert all("/" not in name and name not in (".", "..") for name in names)
    assert all("\x00" not in name for name in names)


@pytest.mark.parametrize("text", ["[]", "1", "{", "\xff"])
def test_a_damaged_record_of_samples_is_refused(text, tmp_path):
    (tmp_path / sample_files.RECORD).write_bytes(text.encode("latin-1"))
    with pytest.raises(errors.WorkdirError, match="is damaged"):
        sample_files.check_folder(tmp_path, {"num": 1})


@pytest.mark.parametrize("name", ["huggingface:x", "kaggle:a_b/c:1.0.0", "someone:x"])
def test_data_sets_that_come_with_code_are_refused(name):
    from gan_jax.data.sources import tfds

    with pytest.raises(errors.ConfigError, match="code of its own"):
        tfds.find_builder(name, None)
