"""Whose a run's folder is: settings, seed, and the content of everything it reads.

config.json says what the run is. Files that it reads are known by their checksums;
their paths only say where to look, and places.json where each was found last.
"""

import contextlib
import hashlib
import json
import logging
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from mmdiffmask import atomic, versions
from mmdiffmask.data import manifest, tokenizers, vocabulary

CONFIG, VERSIONS, PLACES, LOCK = "config.json", "versions.json", "places.json", "lock"
SAVED = "saved.json"  # what was saved of the run (`training.saved`)
# All that a start makes before its first step is saved, beside the claim itself.
BEGUN = ("start", "steps", SAVED, "batch.json", "metrics.jsonl", "times.jsonl")

RECORDS, START = "records", "model.checkpoint"
NEEDED = ("data.tokenizer", "masking.label_embeddings")  # also after training
FILES = (*NEEDED, "reserve.words", "reserve.random_text")
SHIPPED = {"data.tokenizer": tokenizers.TOY, "reserve.words": vocabulary.TOY}  # "toy"
NAMES = ("toy", "reserve", "small")  # values that are no paths

# Name of what is read -> its value ("value": a path or a shipped name) and "sha256".
Inputs = dict[str, dict[str, str]]


def digest(name: str, value: str) -> str | None:
    """The sha256 of the records' or a file's content; None where there is none.

    Args:
      name: RECORDS or one of FILES.
      value: where it lies, or the name of a shipped file.
    """
    if name == RECORDS:
        is_there = (pathlib.Path(value) / manifest.NAME).is_file()
        return manifest.identity(value) if is_there else None
    path = epath.Path(SHIPPED[name] if value == "toy" and name in SHIPPED else value)
    if name == NEEDED[0] and value == "reserve":
        path = tokenizers.find_reserve()
    if not path.is_file():
        return None
    return hashlib.sha256(path.read_bytes()).hexdigest()


def inputs(settings: Mapping[str, Any], records_dir: str) -> Inputs:
    """What a run of these settings reads, but for the weights that it starts from."""
    values = {RECORDS: records_dir} | {name: settings.get(name) for name in FILES}
    found = {n: (v, digest(n, v)) for n, v in values.items() if v is not None}
    return {n: {"value": v, "sha256": d} for n, (v, d) in found.items() if d}


def check_place(
    run_dir: str | pathlib.Path,
    settings: dict[str, Any],
    seed: int,
    wanted: Inputs | None = None,
) -> bool:
    """Whether the folder holds this run already; touches nothing.

    Args:
      run_dir: need not exist.
      settings: dotted name -> value (`configure.settings`).
      seed: of the run.
      wanted: what it reads; None: not compared.

    Raises:
      ValueError: if the folder holds something else, or a run with other settings,
        another seed or other content of what it reads (the first that differs is
        named).
    """
    run_dir = pathlib.Path(run_dir)
    if not (run_dir / CONFIG).is_file():
        _check_empty(run_dir)
        return False
    found = atomic.read_json(run_dir / CONFIG)
    difference = _first_difference(found, _content(settings, seed, wanted))
    if difference:
        raise ValueError(
            f"{run_dir}: holds a run with {difference}; go on with the same settings,"
            " or choose another --workdir"
        )
    return True


def claim(
    run_dir: str | pathlib.Path,
    settings: dict[str, Any],
    seed: int,
    wanted: Inputs | None = None,
) -> bool:
    """Makes the folder this run's, if it is not yet. Arguments as in `check_place`.

    Returns:
      Whether it is so only now.

    Raises:
      ValueError: as `check_place`.
    """
    run_dir = pathlib.Path(run_dir)
    is_new = not check_place(run_dir, settings, seed, wanted)
    if is_new:
        run_dir.mkdir(parents=True, exist_ok=True)
        atomic.write_json(run_dir / CONFIG, _content(settings, seed, wanted))
    remember(run_dir, {n: entry["value"] for n, entry in (wanted or {}).items()})
    if not (run_dir / VERSIONS).is_file():
        atomic.write_json(run_dir / VERSIONS, versions.of_packages())
    elif atomic.read_json(run_dir / VERSIONS) != versions.of_packages():
        logging.warning("%s: was begun with other versions of packages", run_dir)
    return is_new


