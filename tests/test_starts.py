"""What a run starts from: whole and partial checkpoints, read once."""

import dataclasses
import os

import jax
import numpy as np
import pytest
from helpers import training_run as tiny
from helpers.checkpoints import SETTINGS, assert_same, finetuned, params

from mmdiffmask import config, configure, inputs, pretrain, starts, weights
from mmdiffmask.inputs import Claim
from mmdiffmask.models.reserve import checkpoints, official_writer, orbax_folder
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, loop, saved

TOKENS = SETTINGS.vocabulary
PARTIAL = ("head", "span_encoder")


def _experiment(path, terms=("patches",), read_outs=("clip",)):
    every = dict.fromkeys((f.name for f in dataclasses.fields(config.Terms)), 0.0)
    return config.Experiment(
        "x",
        model=dataclasses.replace(SETTINGS, checkpoint=str(path)),
        terms=config.Terms(**every | dict.fromkeys(terms, 1.0)),
        probe=config.Probe(read_outs=read_outs),
    )


@pytest.fixture
def tuned(tmp_path):
    official_writer.write(tmp_path / "tuned", finetuned(), 3)
    return str(tmp_path / "tuned")


def test_a_start_without_parts_that_nothing_needs_serves(tuned, caplog):
    experiment = _experiment(tuned, read_outs=("clip", "answer"))
    assert starts.may_lack(experiment) == list(PARTIAL)
    loaded = starts._load(experiment, tuned, TOKENS)
    assert sorted(loaded) == sorted(checkpoints.BODY)
    body = {part: params(dtype=np.float16)[part] for part in checkpoints.BODY}
    assert_same(loaded, jax.tree.map(lambda x: x.astype(np.float32), body))
    assert "has no head and no span_encoder; nor has this run" in caplog.text


@pytest.mark.parametrize(
    "terms, read_outs, needs",
    [
        (("patches", "text_to_audio"), ("clip",), "terms.text_to_audio .* head"),
        (("stuff_to_span",), ("clip",), "terms.stuff_to_span .* head"),
        (("patches",), ("clip", "match"), "probe.read_outs=match .* head"),
        (("closed_span",), ("match",), "terms.closed_span and probe.read_outs=match"),
    ],
)
def test_cases_of_a_start_without_parts_that_are_needed(tuned, terms, read_outs, needs):
    told = f"tuned: has no head and no span_encoder, .*; {needs}"
    with pytest.raises(ValueError, match=told):
        starts._load(_experiment(tuned, terms, read_outs), tuned, TOKENS)


def test_a_start_without_a_span_encoder_serves_terms_that_use_none(tmp_path):
    tree = params()
    del tree["span_encoder"]
    orbax_folder.write(tmp_path / "start", tree)
    experiment = _experiment(tmp_path / "start", ("imgs_to_audio",))
    assert starts.may_lack(experiment) == ["span_encoder"]
    assert_same(starts._load(experiment, str(tmp_path / "start"), TOKENS), tree)


def test_what_is_no_model_is_said_as_before(tmp_path):
    official_writer.write(tmp_path / "x", {"a": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="arrays missing: audio_encoder"):
        starts._load(_experiment(tmp_path / "x"), str(tmp_path / "x"), TOKENS)


@pytest.mark.long
def test_a_run_without_the_parts_is_the_same_run(tmp_path):
    """Their absence changes no bit of the others; stopped and gone on with, too."""
    whole = tiny.make_job(steps=2, warmup_steps=1, eval_every=1)

    def start():
        return {k: v for k, v in tiny.start().items() if k not in PARTIAL}

    with pytest.raises(ValueError, match=r"head/bias is absent"):
        job = dataclasses.replace(whole, start=start)
        loop.train(job, RunFolder(tmp_path / "refused"))
    job = dataclasses.replace(whole, start=start, may_lack=PARTIAL)
    folders = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "partial")
    assert loop.train(whole, folders[0]).finished

    def breaks(first):
        raise ValueError("breaks off")

    with pytest.raises(ValueError, match="breaks off"):
        broken = dataclasses.replace(job, train_batches=breaks)
        loop.train(broken, folders[1])
    assert loop.train(job, folders[1]).finished
    one, other = (checkpoint.load_params(folder, "last") for folder in folders)
    assert sorted(other) == sorted(checkpoints.BODY)
    assert_same(
        other, {part: jax.tree.map(np.asarray, one[part]) for part in checkpoints.BODY}
    )


def test_a_checkpoint_is_not_read_again_once_the_start_is_saved(
    tmp_path, monkeypatch, tuned
):
    folder, experiment = RunFolder(tmp_path / "run"), _experiment(tuned)
    sha256 = weights.fingerprint_of(tuned)
    entries = {inputs.START: {"value": tuned, "sha256": sha256}}
    folder.claim(Claim(configure.settings(experiment), 0, entries))
    reads, read = [], weights.fingerprint_of

    def count(path, which):
        reads.append(path)
        return read(path, which)

    monkeypatch.setattr(weights, "fingerprint_of", count)
    assert starts.fingerprint(tuned, folder) == sha256
    assert reads == [tuned]  # a start that is not saved is still to be read from there
    saved.note(folder, "start")
    reads.clear()
    assert starts.fingerprint(tuned, folder) == sha256 and not reads
    copy = tmp_path / "copy"
    copy.write_bytes(open(tuned, "rb").read())
    assert starts.fingerprint(str(copy), folder) == sha256 and reads == [str(copy)]
    reads.clear()
    os.remove(tuned)
    assert starts.fingerprint(tuned, folder) == sha256 and not reads
    official_writer.write(tuned, params(), 3)  # something else, and later
    later = folder.at("config.json").stat().st_mtime + 5
    os.utime(tuned, (later, later))
    assert starts.fingerprint(tuned, folder) != sha256 and reads == [tuned]
    with pytest.raises(ValueError, match="other content of model.checkpoint"):
        now = {inputs.START: {"value": tuned, "sha256": "0" * 64}}
        folder.belongs_to(Claim(configure.settings(experiment), 0, now))
    assert pretrain.claim(experiment, str(tmp_path), 0, folder).inputs[inputs.START]
