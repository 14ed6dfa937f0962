"""Weight normalization: parity with PyTorch, fresh layers, and what the length of a kernel does."""

import jax
import numpy as np
import pytest

from gan_jax.layers.convolution import Conv, ConvTranspose
from gan_jax.layers.weight_norm import WeightConv, WeightConvTranspose
from tests.networks.pytorch import drawn, images_in, images_out, tensor

X = np.random.default_rng(0).normal(size=(2, 6, 1, 3)).astype(np.float32)
LAYERS = [(WeightConv, Conv), (WeightConvTranspose, ConvTranspose)]


@pytest.mark.parametrize(("normalized", "plain"), LAYERS)
def test_fresh_layers_compute_what_those_without_normalization_do(normalized, plain):
    fields = {"features": 4, "kernel_size": (3, 1), "strides": (1, 1)}
    variables = jax.jit(normalized(**fields).init)(jax.random.key(0), X)
    own = dict(variables["params"])
    assert own.pop("scale").shape == (4,)
    expected = plain(**fields).apply({"params": own}, X)
    np.testing.assert_allclose(normalized(**fields).apply(variables, X), expected, atol=1e-5)


def test_the_kernel_is_that_of_pytorch():
    torch = pytest.importorskip("torch", reason="compares with PyTorch (extra: parity)")
    module = WeightConv(4, (3, 1), padding="VALID")
    params = drawn(module, X)["params"]
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 4, (3, 1)))
    with torch.no_grad():
        v = tensor(torch, np.asarray(params["kernel"]).transpose(3, 2, 0, 1))
        layer.parametrizations.weight.original1[:] = v
        layer.parametrizations.weight.original0[:] = tensor(torch, params["scale"])[
            :, None, None, None
        ]
        layer.bias[:] = tensor(torch, params["bias"])
        expected = images_out(layer(images_in(torch, X)))
    np.testing.assert_allclose(module.apply({"params": params}, X), expected, atol=1e-5)


def test_only_a_kernels_direction_matters():
    module = WeightConv(4, (3, 1))
    params = drawn(module, X)["params"]
    longer = params | {"kernel": params["kernel"] * np.array([0.1, 1.0, 3.0, 20.0], np.float32)}
    made = module.apply({"params": params}, X)
    np.testing.assert_allclose(module.apply({"params": longer}, X), made, atol=1e-5)
    twice = module.apply({"params": params | {"scale": 2.0 * params["scale"]}}, X)
    np.testing.assert_allclose(twice - params["bias"], 2.0 * (made - params["bias"]), atol=1e-5)
