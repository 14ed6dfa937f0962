"""The example of ``docs/extending.md``: a GAN that no file of the project knows of."""

import contextlib
import json
import re
import sys
from unittest import mock

import pytest

from gan_jax.games.terms import TERMS
from gan_jax.losses.adversarial import LOSSES
from gan_jax.networks.registry import GENERATORS
from tests.experiments import program
from tests.experiments.program import REPO, SAMPLE, call, complaint, succeeded


@pytest.fixture(scope="module")
def my_gan(tmp_path_factory):
    """The example's file."""
    blocks = re.findall(r"```python\n(.*?)```", (REPO / "docs/extending.md").read_text(), re.S)
    file = tmp_path_factory.mktemp("mine") / "my_gan.py"
    file.write_text(blocks[0])
    return file


@pytest.fixture(scope="module")
def trained(my_gan, tmp_path_factory):
    """A run of it."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    with imports_undone():
        succeeded(call(f"--config={my_gan}:smoke", f"--workdir={workdir}"))
    return workdir


@contextlib.contextmanager
def imports_undone():
    """Restore at the end what importing the file changes."""
    with (
        mock.patch.object(sys, "path", list(sys.path)),
        mock.patch.dict(GENERATORS),
        mock.patch.dict(LOSSES),
        mock.patch.dict(TERMS),
    ):
        yield
    sys.modules.pop("my_gan", None)


@pytest.fixture
def registries():
    """Restore after the test what importing the file changes."""
    with imports_undone():
        yield


@pytest.mark.slow
def test_a_gan_from_outside_the_project_is_trained(trained):
    rows = program.metrics(trained)
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[0]["generator/loss"] != rows[1]["generator/loss"]
    assert rows[0]["discriminator/anchor"] > 0
    config = json.loads((trained / "config.json").read_text())
    assert config["generator"]["sine"] == {"width": 8, "layers": 2}  # `TINY` bounds the width.
    assert config["loss"] == {"name": "exponential", "exponential": {"scale": 0.5}}


@pytest.mark.usefixtures("registries")
def test_its_run_is_opened_once_its_file_is_imported(my_gan, trained, tmp_path):
    flags = (f"--run={trained}", "--num=4", f"--out={tmp_path / 'a.png'}")
    message = complaint(call(*flags, module=SAMPLE))
    assert message.startswith(f"{trained}: generator.name = 'sine' is unknown; accepted: ")
    assert message.endswith("import that file first: --import=FILE on the command line")
    message = complaint(call(*flags, "--import=nowhere.py", module=SAMPLE))
    assert message == "--import=nowhere.py; accepted: an existing Python file"
    succeeded(call(*flags, f"--import={my_gan}", module=SAMPLE))
    assert (tmp_path / "a.png").exists()


@pytest.mark.usefixtures("registries")
def test_it_has_help_and_validation(my_gan):
    ended = succeeded(call(f"--config={my_gan}", "--describe"))
    assert "generator.sine.layers = 2\n    Number of hidden layers." in ended.out
    assert "loss.exponential.scale = 0.5\n    Multiplies the scores. (default: 1.0" in ended.out
    assert "terms.anchor.weight = 0.001\n" in ended.out
    assert "terms.anchor.center = 0.0\n    The score that costs nothing." in ended.out
    assert "terms.lecam.weight = 0.0\n" in ended.out
    assert "terms.lecam.decay" not in ended.out  # It is off.
    message = complaint(call(f"--config={my_gan}", "--config.generator.sine.layer=3"))
    assert message == '--config.generator.sine.layer is no field. Did you mean "layers"?'
