"""Rows of a comparison differ in what they hide alone; what is frozen stays so."""

import dataclasses
import hashlib
import json
import pathlib

import jax
import numpy as np
import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import (
    config,
    configure,
    examples,
    grid,
    pretrain,
    run_files,
    softmax,
    toy_records,
    video_pretraining,
    weights,
)
from mmdiffmask.data import cache, loader
from mmdiffmask.data.corpus import Corpus
from mmdiffmask.masking import clips, sampling, strategies, summary, units
from mmdiffmask.probe import encoders, linear
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, steps
from mmdiffmask.training import mesh as meshes
from mmdiffmask.types import MaskInputs
from tests.helpers import clip_records, config_file

pytestmark = pytest.mark.usefixtures("quick_compilation")

PATH = str(pathlib.Path(__file__).resolve().parents[1] / "tpu_configs" / "tiny.py")
TINY = configure.load(PATH)
LABELS = ("person", "ball", "crate", "kite", "cup", "star", "ladder")
UNITS = ("unit_of_token", "unit_score", "is_box_unit")


@pytest.fixture(scope="module")
def files(tmp_path_factory, tiny_records):
    """Scores and masks by id for the strategies that read them, as settings."""
    folder = tmp_path_factory.mktemp("files")
    masks = folder / "masks.npz"
    words = [tiny_records, "--out", str(masks), "--config", PATH]
    assert command_line.main(["masks", "export", *words]) == 0
    with np.load(masks) as stored:
        ids, shape = stored["ids"], stored["masks"].shape
    scores = np.random.default_rng(0).random(shape)
    np.savez(folder / "scores.npz", ids=ids, scores=scores)
    return {"masks": str(masks), "scores": str(folder / "scores.npz")}


def row(name, files):
    """The tiny config under a strategy, with the file that it reads."""
    file = strategies.find(name).file
    changes = {file: files[file]} if file else {}
    masking = dataclasses.replace(TINY.masking, strategy=name, **changes)
    return dataclasses.replace(TINY, masking=masking)


def job(experiment, records):
    chosen = examples.choose(experiment, Corpus.of(records))
    return video_pretraining.job(
        experiment, chosen, pretrain.claim(experiment, records, 0)
    )


def first_batches(made, count=3):
    with made.train_batches(0) as batches:
        pairs = [next(batches) for _ in range(count)]
    return jax.device_get([batch for batch, _ in pairs])


def test_rows_start_alike_see_the_same_batches_and_share_a_step(
    files, tiny_records, tmp_path, monkeypatch
):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    first = job(row("random", files), tiny_records)
    start, expected = first.start(), first_batches(first)
    sha256, mesh = weights.fingerprint(start), meshes.make(8, jax.devices()[:1])
    step = steps.make_train_step(first.family, first.settings, mesh)
    differing = set()
    for name in strategies.REGISTRY:
        other = job(row(name, files), tiny_records)
        if name in ("difference", "mst", "file-masks"):  # each is asked in the same way
            assert weights.fingerprint(other.start()) == sha256, name
        other = dataclasses.replace(other, start=lambda: start)
        made = steps.make_train_step(other.family, other.settings, mesh)
        assert made is step, name
        assert (other.batch_size, other.settings) == (first.batch_size, first.settings)
        if strategies.find(name).is_by_attention:
            continue  # its scores need a pass of the model; test_attention has them
        for batch, plain in zip(first_batches(other), expected, strict=True):
            for field, value in plain._asdict().items():
                mine = getattr(batch, field)
                if field not in UNITS:
                    jax.tree.map(np.testing.assert_array_equal, mine, value)
                elif not np.array_equal(mine, value):
                    differing.add(name)
                assert jax.tree.map(np.shape, mine) == jax.tree.map(np.shape, value)
    assert {"difference", "motion", "file-scores"} <= differing


GRID, FRAMES = grid.PatchGrid(6, 10), 3


