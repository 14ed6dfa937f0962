"""Errors of the command line are one line on standard error, before anything is written."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

from gan_jax.runs import run_directory
from tests.experiments import program
from tests.experiments.program import call, complaint, succeeded

PROGRAMS = ("main", "sample", "translate", "evaluate", "sweep", "report")
SMOKE = "--config=configs/gan.py:smoke"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_ends_with_one_line_on_standard_error(name):
    message = complaint(call("stray", module=f"experiments.{name}"))
    assert message == "unknown argument 'stray'; accepted: flags, see --help"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), r"--config is missing; for example --config=wgan_gp"),
        (("--config",), r"Missing value for flag --config"),
        (
            ("--config=configs/nope.py",),
            r"--config cannot be read: No such file .*configs/nope\.py",
        ),
        (
            ("--config=configs/wgan-gp.py",),
            r"--config cannot be read: .* Did you mean configs/wgan_gp\.py, configs/wgan\.py",
        ),
        ((SMOKE, "--config.train.steps=None"), r"--config\.train\.steps=None; accepted: a value"),
        (("--config=configs/",), r"--config cannot be read: .*: 'configs/'"),
        (
            ("--config=wgan-gp:smoke",),
            r"--config=wgan-gp is no configuration; .* a name: wgan_gp, wgan",
        ),
        (("--config", "zzz"), r"--config=zzz is no configuration; .* a name: acgan, biggan,"),
        (
            ("--config=configs/nope.py", "--config.train.steps=3"),
            r"--config cannot be read: No such file .*configs/nope\.py",
        ),
        (
            ("--config=configs/gan.py:cifar11",),
            r".*'cifar11' is unknown.* \"cifar10\"\?",
        ),
        (("--config=configs/gan.py:mnist,cifar10",), r".*:mnist,cifar10 names 2 data sets"),
        (
            (SMOKE, "--config.train.steps=3", "--config.train.stepps=3"),
            r"--config\.train\.stepps is no field\. Did you mean \"steps\"\?",
        ),
        ((SMOKE, "--config.trian.steps=3"), r"--config\.trian\.steps is no field. .*\"train\""),
        ((SMOKE, "--config.train.steps=many"), r"flag --config\.train\.steps=many: invalid .* int"),
        ((SMOKE, "--config.train.steps=1.5"), r"flag --config\.train\.steps=1\.5: invalid .* int"),
        ((SMOKE, "--config.game.clip=yes"), r"flag --config\.game\.clip=yes: could not .* float"),
        ((SMOKE, "--config.data.flip=perhaps"), r"flag --config\.data\.flip=perhaps: "),
        ((SMOKE, "--config.train=3"), r"flag --config\.train=3: .* not a dict"),
        (
            ("--config.train.steps=3", SMOKE),
            r"Found --config\.train\.steps=3 .* before .*",
        ),
        ((SMOKE, "--wrokdir=x"), r"Unknown command line flag 'wrokdir'\. Did you mean: workdir"),
        ((SMOKE, "--dry_run=perhaps"), r"flag --dry_run=perhaps: "),
        (
            (SMOKE, "--preview=seen.png"),
            r"--preview has no effect with a run without --dry_run",
        ),
        ((SMOKE, "--dry_run", "--preview=seen.jpg"), r"--preview=seen\.jpg; accepted: .* \.png"),
    ],
)
def test_a_flag(flags, message):
    assert re.match(message, complaint(call(*flags)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--config.loss.name=hing",), r"loss\.name = 'hing' is unknown.* \"hinge\"\?"),
        (("--config.generator.name=mpl",), r"generator\.name = 'mpl' is unknown.* \"mlp\"\?"),
        (("--config.data.name=digit",), r"data\.name = 'digit' is unknown.* \"digits\"\?"),
        (("--config.train.batch_size=0",), r"train\.batch_size = 0; accepted: 1 or more"),
        (("--config.num_devices=9",), r"num_devices = 9; accepted: 1 to 8"),
        (
            ("--config.train.batch_size=9", "--config.num_devices=2"),
            r"train\.batch_size = 9 .* the 2 devices; .* such as 8 or 10",
        ),
        (("--process_id=1",), r"--process_id is given; accepted only with --distributed=explicit"),
        (
            ("--distributed=auto", "--workdir="),
            r"--workdir is missing; all processes of a run need the same one",
        ),
    ],
)
def test_a_value(flags, message, tmp_path):
    workdir = tmp_path / "run"
    assert re.match(message, complaint(call(SMOKE, f"--workdir={workdir}", *flags)))
    assert not workdir.exists()


@pytest.mark.slow
def test_a_value_that_concerns_several_processes(run, tmp_path):
    workdir = tmp_path / "run"
    message = complaint(run(SMOKE, f"--workdir={workdir}", "--distributed=atuo"))
    assert re.match(r"--distributed = 'atuo' is unknown; .* Did you mean \"auto\"\?", message)
    assert not workdir.exists()


def test_a_resolution_that_the_network_cannot_make(tmp_path):
    flags = ("--config=configs/dcgan.py:smoke", "--config.data.resolution=22")
    message = complaint(call(*flags, f"--workdir={tmp_path / 'run'}"))
    assert message.startswith(
        "data.resolution = 22 cannot be made by dcgan; accepted: at this size"
    )


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    message = complaint(call(SMOKE, f"--workdir={tmp_path / 'file' / 'run'}"))
    assert re.match(r"--workdir=.*/file/run cannot be written to: Not a directory", message)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    message = complaint(call(SMOKE, f"--workdir={tmp_path / 'run'}"))
    assert re.match(r"--workdir=.*/run cannot be written to: Permission denied", message)


def test_a_data_set_that_is_not_prepared(tmp_path):
    flags = ("--config=configs/gan.py:cifar10,smoke", f"--config.data.data_dir={tmp_path}")
    message = complaint(call(*flags, f"--workdir={tmp_path / 'run'}"))
    assert message.startswith("cifar10 is not prepared: ")
    assert message.endswith(f"python -m scripts.prepare_data cifar10 --data_dir {tmp_path}")
    assert not (tmp_path / "run").exists()


def test_a_bug_in_a_configuration_file_keeps_its_traceback(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config():\n    return missing_name\n")
    with pytest.raises(NameError, match="name 'missing_name' is not defined"):
        call(f"--config={tmp_path / 'mine.py'}")


@pytest.fixture
def photos(tmp_path):
    """A folder of 40 photos, the 30th of them cut short."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(40):
        pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    damaged = folder / "29.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    return folder


