"""Every array of the reference's folder, and the command on changed copies of it."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from benchmarks import parity
from benchmarks.golden import compare, files, folder, questions, tfrecord
from mmdiffmask import grid

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "shared/golden/reserve"
MARKS = {
    "opt_step_pretrain": [pytest.mark.slow],
    "opt_step_finetune": [pytest.mark.long],
    "opt_step_finetune_bf16": [pytest.mark.long],
}


def cases():
    """A case per array that is no input; one that skips where the folder is absent."""
    if not FOLDER.is_dir():
        yield pytest.param(None, None, marks=pytest.mark.skip("no ../shared"))
        return
    golden = folder.Golden(FOLDER)
    for file in files.names(golden):
        marks = MARKS.get(file, [])
        for array in files.expected(golden, file):
            yield pytest.param(file, array, marks=marks, id=f"{file}/{array}")


@pytest.fixture(scope="module")
def checker(shared):
    return files.Checker(folder.Golden(shared / "golden/reserve"))


@pytest.mark.parametrize(("file", "array"), cases())
def test_equals_the_reference(checker, file, array):
    rows = checker.array(file, array)
    assert rows, "not compared"
    assert not [row for row in rows if row.is_over]


@pytest.fixture
def copy(shared, tmp_path):
    """A folder with the files that are read first, and those asked for."""

    def make(*names):
        target = tmp_path / "golden"
        target.mkdir()
        for name in (*folder.NEEDED, *names):
            shutil.copyfile(shared / "golden/reserve" / name, target / name)
        return target

    return make


def run(target, capsys, *more):
    status = parity.main(["reserve", str(target), *map(str, more)])
    return status, capsys.readouterr()


def save(target, name, **arrays):
    path = target / f"{name}.npz"
    kept = folder.read_arrays(path) if path.exists() else {}
    np.savez(path, **{**kept, **arrays})


def test_command_passes_and_prints_every_array(copy, capsys):
    target = copy("image.npz", "spectrogram.npz", "tokenizations.json")
    status, out = run(target, capsys)
    assert status == 0
    lines = out.out.splitlines()
    assert lines[-1] == "6 arrays compared, 0 beyond tolerance, 0 not compared"
    assert lines[0].split() == ["image/patches_tall", *lines[0].split()[1:]]
    assert "tolerance 1.0e-05" in lines[0]


def test_command_finds_one_changed_value(copy, capsys):
    target = copy("spectrogram.npz", "tokenizations.json")
    changed = folder.read_arrays(target / "spectrogram.npz")["spec_tvqa"]
    changed[1, 30, 7] += 1e-3
    save(target, "spectrogram", spec_tvqa=changed)
    strings = json.loads((target / "tokenizations.json").read_text())
    strings[5]["ids"].append(9)
    (target / "tokenizations.json").write_text(json.dumps(strings))
    status, out = run(target, capsys)
    assert status == 1
    over = [line.split()[0] for line in out.out.splitlines() if line.endswith("OVER")]
    assert over == ["spectrogram/spec_tvqa", "tokenizations/ids"]


def test_command_names_what_it_does_not_compare(copy, capsys):
    target = copy("image.npz")
    save(target, "image", patch_of_nothing=np.zeros(3))
    save(target, "unknown", values=np.zeros(3))
    status, out = run(target, capsys)
    assert status == 1
    left_out = [
        line.split()[0]
        for line in out.out.splitlines()
        if line.endswith("NOT COMPARED")
    ]
    assert left_out == ["image/patch_of_nothing", "unknown/values"]


def test_command_reads_names_by_pattern(copy, capsys):
    target = copy("image.npz", "rotary.npz")
    arrays = folder.read_arrays(target / "image.npz")
    picture, patches = arrays["image_tall"], arrays["patches_tall"]
    save(target, "image", image_other=picture, patches_other=patches)
    row = np.array([-1, 1], np.float32)[:, None] / 5 * np.ones((1, 4), np.float32)
    col = np.array([-2, -1, 1, 2], np.float32)[None] / 5 * np.ones((2, 1), np.float32)
    save(target, "rotary", coords2d_2x4=np.stack([row, col], -1).reshape(8, 2))
    status, out = run(target, capsys)
    assert status == 0
    assert "image/patches_other" in out.out
    assert "rotary/coords2d_2x4" in out.out
    save(target, "image", image_other=picture[::-1])
    assert run(target, capsys)[0] == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (None, None, "no such folder"),
        ("tiny", None, "tiny is missing"),
        ("tiny", "text", "is no official checkpoint"),
        ("config.json", "{}", "not of the reference's form"),
        ("config.json", "no", "not JSON"),
        ("config.json", '{"rotary_hsize": 64}', "rotary_hsize is 64"),
        ("tolerances.json", "{}", "has no key arrays"),
        ("image.npz", "text", "no file of arrays"),
    ],
)
def test_wrong_folders_are_named(copy, capsys, name, content, said):
    target = copy("image.npz")
    if name is None:
        target = target / "missing"
    elif content is None:
        (target / name).unlink()
    else:
        (target / name).write_text(content)
    status, out = run(target, capsys)
    assert status == 2
    assert said in out.err
    assert str(target) in out.err
    assert len(out.err.splitlines()) == 1


def test_folder_without_arrays_and_wrong_vocabulary(copy, capsys):
    target = copy()
    assert run(target, capsys)[0] == 2
    shutil.copyfile(FOLDER / "tokenizations.json", target / "tokenizations.json")
    assert run(target, capsys)[0] == 0
    status, out = run(target, capsys, "--vocab", target / "none.json")
    assert status == 2
    assert "no such tokenizer file" in out.err


def verdict(ours, theirs, array="x", **entry):
    tolerances = {"arrays": {"file": {"x": entry}} if entry else {}}
    rows = compare.rows(tolerances, "file", array, ours, np.asarray(theirs))
    return [row.is_over for row in rows]


def test_rules_where_no_tolerance_is_stated():
    values = np.array([100.0, 1.0])
    assert verdict(values + 0.9e-3, values) == [False]
    assert verdict(values + 1.1e-3, values) == [True]
    assert verdict(np.array([1, 2]), [1, 3]) == [True]
    assert verdict(np.array([True, False]), [True, False]) == [False]
    assert verdict(np.array([5]), np.array([6], np.uint16), "cast_bits") == [False]
    assert verdict(np.array([5]), np.array([7], np.uint16), "mu_bits/mat") == [True]
    assert verdict(np.array(["a", "b"]), ["a", "c"]) == [True]
    assert verdict(np.zeros((2, 1)), np.zeros(2)) == [True]
    assert verdict(np.array([np.nan]), [0.0]) == [True]
    assert verdict(np.array([np.inf, np.nan]), [np.inf, np.nan]) == [False]


def test_rules_that_are_stated():
    assert verdict(np.array([1.2]), [1.0], atol=0.3) == [False]
    assert verdict(np.array([1.2]), [1.0], atol=0.1) == [True]
    hidden = np.ma.array([1.0, 9.0], mask=[False, True])
    assert verdict(hidden, [1.0, 2.0], atol=0.1) == [False]
    relative = {"atol": None, "note": "bfloat16: relative 3e-2"}
    assert verdict(np.array([0.0, 102.0]), [0.0, 100.0], **relative) == [False]
    assert verdict(np.array([0.0, 104.0]), [0.0, 100.0], **relative) == [True]
    assert verdict(np.array([0.1]), [0.0], **relative) == [True]
    patterns = {"arrays": {}, "not_from_jax": {"image/patches_*": {"atol": 0.5}}}
    entry = compare.tolerance_of(patterns, "image", "patches_wide")
    assert entry == {"atol": 0.5}


def test_bfloat16_must_be_as_near_to_float32_as_the_reference():
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(50, 8))
    error = 0.01 * rng.normal(size=exact.shape)
    tolerances = {"arrays": {"file": {"x": {"atol": None, "note": "by rms"}}}}

    def over(ours):
        rows = compare.rows(tolerances, "file", "x", ours, exact + error, exact)
        return [row.is_over for row in rows]

    assert over(exact - 1.4 * error) == [False, False]
    assert over(exact - 1.6 * error) == [True, False]
    assert over(exact[:, ::-1]) == [True, True]


def test_tall_frames_are_turned_between_grey_bars(shared):
    golden = folder.Golden(shared / "golden/reserve")
    picture = np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)
    turned = np.zeros((32, 72, 3), np.float32) + 0.5
    turned[:, 4:68] = picture.transpose(1, 0, 2)[::-1] / 255.0
    height, width = golden.grid.height_px, golden.grid.width_px
    scale = min(height / 32, width / 72)
    size = (int(32 * scale), int(72 * scale), 3)
    wanted = np.zeros((height, width, 3), np.float32)
    wanted[: size[0], : size[1]] = jax.image.resize(turned, size, "linear")
    wanted = grid.to_patches(golden.grid, wanted)
    found = questions.frame_patches(golden, picture)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_record_files_that_break_off(shared, tmp_path):
    data = (shared / "golden/reserve/tvqa.tfrecord").read_bytes()
    assert len(list(tfrecord.examples(shared / "golden/reserve/tvqa.tfrecord"))) == 2
    for size in (4, 100, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:size])
        with pytest.raises(ValueError, match="breaks off"):
            list(tfrecord.examples(tmp_path / "cut"))