def test_top_hides_the_tokens_of_greatest_weight():
    """Restated in numpy: a quarter of the valid cells, by their mean score."""
    masking = config.Masking(select="top", strategy="file-scores")
    strategy = strategies.find("motion")
    layout = clips.layout_of(GRID, FRAMES, "cell")
    for seed in range(5):
        record, is_valid = clip_records.make(GRID, seed, FRAMES)
        score = np.random.default_rng(seed).random(is_valid.shape)
        settings = units.Settings(GRID, masking, 0.25)
        clip = units.PATCHES.make(record, is_valid, lambda *_, s=score: s, settings)
        inputs = MaskInputs(clip.unit_of_token, clip.unit_score)
        key = sampling.seed_key(seed)
        mask = clips.mask_clip(key, inputs, clip.is_box_unit, layout, strategy, masking)
        hidden = np.asarray(mask.is_masked).reshape(FRAMES, 3, 2, 5, 2)
        blocks, valid = (
            x.reshape(FRAMES, 3, 2, 5, 2) for x in (score * is_valid, is_valid)
        )
        count = valid.sum((2, 4))
        mean = np.where(count, blocks.sum((2, 4)) / np.maximum(count, 1), -1).reshape(
            -1
        )
        most = np.argsort(-mean)[: round(0.25 * (mean >= 0).sum())]
        touched = hidden.any((2, 4)).reshape(-1)
        assert np.flatnonzero(touched).tolist() == sorted(most.tolist())


@pytest.mark.parametrize("name", ["random", "difference", "any-box"])
def test_the_share_in_boxes_is_counted_as_by_hand(name):
    """Table 2: of what is hidden, how much lies in boxes, whole or in part."""
    masking = config.Masking(mask_unit="patch")
    strategy, boxes = strategies.find(name), strategies.find("difference")
    layout = clips.layout_of(GRID, FRAMES, "patch")
    settings = units.Settings(GRID, masking, 0.25)
    hidden, valid, owners, is_box = [], [], [], []
    in_boxes = all_boxes = whole = 0
    for seed in range(6):
        record, is_valid = clip_records.make(GRID, seed, FRAMES, n_boxes=6)
        clip = strategy.clip_units(record, is_valid, settings)
        inputs = MaskInputs(clip.unit_of_token, clip.unit_score)
        key = sampling.seed_key(seed)
        mask = clips.mask_clip(key, inputs, clip.is_box_unit, layout, strategy, masking)
        hidden.append(np.asarray(mask.is_masked).reshape(FRAMES, -1))
        valid.append(is_valid)
        made = boxes.clip_units(record, is_valid, settings)
        owners.append(made.unit_of_token)
        is_box.append(made.is_box_unit)
        # By hand: patches that a body covers by more than a quarter.
        inside = np.zeros_like(is_valid)
        for i, kind in enumerate(record.boxes.kind):
            if kind == "body":
                inside[record.boxes.frame[i]] |= record.covered_share[i] > 0.25
        inside &= is_valid
        in_boxes += int((hidden[-1] & inside).sum())
        all_boxes += int(inside.sum())
        for unit in np.unique(made.unit_of_token[made.unit_of_token >= 0]):
            of_unit = (made.unit_of_token == unit).reshape(FRAMES, -1)
            if made.is_box_unit[unit] and (hidden[-1] | ~of_unit).all():
                whole += int(of_unit.sum())
    made_of = summary.summarise_masks(
        GRID, *map(np.stack, (hidden, valid, owners, is_box))
    )
    total, pictures = np.stack(hidden).sum(), np.stack(valid).sum()
    assert made_of.whole_box + made_of.cut_box == pytest.approx(in_boxes / total)
    assert made_of.fill == pytest.approx(1 - in_boxes / total)
    assert made_of.whole_box == pytest.approx(whole / total)
    assert made_of.boxes_share == pytest.approx(all_boxes / pictures)
    assert made_of.hidden_share == pytest.approx(total / pictures)


