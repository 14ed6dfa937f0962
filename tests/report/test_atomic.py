"""A file is replaced as a whole, whoever else is writing it."""

import os
import socket

import pytest

from gan_jax.report import atomic


@pytest.mark.parametrize("here", ["a", "a/b:\n", "a" * 300])
def test_processes_of_two_hosts_with_one_number_write_the_same_file(here, tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    hosts = [here]
    monkeypatch.setattr(socket, "gethostname", lambda: hosts[-1])
    synchronize = os.fsync

    def interrupted(descriptor):
        # Another host's process writes, whole, while this one is at it.
        synchronize(descriptor)
        if hosts == [here]:
            hosts.append(f"{here}b")
            atomic.write_text(path, "theirs")
            assert path.read_text() == "theirs"

    monkeypatch.setattr(os, "fsync", interrupted)
    atomic.write_text(path, "ours")
    assert path.read_text() == "ours"
    assert os.listdir(tmp_path) == ["status.json"]
