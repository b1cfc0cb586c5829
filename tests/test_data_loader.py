"""Batches: order, resumption, padding, hosts, devices, the threads' end."""

import signal
import threading
import time

import jax
import numpy as np
import pytest

from mmdiffmask.data import ahead, loader
from mmdiffmask.types import VideoBatch


def make_row(i, epoch=0):
    """A row that carries its index in every field."""
    values = dict.fromkeys(VideoBatch._fields, np.full(3, i, np.int32))
    return VideoBatch(**values)._replace(
        example_hash=np.uint32(i), is_real=np.bool_(True)
    )


def examples_of(batches):
    return [batch.example_hash.tolist() for batch in batches]


def test_epochs_are_permutations_and_steps_can_be_addressed():
    steps = [loader.order_at(0, step, 4, 10) for step in range(5)]
    flat = np.concatenate(steps)
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert flat[:10].tolist() != flat[10:].tolist()
    np.testing.assert_array_equal(loader.order_at(0, 3, 4, 10), steps[3])
    assert loader.order_at(1, 0, 4, 10).tolist() != steps[0].tolist()
    # Another batch size only cuts the same order elsewhere.
    np.testing.assert_array_equal(loader.order_at(0, 1, 10, 10), flat[10:])
    assert [loader.epoch_at(step, 4, 10) for step in range(6)] == [0, 0, 0, 1, 1, 2]


def test_more_rows_than_examples_and_none():
    assert sorted(loader.order_at(0, 0, 6, 3)) == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="no example"):
        loader.order_at(0, 0, 4, 0)


def test_resumed_stream_goes_on_as_if_never_stopped():
    with loader.train_batches(make_row, 7, 3, 5, stop_step=6) as batches:
        whole = examples_of(batches)
    assert len(whole) == 6
    with loader.train_batches(make_row, 7, 3, 5, start_step=4, stop_step=6) as batches:
        assert examples_of(batches) == whole[4:]


def test_hosts_make_equal_parts_of_each_batch():
    with loader.train_batches(make_row, 9, 4, 0, stop_step=3) as batches:
        whole = examples_of(batches)
    parts = []
    for index in range(2):
        host = loader.HostSlice(index, 2)
        with loader.train_batches(make_row, 9, 4, 0, stop_step=3, host=host) as part:
            parts.append(examples_of(part))
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    with pytest.raises(ValueError, match="3 hosts"):
        loader.HostSlice(0, 3).of(range(4))


def test_evaluation_goes_in_order_and_fills_up_with_unreal_rows():
    with loader.eval_batches(make_row, [5, 3, 8], 2) as batches:
        first, last = list(batches)
    assert first.example_hash.tolist() == [5, 3]
    assert first.is_real.tolist() == [True, True]
    assert last.is_real.tolist() == [True, False]
    assert last.unit_of_token.tolist() == [[8] * 3, [-1] * 3]
    assert not last.patches[1].any()
    with loader.eval_batches(make_row, [], 2) as batches:
        assert list(batches) == []


def test_arrays_lie_on_the_devices_asked_for():
    mesh = jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))
    sharding = jax.NamedSharding(mesh, jax.P("data"))
    with loader.train_batches(
        make_row, 20, 8, 0, stop_step=1, sharding=sharding
    ) as batches:
        (batch,) = batches
    assert batch.patches.sharding == sharding
    np.testing.assert_array_equal(batch.patches[:, 0], loader.order_at(0, 0, 8, 20))


@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_workers_change_no_batch(monkeypatch, workers):
    """However long each row takes; hosts share batches as before."""
    monkeypatch.setattr(ahead, "worker_count", lambda: workers)

    def slow(i, epoch):
        time.sleep(0.002 * (i * 7 % 5))
        return make_row(10 * i + epoch)

    wanted = [
        [10 * int(i) + int(e) for i, e in zip(order, epochs, strict=True)]
        for order, epochs in (
            (loader.order_at(3, step, 4, 9), loader.epochs_at(step, 4, 9))
            for step in range(2, 8)
        )
    ]
    with loader.train_batches(slow, 9, 4, 3, start_step=2, stop_step=8) as batches:
        assert examples_of(batches) == wanted
    host = loader.HostSlice(1, 2)
    with loader.eval_batches(lambda i: slow(i, 0), range(5), 4, host=host) as batches:
        first, last = list(batches)
    assert first.example_hash.tolist() == [20, 30]
    assert last.is_real.tolist() == [False, False]


def test_steps_that_are_over_have_no_batches():
    with loader.train_batches(make_row, 5, 2, 0, start_step=3, stop_step=3) as batches:
        assert list(batches) == []
    with loader.train_batches(make_row, 5, 2, 0, start_step=4, stop_step=3) as batches:
        assert list(batches) == []


def test_pixels_are_bytes_only_where_all_rows_have_them():
    byte = make_row(0)._replace(patches=np.arange(256).astype(np.uint8)[None])
    real = byte._replace(patches=np.full((1, 256), 0.3, np.float32))
    assert loader.stack([byte, byte]).patches.dtype == np.uint8
    mixed = loader.stack([byte, real]).patches
    assert mixed.dtype == np.float32
    np.testing.assert_array_equal(mixed[1], real.patches)
    np.testing.assert_array_equal(mixed[0, 0], np.arange(256, dtype=np.float32) / 255)


def test_leaving_the_block_ends_the_threads():
    before = threading.active_count()
    with loader.train_batches(make_row, 5, 2, 0) as batches:  # without end
        next(batches)
        n_threads = threading.active_count() - before
        assert 2 <= n_threads <= 1 + ahead.worker_count()
    assert threading.active_count() == before
    assert next(batches, "closed") == "closed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_while_rows_are_made_ends_the_threads(number):
    """Raised where the consumer waits, as `loop` and the shell do it."""
    before, begun = threading.active_count(), threading.Event()

    def slow(i, epoch):
        begun.set()
        time.sleep(0.3)
        return make_row(i)

    def interrupt(*_):
        raise KeyboardInterrupt

    def send():
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident, number)

    old = signal.signal(number, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            with loader.train_batches(slow, 5, 2, 0) as batches:
                threading.Thread(target=send).start()
                for _ in batches:
                    pass
    finally:
        signal.signal(number, old)
    assert threading.active_count() == before


def test_batches_are_made_ahead_but_not_far(monkeypatch):
    monkeypatch.setattr(ahead, "worker_count", lambda: 3)
    made = []

    def counted(i, epoch):
        made.append(i)
        return make_row(i)

    with loader.train_batches(counted, 5, 1, 0) as batches:
        next(batches)
        deadline = time.monotonic() + 10
        most = 4 + 2 * 3  # one taken, two wait, one in hand; two a thread
        while len(made) < most and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert len(made) == most


def test_error_of_a_row_comes_where_its_batch_would():
    def broken(i):
        if i == 2:
            raise ValueError("clip 2: frame 0 is no readable picture")
        return make_row(i)

    _expect_error(broken)


def test_first_of_several_errors_is_raised_though_it_comes_last():
    """Whichever thread is quicker."""

    def broken(i):
        if i >= 2:
            time.sleep(0.2 if i == 2 else 0)
            raise ValueError(f"clip {i}: frame 0 is no readable picture")
        return make_row(i)

    _expect_error(broken)


def _expect_error(broken):
    before = threading.active_count()
    with loader.eval_batches(broken, range(6), 1) as batches:
        assert next(batches).example_hash == 0
        assert next(batches).example_hash == 1
        with pytest.raises(ValueError, match="clip 2"):
            next(batches)
        with pytest.raises(StopIteration):
            next(batches)
        assert threading.active_count() == before
