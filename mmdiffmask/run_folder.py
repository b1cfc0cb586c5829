"""A run's folder: its JSON files, the run it belongs to, its lock, what the run read.

config.json says which run it is, and knows what the run reads by content (`inputs`);
places.json holds the paths where that was found last. `run_files` has the names.
"""

import contextlib
import logging
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mmdiffmask import atomic, config, configure, inputs, run_files, versions
from mmdiffmask.inputs import Claim
from mmdiffmask.run_files import CONFIG, FEATURES, PLACES, SAVED, VERSIONS


class RunFolder:
    """What lies in the folder of a run; making one of these touches nothing."""

    def __init__(self, path: "str | os.PathLike | RunFolder"):
        self.path = path.path if isinstance(path, RunFolder) else pathlib.Path(path)

    def __str__(self) -> str:
        return str(self.path)

    def at(self, name: str) -> pathlib.Path:
        """The path of a file or a folder of the run."""
        return self.path / name

    def has(self, name: str) -> bool:
        """Whether a file is there."""
        return self.at(name).is_file()

    def read(self, name: str) -> Any:
        """The content of one of its JSON files.

        Raises:
          ValueError: if it is damaged; says what to do.
        """
        return atomic.read_json(self.at(name), run_files.REMEDIES[name])

    def write(self, name: str, content: Any) -> None:
        """Writes one of its JSON files, whole or not at all."""
        atomic.write_json(self.at(name), content)

    def damaged(self, name: str, how: object) -> ValueError:
        """The error of a JSON file that lacks something."""
        return ValueError(
            f"{self.at(name)}: damaged ({how}); {run_files.REMEDIES[name]}"
        )

    def check_run(self) -> None:
        """Checks that it holds a run.

        Raises:
          ValueError: if it does not.
        """
        if not self.has(CONFIG):
            raise ValueError(
                f"{self}: no run here; start one with"
                f" mmdiffmask pretrain CONFIG.py --workdir {self}"
            )

    def owner(self) -> Claim:
        """The run that it belongs to.

        Raises:
          ValueError: if config.json is damaged.
        """
        try:
            return Claim.from_json(self.read(CONFIG))
        except ValueError as error:
            if str(error).startswith(str(self.at(CONFIG))):
                raise
            raise self.damaged(CONFIG, error) from error

    def inputs(self) -> inputs.Inputs:
        """What the run read when it was begun.

        Raises:
          ValueError: if its version did not note that yet.
        """
        read = self.owner().inputs
        if inputs.RECORDS not in read:
            raise ValueError(
                f"{self}: was begun by a version that did not note which records it"
                " read; train it again in another --workdir"
            )
        return read

    def versions(self) -> dict[str, str]:
        """What the run was begun with, as `versions.of_now`; empty where not noted."""
        return self.read(VERSIONS) if self.has(VERSIONS) else {}

    def belongs_to(self, wanted: Claim) -> bool:
        """Whether the folder holds this run already; touches nothing.

        Args:
          wanted: the run; its inputs are not compared where they are empty.

        Raises:
          ValueError: if the folder holds something else, or a run with other settings,
            another seed or other content of what it reads (the first that differs is
            named).
        """
        if not self.has(CONFIG):
            self._check_empty()
            return False
        difference = inputs.first_difference(self.owner(), wanted)
        if difference:
            raise ValueError(
                f"{self}: holds a run with {difference}; go on with the same settings,"
                " or choose another --workdir"
            )
        return True

    def claim(self, wanted: Claim) -> bool:
        """Makes the folder this run's, if it is not yet.

        Returns:
          Whether it is so only now.

        Raises:
          ValueError: as `belongs_to`.
        """
        is_new = not self.belongs_to(wanted)
        if is_new:
            self.path.mkdir(parents=True, exist_ok=True)
            self.write(CONFIG, wanted.as_json())
        self.remember({n: entry["value"] for n, entry in wanted.inputs.items()})
        if not self.has(VERSIONS):
            self.write(VERSIONS, versions.of_now())
        else:
            self._warn_of_versions()
        return is_new

    def _warn_of_versions(self) -> None:
        """Says which versions have changed since the run was begun."""
        now = versions.of_now()
        changed = [
            f"{name} {before} (now {now.get(name, 'absent')})"
            for name, before in self.versions().items()
            if now.get(name) != before
        ]
        if changed:
            names = ", ".join(changed)
            logging.warning("%s: was begun with other versions: %s", self, names)

    @contextlib.contextmanager
    def claimed(self, wanted: Claim) -> Iterator[None]:
        """As `claim`; a start that fails before its first step is saved claims nothing.

        Raises:
          ValueError: as `belongs_to`.
        """
        is_new = self.claim(wanted)
        try:
            yield
        except Exception:
            has_begun = self.has(SAVED) and self.read(SAVED).get("progress")
            if is_new and not has_begun and not self.at(FEATURES).exists():
                # What Orbax leaves behind where the disk is full.
                unfinished = self.path.glob(f"{run_files.START}.*")
                for path in (*map(self.at, run_files.BEGUN), *unfinished):
                    is_folder = path.is_dir()
                    shutil.rmtree(path) if is_folder else path.unlink(missing_ok=True)
                for name in (PLACES, VERSIONS, CONFIG):  # the claim itself goes last
                    self.at(name).unlink(missing_ok=True)
            raise

    def _check_empty(self) -> None:
        """Refuses a folder of something else; a killed claim leaves .tmp and lock."""
        self._check_folder()
        if not self.path.is_dir():
            return
        names = {path.name for path in self.path.iterdir()} - {run_files.LOCK}
        if not all(atomic.is_partial_of(name, self.at(CONFIG)) for name in names):
            raise ValueError(
                f"{self}: holds no run but is not empty; choose another --workdir"
            )

    def _check_folder(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self}: is a file; --workdir must be a folder")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other commands out of the folder, which is made if it is absent.

        Nothing is left of it where nothing was written meanwhile.

        Raises:
          ValueError: if another command is at work there, or the folder is a file.
        """
        self._check_folder()
        absent = [p for p in (self.path, *self.path.parents) if not p.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        busy = (
            f"{self}: another command is at work in it; wait for it, or name another"
            " --workdir"
        )
        try:
            with atomic.lock(self.at(run_files.LOCK), busy):
                try:
                    yield
                finally:
                    with contextlib.suppress(OSError):
                        self.at(run_files.LOCK).unlink(missing_ok=True)
        finally:
            with contextlib.suppress(OSError):  # one that is not empty stays
                for path in absent:
                    path.rmdir()

    def find(
        self,
        name: str,
        requested: str | None = None,
        also: Iterable["RunFolder"] = (),
    ) -> str:
        """Where something that the run read lies now, its content being the same.

        Args:
          name: `inputs.RECORDS` or one of `inputs.FILES`; the run read it.
          requested: where the user says that it is; else it is looked for where the
            run read it, and where it was found last.
          also: other runs; where they found it last is looked at too.

        Raises:
          ValueError: naming what it was, and what lies there now.
        """
        entry, settings = self.inputs()[name], self.owner().settings
        last = [run._last_paths().get(name, entry["value"]) for run in (*also, self)]
        known = (entry["value"], *last) if requested is None else (requested,)
        others, once = [], {os.path.abspath(value): value for value in reversed(known)}
        for value in reversed(once.values()):
            sha256 = inputs.digest(name, value, settings)
            if sha256 == entry["sha256"]:
                return value
            if sha256 is not None:
                content = f"other content ({inputs.short(sha256)})"
                others.append(f"what lies at {value} is {content}")
        if not others and name not in (inputs.RECORDS, *inputs.NEEDED):
            return entry["value"]  # gone, and of no use after training
        others = others or [f"nothing is at {known[-1]}"]
        use, option = f"with {name}", f"--set {name}="
        if name == inputs.RECORDS:
            use, option = "on", "--data"
        raise ValueError(
            f"{self}: was trained {use} {entry['value']}"
            f" ({inputs.short(entry['sha256'])}), but {' and '.join(others)}; put it"
            " back, or name the place of the same content with"
            f" {option} to mmdiffmask pretrain or probe"
        )

    def remember(self, values: Mapping[str, str]) -> None:
        """Notes the paths where inputs were found, for commands that name none."""
        before = self._last_paths()
        now = before | {
            name: value
            if value in inputs.NAMES or "://" in value
            else os.path.abspath(value)
            for name, value in values.items()
        }
        if now != before:
            self.write(PLACES, now)

    def _last_paths(self) -> dict[str, str]:
        return self.read(PLACES) if self.has(PLACES) else {}

    def experiment(
        self,
        settings: Mapping[str, Any],
        requested: Mapping[str, str | None] | None = None,
    ) -> config.Experiment:
        """Settings of the run as objects, the files that it read where they lie now.

        Args:
          settings: its own, as it noted them, or some of them changed.
          requested: where the user says that files are; remembered where they are.

        Raises:
          ValueError: if a file is not as it was, or gone.
        """
        read, requested = self.inputs(), requested or {}
        paths = {
            name: self.find(name, requested.get(name))
            for name in inputs.FILES
            if name in read
        }
        self.remember({n: v for n, v in paths.items() if requested.get(n)})
        return configure.from_settings({**settings, **paths})