def test_a_frozen_forward_pass_answers_as_its_cached_features_do(
    tiny_records, tmp_path
):
    """From pixels to answers in one program, and the encoder is as it was."""
    experiment = configure.override(TINY, ["training.steps=0"])
    run, out = tmp_path / "run", tmp_path / "features.npz"
    pretrain.pretrain(experiment, tiny_records, str(run), 0)
    params = checkpoint.load_params(RunFolder(run), "last")
    before = weights.fingerprint(params)
    assert command_line.main(["probe", PATH, *_of(run)]) == 0
    assert command_line.main(["features", str(run), "--out", str(out)]) == 0
    with np.load(out) as stored:
        cached = dict(
            zip(stored["clip/id"].tolist(), stored["clip/joint"], strict=True)
        )
    corpus = Corpus.of(tiny_records)
    labels = {
        entry.clip: entry.labels["action"]
        for split in ("train", "val")
        for entry in corpus.entries(split)
    }
    train = [corpus.entries("train")[i].clip for i in corpus.first_of_clips("train")]
    classes = sorted({labels[clip] for clip in train})
    features = np.stack([cached[clip] for clip in train])
    scale = softmax.standardiser(features)
    target = linear.class_index([labels[clip] for clip in train], classes)
    head = softmax.fit(scale(features), target, len(classes), 1e-2)
    encode = encoders.of_clips(experiment)

    @jax.jit
    def answer(params, batch):
        joint = encode(params, batch)["joint"]
        standard = (joint - scale.mean[None]) / scale.sd[None]
        return standard @ head.kernel + head.bias[None]

    positions = corpus.first_of_clips("val")
    plain = examples.make_row(experiment.data, None, corpus.source("val"))
    scores = answer(params, loader.stack([plain(i) for i in positions]))
    clips_of_val = [corpus.entries("val")[i].clip for i in positions]
    known = scale(np.stack([cached[clip] for clip in clips_of_val]))
    expected = known @ head.kernel + head.bias
    np.testing.assert_allclose(scores, expected, atol=1e-3 * np.abs(expected).max())
    assert np.argmax(scores, 1).tolist() == np.argmax(expected, 1).tolist()
    assert weights.fingerprint(params) == before
    stored = checkpoint.load_params(RunFolder(run), "last")
    assert weights.fingerprint(stored) == before


def _of(run):
    return ["--workdir", str(run), "--set", "training.steps=0"]


def code():
    """A name of the code that rows run through."""
    root = pathlib.Path(PATH).parents[1]
    paths = sorted([*(root / "mmdiffmask").rglob("*.py"), pathlib.Path(PATH)])
    content = b"".join(path.read_bytes() for path in [*paths, pathlib.Path(__file__)])
    return hashlib.sha256(content).hexdigest()[:16]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """The tiny records with the true boxes of persons, faces and things."""
    toy = dataclasses.replace(TINY.data.toy, boxes="true")
    data = dataclasses.replace(TINY.data, toy=toy)
    root = tmp_path_factory.mktemp("labelled")
    return toy_records.make(dataclasses.replace(TINY, data=data), root)


@pytest.mark.long
@pytest.mark.parametrize("name", strategies.REGISTRY)
def test_every_row_runs_from_records_to_answers(
    request, name, files, tmp_path, labelled
):
    """Stopped anywhere, `make test-long` goes on at the first that did not pass."""
    kept = f"rows/{code()}/{name}"
    if request.config.cache.get(kept, False):
        pytest.skip("passed before, with this very code")
    experiment, folder = row(name, files), tmp_path / "run"
    masking = dataclasses.replace(experiment.masking, anchors=LABELS)
    experiment = dataclasses.replace(experiment, masking=masking)
    path = config_file.write(tmp_path / "config.py", experiment)
    words = [path, "--workdir", str(folder)]
    assert command_line.main(["pretrain", *words, "--data", labelled]) == 0
    assert command_line.main(["probe", *words]) == 0
    made_of = json.loads((folder / run_files.MASKS).read_text())
    grid_cells = 7 * 15
    assert made_of["hidden_share"] == pytest.approx(0.25, abs=0.01)
    assert 0 < made_of["cells_hidden"] <= made_of["cells_touched"] <= grid_cells / 3
    lines = [
        json.loads(line)
        for line in (folder / run_files.METRICS).read_text().splitlines()
    ]
    own = [x for x in lines if x["kind"] == "eval" and x["masks"] == name]
    assert {x["step"] for x in own if x["metric"] == "loss"} == {0, 3, 6}
    probed = json.loads((folder / run_files.PROBE).read_text())
    assert set(probed["labels"]) == {"action", "object", "shirt"}
    request.config.cache.set(kept, True)
