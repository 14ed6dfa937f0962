"""What the tests beside PyTorch share."""

import pytest


@pytest.fixture(scope="module")
def one_thread():
    """Threads of PyTorch that spin while they wait would take the cores from other tests."""
    import torch

    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)
