"""Rates, shares and times left, by a clock that the test moves."""

import itertools

import jax
import pytest

from mmdiffmask import config, devices
from mmdiffmask.training import journal, meter

SETTINGS = config.Training(steps=100, eval_every=40, save_every=20)


class Clock:
    """Moves when it is told."""

    now = 5.0

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


def metered(clock, **update):
    result = meter.Meter(SETTINGS, clock)
    result.update = meter.Update(**({"examples": 8} | update))
    return result


def test_laps_cut_the_time_and_say_each_kind_s_share(clock):
    watch = metered(clock)
    clock.wait(6)
    assert watch.lap(journal.COMPILE, 1) == {"seconds": 6, "share": 1, "updates": 1}
    clock.wait(4)
    lap = watch.lap(journal.TRAIN, 10)
    assert lap["seconds"] == 4 and lap["share"] == 0.4
    assert lap["steps_per_s"] == 2.5 and lap["examples_per_s"] == 20
    clock.wait(8)
    assert watch.lap(journal.EVAL) == {"seconds": 8, "share": round(8 / 18, 4)}
    clock.wait(99)  # of what is no lap
    watch.begin()
    clock.wait(2)
    assert watch.lap(journal.EVAL) == {"seconds": 2, "share": 0.5}


def test_mfu_is_work_by_time_by_peak(clock):
    watch = metered(clock, flop=3 * 10**12, peak_flop_s=20e12)
    clock.wait(5)
    assert watch.lap(journal.TRAIN, 10)["mfu"] == 0.3  # 6e12 a second of 20e12
    for lacking in ({"flop": 10**12}, {"peak_flop_s": 1e12}, {}):
        watch = metered(clock, **lacking)
        clock.wait(5)
        lap = watch.lap(journal.TRAIN, 10)
        assert "mfu" not in lap and "MFU" not in meter.line(lap, None)


def test_a_clock_that_stands_still_breaks_nothing(clock):
    assert metered(clock).lap(journal.TRAIN, 1)["steps_per_s"] > 0


def test_waits_count_where_the_devices_have_run_dry(clock):
    """Blocked for 1, 2 and 3 s; the devices were done at the second's end alone."""
    watch, drained = metered(clock), iter([False, True, False])

    def batches():
        for number in (1, 2, 3):
            clock.wait(number)
            yield number

    for number in watch.fed(batches(), lambda: next(drained)):
        clock.wait(10 * number)  # the update
    lap = watch.lap(journal.TRAIN, 3)
    assert lap["seconds"] == 66 and lap["input_blocked_s"] == 6
    assert lap["input_wait_s"] == 2 and lap["input_wait"] == round(2 / 66, 4)
    clock.wait(1)
    assert watch.lap(journal.TRAIN, 1)["input_blocked_s"] == 0


def still_due(settings, step):
    def due(*periods):
        steps = range(step + 1, settings.steps + 1)
        return len(
            [s for s in steps if s == settings.steps or not all(s % p for p in periods)]
        )

    probe = [settings.probe_every] if settings.probe_every else []
    return {
        journal.EVAL: due(settings.eval_every),
        journal.PROBE: due(*probe) if probe else 0,
        journal.SAVE: due(settings.eval_every, settings.save_every, *probe),
    }


@pytest.mark.parametrize("steps", [1, 12, 13, 24])
def test_what_is_still_due_as_counted(steps):
    periods = itertools.product((1, 4, 6, 30), (1, 3, 8, 30), (0, 5, 6))
    for every, save, probe in periods:
        settings = config.Training(
            steps=steps, eval_every=every, save_every=save, probe_every=probe
        )
        for step in range(steps + 1):
            counted = still_due(settings, step)
            assert meter._still_due(settings, step) == counted, (every, save, probe)


def test_time_left_has_evaluations_and_saves_in_it(clock):
    watch = metered(clock)
    assert watch.left_s(0) is None
    for kind, seconds, updates in (
        (journal.EVAL, 50, 0),  # it compiles; the last one counts
        (journal.COMPILE, 30, 1),
        (journal.TRAIN, 19, 9),
        (journal.TRAIN, 19, 10),
        (journal.EVAL, 7, 0),
        (journal.SAVE, 3, 0),
    ):
        clock.wait(seconds)
        watch.lap(kind, updates)
    # 80 updates of 2 s; evaluations at 40, 80, 100; saves at these and at 60.
    assert watch.left_s(20) == 80 * 2 + 3 * 7 + 4 * 3
    assert watch.left_s(100) == 0


def test_a_lap_in_words():
    lap = {"steps_per_s": 1.234, "examples_per_s": 9.872, "mfu": 0.314}
    lap["input_wait"] = 0.021
    words = "1.23 steps/s, 9.87 examples/s, MFU 31%, input 2%"
    assert meter.line(lap, 3800.0) == words + ", 1:03:20 left"
    assert meter.line(lap, None) == words


def test_a_peak_is_known_or_none_is_named():
    assert devices.peak_flop_s(["TPU v2"] * 8) == pytest.approx(184e12)
    assert devices.peak_flop_s(["TPU v2", "another"]) is None
    assert devices.peak_flop_s([jax.devices("cpu")[0].device_kind]) is None
