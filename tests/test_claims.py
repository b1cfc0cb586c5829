"""A folder belongs to one run, by content; one command at a time works in it."""

import importlib.metadata
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from mmdiffmask import config, configure, inputs, run_files, settings_json, versions
from mmdiffmask.data import tokenizers
from mmdiffmask.data.records import manifest
from mmdiffmask.grid import PatchGrid
from mmdiffmask.inputs import Claim
from mmdiffmask.run_folder import RunFolder

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETTINGS = {"training.lr": 0.1, "training.streams": ("text", "audio")}


def make_records(folder, sha256="1" * 64, **changes):
    """A manifest of one shard."""
    folder.mkdir(parents=True)
    shards = {"train": (manifest.Shard("records-train", 3, 10, sha256),)}
    grid = PatchGrid(6, 10)
    settings = {"grid": {"rows": 6, "cols": 10, "patch_px": 16, "pool": 2}}
    settings |= {"segments": 7, "sub_segments": 1, "source": "video"}
    settings |= {"schema_version": manifest.SCHEMA_VERSION}
    told = manifest.Manifest(
        **{
            "settings": settings,
            "versions": {"av": "1"},
            "grid": grid,
            "segments": 7,
            "sub_segments": 1,
            "shards": shards,
            "counts": {"clips": 3},
        }
        | changes
    )
    (folder / manifest.NAME).write_text(manifest.to_json(told))
    return str(folder)


@pytest.fixture
def read(tmp_path):
    """What a run with a tokenizer of its own reads."""
    words = tmp_path / "words.json"
    words.write_text("{}")
    shutil.copy(tokenizers.TOY, tmp_path / "tokens.json")
    settings = SETTINGS | {
        "data.tokenizer": str(tmp_path / "tokens.json"),
        "reserve.words": str(words),
        "masking.label_embeddings": None,
    }
    records = make_records(tmp_path / "records")
    return settings, records


def claim(settings, records_dir):
    """The run of these settings on some records."""
    return Claim(settings, 0, inputs.of_settings(settings, records_dir))


def test_a_folder_belongs_to_one_run(tmp_path):
    run_dir = tmp_path / "run"
    assert RunFolder(run_dir).claim(Claim(SETTINGS, 3))
    before = (run_dir / "config.json").read_bytes()
    assert not RunFolder(run_dir).claim(Claim(SETTINGS, 3))
    assert (run_dir / "config.json").read_bytes() == before
    assert "jax" in json.loads((run_dir / "versions.json").read_text())
    with pytest.raises(ValueError, match=r"a run with --seed=3, not 4; go on with"):
        RunFolder(run_dir).claim(Claim(SETTINGS, 4))
    with pytest.raises(ValueError, match=r"training.lr=0.1, not 0.2"):
        RunFolder(run_dir).claim(Claim(SETTINGS | {"training.lr": 0.2}, 3))
    with pytest.raises(ValueError, match=r"training.new=None, not 1"):
        RunFolder(run_dir).claim(Claim(SETTINGS | {"training.new": 1}, 3))


def test_settings_that_came_later_or_change_no_number_make_no_other_run(tmp_path):
    name = "training.save_minutes"
    settings = configure.settings(config.Experiment("x"))
    before = {k: v for k, v in settings.items() if k != name}
    folder = RunFolder(tmp_path / "run")
    folder.claim(Claim(before, 0))
    for minutes in (0.0, 5.0):
        assert not folder.claim(Claim(settings | {name: minutes}, 0))
    assert configure.from_settings(folder.owner().settings) == config.Experiment("x")
    with pytest.raises(ValueError, match="training.save_every=100, not 7"):
        folder.claim(Claim(settings | {"training.save_every": 7}, 0))
    later = configure.override(config.Experiment("x"), [f"{name}=5"])
    assert settings_json.fingerprint(later) != settings_json.fingerprint(
        config.Experiment("x")
    )
    assert name.split(".")[1] not in settings_json.to_json(config.Experiment("x"))


def test_versions_name_the_code(tmp_path, caplog):
    folder = RunFolder(tmp_path / "run")
    folder.claim(Claim(SETTINGS, 0))
    noted = folder.versions()
    assert noted[versions.CODE] == versions.of_code() != ""
    folder.claim(Claim(SETTINGS, 0))
    assert "other versions" not in caplog.text
    del noted[versions.CODE]  # of an earlier version: nothing to say
    folder.write(run_files.VERSIONS, noted)
    folder.claim(Claim(SETTINGS, 0))
    assert "other versions" not in caplog.text
    folder.write(run_files.VERSIONS, noted | {"jax": "0.1", versions.CODE: "abc"})
    folder.claim(Claim(SETTINGS, 0))
    assert f"jax 0.1 (now {noted['jax']}), mmdiffmask abc (now" in caplog.text


def test_the_code_has_the_revision_of_its_checkout(monkeypatch):
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook of another repository
    versions.of_code.cache_clear()
    assert told.stdout.strip() in versions.of_code()
    monkeypatch.setenv("PATH", "")
    versions.of_code.cache_clear()
    assert versions.of_code() in (_installed(), "unknown")
    versions.of_code.cache_clear()


