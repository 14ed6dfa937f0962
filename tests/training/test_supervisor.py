"""What is shown of a process's messages, and who is said to be gone."""

import pytest

from gan_jax.training import peers, supervisor

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
    assert messages.told
    assert messages.aborting is not None


def test_a_warning_of_the_service_hides_nothing_that_follows():
    warning = "W1121 18:04:10.130804    3751 preemption_sync_manager.cc:147] Failed\nsecond line\n"
    shown, withheld, messages = read(warning, "WARNING gan_jax.training.loop: alarm\n", "more")
    assert shown == "WARNING gan_jax.training.loop: alarm\nmore"
    assert withheld == warning
    assert messages.aborting is None
    assert not messages.told


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
