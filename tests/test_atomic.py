"""Files are whole or absent, whoever fails and however many write."""

import concurrent.futures
import json
import subprocess
import sys
import threading

import pytest
from etils import epath

from mmdiffmask import atomic


def test_partial_files_are_those_of_one_machine_process_and_thread(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.json"
    names = [atomic.partial(path), atomic.partial(path)]
    assert names[0] == names[1]
    threading.Thread(target=lambda: names.append(atomic.partial(path))).start()
    monkeypatch.setattr(atomic.os, "getpid", lambda: -1)
    names.append(atomic.partial(path))
    monkeypatch.setattr(atomic.platform, "node", lambda: "elsewhere")
    names.append(atomic.partial(path, tmp_path / "work"))
    assert len(set(names)) == 4
    assert [name.parent.name for name in names].count("work") == 1


def test_threads_that_put_one_file(tmp_path):
    """It is whole at any moment, and nothing else is left."""
    path, texts = tmp_path / "a", [str(i) * 100_000 for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: atomic.write(path, text), texts * 5))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [type(None), epath.Path])
def test_a_file_that_cannot_be_made_leaves_the_old_one(tmp_path, kind):
    path = tmp_path / "a.npz" if kind is type(None) else kind(tmp_path / "a.npz")
    atomic.write(path, b"old")
    with pytest.raises(KeyError), atomic.place(path) as made:
        made.write_bytes(b"half of a new")
        assert path.read_bytes() == b"old"
        raise KeyError("x")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]
    atomic.write(path, "n\u00e9w")
    assert path.read_text() == "n\u00e9w"


def test_made_elsewhere(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    with atomic.place(tmp_path / "a", work) as made:
        made.write_text("x")
        assert made.parent == work and atomic.is_partial_of(made.name, tmp_path / "a")
    assert (tmp_path / "a").read_text() == "x" and not list(work.iterdir())


def test_names_of_files_under_way(tmp_path):
    path = tmp_path / "config.json"
    assert atomic.is_partial_of(atomic.partial(path).name, path)
    assert atomic.is_partial_of("config.json.tmp", path)  # of earlier versions
    for other in ("config.json", "config.jsonl.1.tmp", "a.config.json.1.tmp"):
        assert not atomic.is_partial_of(other, path)


def test_json_comes_back(tmp_path):
    atomic.write_json(tmp_path / "a.json", {"b": [1, 2.5, None]})
    assert atomic.read_json(tmp_path / "a.json") == {"b": [1, 2.5, None]}
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": [1, 2.5, None]}


HOLDS = """
import pathlib, sys, time
from mmdiffmask import atomic
with atomic.turn(pathlib.Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_loses_its_turn(tmp_path):
    path = tmp_path / "cache" / "part.npz"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "mine\n"
    order = []

    def take():
        with atomic.turn(path):
            order.append("mine now")

    waiter = threading.Thread(target=take)
    waiter.start()
    waiter.join(0.3)
    assert waiter.is_alive() and not order  # it waits
    order.append("killed")
    holder.kill()
    waiter.join(10)
    holder.communicate()
    assert order == ["killed", "mine now"]
    assert not list(path.parent.iterdir())


def test_nobody_waits_where_nothing_can_be_locked(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with atomic.turn(tmp_path / "file" / "part.npz"):
        pass