def _installed():
    try:
        return importlib.metadata.version(versions.CODE)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def test_foreign_or_damaged_folders_are_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds no run but is not empty"):
        RunFolder(tmp_path).claim(Claim(SETTINGS, 0))
    with pytest.raises(ValueError, match="is a file; --workdir must be a folder"):
        RunFolder(tmp_path / "thesis.txt").claim(Claim(SETTINGS, 0))
    with pytest.raises(ValueError, match="is a file; --workdir must be a folder"):
        with RunFolder(tmp_path / "thesis.txt").held():
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json.tmp").write_text('{"se')  # killed while claiming
    (folder / run_files.LOCK).write_text("")
    RunFolder(folder).claim(Claim(SETTINGS, 0))
    (folder / "config.json").write_text('{"seed": 0, "sett')
    with pytest.raises(ValueError, match="config.json: damaged"):
        RunFolder(folder).claim(Claim(SETTINGS, 0))


@pytest.mark.parametrize("name, remedy", sorted(run_files.REMEDIES.items()))
def test_damaged_files_are_named_with_what_to_do(tmp_path, name, remedy):
    folder = RunFolder(tmp_path)
    folder.at(name).write_text('{"half')
    with pytest.raises(ValueError) as error:
        folder.read(name)
    assert str(error.value).startswith(f"{tmp_path / name}: damaged")
    assert str(error.value).endswith(remedy) and remedy


@pytest.mark.parametrize(
    "content, told",
    [
        ([], "no seed"),
        ({"seed": 0}, "no settings"),
        ({"seed": 0, "settings": {}, "inputs": {"records": {}}}, "no value"),
    ],
)
def test_a_claim_that_lacks_a_part_is_damaged(tmp_path, content, told):
    folder = RunFolder(tmp_path)
    folder.write(run_files.CONFIG, content)
    with pytest.raises(ValueError, match=f"config.json: damaged .*{told}.*; put it"):
        folder.belongs_to(Claim(SETTINGS, 0))
    with pytest.raises(ValueError, match="damaged"):
        folder.inputs()


def test_records_are_known_by_what_they_hold(tmp_path):
    one = manifest.identity(make_records(tmp_path / "a"))
    same = make_records(tmp_path / "b", versions={"av": "2"}, counts={"clips": 4})
    assert manifest.identity(same) == one
    # As versions before fingerprints noted it in the runs that they finished.
    assert one.startswith("351ed16fcf3570a3ebe4160349ecaf6a9f6735c78a3f5efb")
    index = {"train": manifest.IndexFile("index", 10, "3" * 64)}
    known = {"index": index, "fingerprint": "4" * 64}
    for name, sha256 in {"e": "1" * 64, "f": "2" * 64}.items():
        newer = make_records(tmp_path / name, sha256=sha256, **known)
        assert manifest.identity(newer) == "4" * 64
    assert manifest.identity(make_records(tmp_path / "c", sha256="2" * 64)) != one
    with pytest.raises(ValueError, match="no such folder of records"):
        manifest.identity(tmp_path / "d")


def test_cases_of_other_content_are_refused_by_name(tmp_path, read):
    settings, records = read
    run_dir = tmp_path / "run"
    RunFolder(run_dir).claim(claim(settings, records))
    other = make_records(tmp_path / "other", sha256="2" * 64)
    with pytest.raises(ValueError, match=r"other content of records: .*records \(sha"):
        RunFolder(run_dir).claim(claim(settings, other))
    for name in ("data.tokenizer", "reserve.words"):
        path = pathlib.Path(settings[name])
        text = path.read_text()
        path.write_text(text + " ")
        with pytest.raises(ValueError, match=f"other content of {name}: .*sha256"):
            RunFolder(run_dir).claim(claim(settings, records))
        with pytest.raises(ValueError, match=f"with {name} .* is other content"):
            RunFolder(run_dir).find(name)
        path.write_text(text)
    assert not RunFolder(run_dir).claim(claim(settings, records))


def test_cases_of_the_same_content_at_another_path(tmp_path, read):
    settings, records = read
    run_dir = tmp_path / "run"
    RunFolder(run_dir).claim(claim(settings, records))
    moved = str(tmp_path / "moved.json")
    shutil.move(settings["data.tokenizer"], moved)
    shutil.move(records, tmp_path / "new")
    for name in (inputs.RECORDS, "data.tokenizer"):
        with pytest.raises(ValueError, match="but nothing is at .*; put it back, or"):
            RunFolder(run_dir).find(name)
    settings = settings | {"data.tokenizer": moved}
    now = inputs.of_settings(settings, str(tmp_path / "new"))
    # Before the records are made or known.
    RunFolder(run_dir).belongs_to(Claim(settings, 0))
    assert not RunFolder(run_dir).claim(Claim(settings, 0, now))
    assert RunFolder(run_dir).find(inputs.RECORDS) == str(tmp_path / "new")
    assert RunFolder(run_dir).find("data.tokenizer") == moved
    make_records(tmp_path / "records", sha256="2" * 64)  # others where they were
    assert RunFolder(run_dir).find(inputs.RECORDS) == str(tmp_path / "new")
    with pytest.raises(ValueError, match="was trained on .*, but what lies at"):
        RunFolder(run_dir).find(inputs.RECORDS, records)
    os.remove(settings["reserve.words"])  # of no use after training
    assert RunFolder(run_dir).find("reserve.words") == settings["reserve.words"]


