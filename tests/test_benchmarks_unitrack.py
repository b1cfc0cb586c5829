"""Every array of the tracker's reference folder, and the command on changed copies."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from benchmarks import parity
from benchmarks.golden import folder, unitrack

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "shared/golden/unitrack"
SEQUENCES = sorted(path.stem for path in FOLDER.glob("seq_*.npz"))
SHORT = "seq_jump"


def check(verdicts):
    verdicts = dict(verdicts)
    assert verdicts
    assert [name for name, rows in verdicts.items() if not rows] == []
    assert [row for rows in verdicts.values() for row in rows if row.is_over] == []
    return verdicts


def test_components_equal_the_reference(shared):
    path = shared / "golden/unitrack/components.npz"
    assert len(check(unitrack.component_rows(path))) == 65


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_equal_the_reference(shared, name):
    found = check(unitrack.sequence_rows(shared / f"golden/unitrack/{name}.npz"))
    # 25 arrays, 4 groups of columns of the text, 5 counts of the summary.
    assert len(found) == 34


@pytest.fixture
def copy(shared, tmp_path):
    def make(*names):
        target = tmp_path / "golden"
        target.mkdir()
        for name in names:
            shutil.copyfile(shared / "golden/unitrack" / name, target / name)
        return target

    return make


def run(target, capsys):
    status = parity.main(["unitrack", str(target)])
    return status, capsys.readouterr()


def marked(out, mark):
    return [line.split()[0] for line in out.out.splitlines() if line.endswith(mark)]


def change(path, **arrays):
    np.savez(path, **{**folder.read_arrays(path), **arrays})


def test_other_names_are_found_and_inputs_left_out(copy, capsys):
    target = copy(f"{SHORT}.npz", f"{SHORT}.txt", "summary.json", "components.npz")
    arrays = folder.read_arrays(target / "components.npz")
    renamed = {
        name.replace("/0/", "/new_name/"): array
        for name, array in arrays.items()
        if name.startswith(("assign/0/", "appearance/0/", "coords/0/", "iou/"))
    }
    np.savez(target / "components.npz", **renamed)
    # A sequence that takes its features from another one's file.
    shutil.move(target / f"{SHORT}.txt", target / "seq_other.txt")
    arrays = folder.read_arrays(target / f"{SHORT}.npz")
    del arrays["det_embedding"]
    np.savez(target / "seq_other.npz", **arrays)
    status, out = run(target, capsys)
    assert status == 0
    count = 3 + 1 + 3 + 1 + (25 + 5) + (25 + 4)
    expected = f"{count} arrays compared, 0 beyond tolerance, 0 not compared"
    assert out.out.splitlines()[-1] == expected
    assert "components/assign/new_name/matches" in out.out
    assert "seq_other.txt/left_top_width_height" in out.out


def test_what_is_not_compared_is_named(copy, capsys):
    target = copy(f"{SHORT}.npz", f"{SHORT}.txt")
    change(target / f"{SHORT}.npz", out_colour=np.zeros(3))
    np.savez(target / "components.npz", **{"flow/out": np.zeros(2), "extra": 1})
    np.savez(target / "unknown.npz", values=np.zeros(3))
    shutil.copyfile(target / f"{SHORT}.txt", target / "alone.txt")
    status, out = run(target, capsys)
    assert status == 1
    assert marked(out, "OVER") == []
    assert marked(out, "NOT COMPARED") == [
        "components/flow/out",
        "components/extra",
        f"{SHORT}/out_colour",
        "unknown/values",
        "alone.txt",
    ]


def test_single_changed_values_are_found(copy, capsys):
    target = copy(f"{SHORT}.npz", f"{SHORT}.txt", "summary.json", "components.npz")
    arrays = folder.read_arrays(target / f"{SHORT}.npz")
    for name in ("out_id", "match_det", "state_length"):
        arrays[name][5] += 1
    arrays["out_tlwh"][7, 2] += 3e-6
    arrays["cost_appearance"][3] += 3e-5
    arrays["state_cov_diag"][9, 1] = np.nan
    np.savez(target / f"{SHORT}.npz", **arrays)
    lines = (target / f"{SHORT}.txt").read_text().splitlines()
    lines[4] = lines[4].replace(",1,-1,-1,-1", ",1,-1,-1,-2")
    (target / f"{SHORT}.txt").write_text("\n".join(lines))
    summary = json.loads((target / "summary.json").read_text())
    summary["jump"]["ids"] += 1
    (target / "summary.json").write_text(json.dumps(summary))
    arrays = folder.read_arrays(target / "components.npz")
    arrays["kalman/covariance"][2, 3, 4, 0] += 1e-8
    arrays["assign/9/matches"] = arrays["assign/9/matches"][1:]
    arrays["coords/3/frame_xyxy"][0, 0] += 0.01
    np.savez(target / "components.npz", **arrays)
    status, out = run(target, capsys)
    assert status == 1
    over = [line.split()[0] for line in out.out.splitlines() if "OVER" in line]
    assert sorted(over) == sorted(
        [
            "components/kalman/covariance",
            "components/assign/9/matches",
            "components/coords/3/frame_xyxy",
            f"{SHORT}/out_id",
            f"{SHORT}/out_tlwh",
            f"{SHORT}/match_det",
            f"{SHORT}/state_length",
            f"{SHORT}/state_cov_diag",
            f"{SHORT}/cost_appearance",
            f"{SHORT}.txt/rest",
            f"summary/{SHORT}/ids",
        ]
    )


def spoil(target, name, content):
    if name is None:
        shutil.rmtree(target)
    elif content is None:
        (target / name).unlink()
    elif isinstance(content, dict):
        change(target / name, **content)
    else:
        (target / name).write_text(content)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (None, None, "no such folder"),
        (f"{SHORT}.npz", None, "holds no array to compare"),
        (f"{SHORT}.npz", "text", "no file of arrays"),
        (f"{SHORT}.npz", {"config": np.array("{")}, f"{SHORT}.npz: not of the ref"),
        (f"{SHORT}.npz", {"config": np.array("[1]")}, f"{SHORT}.npz: not of the ref"),
        (f"{SHORT}.npz", {"det_tlwh": np.zeros((3, 4))}, f"{SHORT}.npz: not of the"),
        (f"{SHORT}.npz", {"det_frame": np.zeros(2)}, f"{SHORT}.npz: not of the ref"),
        (f"{SHORT}.txt", "1,2,3\n", f"{SHORT}.npz: not of the reference's form"),
        ("summary.json", "[]", f"{SHORT}.npz: not of the reference's form"),
        ("components.npz", {"iou/tlbr_a": np.zeros(3)}, "iou is not of the reference"),
        ("components.npz", {"assign/x/cost": np.eye(2)}, "assign/x is not of the ref"),
    ],
)
def test_wrong_folders_are_named(copy, capsys, name, content, said):
    target = copy(f"{SHORT}.npz", f"{SHORT}.txt", "summary.json")
    np.savez(target / "components.npz", **{"iou/tlbr_a": np.ones((1, 4))})
    arrays = {f"iou/tlbr_{x}": np.ones((2, 4)) for x in "ab"}
    np.savez(target / "components.npz", **arrays)
    if said.startswith("holds"):
        (target / "components.npz").unlink()
        (target / f"{SHORT}.txt").unlink()
    spoil(target, name, content)
    status, out = run(target, capsys)
    assert status == 2
    assert said in out.err
    assert str(target) in out.err
    assert len(out.err.splitlines()) == 1
