"""Attention of the first weights: kept on disk in parts, and what runs make of it."""

import concurrent.futures
import json
import pathlib
import threading

import jax
import numpy as np
import pytest
from helpers import training_run as tiny

from mmdiffmask import __main__ as command_line
from mmdiffmask import attention as attentions
from mmdiffmask import (
    config,
    configure,
    examples,
    masks,
    pretrain,
    run_files,
    video_family,
    video_pretraining,
)
from mmdiffmask.data import cache
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.models.reserve import model as reserve
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import journal

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = str(ROOT / "tpu_configs" / "tiny.py")
HELD_OUT = "masking.held_out=random,attnmask,difference"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache, and small parts."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(attentions, "PART", 4)
    return tmp_path / "cache" / "attention"


@pytest.fixture
def computed(monkeypatch):
    """The windows of each part that was worked out."""
    parts, compute = [], attentions.StartAttention._compute

    def noted(self, params, windows, note):
        parts.append(list(windows))
        return compute(self, params, windows, note)

    monkeypatch.setattr(attentions.StartAttention, "_compute", noted)
    return parts


def start_of(records, model=tiny.MODEL, params=None, sha256=None):
    experiment = configure.load(TINY)
    experiment = config.dataclasses.replace(experiment, model=model)
    corpus = Corpus.of(records)
    return attentions.StartAttention(
        experiment,
        corpus.source("train"),
        corpus.entries("train"),
        make_params=lambda: tiny.start() if params is None else params,
        sha256=sha256,
    )


def clips(start):
    """Position of the first record of each window."""
    return list(start._first.values())


def files(folder):
    return sorted(folder.rglob("*.npz"))


def test_it_is_the_models_of_each_frame(folder, tiny_records):
    start = start_of(tiny_records)
    start.prepare([0, 2])
    experiment, source = start.experiment, start.source
    row = examples.make_row(experiment.data, experiment.masking, source)(2)
    network = reserve.Reserve(tiny.MODEL)
    grid = examples.patch_grid(experiment.data)
    plain = jax.jit(
        lambda params: network.apply(
            {"params": params}, row.patches, grid, method="vision_with_attention"
        )[1]
    )
    expected = np.asarray(plain(tiny.start()))
    assert expected.shape == (7, 60) and np.ptp(expected) > 1e-4
    np.testing.assert_allclose(start(source[2]), 60 * expected, rtol=1e-4)
    # Another question about the same window, and another window.
    entries, other = start.entries, clips(start)[1]
    assert entries[0].window == entries[2].window != entries[other].window
    np.testing.assert_array_equal(start(source[0]), start(source[2]))
    start.prepare([other])
    assert not np.allclose(start(source[0]), start(source[other]), rtol=1e-2)
    with pytest.raises(KeyError):
        start_of(tiny_records)(source[0])  # nothing was prepared


def test_only_parts_that_are_needed_and_missing_are_worked_out(
    folder, tiny_records, computed
):
    start = start_of(tiny_records)
    shown = clips(start)
    windows = [start.entries[i].window for i in shown]
    assert 8 < len(windows) == len(set(windows)) < len(start.entries)
    start.prepare([shown[5]])
    assert computed == [windows[4:8]] and len(files(folder)) == 1
    record = start.source[shown[5]]
    values = start(record)
    start.prepare([shown[4], shown[6]])  # known already
    other = start_of(tiny_records)
    other.prepare(range(len(start.entries)))
    starts = [4, 0, *range(8, len(windows), 4)]
    assert computed == [windows[i : i + 4] for i in starts]
    np.testing.assert_array_equal(other(record), values)
    before = [path.read_bytes() for path in files(folder)]
    # Killed while the first part was written.
    files(folder)[0].unlink()
    start_of(tiny_records).prepare(range(len(start.entries)))
    assert computed[len(starts) :] == [windows[:4]]
    assert [path.read_bytes() for path in files(folder)] == before


def test_rows_that_run_at_the_same_time_work_a_part_out_once(
    folder, tiny_records, computed, monkeypatch
):
    compute, waits = attentions.StartAttention._compute, threading.Event()

    def slow(self, params, windows, note):
        waits.wait(2)  # the other one looks at the files meanwhile
        return compute(self, params, windows, note)

    monkeypatch.setattr(attentions.StartAttention, "_compute", slow)
    rows = [start_of(tiny_records) for _ in range(2)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda row: row.prepare([0]), rows))
    assert len(computed) == 1
    first, second = (row(row.source[0]) for row in rows)
    np.testing.assert_array_equal(first, second)
    assert not list(folder.rglob("*.lock"))


def test_other_weights_types_and_grids_have_files_of_their_own(
    folder, tiny_records, computed
):
    start_of(tiny_records, sha256="1" * 64).prepare([0])
    start_of(tiny_records, sha256="1" * 64).prepare([0])
    assert len(computed) == 1
    start_of(tiny_records, sha256="2" * 64).prepare([0])
    start_of(tiny_records).prepare([0])  # of random weights, known by their content
    start_of(tiny_records, params=tiny.start(1)).prepare([0])
    half = config.dataclasses.replace(tiny.MODEL, dtype="bfloat16")
    short = start_of(tiny_records, model=half, sha256="1" * 64)
    short.prepare([0])
    assert len(computed) == 5 == len({path.parent for path in files(folder)})
    kinds = [np.load(path)["attention"].dtype for path in files(folder)]
    assert sorted(map(str, kinds)) == ["float16", *["float32"] * 4]
    whole = start_of(tiny_records, sha256="1" * 64)
    whole.prepare([0])
    record = whole.source[0]
    np.testing.assert_allclose(short(record), whole(record), rtol=0.1)


