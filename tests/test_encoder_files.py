"""Encoders by name: a run of texts is one, with the tokenizer that it started from."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from helpers import tiny_labels as tiny

from mmdiffmask import (
    build,
    config,
    configure,
    encoder_files,
    inputs,
    pretrain,
    run_files,
    weights,
)
from mmdiffmask.inputs import Claim
from mmdiffmask.probe import settings
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.text import encoders, excess
from mmdiffmask.training import checkpoint

pytestmark = pytest.mark.usefixtures("quick_compilation")

CPT = ("terms.mlm=1", "terms.classify=0", "training.stop_on=loss")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("labels"))


@pytest.fixture(scope="module")
def cpt(folder, tmp_path_factory):
    return tiny.pretrained(folder, tmp_path_factory.mktemp("runs") / "cpt")


def test_training_goes_on_from_a_run(folder, cpt, tmp_path):
    experiment = tiny.experiment(folder, *CPT, f"model.checkpoint={cpt}")
    build.check(experiment)
    owner = pretrain.claim(experiment, str(folder), 0)
    start = build.prepare(experiment, str(folder), owner).job.start()
    before = checkpoint.load_params(RunFolder(cpt), "best")
    assert start.keys() == before.keys() and "mlm" in start
    jax.tree.map(np.testing.assert_array_equal, start, before)
    # By content: another start than the run's own, the same in another place.
    plain = pretrain.claim(tiny.experiment(folder, *CPT), str(folder), 0)
    assert owner.inputs[inputs.START]["sha256"] != plain.inputs[inputs.START]["sha256"]
    moved = shutil.copytree(cpt, tmp_path / "moved")
    again = tiny.experiment(folder, *CPT, f"model.checkpoint={moved}")
    claim = pretrain.claim(again, str(folder), 0)
    assert inputs.first_difference(owner, claim) is None
    # Parts that the run did not train are those of the encoder that it started from.
    tuning = tiny.experiment(folder, f"model.checkpoint={cpt}")
    owner = pretrain.claim(tuning, str(folder), 0)
    start = build.prepare(tuning, str(folder), owner).job.start()
    jax.tree.map(np.testing.assert_array_equal, start["encoder"], before["encoder"])
    pooler = encoder_files.read(f"{folder}/model").params["pooler"]
    jax.tree.map(np.testing.assert_array_equal, start["pooler"], pooler)
    # What masks by attention go by is the run's as well.
    one, two = (encoders.load(str(name)) for name in (cpt, folder / "model"))
    assert one.pieces.fingerprint == two.pieces.fingerprint
    assert one.fingerprint != two.fingerprint


def test_a_run_is_a_reference(folder, cpt):
    """Its weights and its head; it is no other than itself as a start."""
    plain = encoders.load(str(folder / "model"))
    one = excess.reference(str(cpt), plain.pieces)
    trained = checkpoint.load_params(RunFolder(cpt), "best")
    for part, values in trained.items():
        known = one.checkpoint.params[part]
        jax.tree.map(np.testing.assert_array_equal, known, values)
    assert "mlm" not in plain.checkpoint.params
    with pytest.raises(ValueError, match="model has no MLM head"):
        excess.reference(str(folder / "model"), plain.pieces)


def refused(folder, name, *changes):
    with pytest.raises(ValueError) as error:
        changes = (*CPT, f"model.checkpoint={name}", *changes)
        build.check(tiny.experiment(folder, *changes))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_runs_that_can_be_no_encoder(folder, cpt, tmp_path):
    owner = RunFolder(cpt).owner()
    unfinished = RunFolder(tmp_path / "unfinished")
    unfinished.claim(owner)
    assert "is not finished" in refused(folder, unfinished)
    tuned = RunFolder(tmp_path / "tuned")
    of_tuned = configure.settings(tiny.experiment(folder))
    tuned.claim(dataclasses.replace(owner, settings=of_tuned))
    tuned.write(run_files.DATA, {"clips": {}, "fill_only": []})
    assert "was fine-tuned on labels; name a run of" in refused(folder, tuned)
    video = RunFolder(tmp_path / "video")
    video.claim(Claim(configure.settings(config.Experiment("x")), 0))
    assert "is a run of video, and one of texts is needed" in refused(folder, video)
    other = shutil.copytree(cpt, tmp_path / "other")
    content = json.loads((other / run_files.CONFIG).read_text())
    content["inputs"][inputs.START]["sha256"] = "0" * 64
    (other / run_files.CONFIG).write_text(json.dumps(content))
    assert "that is not there as it was; put it back" in refused(folder, other)


def test_a_run_is_probed_with_its_own_encoder(folder, cpt, tmp_path):
    """The folder of an encoder has a config.json too, and is no run."""
    assert weights.is_run(cpt) and not weights.is_run(folder / "model")
    experiment = settings.of_run(str(cpt), tiny.experiment(folder, *CPT))
    assert experiment.model.checkpoint == f"{folder}/model"
    other = tiny.encoder(tmp_path / "other", parts=())
    requested = tiny.experiment(folder, *CPT, f"model.checkpoint={other}")
    with pytest.raises(ValueError, match="model.checkpoint=.*other: holds sha256"):
        settings.of_run(str(cpt), requested)
