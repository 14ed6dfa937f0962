"""What is shown of a process's messages, who is said to be gone, and what a lost one leaves."""

import json
import os
import signal
import subprocess
import sys

import pytest

from gan_jax.launch import peers, supervisor
from gan_jax.report import status
from tests.experiments import program

SILENT = """\
E1121 17:54:19.737604   28429 coordination_service.cc:1549] [10058] Use error polling to propagate:
UNAVAILABLE: The following tasks are unhealthy (stopped sending heartbeats):
1
3
The tasks have crashed.
E1121 17:54:19.738123   28441 coordination_service_agent.cc:289] Polled an error.
F1121 17:54:19.738200   28441 client.h:80] Terminating process because the JAX distributed service \
detected fatal errors.
*** Check failure stack trace: ***
    @     0x7ffa9e040634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
Fatal Python error: Aborted
"""
LEADER = """\
F0929 17:42:48.594200 1044529 client.h:77] Terminating process because the JAX distributed service \
detected fatal errors. absl::Status: UNAVAILABLE: Failed to send RPC to coordination service. \
Either the leader task was preempted/died/restarted unexpectedly
"""


def read(*pieces):
    """Return what is shown of pieces as they come, what is held back, and the reader."""
    messages = supervisor.Messages()
    shown = "".join(messages.feed(piece) for piece in pieces)
    rest, withheld = messages.close()
    return shown + rest, withheld, messages


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_log_of_a_lost_process_is_held_back_and_all_else_is_shown(size):
    before, between = "WARNING a.b: careful\nhalf a", " line\nhello\n"
    text = before + between + SILENT + "error: what happened\n"
    shown, withheld, messages = read(*(text[i : i + size] for i in range(0, len(text), size)))
    assert shown == before + between + "error: what happened\n"
    assert withheld == SILENT
    assert messages.reported
    assert messages.aborting is not None


def test_a_warning_of_the_service_hides_nothing_that_follows():
    warning = "W1121 18:04:10.130804    3751 preemption_sync_manager.cc:147] Failed\nsecond line\n"
    shown, withheld, messages = read(warning, "WARNING gan_jax.runs.loop: alarm\n", "more")
    assert shown == "WARNING gan_jax.runs.loop: alarm\nmore"
    assert withheld == warning
    assert messages.aborting is None
    assert not messages.reported


def test_who_is_missing_is_read_from_the_log():
    assert peers.missing(SILENT) == {1: "", 3: ""}
    assert peers.missing(LEADER) == {0: ""}
    assert peers.missing(LEADER + SILENT) == {1: "", 3: ""}
    assert peers.missing("UNAVAILABLE: Task 2 heartbeat timeout.") == {2: ""}
    assert peers.missing("anything else") == {}


@pytest.mark.parametrize(
    ("reasons", "steps", "start", "end"),
    [
        ({1: "", 3: ""}, [10, 20], "processes 1, 3 are gone (killed", "goes on from step 20"),
        ({}, None, "another process is gone (killed", "goes on from its newest checkpoint"),
        ({2: "no disk"}, [], "process 2 has failed: no disk. This", "it has no checkpoint yet"),
        ({0: "", 2: "no disk"}, [4], "process 2 has failed: no disk; process 0 is", "step 4"),
    ],
)
def test_the_message_names_who_is_gone_and_where_the_run_goes_on(reasons, steps, start, end):
    message = peers.gone(reasons, steps)
    assert message.startswith(start)
    assert message.endswith(end)


# What a supervised program does is in the file `program.py` of its folder.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from gan_jax.report.status import Status
from gan_jax.launch import supervisor

workdir = Path(sys.argv[1])
supervisor.supervise(workdir)
"""


def supervised(folder, body, streams="", before=""):
    """Run a supervised program in a shell that gives it other standard streams."""
    file = folder / "program.py"
    file.write_text(before + PROGRAM + body)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {streams}', "sh", sys.executable, file, folder / "run"],
        env=program.environment(PYTHONUNBUFFERED=None),
        capture_output=True,
        timeout=program.LIMIT,
        check=False,
    )


@program.has_full
def test_a_full_disk_under_the_log_does_not_end_the_run(tmp_path):
    # More than one message, and more than a buffer.
    body = """
for i in range(100):
    print("WARNING" + 1000 * "!", file=sys.stderr, flush=True)
(workdir.parent / "end").touch()
sys.exit(3)
"""
    before = "import warnings; warnings.warn('before')\n"
    assert supervised(tmp_path, body, f"2>{program.FULL}", before).returncode == 3
    assert (tmp_path / "end").exists()


def test_a_run_without_standard_streams_runs_in_silence(tmp_path):
    body = """
print("WARNING!", file=sys.stderr, flush=True)
# What JAX's C++ says.
os.write(2, b"WARNING!")
(workdir.parent / "end").touch()
"""
    ended = supervised(tmp_path, body, "<&- >&- 2>&-")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert (tmp_path / "end").exists()


def test_what_was_split_over_two_reads_is_shown_as_it_was(capfdbinary):
    source, sink = os.pipe()
    os.set_blocking(source, False)
    messages = supervisor.Messages()
    # The second line is no UTF-8, which the program's locale may not be either.
    written = "größer als ∞\n".encode() + "größer\n".encode("latin-1")
    for i in range(len(written)):
        os.write(sink, written[i : i + 1])
        assert supervisor._pass_on(source, messages)
    os.close(sink)
    assert not supervisor._pass_on(source, messages)
    os.close(source)
    assert capfdbinary.readouterr().err == written


KILLED = """
for name in (".", "replica_0", "replica_1"):
    Status(workdir / name).write("running", "", 5, 10)
Status(workdir / "replica_1").write("diverged", "loss is not finite", 4, 10)
sys.stderr.write({message!r})
sys.stderr.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_child_is_reported_and_leaves_no_status_that_says_running(tmp_path):
    message = "error: of a library, which went on\n"
    ended = supervised(tmp_path, KILLED.format(message=message))
    assert ended.returncode == 1
    shown = ended.stderr.decode()
    assert shown.startswith(f"{message}error: the process that trains was ended by SIGKILL: ")
    reason = shown.removeprefix(f"{message}error: ").removesuffix("\n")
    for name in (".", "replica_0"):
        now = program.status(tmp_path / "run" / name)
        assert (now["state"], now["reason"]) == ("failed", reason)
        assert (now["step"], now["total_steps"]) == (5, 10)
    now = program.status(tmp_path / "run" / "replica_1")
    assert (now["state"], now["reason"]) == ("diverged", "loss is not finite")


def test_a_child_that_had_reported_its_error_before_jax_ended_it_needs_no_second_line(
    tmp_path, capfdbinary
):
    messages = supervisor.Messages()
    messages.feed("error: its own\n" + SILENT)
    assert supervisor._conclude(os.getpid(), -signal.SIGABRT, messages, tmp_path) == 1
    assert capfdbinary.readouterr().err == b""


@pytest.mark.parametrize("theirs", [{"host": "elsewhere"}, {"pid": 1}, {"state": "done"}])
def test_a_status_of_another_process_stays_as_it_is(theirs, tmp_path):
    status.Status(tmp_path).write("running", "", 5, 10)
    record = program.status(tmp_path) | theirs
    (tmp_path / "status.json").write_text(json.dumps(record))
    messages = supervisor.Messages()
    assert supervisor._conclude(os.getpid(), -signal.SIGKILL, messages, tmp_path) == 1
    assert program.status(tmp_path) == record