@pytest.mark.parametrize("how", ["cut", "flipped", "other windows"])
def test_a_broken_part_is_one_sentence(folder, tiny_records, how):
    start_of(tiny_records).prepare([0])
    (path,) = files(folder)
    content = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        content[-2000] ^= 1
        path.write_bytes(content)
    else:
        with np.load(path) as stored:
            arrays = dict(stored)
        np.savez(path, **arrays | {"window": arrays["window"][::-1]})
    with pytest.raises(
        ValueError, match="broken attention cache .* delete it"
    ) as error:
        start_of(tiny_records).prepare([0])
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_attention_that_is_not_finite_names_the_clip(folder, tiny_records):
    params = jax.tree.map(lambda leaf: leaf * np.float32(np.nan), tiny.start())
    start = start_of(tiny_records, params=params)
    clip = start.entries[0].clip
    with pytest.raises(ValueError, match=f"attention of clip {clip} is not finite"):
        start.prepare([0])
    assert not files(folder)


def test_a_cache_that_cannot_be_written_costs_time_alone(
    folder, tiny_records, caplog, monkeypatch
):
    folder.parent.write_text("a file where the folder should be")
    start = start_of(tiny_records)
    start.prepare([0])
    assert start(start.source[0]).any()
    assert "attention is worked out anew each time" in caplog.text


def changed(*changes):
    return configure.override(configure.load(TINY), list(changes))


def test_a_run_prepares_what_its_rows_and_held_out_masks_need(tiny_records):
    corpus = Corpus.of(tiny_records)

    def needed(*changes):
        experiment = changed(*changes)
        return masks.attended(experiment, examples.choose(experiment, corpus))

    chosen = examples.choose(changed(), corpus)
    dev, every = chosen.dev_clips, [*chosen.train, *chosen.dev_clips]
    assert needed() == []
    assert needed("masking.strategy=mst") == every
    assert needed("masking.strategy=attention-body") == every
    live = ["masking.strategy=mst", "masking.attention=live"]
    assert needed(*live) == dev
    assert needed(HELD_OUT) == dev
    assert needed(
        "masking.strategy=mst", "terms.patches=0", "terms.text_to_audio=1"
    ) == (dev)


def test_held_out_masks_by_attention_are_the_same_for_all_rows(folder, tiny_records):
    base = changed(HELD_OUT)
    corpus = Corpus.of(tiny_records)
    hidden = []
    for change in ("strategy=random", "strategy=mst", "attention=live"):
        experiment = configure.override(base, [f"masking.{change}"])
        start = start_of(tiny_records, sha256="1" * 64)
        drawn = masks.held_out(experiment, corpus.source("train"), [0, 1], start)
        hidden.append({name: drawn[name].is_masked for name in ("random", "attnmask")})
    for one in hidden[1:]:
        for name, is_masked in one.items():
            np.testing.assert_array_equal(is_masked, hidden[0][name])
    assert (hidden[0]["random"] != hidden[0]["attnmask"]).any()


def test_a_live_run_draws_in_the_update_and_its_rows_are_not_scored(tiny_records):
    live = changed("masking.strategy=mst", "masking.attention=live")
    corpus = Corpus.of(tiny_records)
    job = video_pretraining.job(
        live,
        examples.choose(live, corpus),
        pretrain.claim(live, tiny_records, 0),
    )
    assert job.draw_masks is None
    assert job.draw_live is video_family.draw_patches(live)
    with job.train_batches(0) as batches:
        batch, _ = next(iter(batches))
    assert not np.asarray(batch.unit_score).any()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["start", "live"])
def test_a_run_from_records_to_page(tmp_path, tiny_records, way, capsys):
    run = tmp_path / "run"
    words = ["--workdir", str(run), "--data", tiny_records]
    words += ["--set", "masking.strategy=attnmask"]
    words += ["--set", f"masking.attention={way}"]
    words += ["--set", "masking.held_out=random,attention-body"]
    assert command_line.main(["pretrain", TINY, *words]) == 0
    lines = journal.read_metrics(RunFolder(run))
    kinds = {line["masks"] for line in lines if line["kind"] == "eval"}
    assert kinds == {"random", "attention-body", "attnmask"}
    summary = json.loads((run / run_files.MASKS).read_text())
    assert summary["hidden_share"] == pytest.approx(0.25, abs=0.02)
    before = len(lines)
    assert command_line.main(["pretrain", TINY, *words]) == 0  # it is finished
    assert len(journal.read_metrics(RunFolder(run))) == before
    capsys.readouterr()
    assert command_line.main(["report", str(run)]) == 0
    html = pathlib.Path(capsys.readouterr().out.strip()).read_text()
    assert "<b>AttnMask</b>: " in html
    assert "Held-out loss under AttnMask" in html
