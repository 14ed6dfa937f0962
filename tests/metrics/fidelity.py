"""torch-fidelity as the reference, its metrics and its Inception network, and weights to try."""

import importlib
import importlib.util
import sys
import types

import numpy as np
import pytest

_PACKAGE = "torch_fidelity"


def reference_module(name):
    """Import one module of torch-fidelity, or skip the test.

    Neither the package nor its ``utils`` is run: they read images and load networks, for which they
    import torchvision, whose builds fit few builds of PyTorch. What is compared needs neither.
    """
    pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
    importlib.import_module("torch.hub")
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None:
        pytest.skip("torch-fidelity is the reference: pip install torch-fidelity")
    package = types.ModuleType(_PACKAGE)
    package.__path__ = list(spec.submodule_search_locations)
    unused = types.ModuleType(f"{_PACKAGE}.utils")
    unused.__getattr__ = lambda name: None
    with pytest.MonkeyPatch.context() as patch:
        for key in [key for key in sys.modules if key.split(".")[0] == _PACKAGE]:
            patch.delitem(sys.modules, key)
        patch.setitem(sys.modules, _PACKAGE, package)
        patch.setitem(sys.modules, unused.__name__, unused)
        module = importlib.import_module(f"{_PACKAGE}.{name}")
        # Modules imported beside the stubs must not be found by other tests.
        for key in [key for key in sys.modules if key.split(".")[0] == _PACKAGE]:
            if sys.modules[key] not in (package, unused):
                del sys.modules[key]
    return module


def network(layers, state=None):
    """Build the reference with a state dict, or with what PyTorch initialises it to."""
    module = reference_module("feature_extractor_inceptionv3")

    class Offline(module.FeatureExtractorInceptionV3):
        def load_state_dict(self, given):
            return super().load_state_dict(state) if state is not None else None

    module.load_state_dict_from_url = lambda *args, **kwargs: None
    return Offline("inception", list(layers))


def features(net, images):
    """Return the reference's layers of uint8 images [n, h, w, 3], as NumPy arrays by name."""
    import torch

    with torch.no_grad():
        found = net(torch.tensor(np.ascontiguousarray(np.moveaxis(images, -1, 1))))
    return {name: value.numpy() for name, value in zip(net.features_list, found, strict=True)}


def random_state(seed=0):
    """Return a state dict of random weights and batch statistics, with activations of order one."""
    import torch

    rng = np.random.default_rng(seed)
    state = {}
    for name, value in network(["logits"]).state_dict().items():
        shape, kind = tuple(value.shape), name.split(".")[-2:]
        if kind[-1] == "num_batches_tracked":
            state[name] = value
            continue
        if kind[-1] == "weight" and len(shape) > 1:
            array = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        elif kind == ["bn", "weight"]:
            array = rng.uniform(0.6, 1.2, shape)
        elif kind == ["bn", "running_var"]:
            array = rng.uniform(0.5, 1.5, shape)
        else:
            array = 0.3 * rng.normal(size=shape)
        state[name] = torch.tensor(array, dtype=torch.float32)
    return state


def unfolded_state(weights):
    """Return a state dict that computes with our weights; where there are none, with zeros."""
    import torch

    state = {}
    for name, value in network(["logits"]).state_dict().items():
        module, kind = name.rsplit(".", 1)
        place = module.removesuffix(".conv").removesuffix(".bn")
        kernel, bias = (weights.get(f"{place}/{part}") for part in ("kernel", "bias"))
        if kernel is None:
            array = np.zeros(value.shape)
        elif module.endswith(".bn"):
            array = {
                "weight": np.ones(value.shape),
                "bias": bias,
                "running_mean": np.zeros(value.shape),
                "running_var": np.full(value.shape, 1 - 0.001),
                "num_batches_tracked": np.zeros(()),
            }[kind]
        else:
            array = bias if kind == "bias" else np.transpose(kernel)
            if kind == "weight" and array.ndim == 4:
                array = kernel.transpose(3, 2, 0, 1)
        state[name] = torch.tensor(np.ascontiguousarray(array), dtype=value.dtype)
    return state
