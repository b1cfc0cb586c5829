"""A run is probed with its own settings; what a user asks for must agree with them."""

import pathlib

import pytest
from helpers import fake_runs

from mmdiffmask import configure
from mmdiffmask.probe import settings

TINY = configure.load(
    pathlib.Path(__file__).resolve().parents[1] / "tpu_configs" / "tiny.py"
)


@pytest.fixture
def folder(tmp_path, tiny_records):
    run = tmp_path / "run"
    fake_runs.write_run(run, TINY, "random", tiny_records, seed=3)
    return str(run)


def of_run(folder, *overrides, seed=None):
    requested = configure.override(TINY, list(overrides))
    return settings.of_run(folder, requested, overrides, seed)


def test_the_run_keeps_its_settings_and_the_probe_is_the_users(folder):
    experiment = of_run(folder, "probe.neighbours=5")
    assert experiment.masking.strategy == "random"  # the config's is another one
    assert TINY.masking.strategy == "difference"
    assert experiment.probe.neighbours == 5 and TINY.probe.neighbours != 5
    assert of_run(folder, seed=3) == of_run(folder)


def test_a_probe_may_ask_for_a_longer_text(folder):
    assert of_run(folder, "data.text_length=128").data.text_length == 128


@pytest.mark.parametrize(
    "overrides, seed, words",
    [
        ([], 4, "--seed 4: the run in .* has 3"),
        (["masking.strategy=difference"], None, "masking.strategy=difference: the run"),
        (["training.steps=1"], None, "training.steps=1: the run in .* has 6; name its"),
        (["model.scale_init=1"], None, "model.scale_init=1"),
    ],
)
def test_cases_of_what_the_run_is_not(folder, overrides, seed, words):
    with pytest.raises(ValueError, match=words):
        of_run(folder, *overrides, seed=seed)


def test_the_model_of_another_config_is_not_the_runs(folder):
    other = configure.override(TINY, ["model.hidden=128"])
    with pytest.raises(ValueError, match="model.hidden=128: the run .* has 64"):
        settings.of_run(folder, other)


def test_start_and_tokenizer_are_the_runs_where_none_are_named(folder):
    """A config says where they lie on another machine, or looks for them there."""
    changes = ["data.tokenizer=reserve", "model.checkpoint=ckpts/base"]
    other = configure.override(TINY, changes)
    known = settings.with_files_of(folder, other)
    assert (known.data.tokenizer, known.model.checkpoint) == ("toy", None)
    assert settings.of_run(folder, known) == of_run(folder)
    assert settings.with_files_of(folder, other, changes) == other
