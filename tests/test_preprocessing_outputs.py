import concurrent.futures
import threading

from preprocessing import outputs


def test_partial_files_are_those_of_one_machine_process_and_thread(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.json"
    names = [outputs.partial(path), outputs.partial(path)]
    assert names[0] == names[1]
    threading.Thread(target=lambda: names.append(outputs.partial(path))).start()
    monkeypatch.setattr(outputs.os, "getpid", lambda: -1)
    names.append(outputs.partial(path))
    monkeypatch.setattr(outputs.platform, "node", lambda: "elsewhere")
    names.append(outputs.partial(path, tmp_path / "work"))
    assert len(set(names)) == 4
    assert [name.parent.name for name in names].count("work") == 1


def test_threads_that_put_one_file(tmp_path):
    """It is whole at any moment, and nothing else is left."""
    path, texts = tmp_path / "a", [str(i) * 100_000 for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda text: outputs.put(path, text), texts * 5))
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]
