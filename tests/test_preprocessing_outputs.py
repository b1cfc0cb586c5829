import concurrent.futures
import threading

import pytest

from preprocessing import finders, items, outputs


def test_settings_that_came_later_are_left_out_where_nobody_sets_them():
    def named(settings, finder):
        found = outputs.describe("video", "0" * 64, settings, finder, 4)
        return {*found, *found["boxes"]} & {outputs.LATER, *finders.LATER}

    assert not named(items.Settings(), finders.People())
    finder = finders.People(bodies="file", boxes="a", person_labels=("rider",))
    settings = items.Settings(sound_track="2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finders, "_identity", str)
        assert named(settings, finder) == {"sound_track", "person_labels"}


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
