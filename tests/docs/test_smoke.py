"""Blocks of commands that pages mark by ``<!-- smoke -->``: they run, in order, in seconds."""

import re
import shlex

import pytest

from tests.docs.test_pages import PAGES, ROOT, path
from tests.experiments.program import call

MARKED = re.compile(r"<!-- smoke -->\n```sh\n(.*?)```", re.DOTALL)
# Beside what the choice ``smoke`` shrinks.
SMALL = ("--config.num_devices=1", "--config.eval.every=4", "--config.data.toy_size=500")
# Networks and losses that compile quickly. Those of the configurations are trained in
# tests/configs/test_variants.py; DF-GAN's penalty in tests/inference/test_captions.py; the blocks
# of BigGAN-deep, which would take half a minute, are tested in tests/networks/test_biggan.py.
QUICKER = {
    "biggan_deep": {
        "generator.name": "biggan",
        "generator.latent_dim": 6,
        "discriminator.name": "biggan",
    },
    "infogan": {"generator.name": "mlp", "discriminator.name": "mlp"},
    "text_to_image": {"terms.matching.penalty": 0.0},
    "vae_gan": {"encoder.name": "mlp", "generator.name": "mlp", "discriminator.name": "mlp"},
}
MOST = {"--num": 16, "--num-fake": 64, "--seeds": 1}


def commands(page):
    """Return the programs and arguments of a page's marked blocks, shortened."""
    found = []
    for block in MARKED.findall(page.read_text("utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            python, dash, module, *words = shlex.split(line, comments=True)
            assert (python, dash) == ("python", "-m"), line
            found.append((module, [shortened(word) for word in words]))
            if module == "experiments.main":
                (name,) = re.findall(r"--config=configs/(\w+)\.py", line)
                fields = QUICKER.get(name, {}).items()
                found[-1][1].extend([*SMALL, *(f"--config.{k}={v}" for k, v in fields)])
    return found


def shortened(word):
    """Return an argument that makes a program's work short."""
    name, _, value = word.partition("=")
    if name == "--config":
        file, _, choices = value.partition(":")
        return f"--config={ROOT / file}:{','.join(filter(None, (choices, 'smoke')))}"
    return f"{name}={min(int(value), MOST[name])}" if name in MOST else word


RUN = [page for page in PAGES if commands(page)]


def test_arguments_are_shortened():
    words = ["--config=configs/gan.py", "--config=configs/gan.py:mnist", "--num=5000", "--label=7"]
    file = f"--config={ROOT}/configs/gan.py"
    assert [shortened(word) for word in words] == [
        f"{file}:smoke",
        f"{file}:mnist,smoke",
        "--num=16",
        "--label=7",
    ]
    assert "docs/getting_started.md" in map(path, RUN)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN, ids=path)
def test_marked_commands_run(page, tmp_path):
    for module, words in commands(page):
        ended = call(*words, module=module, cwd=tmp_path)
        assert ended.code == 0, f"{module} {words}: {ended.err}"
