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
# By the whole name; `re.compile` and PyTorch's `module.eval()` are others.
BUILT_IN = {"eval", "exec", "compile", "__import__"}
# By the last part of the name, whatever it is a part of; a function of the module is another.
METHODS = {"extract", "extractall", "unpack_archive", "read_pickle", "memmap", "open_memmap"}
ENDINGS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "tempfile.mktemp",
    "numpy.fromfile",
    "torch.hub.load",
}
# What has to be said in a call, wherever it stands.
REQUIRED = {
    "numpy.load": ("allow_pickle", False),
    "format.read_array": ("allow_pickle", False),
    "format.write_array": ("allow_pickle", False),
    "numpy.savez": ("allow_pickle", False),
    "numpy.savez_compressed": ("allow_pickle", False),
    "numpy.save": ("allow_pickle", False),
    "torch.load": ("weights_only", True),
}
# The only values that may be given, in any call.
ACCEPTED = {"shell": False, "allow_pickle": False, "weights_only": True}
# What names stand for where nothing is imported under them.
USUAL = {"np": "numpy", "jnp": "jax.numpy", "pd": "pandas"}


def dotted(node, aliases):
    """Return ``a.b.c`` of an expression, by the names of what was imported; of no name, ``?``."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, aliases)}.{node.attr}"
    return "?"


def imported(tree):
    """Return each import's line, the whole name of what it imports, and the name it gives it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` gives the name `a`, to `a`.
                yield node.lineno, alias.name, alias.asname
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module or ''}.{alias.name}", alias.asname or alias.name


def ends_with(name, ending):
    return name == ending or name.endswith(f".{ending}")


def is_refused_module(name):
    return any(name == module or name.startswith(f"{module}.") for module in MODULES)


def beginning(node):
    """Return what is known of a text: all of a constant, the first part of an f-string."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def complaints(text):
    """Return what is forbidden in a module's text, each with its line."""
    tree = ast.parse(text)
    found = [
        (line, name)
        for line, name, _ in imported(tree)
        if is_refused_module(name) or name in ENDINGS
    ]
    aliases = USUAL | {short: name for _, name, short in imported(tree) if short}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func, aliases).removeprefix("builtins.")
        if (
            name in BUILT_IN
            or any(name.endswith(f".{method}") for method in METHODS)
            or any(ends_with(name, ending) for ending in ENDINGS)
        ):
            found.append((node.lineno, name))
        if ends_with(name, "importlib.import_module"):
            # Where the package is not written there, it may be any.
            known = beginning(node.args[0]) if node.args else ""
            whole = node.args and isinstance(node.args[0], ast.Constant)
            if not known or is_refused_module(known) or not (whole or "." in known):
                found.append((node.lineno, f"{name} of {known or '?'}"))
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        for ending, (option, value) in REQUIRED.items():
            if ends_with(name, ending) and option not in options:
                found.append((node.lineno, f"{name} without {option}={value}"))
        found += [
            (node.lineno, f"{name} with {option}={options[option]}")
            for option, value in ACCEPTED.items()
            if options.get(option, str(value)) != str(value)
        ]
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
        "from jax.experimental.serialize_executable import deserialize_and_load",
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
        "z.extractall(folder)",
        "zipfile.ZipFile(path).extract(name)",
        "shutil.unpack_archive(path)",
        "from shutil import unpack_archive as unpack; unpack(path)",
        "jnp.load(path)",
        "import jax; jax.numpy.load(path)",
        "from numpy import load; load(path)",
        "from numpy import load as read; read(path)",
        "from torch import load; load(path)",
        "import numpy as onp; onp.load(path)",
        "import numpy.lib.format as npy; npy.read_array(file)",
        "pd.read_pickle(path)",
        "np.memmap(path)",
        "import importlib; importlib.import_module('pickle')",
        "from importlib import import_module; import_module(name)",
        "importlib.import_module(f'{package}.{name}')",
        "importlib.import_module(f'pic{rest}')",
        "subprocess.run(command, shell=yes)",
        "subprocess.run(command, shell=1)",
        "from os import system as run; run(command)",
        "import builtins; builtins.exec(text)",
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
        "def extract(): pass\nextract()",
        "subprocess.run(['git', 'status'])",
        "subprocess.run(['git', 'status'], shell=False)",
        "import re; from json import load; load(file)",
        "importlib.import_module('json')",
        "importlib.import_module(f'configs.{name}')",
    ],
)
def test_what_is_allowed_is_not(text):
    assert complaints(text) == []
