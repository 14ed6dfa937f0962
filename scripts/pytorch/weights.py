"""Our weights in the references' modules."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import torch
from flax import traverse_util
from torch import nn
from torch.nn.utils import parametrize

from gan_jax.games.game import Network
from gan_jax.networks.checks import halvings
from scripts.pytorch import dcgan, resnet

# Those that spectral normalization makes when it is registered.
_POWER_ITERATIONS = 15


def in_order(network: Network) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Return the shapes of a network's parameters by path, in the order in which it makes them.

    `jax.eval_shape` and `jax.jit` sort what they return.
    """
    paths: list[tuple[str, ...]] = []

    def init(key: jax.Array) -> Any:
        params = network.init(key)["params"]
        paths.extend(traverse_util.flatten_dict(params))
        return params

    shapes = traverse_util.flatten_dict(jax.eval_shape(init, jax.random.key(0)))
    return {path: shapes[path].shape for path in paths}


def copy_weights(network: Network, params: Mapping[str, Any], module: nn.Module) -> None:
    """Copy the parameters of one of our networks into PyTorch's module, by their order.

    Raises:
      ValueError: the module has other parameters.
    """
    flat = traverse_util.flatten_dict(params)
    arrays = [np.asarray(flat[path]) for path in in_order(network)]
    for (part, parameter), array in zip(_parameters(module), arrays, strict=True):
        given = _converted(network, module, part, array)
        if given.shape != parameter.shape:
            raise ValueError(f"{part}: the shape {given.shape} is given for {parameter.shape}")
        with torch.no_grad():
            parameter.copy_(torch.tensor(np.ascontiguousarray(given)))
    for part in module.modules():
        if parametrize.is_parametrized(part, "weight"):
            for _ in range(_POWER_ITERATIONS):
                _ = part.weight  # In train mode, each use is an iteration.


def _parameters(module: nn.Module) -> Iterator[tuple[nn.Module, nn.Parameter]]:
    """Yield layers and their parameters, a normalized weight as that of its layer."""
    for part in module.modules():
        if isinstance(part, parametrize.ParametrizationList):
            continue
        if parametrize.is_parametrized(part, "weight"):
            yield part, part.parametrizations["weight"].original
        yield from ((part, own) for own in part.parameters(recurse=False))


def _converted(
    network: Network, module: nn.Module, part: nn.Module, array: np.ndarray
) -> np.ndarray:
    """Return the array of a layer in PyTorch's order of axes, and of the features of a map."""
    if isinstance(part, nn.ConvTranspose2d) and array.ndim == 4:
        return array[::-1, ::-1].transpose(2, 3, 0, 1)
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if not isinstance(part, nn.Linear):
        return array
    if isinstance(module, dcgan.Generator | resnet.Generator):
        array = _channels_first(array, -1, network.module.shape)
    elif isinstance(module, dcgan.Discriminator | dcgan.Encoder) and array.ndim == 2:
        array = _channels_first(array, 0, network.inputs[0].shape[1:])
    return array.T


def _channels_first(array: np.ndarray, axis: int, shape: Sequence[int]) -> np.ndarray:
    """Return an array with an axis for the coarsest map of images, its channels moved first."""
    sides = [side >> halvings(shape) for side in shape[:2]]
    order = np.arange(array.shape[axis]).reshape(*sides, -1).transpose(2, 0, 1).ravel()
    return np.take(array, order, axis)
