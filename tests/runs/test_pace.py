"""How far the host runs ahead of the devices."""

import pytest

from gan_jax.runs.pace import Pace


class Device:
    """A device whose calls take some seconds each, and a clock that waiting for it moves."""

    def __init__(self):
        self.now, self.free = 0.0, 0.0

    def dispatch(self, seconds):
        self.now += 1e-4  # of the host
        self.free = max(self.free, self.now) + seconds
        return self.free

    def wait(self, ends):
        self.now = max(self.now, ends)


@pytest.mark.parametrize(("seconds", "calls"), [(30.0, 0), (0.3, 0), (0.1, 2), (0.001, 16)])
def test_the_device_has_a_quarter_of_a_second_of_work_in_advance_at_most(seconds, calls):
    device = Device()
    pace = Pace(lambda: device.now, device.wait)
    left = [pace.add(device.dispatch(seconds)) for _ in range(40)]
    assert left[:3] == [0, 0, 0]
    assert left[-1] == calls
    assert device.free - device.now <= 0.25


def test_calls_that_become_slow_are_waited_for_one_by_one():
    device = Device()
    pace = Pace(lambda: device.now, device.wait)
    for _ in range(40):
        pace.add(device.dispatch(0.001))
    left = [pace.add(device.dispatch(2.0)) for _ in range(40)]
    # An evaluation, during which the device finishes everything.
    device.now += 100
    left += [pace.add(device.dispatch(2.0)) for _ in range(3)]
    assert max(left) <= 16
    assert set(left[20:]) == {0}
