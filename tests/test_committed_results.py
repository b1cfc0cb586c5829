"""Results of experiments that come with the project are those of their configs."""

import pathlib

import pytest

from mmdiffmask import __main__ as command_line

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = sorted(path.name for path in (ROOT / "results").iterdir())


@pytest.mark.parametrize("name", RESULTS)
def test_every_run_fits_its_config(name, tmp_path, capsys):
    """A run of other settings, or of earlier numbers, is refused by `--plan`."""
    files = list((ROOT / "results" / name).glob("*/*.json"))
    seeds = 1 + max(int(path.stem.removeprefix("seed=")) for path in files)
    arguments = ["experiment", str(ROOT / "tpu_configs" / f"{name}.py"), "--plan"]
    arguments += ["--seeds", str(seeds), "--results", str(ROOT / "results" / name)]
    assert command_line.main([*arguments, "--workdir", str(tmp_path / "runs")]) == 0
    out, err = capsys.readouterr()
    assert f"{len(files)} of " in out.splitlines()[-1], out + err
