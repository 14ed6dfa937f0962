"""Signals that ask a run to stop, and how several processes agree on when."""

import os
import signal
import types

import pytest

from gan_jax.runs import preemption


@pytest.fixture
def processes(monkeypatch):
    """Return a function that sets the number of processes."""
    return lambda count: monkeypatch.setattr(preemption.jax, "process_count", lambda: count)


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes by hand: its ``now`` is in seconds."""
    clock = types.SimpleNamespace(now=100.0)
    monkeypatch.setattr(preemption, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def interrupt():
    """Do as Python does when Ctrl-C comes; return whether that acts at once."""
    try:
        signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.parametrize("count", [1, 2])
def test_one_ctrl_c_that_comes_twice_is_one_and_the_next_acts_at_once(
    count, processes, clock, monkeypatch
):
    processes(count)
    sent = []
    monkeypatch.setattr(os, "kill", lambda process, number: sent.append((process, number)))
    monkeypatch.setattr(
        preemption.multihost_utils, "reached_preemption_sync_point", lambda call: bool(sent)
    )
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with preemption.StopRequest() as stop:
            assert stop.reason() is None
            assert not interrupt()
            clock.now += 0.9
            assert not interrupt()
            assert sent == [(os.getpid(), signal.SIGTERM)] * (count - 1)
            assert stop.reason() == "SIGINT"
            clock.now += 0.2
            assert interrupt()
        assert signal.getsignal(signal.SIGINT) is before[0]
    finally:
        signal.signal(signal.SIGTERM, before[1])


def test_a_signal_ends_work_that_can_be_repeated(processes):
    processes(1)

    def work():
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    with preemption.StopRequest() as stop:
        assert stop.attempt(lambda: 3) == 3
        assert stop.attempt(work) is None
        assert stop.reason() == "SIGINT"
        assert stop.attempt(work) is None  # It is not begun again.


def test_an_interrupt_of_another_origin_is_no_stop(processes):
    def work():
        raise KeyboardInterrupt

    processes(1)
    with preemption.StopRequest() as stop, pytest.raises(KeyboardInterrupt):
        stop.attempt(work)


def test_several_processes_finish_their_work(processes, monkeypatch):
    processes(2)
    monkeypatch.setattr(os, "kill", lambda process, number: None)
    with preemption.StopRequest() as stop:
        assert stop.attempt(lambda: signal.raise_signal(signal.SIGINT) or "done") == "done"


class Service:
    """What JAX does: it stops everybody at the number after the largest, at no other."""

    def __init__(self):
        self.call, self.stop = 0, None

    def notice(self):
        self.stop = self.call + 1

    def reached(self, call):
        self.call = call
        return call == self.stop


@pytest.mark.parametrize("before", [0, 7])
def test_a_notice_stops_several_processes_at_the_next_call(before, processes, monkeypatch):
    processes(2)
    service = Service()
    monkeypatch.setattr(
        preemption.multihost_utils, "reached_preemption_sync_point", service.reached
    )
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        with preemption.StopRequest() as stop:
            assert [stop.reason() for _ in range(before)] == [None] * before
            service.notice()
            assert stop.reason() == "SIGTERM"
        assert signal.getsignal(signal.SIGINT) is handlers[0]
    finally:
        # Once the notice has come, the process heeds no second one.
        signal.signal(signal.SIGTERM, handlers[1])
