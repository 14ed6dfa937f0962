"""Freed memory is kept for the next program."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from gan_jax.runs import allocator

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        b"a" * 2**25
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
allocator.keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_is_not_given_back_between_calls():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 8