def test_cases_of_relative_places(tmp_path, read, monkeypatch):
    settings, _ = read
    monkeypatch.chdir(tmp_path)
    RunFolder("run").claim(claim(settings, "records/"))
    monkeypatch.chdir("/")
    found = RunFolder(tmp_path / "run").find(inputs.RECORDS)
    assert found == str(tmp_path / "records")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("records")
    make_records(tmp_path / "records", sha256="2" * 64)
    with pytest.raises(ValueError) as error:
        RunFolder("run").find(inputs.RECORDS)
    assert str(error.value).count("sha256") == 2  # each place once


def test_a_run_of_an_older_version_says_so(tmp_path, read):
    settings, records = read
    RunFolder(tmp_path / "run").claim(Claim(settings, 0))
    with pytest.raises(ValueError, match="did not note"):
        RunFolder(tmp_path / "run").inputs()
    with pytest.raises(ValueError, match="did not note"):
        RunFolder(tmp_path / "run").claim(claim(settings, records))


def test_cases_of_two_commands_in_one_folder(tmp_path):
    run_dir = tmp_path / "deep" / "[run] \u00fc"
    (tmp_path / "link").symlink_to(run_dir)
    with RunFolder(run_dir).held():
        for path in (run_dir, tmp_path / "link", f"{run_dir}/"):
            with pytest.raises(ValueError, match="another command is at work in it"):
                with RunFolder(path).held():
                    pass
        assert run_dir.is_dir()
    assert not (tmp_path / "deep").exists()  # nothing was written: nothing is left
    with RunFolder(run_dir).held():
        (run_dir / "x").write_text("")
    assert [path.name for path in run_dir.iterdir()] == ["x"]


def test_cases_of_a_lock_whose_process_was_killed(tmp_path):
    code = "import sys, time; from mmdiffmask.run_folder import RunFolder\n"
    code += "with RunFolder(sys.argv[1]).held():\n"
    code += "    print('held', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    other = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another command is at work in it"):
            with RunFolder(tmp_path / "run").held():
                pass
    finally:
        other.kill()
        other.wait()
    with RunFolder(tmp_path / "run").held():
        RunFolder(tmp_path / "run").claim(Claim(SETTINGS, 0))
    assert not (tmp_path / "run" / run_files.LOCK).exists()


def test_cases_of_a_start_that_was_refused_claims_nothing(tmp_path):
    run_dir = tmp_path / "run"
    with pytest.raises(ValueError, match="no such checkpoint"):
        with RunFolder(run_dir).held(), RunFolder(run_dir).claimed(Claim(SETTINGS, 0)):
            (run_dir / "steps" / "0.tmp").mkdir(parents=True)
            (run_dir / "metrics.jsonl").write_text("")
            (run_dir / run_files.SAVED).write_text('{"parts": {"start": {}}}')
            raise ValueError("no such checkpoint")
    assert not run_dir.exists()
    with pytest.raises(ValueError, match="loss"):  # it has saved its first step
        begun = RunFolder(tmp_path / "begun")
        with begun.claimed(Claim(SETTINGS, 0)):
            begun.write(run_files.SAVED, {"progress": {"step": 0}})
            raise ValueError("the loss at step 1 is nan")
    assert (tmp_path / "begun" / run_files.CONFIG).is_file()
    with pytest.raises(KeyboardInterrupt):  # stopped, not refused
        with RunFolder(run_dir).claimed(Claim(SETTINGS | {"training.lr": 1.0}, 0)):
            raise KeyboardInterrupt
    assert (run_dir / run_files.CONFIG).is_file()
    with pytest.raises(ValueError, match="loss"):  # a run that has begun stays
        with RunFolder(run_dir).claimed(Claim(SETTINGS | {"training.lr": 1.0}, 0)):
            raise ValueError("the loss at step 3 is nan")
    assert (run_dir / run_files.CONFIG).is_file()


def test_a_run_from_before_a_setting_was_there_goes_on(tmp_path):
    experiment = config.Experiment("x")
    now = Claim(configure.settings(experiment), 0)
    older = {k: v for k, v in now.settings.items() if k not in config.ADDED}
    (tmp_path / "config.json").write_text(json.dumps({"seed": 0, "settings": older}))
    folder = RunFolder(tmp_path)
    assert folder.belongs_to(now)
    settings = configure.from_settings(folder.owner().settings)
    assert settings == experiment
    changed = configure.override(experiment, ["training.epochs=2"])
    with pytest.raises(ValueError, match=r"training.epochs=0.0, not 2.0"):
        folder.belongs_to(Claim(configure.settings(changed), 0))
