"""What the state of a folder says of its settings."""

import pytest

from preprocessing import items
from preprocessing.boxes import finders
from preprocessing.work import out_folder


def test_settings_that_came_later_are_left_out_where_nobody_sets_them():
    def named(settings, finder):
        found = out_folder.describe("video", "0" * 64, settings, finder, 4)
        return {*found, *found["boxes"]} & {out_folder.LATER, *finders.LATER}

    assert not named(items.Settings(), finders.People())
    finder = finders.People(bodies="file", boxes="a", person_labels=("rider",))
    settings = items.Settings(sound_track="2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finders, "_identity", str)
        assert named(settings, finder) == {"sound_track", "person_labels"}
