"""Convert published weights of the FID's Inception network into the file that the metrics read.

    python -m scripts.convert_inception FILE [--out=PATH]

``FILE`` is one of these, recognised by its content:

- ``pt_inception-2015-12-05-6726825d.pth`` (GitHub, mseitzer/pytorch-fid, release fid_weights) or
  ``weights-inception-2015-12-05-6726825d.pth`` (GitHub, toshas/torch-fidelity, release v0.2.0): a
  state dict, which takes PyTorch to read: ``pip install -e '.[parity]'``;
- an .npz of the original graph's arrays under TensorFlow's names, with batch norm folded into the
  convolutions, from the input to the block ``mixed_7``: ``mixed_tower_conv_1/w``, ``.../b``.

Without ``--out``, the result goes where the metrics look for it.
"""

import argparse
import importlib.util
import re
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gan_jax.errors import GanJaxError, MetricError, suggestion
from gan_jax.metrics import inception

# Of the batch norms, in the original graph as in PyTorch's.
EPSILON = 0.001

# TensorFlow's names of single convolutions, of blocks, and of the towers in each kind of block.
_STEM = {
    "conv": "Conv2d_1a_3x3",
    "conv_1": "Conv2d_2a_3x3",
    "conv_2": "Conv2d_2b_3x3",
    "conv_3": "Conv2d_3b_1x1",
    "conv_4": "Conv2d_4a_3x3",
}
_BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e")
_TOWERS = {
    "5": ("branch1x1", "branch5x5", "branch3x3dbl", "branch_pool"),
    "6a": ("branch3x3", "branch3x3dbl"),
    "6": ("branch1x1", "branch7x7", "branch7x7dbl", "branch_pool"),
}


def convert(path: Path) -> dict[str, np.ndarray]:
    """Return the weights of a published file under our names; see `gan_jax.metrics.inception`.

    Raises:
      MetricError: the file is missing, damaged or another one, or PyTorch is needed and missing.
    """
    if not path.is_file():
        raise MetricError("there is no such file.")
    kind = _kind(path)
    if kind == "npz":
        weights = from_tensorflow(inception.read_arrays(path))
    elif kind == "torch":
        weights = from_torch(_state_dict(path))
    else:
        raise MetricError("it is neither a PyTorch state dict (.pth) nor an .npz.")
    inception.layers_of(weights)
    return weights


def from_tensorflow(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rename folded kernels ``NAME/w`` [height, width, in, out] and biases ``NAME/b`` [out].

    Raises:
      MetricError: a name is unknown.
    """
    weights = {}
    for name, value in arrays.items():
        module, _, kind = name.rpartition("/")
        ours = _renamed(module)
        if ours is None or kind not in ("w", "b"):
            raise MetricError(
                f"array {name!r} is none of the graph's up to mixed_7, under TensorFlow's names."
            )
        weights[f"{ours}/{'kernel' if kind == 'w' else 'bias'}"] = value
    return weights


def from_torch(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Fold the batch norms of a state dict into its convolutions, in float64.

    Args:
      state: ``NAME.conv.weight`` [out, in, height, width], ``NAME.bn.weight``, ``.bias``,
        ``.running_mean``, ``.running_var`` [out], perhaps ``.num_batches_tracked``; ``fc.weight``
        [out, in], ``fc.bias`` [out].

    Raises:
      MetricError: a tensor is unknown, missing or of another shape.
    """
    left = {name: v for name, v in state.items() if not name.endswith(".bn.num_batches_tracked")}

    def take(name: str, rank: int) -> np.ndarray:
        value = left.pop(name, None)
        if value is None:
            raise MetricError(f"tensor {name!r} is missing.{suggestion(name, left)}")
        if value.ndim != rank or value.dtype.kind != "f":
            raise MetricError(
                f"tensor {name!r} has shape {value.shape} and dtype {value.dtype}; "
                f"accepted: floating, of rank {rank}."
            )
        return value.astype(np.float64)

    weights = {"fc/kernel": take("fc.weight", 2).T, "fc/bias": take("fc.bias", 1)}
    for name in [name.removesuffix(".conv.weight") for name in left if ".conv." in name]:
        kernel = take(f"{name}.conv.weight", 4)
        gain, shift, mean, variance = (
            take(f"{name}.bn.{part}", 1)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        if len({kernel.shape[0], *map(len, (gain, shift, mean, variance))}) > 1:
            raise MetricError(f"tensors of {name!r} do not fit one another.")
        if (variance < 0).any():
            raise MetricError(f"tensor '{name}.bn.running_var' has negative entries.")
        scale = gain / np.sqrt(variance + EPSILON)
        weights[f"{name}/kernel"] = kernel.transpose(2, 3, 1, 0) * scale
        weights[f"{name}/bias"] = shift - mean * scale
    if left:
        hint = suggestion(min(left), state.keys() - left.keys())
        raise MetricError(f"tensor {min(left)!r} is none of the network's.{hint}")
    return {name: np.ascontiguousarray(value, np.float32) for name, value in weights.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; a user's error is one line on stderr."""
    parser = argparse.ArgumentParser(description="Convert published Inception weights, once.")
    parser.add_argument("file", type=Path, help="a .pth or .npz file, see the manual in the script")
    parser.add_argument("--out", type=Path, help=f"default: {inception.default_path()}")
    options = parser.parse_args(arguments)
    out = options.out.expanduser() if options.out else inception.default_path()
    try:
        weights = convert(options.file.expanduser())
        inception.save_weights(out, weights)
    except GanJaxError as error:
        where = f"{options.file} cannot be converted: " if isinstance(error, MetricError) else ""
        print(f"{where}{error}", file=sys.stderr)
        return 1
    layers = ", ".join(inception.layers_of(weights))
    print(f"{out} is ready: layers {layers}; hash {inception.weights_hash(weights)}")
    return 0


def _kind(path: Path) -> str | None:
    """Return ``"npz"``, ``"torch"`` or ``None``, by the content."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        # Before 2020 PyTorch wrote a sequence of pickles, in protocol 2.
        with path.open("rb") as file:
            return "torch" if file.read(2) == b"\x80\x02" else None
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    return "npz" if names and all(name.endswith(".npy") for name in names) else None


def _state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read a PyTorch state dict without running anything that it contains."""
    if importlib.util.find_spec("torch") is None:
        raise MetricError("reading it needs PyTorch, this once: pip install -e '.[parity]'")
    import torch

    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    # A damaged file can make the reader fail in any way.
    except Exception as error:
        raise MetricError("it is damaged, or holds more than tensors.") from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    ):
        raise MetricError("it is no state dict: tensors by name.")
    return {name: value.float().numpy() for name, value in state.items()}


def _renamed(module: str) -> str | None:
    """Return our name of a convolution that TensorFlow calls ``module``, if there is one."""
    if module in _STEM:
        return _STEM[module]
    # A block, perhaps a tower in it, and which of its convolutions; the first of each goes without.
    match = re.fullmatch(r"mixed(?:_([1-7]))?(_tower)?(?:_([1-9]))?_conv(?:_([1-9]))?", module)
    if match is None or (match[2] is None and (match[3] or match[4])):
        return None
    block = _BLOCKS[int(match[1] or 0)]
    towers = _TOWERS[block if block in _TOWERS else block[0]]
    tower = int(match[3] or 0) + 1 if match[2] else 0
    if tower >= len(towers):
        return None
    place = "" if tower == 0 or towers[tower] == "branch_pool" else f"_{int(match[4] or 0) + 1}"
    return f"Mixed_{block}.{towers[tower]}{place}"


if __name__ == "__main__":
    sys.exit(main())
