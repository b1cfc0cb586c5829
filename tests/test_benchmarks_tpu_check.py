"""What is compiled for a TPU v2: once a program, kept, and summed against the limit."""

import json
import pathlib

import jax
import numpy as np
import pytest

from benchmarks import tpu_check, tpu_programs
from mmdiffmask.probe import encoders, floors
from mmdiffmask.training import mesh as meshes

OF_RUN = ["draw", "train", "score"]
OF_PROBE = ["attention", "clips"]
OF_QUESTIONS = ["windows", "questions", "blind windows", "blind questions"]
TINY = "tpu_configs/tiny.py"
WORDS = [TINY, "--grid", "12x20", "--set", "model.dtype=bfloat16"]


@pytest.fixture
def compiler(monkeypatch):
    """A compiler that notes its orders, and the GiB that it answers."""
    orders, size = [], {"sum": 1.0}

    def answer(arguments):
        orders.append(arguments[arguments.index("--program") + 1])
        parts = {"arguments": 0.5, "outputs": 0.0, "temporaries": 0.0, "beside": 0.0}
        return parts | size | {"cpu_s": 1.0, "wall_s": 1.0}

    monkeypatch.setattr(tpu_check, "compile_apart", answer)
    monkeypatch.setattr(tpu_check, "compiler", lambda: "jax 1 libtpu 1")
    monkeypatch.setattr(tpu_check.importlib.util, "find_spec", lambda name: name)
    return orders, size


def _out(tmp_path):
    return ["--out", str(tmp_path / "lines.json")]


def test_a_line_is_kept_and_no_program_is_compiled_twice(compiler, tmp_path, capsys):
    orders, _ = compiler
    assert tpu_check.main(WORDS + _out(tmp_path)) == 0
    assert orders == OF_RUN + OF_PROBE
    first = capsys.readouterr().out
    assert first.count("fits") == 5 and "tiny 12x20 train" in first
    assert tpu_check.main(WORDS + _out(tmp_path)) == 0
    assert capsys.readouterr().out == first and len(orders) == 5
    kept = json.loads((tmp_path / "lines.json").read_text())
    assert [line["title"].split()[2] for line in kept.values()] == orders
    # What changes no program asks for none; what does asks for that one.
    alike = ["--program", "score", "--set", "training.eval_clips=16"]
    assert tpu_check.main(WORDS + alike + _out(tmp_path)) == 0 and len(orders) == 5
    other = ["--program", "train", "--set", "training.optimiser=reserve"]
    assert tpu_check.main(WORDS + other + _out(tmp_path)) == 0
    assert orders[5:] == ["train"]


def test_a_sum_beyond_the_limit_is_status_1(compiler, tmp_path, capsys):
    orders, size = compiler
    size["sum"] = tpu_check.LIMIT_GIB + 0.01
    words = [*WORDS, "--program", "train", *_out(tmp_path)]
    assert tpu_check.main(words) == 1
    assert "DOES NOT FIT" in capsys.readouterr().out
    assert tpu_check.main(words) == 1 and orders == ["train"]  # from what is kept, too


def test_what_does_not_compile_is_status_1_and_tried_again(
    monkeypatch, compiler, tmp_path, capsys
):
    monkeypatch.setattr(tpu_check, "compile_apart", lambda _: {"error": "no memory"})
    words = [*WORDS, "--program", "score", *_out(tmp_path)]
    assert tpu_check.main(words) == 1
    assert "does not compile: no memory" in capsys.readouterr().out
    orders, _ = compiler
    monkeypatch.undo()
    monkeypatch.setattr(tpu_check, "compiler", lambda: "jax 1 libtpu 1")
    monkeypatch.setattr(tpu_check.importlib.util, "find_spec", lambda name: name)
    answer = {"arguments": 1.0, "outputs": 0.0, "temporaries": 0.0, "beside": 0.0}
    answer |= {"sum": 1.0, "cpu_s": 1.0}
    monkeypatch.setattr(tpu_check, "compile_apart", lambda _: answer)
    assert tpu_check.main(words) == 0 and not orders


@pytest.mark.parametrize("path", tpu_check.CONFIGS)
def test_a_shipped_config_lists_its_programs(path):
    names = list(tpu_check.programs(tpu_check.load(path, "12x20", [])))
    hiding, plain = [*OF_RUN, *OF_PROBE], ["train", "others", *OF_PROBE]
    is_plain = "reserve" in pathlib.Path(path).stem  # its probe reads clips alone
    assert names == (plain if is_plain else hiding + OF_QUESTIONS)


def test_configs_that_differ_in_lengths_share_their_programs():
    paths = [x for x in tpu_check.CONFIGS if "reserve_base" not in x]
    loaded = {tpu_check.load(path, "12x20", []) for path in paths}
    assert len(paths) == 3 and len(loaded) == 1
    assert tpu_check.load(paths[0], "18x32", []) not in loaded


def test_what_lies_beside_a_program_is_counted_as_it_is_cut():
    """Moments and start in eighths, weights whole."""
    experiment = tpu_check.load("tpu_configs/tvqa.py", "12x20", [])
    programs = tpu_check.programs(experiment)
    params = programs["score"].arguments[0]
    whole = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(params))
    ahead = programs["train"].beside
    assert 0 < ahead < 0.1 * whole
    weights_and_cut = programs["draw"].beside - ahead
    assert 1.37 * whole < weights_and_cut < 1.4 * whole  # 1 + 3/8, and small arrays
    assert 0.37 * whole < programs["score"].beside - 2 * ahead < 0.4 * whole


@pytest.mark.parametrize("name, views", [("", 2), ("blind ", len(floors.BLIND))])
def test_the_probe_reads_as_many_sequences_at_once_as_on_a_tpu(name, views):
    experiment = tpu_check.load("tpu_configs/tvqa.py", "12x20", [])
    _, seen, rows = tpu_check.programs(experiment)[f"{name}questions"].arguments
    questions, *each, length = rows.sequences.tokens.shape
    assert each == [views, 6]  # `match`, and `answer` of five candidates
    at_once = encoders.AT_ONCE_ELSEWHERE // (views * 6)
    most = min(experiment.probe.batch_size / 8, at_once)
    assert questions == 8 * most and length == experiment.data.text_length
    assert rows.window.sharding.shard_shape((questions,)) == (questions // 8,)
    sound = seen.sound.sharding
    assert sound.is_fully_replicated and (seen.cells is None) == bool(name)


def test_a_row_made_up_has_the_shapes_of_a_batch():
    experiment = tpu_check.load(TINY, "12x20", [])
    batch = tpu_programs.batch_shapes(experiment)
    size, data = experiment.training.batch_size, experiment.data
    assert batch.patches.shape[:3] == (size, data.segments, data.rows * data.cols)
    assert batch.is_real.shape == (size,)


def test_large_arrays_are_cut_along_the_first_axis_that_fits():
    mesh = meshes.make(8)
    shapes = {"a": (256, 256), "b": (12, 64, 768), "small": (8, 8), "odd": (999, 99)}
    tree = {k: jax.ShapeDtypeStruct(v, np.float32) for k, v in shapes.items()}
    cut = meshes.spread(tree, mesh)
    parts = {name: cut[name].shard_shape(shape) for name, shape in shapes.items()}
    assert parts == shapes | {"a": (32, 256), "b": (12, 8, 768)}
    one = meshes.spread(tree, meshes.make(8, jax.devices()[:1]))
    assert all(sharding.is_fully_replicated for sharding in one.values())