@pytest.mark.slow
def test_a_damaged_image_is_named(photos, tmp_path, caplog):
    flags = (
        "--config=configs/gan.py:folder,smoke",
        f"--config.data.path={photos}",
        "--config.data.resolution=16",
        "--config.data.device_cache_gib=0",
        "--config.data.workers=0",
        "--config.num_devices=1",
        "--config.train.steps=20",
    )
    message = complaint(call(*flags, f"--workdir={tmp_path / 'stopped'}"))
    assert re.match(rf"{photos}/29\.png (is damaged|cannot be decoded)", message)
    assert '(data.on_error = "skip" leaves it out)' in message

    caplog.clear()
    ended = succeeded(call(*flags, "--config.data.on_error=skip", f"--workdir={tmp_path / 'run'}"))
    assert ended.out.splitlines()[-1].startswith("done at step 20")
    # One warning has their number, and names one.
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert warning.name.startswith("gan_jax.data")
    assert re.match(r".*\b1\b.*29\.png", warning.getMessage())


def test_a_damaged_record_of_the_configuration_is_named(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"layout": run_directory.LAYOUT}))
    (tmp_path / "config.json").write_text("{")
    message = complaint(call(*program.POINTS, f"--workdir={tmp_path}"))
    assert re.match(r".*config\.json is damaged: ", message)


REMOTE = r"is not on this machine; accepted: a path on it"


@pytest.mark.parametrize(
    ("module", "flag"),
    [
        ("main", "--workdir=gs://bucket/run"),
        ("main", "--continue_from=hdfs://cluster/run@400"),
        ("evaluate", "--run=s3://bucket/run"),
        ("sample", "--out=gs:/bucket/samples"),
        ("translate", "--input=https://example.org/photo.jpg"),
    ],
)
def test_a_remote_path_in_a_flag(module, flag, tmp_path):
    name, _, value = flag.partition("=")
    message = complaint(call(flag, module=f"experiments.{module}", cwd=tmp_path))
    assert re.match(rf"{name} = '{value}' {REMOTE}", message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data.path", "http://example.org/photos.zip"),
        ("data.data_dir", "gs://tfds-data"),
        ("init.run", "az://container/run"),
        ("eval.inception", "s3://bucket/inception.npz"),
    ],
)
def test_a_remote_path_in_a_field(field, value, tmp_path):
    flags = (f"--config.{field}={value}", f"--workdir={tmp_path / 'run'}")
    assert re.match(rf"{field} = '{value}' {REMOTE}", complaint(call(SMOKE, *flags)))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_home_and_file_urls_are_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config = "def get_config():\n    from configs import gan\n    return gan.get_config('smoke')\n"
    (tmp_path / "mine.py").write_text(config)
    (tmp_path / "my photos").mkdir()
    Image.new("L", (16, 16)).save(tmp_path / "my photos" / "one.png")
    flags = ("--config=~/mine.py", "--config.data.name=folder", "--config.num_devices=1")
    for i, path in enumerate(("~/my photos", f"file://{tmp_path}/my%20photos")):
        field = f"--config.data.path={path}"
        ended = call(*flags, field, "--config.train.steps=2", f"--workdir=~/run{i}")
        assert ended.out.splitlines()[-1] == f"done at step 2: {tmp_path}/run{i}", ended
        saved = json.loads((tmp_path / f"run{i}" / "config.json").read_text())
        assert saved["data"]["path"] == str(tmp_path / "my photos")
    message = complaint(call(SMOKE, "--workdir=file://elsewhere/run"))
    assert message == "--workdir = 'file://elsewhere/run'; accepted: file:///..."
    message = complaint(call(SMOKE, "--workdir=~nobody_9/run"))
    assert message.startswith("--workdir = '~nobody_9/run': ")
