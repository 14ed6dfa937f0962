"""Layers of PyTorch that compute with our parameters; NCHW tensors in and out.

PyTorch is handed in by the tests, which are skipped where it is absent.
"""

import jax
import numpy as np


def randomized(variables, seed=3):
    """Return variables with louder kernels, and biases, scales and statistics that are not 0 or 1.

    A test of parity with those that a network starts from would not detect a missing bias. Only
    shapes are used, so that initialization need not be compiled.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if "kernel" in jax.tree_util.keystr(path):
            fan_in = np.prod(leaf.shape[:-1])
            return rng.normal(0.0, 1.2 / np.sqrt(fan_in), leaf.shape).astype(np.float32)
        return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, variables)


def drawn(module, *inputs):
    """Return randomized variables of a module."""
    return randomized(jax.eval_shape(module.init, jax.random.key(0), *inputs))


def tensor(torch, array):
    """Return an array as a float32 tensor."""
    return torch.from_numpy(np.array(array, np.float32))


def images_in(torch, x):
    """Return NHWC images as a tensor."""
    return tensor(torch, np.asarray(x).transpose(0, 3, 1, 2))


def images_out(h):
    """Return a tensor as NHWC images."""
    return h.detach().numpy().transpose(0, 2, 3, 1)


def conv(torch, h, layer, stride=1, padding=0):
    """Convolve by our kernel [height, width, in, out] and bias, if it has one."""
    weight = tensor(torch, np.asarray(layer["kernel"]).transpose(3, 2, 0, 1))
    bias = tensor(torch, layer["bias"]) if "bias" in layer else None
    return torch.nn.functional.conv2d(h, weight, bias, stride=stride, padding=padding)


def transposed(torch, h, layer, padding, output_padding=0):
    """Convolve transposed, at stride 2: ours takes its kernel turned by half a turn."""
    weight = tensor(torch, np.asarray(layer["kernel"])[::-1, ::-1].transpose(2, 3, 0, 1))
    bias = tensor(torch, layer["bias"]) if "bias" in layer else None
    return torch.nn.functional.conv_transpose2d(
        h, weight, bias, stride=2, padding=padding, output_padding=output_padding
    )


def instance_norm(torch, h, layer):
    """Normalize each channel of each example, with our scale and bias."""
    scale, bias = tensor(torch, layer["scale"]), tensor(torch, layer["bias"])
    return torch.nn.functional.instance_norm(h, weight=scale, bias=bias)


def batch_norm(torch, h, layer, stats, train):
    """Normalize by the batch's statistics or the running ones, with our scale and bias."""
    return torch.nn.functional.batch_norm(
        h,
        tensor(torch, stats["mean"]),
        tensor(torch, stats["var"]),
        tensor(torch, layer["scale"]),
        tensor(torch, layer["bias"]),
        training=train,
    )


def half_turn(variables):
    """Return variables with every kernel turned by half a turn."""

    def turn(path, leaf):
        turned = "kernel" in jax.tree_util.keystr(path)
        return np.asarray(leaf)[::-1, ::-1] if turned else leaf

    return jax.tree_util.tree_map_with_path(turn, variables)
