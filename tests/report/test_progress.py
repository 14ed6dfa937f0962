"""Progress lines have a fixed form, and their speed is that of training alone."""

import contextlib
import io
import re

import pytest

from gan_jax.report.progress import Clock, Progress, format_line, format_number


class Time:
    """A clock set by hand."""

    def __init__(self):
        self.value = 1000.0

    def __call__(self):
        return self.value


class Terminal(io.StringIO):
    """A terminal whose content can be read."""

    def isatty(self):
        return True


def test_the_clock_stops_in_pauses_and_goes_on_after_a_restart():
    time = Time()
    clock = Clock(now=time)
    time.value += 10
    with clock.pause():
        time.value += 100
        assert clock.seconds == 10
        with clock.pause():
            time.value += 100
        time.value += 100  # still in the outer pause
        assert clock.seconds == 10
    time.value += 5
    assert clock.seconds == 15
    with contextlib.suppress(KeyError), clock.pause():
        time.value += 7
        raise KeyError
    time.value += 1
    assert clock.seconds == 16
    time.value += 1e6  # another process, later
    again = Clock(clock.seconds - 1e6, now=time)
    time.value += 4
    assert again.seconds == 20


def test_plain_lines_without_control_characters():
    time, stream = Time(), io.StringIO()
    progress = Progress(5000, 64, clock=Clock(now=time), stream=stream)
    with progress:
        time.value += 4
        progress.update(100, {"critic": -12.3456789, "generator": 0.5})
        with progress.clock.pause():
            time.value += 1000  # an evaluation
        time.value += 2
        progress.update(150, {"critic": float("nan")})
    assert stream.getvalue() == (
        "step  100/5000  kimg 6.4  1600 img/s  ETA 0:03:16  critic -12.35  generator 0.5\n"
        "step  150/5000  kimg 9.6  1600 img/s  ETA 0:03:14  critic nan\n"
    )


def test_the_speed_follows_a_change_and_forgets_the_start():
    time = Time()
    progress = Progress(10_000, 10, clock=Clock(now=time), stream=io.StringIO())
    assert progress.images_per_second == 0
    time.value += 60  # compilation
    progress.update(1, {})
    for step in range(2, 20):
        time.value += 0.5
        progress.update(step, {})
    assert progress.images_per_second == pytest.approx(20)


def test_a_resumed_run_counts_its_own_steps_only():
    time, stream = Time(), io.StringIO()
    progress = Progress(300, 10, start_step=200, clock=Clock(500.0, now=time), stream=stream)
    time.value += 5
    progress.update(250, {})
    assert stream.getvalue() == "step 250/300  kimg 2.5  100 img/s  ETA 0:00:05\n"


def test_only_the_first_process_shows_anything():
    for stream in (io.StringIO(), Terminal()):
        with Progress(10, 1, stream=stream, enabled=False) as progress:
            progress.update(1, {"loss": 1.0})
        assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_that_moves_in_place(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    time, stream = Time(), Terminal()
    with Progress(40, 100, clock=Clock(now=time), stream=stream) as progress:
        time.value += 1
        progress.update(10, {"loss[x]": 0.25})
        time.value += 1
        progress.update(40, {"loss[x]": 0.125})
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "\x1b[" in stream.getvalue()
    assert "step 40/40  kimg 4.0  2000 img/s  ETA 0:00:00  loss[x] 0.125" in text
    assert "━" * 20 in text  # full


def test_the_time_left_is_unknown_before_the_speed_is():
    line = format_line(0, 10, 64, 0.0, {}, 0.0)
    assert line == "step  0/10  kimg 0.0  ? img/s  ETA ?"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.123456, "-0.1235"),
        (123.456, "123.5"),
        (12345.6, "12346"),
        (1.5e-7, "1.5e-07"),
        (float("-inf"), "-inf"),
    ],
)
def test_numbers(value, text):
    assert format_number(value) == text
