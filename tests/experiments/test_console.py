"""``gan-jax COMMAND``: the programs under one name, wherever it is started."""

import importlib.util
import json
import shutil
import subprocess
import sys

import pytest

import gan_jax
from configs import gan
from gan_jax import errors, installation
from gan_jax.pages import tables
from tests.experiments import program
from tests.experiments.program import REPO, complaint, succeeded


@pytest.fixture(autouse=True)
def start_undone(monkeypatch):
    """Restore after the test what a start changes."""
    monkeypatch.setattr(installation, "_prefix", None)
    monkeypatch.setattr(installation, "_words", [])
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def console(tmp_path):
    """Return a function that runs ``gan-jax`` in another directory."""

    def run(*arguments):
        for module, _ in installation.COMMANDS.values():
            sys.modules.pop(module, None)  # `runpy` warns of a module that is imported already.
        return program.call(*arguments, module="gan_jax.__main__", cwd=tmp_path)

    return run


def test_every_command_is_a_program():
    for module, _ in installation.COMMANDS.values():
        spec = importlib.util.find_spec(module)
        assert 'if __name__ == "__main__":' in spec.loader.get_source(module), module


@pytest.mark.parametrize("arguments", [(), ("tarin", "--config=gan")])
def test_without_a_command_they_are_listed(console, arguments):
    ended = console(*arguments)
    assert (ended.code, ended.out) == (1, "")
    first, _, *rest = ended.err.splitlines()
    wanted = (
        "error: 'tarin' is no command. Did you mean \"train\"?"
        if arguments
        else "error: no command"
    )
    assert first == wanted
    for name, (_, purpose) in installation.COMMANDS.items():
        assert any(line.split(maxsplit=1) == [name, purpose] for line in rest)


def test_help_and_version_are_no_errors(console):
    assert "  sweep  " in succeeded(console("--help")).out
    assert succeeded(console("--version")).out == f"{gan_jax.__version__}\n"


def test_the_help_of_a_command_names_the_command(console):
    out = succeeded(console("sample", "--help")).out
    assert "\ngan-jax sample --run=DIR --num=50000" in out
    assert "--[no]raw: Use the raw weights" in out
    assert "experiments." not in out
    assert "``gan-jax train --config=wgan_gp``" in succeeded(console("train", "--help")).out
    assert "--workdir is missing" in complaint(console("sweep"))


def test_a_configuration_is_found_by_its_name(console):
    found = succeeded(console("train", "--config=wgan_gp:fashion_mnist", "--describe")).out
    assert "data.name = 'fashion_mnist'" in found
    flags = ("--config=configs/wgan_gp.py:fashion_mnist", "--describe")
    assert found == succeeded(program.call(*flags)).out
    flags = ("--config", "wgan_gp:fashion_mnist", "--describe")
    assert found == succeeded(program.call(*flags)).out


def test_a_path_of_the_repository_is_answered_with_the_name(console):
    message = complaint(console("train", "--config=configs/wgan_gp.py"))
    assert message.endswith("'configs/wgan_gp.py'. Did you mean wgan_gp, wgan, gan?")


def test_every_configuration_has_a_name():
    files = {file.stem for file in (REPO / "configs").glob("*.py")}
    assert set(installation.configurations()) == files - {"__init__", "base"}
    with pytest.raises(errors.UnknownNameError, match="--config=base is no configuration"):
        gan_jax.get_config("base")


def test_a_configuration_is_returned_by_its_name_or_file(tmp_path):
    config = gan_jax.get_config("wgan_gp:cifar10,smoke")
    assert (config.variant, config.data.name, config.train.steps) == ("wgan_gp", "cifar10", 4)
    assert gan_jax.get_config("gan").to_dict() == gan.get_config().to_dict()
    file = tmp_path / "mine.py"
    file.write_text("from configs import gan\nget_config = gan.get_config\n")
    assert gan_jax.get_config(f"{file}:smoke").train.steps == 4
    with pytest.raises(errors.ConfigError, match=r"config = 'nowhere\.py'; accepted: an existing"):
        gan_jax.get_config("nowhere.py")


def test_a_folder_named_configs_does_not_hide_those_of_the_project(console, tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "experiments").mkdir()
    for file in ("configs/__init__.py", "experiments/__init__.py", "experiments/main.py"):
        (tmp_path / file).write_text("")
    (tmp_path / "my_steps_of_a_run.py").write_text("STEPS = 7\n")
    (tmp_path / "configs" / "mine.py").write_text(
        "import my_steps_of_a_run\nfrom configs import gan\n\n"
        "def get_config(arg=''):\n    config = gan.get_config(arg)\n"
        "    config.train.steps = my_steps_of_a_run.STEPS\n    return config\n"
    )
    out = succeeded(console("train", "--config=configs/mine.py:smoke", "--describe")).out
    assert "train.steps = 7\n" in out


def test_messages_name_commands_that_work_here(console, monkeypatch):
    assert installation.command("evaluate") == "python -m experiments.evaluate"
    text = "python -m experiments.main --config=configs/gan.py"
    assert installation.respelled(text) == text
    monkeypatch.setattr(sys, "argv", ["/lib/main.py", "--run=a b"])
    assert installation.command_line() == ["/lib/main.py", "--run=a b"]
    installation.start("python -m gan_jax", "evaluate")
    assert installation.command("evaluate") == "python -m gan_jax evaluate"
    assert installation.respelled(text) == "python -m gan_jax train --config=gan"
    assert sys.path[0] == str(REPO)
    line = {"argv": installation.command_line()}
    assert tables.command(line) == "python -m gan_jax evaluate '--run=a b'"


@pytest.mark.slow
def test_an_installation_trains_sweeps_and_samples(tmp_path):
    # What setup.py makes of the repository; .ci/run does it with a wheel.
    site, work = tmp_path / "site", tmp_path / "work"
    shutil.copytree(REPO / "gan_jax", site / "gan_jax")
    for name in ("experiments", "configs", "scripts"):
        shutil.copytree(REPO / name, site / "gan_jax" / "programs" / name)
    work.mkdir()
    (work / "mine.py").write_text(
        "from configs import gan\n\nget_config = gan.get_config\n\n"
        "def sweep(add):\n    add(**{'loss.name': 'hinge'})\n"
    )

    def run(*arguments, by=(sys.executable, "-m", "gan_jax")):
        variables = program.environment(PYTHONPATH=str(site))
        done = subprocess.run(
            [*by, *arguments], cwd=work, env=variables, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    flags = ("--config=mine.py:smoke", "--workdir=sweep")
    out = run("sweep", *flags, "--slurm=a.sh")
    assert "the table: python -m gan_jax sweep --workdir=" in out
    assert f"{sys.executable} -m gan_jax sweep --workdir=" in (work / "a.sh").read_text()
    assert run("sweep", "--workdir=sweep", "--only=0").endswith(": done\n")
    (workdir,) = (work / "sweep" / "runs").iterdir()
    assert json.loads((workdir / "config.json").read_text())["loss"]["name"] == "hinge"
    argv = json.loads((workdir / "environment.json").read_text())[0]["argv"]
    assert argv[:4] == ["python", "-m", "gan_jax", "train"]
    assert tables.command({"argv": argv}).startswith("python -m gan_jax train --config=")
    code = "import gan_jax; print(gan_jax.get_config('gan:smoke').train.steps)"
    assert run(code, by=[sys.executable, "-c"]) == "4\n"
    run("sample", f"--run={workdir}", "--num=4", "--out=grid.png")
    assert (work / "grid.png").exists()
