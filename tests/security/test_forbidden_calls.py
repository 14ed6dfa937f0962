"""The project's own code calls nothing that runs what it reads."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for folder in ("gan_jax", "experiments", "configs", "scripts")
    for path in (ROOT / folder).rglob("*.py")
)
# Modules that unpickle, or otherwise make objects of what they read.
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MODULES |= {"jax.experimental.serialize_executable", "yaml"}
# By their last name; `re.compile` and PyTorch's `module.eval()` are others.
BUILT_IN = {"eval", "exec", "compile", "__import__"}
ENDINGS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "tempfile.mktemp",
    "np.fromfile",
    "torch.hub.load",
    "joblib.load",
    "pandas.read_pickle",
    "archive.extract",
    "archive.extractall",
}
# What has to be said in a call, wherever it stands.
REQUIRED = {
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
    "format.read_array": ("allow_pickle", False),
    "format.write_array": ("allow_pickle", False),
    "np.savez": ("allow_pickle", False),
    "np.savez_compressed": ("allow_pickle", False),
    "np.save": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}
REFUSED = {("shell", True), ("allow_pickle", True), ("weights_only", False)}


def dotted(node):
    """Return ``a.b.c`` of an expression; of what is no name, ``?``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def ends_with(name, ending):
    return name == ending or name.endswith(f".{ending}")


def complaints(text):
    """Return what is forbidden in a module's text, each with its line."""
    found = []
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
        found += [
            (node.lineno, name)
            for name in names
            if name in MODULES or name.split(".")[0] in MODULES or name in ENDINGS
        ]
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        options = {
            keyword.arg: keyword.value.value
            for keyword in node.keywords
            if isinstance(keyword.value, ast.Constant)
        }
        if name in BUILT_IN or any(ends_with(name, ending) for ending in ENDINGS):
            found.append((node.lineno, name))
        for ending, (option, value) in REQUIRED.items():
            if ends_with(name, ending) and options.get(option) is not value:
                found.append((node.lineno, f"{name} without {option}={value}"))
        found += [(node.lineno, f"{o}={v}") for o, v in options.items() if (o, v) in REFUSED]
    return found


def test_there_are_files_to_look_at():
    assert len(FILES) > 100


def test_nothing_that_is_read_can_run():
    found = {path.relative_to(ROOT).as_posix(): complaints(path.read_text()) for path in FILES}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from pickle import loads",
        "from jax.experimental import serialize_executable",
        "import yaml",
        "np.load(path)",
        "numpy.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=wanted)",
        "np.lib.format.read_array(file)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "eval(text)",
        "exec(text)",
        "os.system(command)",
        "subprocess.run(command, shell=True)",
        "tempfile.mktemp()",
        "archive.extractall(folder)",
    ],
)
def test_what_is_forbidden_is_found(text):
    assert complaints(text)


@pytest.mark.parametrize(
    "text",
    [
        "np.load(path, allow_pickle=False)",
        "torch.load(path, map_location='cpu', weights_only=True)",
        "module.eval()",
        "re.compile(pattern)",
        "subprocess.run(['git', 'status'])",
    ],
)
def test_what_is_allowed_is_not(text):
    assert complaints(text) == []
