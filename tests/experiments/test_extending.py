"""The example of ``docs/extending.md``: a GAN that no file of the project knows of."""

import json
import re

import pytest

from tests.experiments import program
from tests.experiments.program import REPO, complaint, succeeded


@pytest.fixture(scope="module")
def my_gan(tmp_path_factory):
    """The example's file."""
    blocks = re.findall(r"```python\n(.*?)```", (REPO / "docs/extending.md").read_text(), re.S)
    file = tmp_path_factory.mktemp("mine") / "my_gan.py"
    file.write_text(blocks[0])
    return file


def test_a_gan_from_outside_the_project_is_trained(my_gan, run, tmp_path):
    workdir = tmp_path / "run"
    succeeded(run(f"--config={my_gan}:smoke", f"--workdir={workdir}"))
    rows = program.metrics(workdir)
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[0]["generator/loss"] != rows[1]["generator/loss"]
    assert rows[0]["discriminator/drift"] > 0
    config = json.loads((workdir / "config.json").read_text())
    assert config["generator"]["sine"] == {"width": 8, "layers": 2}  # `TINY` bounds the width.
    assert config["loss"] == {"name": "exponential", "exponential": {"scale": 0.5}}


def test_it_has_help_and_validation(my_gan, run):
    ended = succeeded(run(f"--config={my_gan}", "--describe"))
    assert "generator.sine.layers = 2\n    Number of hidden layers." in ended.out
    assert "loss.exponential.scale = 0.5\n    Multiplies the scores. (default: 1.0" in ended.out
    assert "terms.drift.weight = 0.001\n" in ended.out
    assert "terms.drift.center = 0.0\n    The score that costs nothing." in ended.out
    assert "terms.lecam.weight = 0.0\n" in ended.out
    assert "terms.lecam.decay" not in ended.out  # It is off.
    message = complaint(run(f"--config={my_gan}", "--config.generator.sine.layer=3"))
    assert message == '--config.generator.sine.layer is no field. Did you mean "layers"?'
