"""torch-fidelity's metrics as functions of features: references for ours."""

import importlib
import importlib.util
import sys
import types

import pytest

_PACKAGE = "torch_fidelity"


def reference_metric(name):
    """Import one of torch-fidelity's ``metric_*`` modules (or ``defaults``), or skip the test.

    Neither the package nor its ``utils`` is run: they read images and load networks, for which they
    import torchvision, whose builds fit few builds of PyTorch. Metrics of features need neither.
    """
    pytest.importorskip("torch", reason="PyTorch is the reference (extra: parity)")
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
        # So that nobody else finds what was imported beside the stubs.
        for key in [key for key in sys.modules if key.split(".")[0] == _PACKAGE]:
            if sys.modules[key] not in (package, unused):
                del sys.modules[key]
    return module
