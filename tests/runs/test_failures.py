"""What JAX's errors become: synthetic messages in the words of each kind of device."""

import jax
import pytest

from gan_jax import errors
from gan_jax.runs import failures
from tests.training import tiny

# In the words of XLA's allocators on CPU and GPU, of its TPU compiler, of CUDA and cuDNN.
MEMORY = {
    "RESOURCE_EXHAUSTED: Out of memory allocating 14400000000 bytes.": "13.4 GiB asked for",
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 123 bytes.": "123 bytes asked for",
    "RESOURCE_EXHAUSTED: Failed to allocate request for 9.00GiB (9663676416B) on device "
    "ordinal 0": "9.0 GiB asked for",
    "RESOURCE_EXHAUSTED: XLA:TPU compile permanent error. Ran out of memory in memory space hbm. "
    "Used 20.15G of 15.48G hbm. Exceeded hbm capacity by 4.67G.": "20.15GiB in all asked for",
    "INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory": "out of device memory:",
    "INTERNAL: cuDNN error: CUDNN_STATUS_ALLOC_FAILED": "out of device memory:",
}
# In the words of Gloo, NCCL and JAX's coordination service.
PEERS = [
    "UNKNOWN: Gloo AllGather failed: [external/gloo/gloo/transport/tcp/pair.cc:547] Connection "
    "closed by peer [127.0.0.1]:5037",
    "FAILED_PRECONDITION: Buffer Definition Event: Gloo all-reduce failed: [external/gloo/gloo/"
    "transport/tcp/pair.cc:534] Read error [10.0.0.2]:21911: Connection reset by peer",
    "INTERNAL: NCCL operation ncclGroupEnd() failed: remote process exited or there was a network "
    "error.",
]


def config(**train):
    """Return a configuration with a batch of 64."""
    made = tiny.point_config()
    made.train.update(batch_size=64, **train)
    return made


@pytest.mark.parametrize(("text", "told"), MEMORY.items())
def test_too_little_device_memory_names_the_batch_and_the_ways_out(text, told):
    found = failures.explain(jax.errors.JaxRuntimeError(text), config(), 4)
    assert isinstance(found, errors.DeviceMemoryError)
    assert told in str(found)
    assert "train.batch_size = 64 is 16 on each of 4 devices" in str(found)
    for way in ("train.accumulate = 2", "train.batch_size", '"bfloat16"', "device_cache_gib = 0"):
        assert way in str(found)
    assert "\n" not in str(found)


def test_the_advice_is_what_is_not_done_already():
    error = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory.")
    made = config()
    made.train.accumulate = 4
    made.precision = "bfloat16"
    made.data.device_cache_gib = 0.0
    told = str(failures.explain(error, made, 1))
    assert "train.batch_size = 64 is on one device, taken in 4 parts" in told
    assert "train.accumulate = 8" in told
    assert "bfloat16" not in told
    assert "device_cache_gib" not in told


def test_too_little_memory_of_the_machine_is_reported_as_such():
    text = "Unable to allocate 80.0 GiB for an array with shape (21474836480,) and data type int32"
    found = failures.explain(MemoryError(text), config(), 1)
    assert isinstance(found, errors.DeviceMemoryError)
    assert text in str(found)
    assert "train.batch_size = 64" in str(found)


@pytest.mark.parametrize("text", PEERS)
def test_a_lost_connection_is_that_of_another_process(text):
    found = failures.explain(jax.errors.JaxRuntimeError(text), config(), 4)
    assert isinstance(found, errors.PeerError)
    assert str(found).startswith("another process is gone")
    assert "the same command" in str(found)


def test_the_cause_of_a_failed_save_is_found_behind_it():
    error = errors.CheckpointError("Could not save step 4: ...")
    error.__cause__ = jax.errors.JaxRuntimeError(PEERS[0])
    assert isinstance(failures.explain(error, config(), 4), errors.PeerError)


def test_the_reason_that_a_process_left_behind_is_reported(monkeypatch):
    monkeypatch.setattr(failures.distributed, "who_left", lambda: {1: "a.png cannot be read"})
    found = failures.explain(jax.errors.JaxRuntimeError(PEERS[0]), config(), 4)
    assert str(found).startswith("process 1 has failed: a.png cannot be read. This process is well")


@pytest.mark.parametrize(
    "error",
    [
        errors.DataError("a.png cannot be read: connection reset by peer"),
        errors.DivergenceError("generator/loss is not finite by step 8"),
        jax.errors.JaxRuntimeError("INVALID_ARGUMENT: shapes do not match"),
        KeyError("out of memory"),
        # TensorStore, where the disk is full.
        ValueError("RESOURCE_EXHAUSTED: Error writing a file: No space left on device"),
        KeyboardInterrupt(),
    ],
)
def test_other_errors_speak_for_themselves(error):
    assert failures.explain(error, config(), 4) is None