@contextlib.contextmanager
def claimed(
    run_dir: str | pathlib.Path,
    settings: dict[str, Any],
    seed: int,
    wanted: Inputs | None = None,
) -> Iterator[None]:
    """As `claim`; a start that fails before its first step is saved claims nothing."""
    run_dir = pathlib.Path(run_dir)
    is_new = claim(run_dir, settings, seed, wanted)
    try:
        yield
    except Exception:
        path = run_dir / SAVED
        has_begun = path.is_file() and atomic.read_json(path).get("progress")
        if is_new and not has_begun:
            for name in BEGUN:
                path = run_dir / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            for name in (PLACES, VERSIONS, CONFIG):  # the claim itself goes last
                (run_dir / name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def held(run_dir: str | pathlib.Path) -> Iterator[None]:
    """Keeps other commands out of a run's folder, which is made if it is absent.

    Nothing is left of it where nothing was written meanwhile.

    Raises:
      ValueError: if another command is at work there, or the folder is a file.
    """
    run_dir = pathlib.Path(run_dir)
    if run_dir.exists() and not run_dir.is_dir():
        raise ValueError(f"{run_dir}: is a file; --workdir must be a folder")
    absent = [path for path in (run_dir, *run_dir.parents) if not path.exists()]
    run_dir.mkdir(parents=True, exist_ok=True)
    busy = (
        f"{run_dir}: another command is at work in it; wait for it, or name another"
        " --workdir"
    )
    try:
        with atomic.lock(run_dir / LOCK, busy):
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    (run_dir / LOCK).unlink(missing_ok=True)
    finally:
        with contextlib.suppress(OSError):  # one that is not empty stays
            for path in absent:
                path.rmdir()


def read(run_dir: str | pathlib.Path) -> Inputs:
    """What the run read when it was begun.

    Raises:
      ValueError: if its version did not note that yet.
    """
    found = atomic.read_json(pathlib.Path(run_dir) / CONFIG)
    if RECORDS not in found.get("inputs", {}):
        raise ValueError(
            f"{run_dir}: was begun by a version that did not note which records it"
            " read; train it again in another --workdir"
        )
    return found["inputs"]


def find(
    run_dir: str | pathlib.Path,
    name: str,
    asked: str | None = None,
    also: Iterable[str | pathlib.Path] = (),
) -> str:
    """Where something that the run read lies now, its content being the same.

    Args:
      run_dir: of a run.
      name: RECORDS or one of FILES; the run read it.
      asked: where the user says that it is; else it is looked for where the run read
        it, and where it was found last.
      also: other runs, whose places are looked at too.

    Raises:
      ValueError: naming what it was, and what lies there now.
    """
    entry = read(run_dir)[name]
    last = [_places(run).get(name, entry["value"]) for run in (*also, run_dir)]
    known = (entry["value"], *last) if asked is None else (asked,)
    others, once = [], {os.path.abspath(value): value for value in reversed(known)}
    for value in reversed(once.values()):
        found = digest(name, value)
        if found == entry["sha256"]:
            return value
        if found is not None:
            others.append(f"what lies at {value} is other content ({short(found)})")
    if not others and name not in (RECORDS, *NEEDED):
        return entry["value"]  # gone, and of no use after training
    if not others:
        others = [f"nothing is at {known[-1]}"]
    how = "--data" if name == RECORDS else f"--set {name}="
    what = "on" if name == RECORDS else f"with {name}"
    what = f"was trained {what} {entry['value']} ({short(entry['sha256'])})"
    raise ValueError(
        f"{run_dir}: {what}, but {' and '.join(others)}; put it back, or name the"
        f" place of the same content with {how} to mmdiffmask pretrain or probe"
    )


def remember(run_dir: str | pathlib.Path, values: Mapping[str, str]) -> None:
    """Notes where things were found, for who does not say where they are."""
    before = _places(run_dir)
    now = before | {
        name: value if value in NAMES or "://" in value else os.path.abspath(value)
        for name, value in values.items()
    }
    if now != before:
        atomic.write_json(pathlib.Path(run_dir) / PLACES, now)


def short(sha256: str) -> str:
    """A checksum as messages write it."""
    return f"sha256 {sha256[:12]}..."


def _places(run_dir: str | pathlib.Path) -> dict[str, str]:
    path = pathlib.Path(run_dir) / PLACES
    return atomic.read_json(path) if path.is_file() else {}


def _content(settings: dict[str, Any], seed: int, wanted: Inputs | None) -> dict:
    """What config.json holds, as JSON gives it back."""
    content = {"seed": seed, "settings": settings, "inputs": wanted or {}}
    return json.loads(json.dumps(content))


def _check_empty(run_dir: pathlib.Path) -> None:
    """Refuses a folder of something else; a killed claim leaves its .tmp and lock."""
    if run_dir.exists() and not run_dir.is_dir():
        raise ValueError(f"{run_dir}: is a file; --workdir must be a folder")
    if not run_dir.is_dir():
        return
    names = {path.name for path in run_dir.iterdir()} - {LOCK}
    if not all(atomic.is_partial_of(name, run_dir / CONFIG) for name in names):
        raise ValueError(
            f"{run_dir}: holds no run but is not empty; choose another --workdir"
        )


def _first_difference(found: dict, wanted: dict) -> str | None:
    """The first of seed, contents and settings; a file's path is no setting."""
    before, now = found.get("inputs", {}), wanted["inputs"]
    there, here = found.get("settings", {}), wanted["settings"]
    pairs = {"--seed": (found.get("seed"), wanted["seed"])}
    # Unknown content is compared by its path, as it always was.
    known = before.keys() & (now.keys() if now else {RECORDS, START, *FILES})
    pairs |= {n: (there.get(n), here.get(n)) for n in sorted(there | here)}
    for name, (old, new) in pairs.items():
        if name not in known and old != new:
            return f"{name}={old}, not {new}"
    for name in sorted(known & now.keys()):
        old, new = before[name], now[name]
        if old["sha256"] != new["sha256"]:
            return (
                f"other content of {name}: {old['value']} ({short(old['sha256'])})"
                f" then, {new['value']} ({short(new['sha256'])}) now"
            )
    if now and not before.get(RECORDS) and RECORDS in now:
        return "records that its version did not note"
    return None
