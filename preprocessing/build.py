"""Makes the records, or the tracks, of a folder of raw data in one call."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import tqdm

from mmdiffmask.data.records.manifest import Manifest
from preprocessing.boxes import finders
from preprocessing.items import Search, Settings
from preprocessing.readers import plans, social_iq, tvqa, video
from preprocessing.work import out_folder, workers
from preprocessing.work.execution import Execution

PEOPLE = finders.People()

Path = str | os.PathLike


@dataclasses.dataclass(frozen=True)
class Source:
    """A kind of raw data: who reads it, and what its records depend on beside it.

    Attributes:
      name: of the kind, as manifests tell it.
      reader: what has `fingerprint(raw)` and `plan(raw)`.
      clips_per_shard: how many clips a file of records holds.
      limits: how many clips of a split become records, the first by name.
      more: what else the records depend on.
    """

    name: str
    reader: Any
    clips_per_shard: int = 16
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    more: dict[str, Any] = dataclasses.field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """What the manifest's settings tell of it, beside its name."""
        return self.more | ({"limits": self.limits} if self.limits else {})


def build_tvqa(raw: Path, out: Path, settings: Settings, **options: Any) -> Manifest:
    """Records of a TVQA download, one a question. Options as in `_build`."""
    return _build(Source("tvqa", tvqa), raw, out, settings, **options)


def build_social_iq(
    raw: Path, out: Path, settings: Settings, **options: Any
) -> Manifest:
    """Records of a Social-IQ 2.0 download, one a question. Options as in `_build`."""
    source = Source("social_iq", social_iq)
    return _build(source, raw, out, settings, **options)


def build_video(
    raw: Path,
    out: Path,
    settings: Settings,
    *,
    extras: video.Extras = video.Extras(),  # noqa: B008  (frozen)
    **options: Any,
) -> Manifest:
    """Records of any video files, one a window or, with questions, one a question.

    Options as in `_build`.
    """
    more = {"val_share": extras.val_share}
    source = Source("video", extras, clips_per_shard=4, more=more)
    return _build(source, raw, out, settings, **options)


def build_toy(
    raw: Path,
    out: Path,
    settings: Settings,
    *,
    domain: str = "people",
    train_clips: int,
    val_clips: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Manifest:
    """Renders the toy set into `raw`, as far as it is not there, then as `build_tvqa`.

    Only the first `train_clips` and `val_clips` clips become records. By default
    people are not tracked: 7 frames in 11 s say little of who is who, and looking at
    all between them would take five times as long.
    """
    from preprocessing import toy

    out_folder.require_place(pathlib.Path(out))  # before the work of rendering
    if pathlib.Path(raw).is_file():
        raise ValueError(f"{raw}: is a file; --raw takes a folder")
    finder = options.pop("finder", finders.People(tracks="none"))
    execution = Execution(**options)
    with _bar(execution.bar) as show:
        toy.render(
            raw,
            domain=domain,
            train_clips=train_clips,
            val_clips=val_clips,
            seed=seed,
            workers=max(execution.processes, 1),
            progress=progress or show,
        )
    limits = {"train": train_clips, "val": val_clips}
    source = Source("toy", tvqa, limits=limits)
    return _build(source, raw, out, settings, finder=finder, **options)


def build_tracks(
    raw: Path,
    out: Path,
    layout: str,
    *,
    finder: finders.People,
    worker_count: int | None = None,
    bar: bool = True,
    deadline_s: float = workers.DEADLINE_S,
) -> dict[str, int]:
    """MOT files of the clips' persons, unless they are there; see `track_files`.

    Args:
      raw: folder of raw data.
      out: folder of tracks; a killed run is taken up where it was.
      layout: of the raw data: "video", "tvqa" or "social_iq".
      finder: how to detect and follow.
      worker_count: processes; None = one a core; 0 = this process, for debugging.
      bar: shows progress on stderr.
      deadline_s: what a clip may take, beside a share of its length.

    Raises:
      ValueError: whatever a user can mend, in one sentence.
    """
    from preprocessing.boxes import own_boxes
    from preprocessing.work import track_files

    raw, out = pathlib.Path(raw), pathlib.Path(out)
    if finder.fps is None:
        raise ValueError("--bodies none: then there is nothing to follow")
    layouts = {"tvqa": tvqa, "social_iq": social_iq, "video": video.Extras()}
    reader = layouts[layout]
    described = {"source": layout, "raw_sha256": reader.fingerprint(raw)}
    described = json.loads(json.dumps(described | {"boxes": finder.settings()}))
    counts = track_files.finished(out, described)
    if counts is not None:
        return counts
    _require_detectors(finder)
    plan = reader.plan(raw)
    lost = own_boxes.lost(finder, plan)
    plan = dataclasses.replace(plan, repaired=(*plan.repaired, *lost))
    execution = Execution(worker_count, bar=bar, deadline_s=deadline_s)
    return track_files.write(plan, out, described, finder, execution)


@contextlib.contextmanager
def _bar(is_shown: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr that appears with the first clip that is rendered."""
    with contextlib.ExitStack() as stack:
        bars: list[tqdm.tqdm] = []

        def show(done: int, wanted: int) -> None:
            if not bars and is_shown:
                bar = tqdm.tqdm(total=wanted, unit="clip", desc="rendering")
                bars.append(stack.enter_context(bar))
            for bar in bars:
                bar.update(done - bar.n)

        yield show


def _build(
    source: Source,
    raw: Path,
    out: Path,
    settings: Settings,
    *,
    finder: Search | None = PEOPLE,
    **options: Any,
) -> Manifest:
    """Makes the records unless they are there already.

    Args:
      source: the kind of raw data.
      raw: folder of raw data.
      out: folder of records; a killed run is taken up where it was.
      settings: of the data set.
      finder: looks for boxes; None = no boxes. Default: people and their tracks.
      **options: the fields of `execution.Execution`.

    Raises:
      ValueError: whatever a user can mend, in one sentence.
    """
    raw, out = pathlib.Path(raw), pathlib.Path(out)
    execution = Execution(**options)
    fingerprint = source.reader.fingerprint(raw)
    described = out_folder.describe(
        source.name,
        fingerprint,
        settings,
        finder,
        source.clips_per_shard,
        **source.described(),
    )
    manifest = _finished(out, described, execution.strict)
    if manifest is not None:
        return manifest
    from preprocessing.work import runner  # heavy: only when there is work

    if isinstance(finder, finders.People):
        _require_detectors(finder)
    plan = _with_boxes(source.reader.plan(raw), finder)
    plan = _limited(plan, source.limits)
    return runner.build(plan, out, described, settings, finder, execution)


def _finished(
    out: pathlib.Path, described: dict[str, Any], strict: bool
) -> Manifest | None:
    """The manifest of records that are there already; None if some are to be made."""
    manifest = out_folder.finished(out, described)
    if manifest is not None and strict and manifest.counts.get("skipped"):
        raise ValueError(
            f"{out}: {manifest.counts['skipped']} thing(s) were skipped, see"
            f" {out_folder.SKIPPED}; mend them and make the records again"
        )
    return manifest


def _with_boxes(plan: plans.Plan, finder: Search | None) -> plans.Plan:
    """The plan that also tells of a user's boxes."""
    if not isinstance(finder, finders.People) or finder.boxes is None:
        return plan
    from preprocessing.boxes import own_boxes

    reports = own_boxes.lost(finder, plan) + own_boxes.objects(finder)
    return dataclasses.replace(plan, repaired=(*plan.repaired, *reports))


def _limited(plan: plans.Plan, limits: dict[str, int]) -> plans.Plan:
    clips = {split: every[: limits.get(split)] for split, every in plan.clips.items()}
    kept = {split: some for split, some in clips.items() if some}
    return dataclasses.replace(plan, clips=kept)


def _require_detectors(finder: finders.People) -> None:
    """Raises ValueError, with the way out, if a detector cannot be loaded."""
    from preprocessing.boxes import weight_files

    files = [weight_files.SSDLITE] if finder.bodies == "ssdlite" else []
    if finder.faces != "none":
        files += [weight_files.PNET, weight_files.RNET, weight_files.ONET]
    for file in files:
        weight_files.read(file)
    if finder.faces == "facenet":  # before the work
        from preprocessing.boxes import facenet

        facenet.load()
    if finder.bodies in ("nanodet", "yolox", "file"):  # a file of the user's
        from preprocessing.boxes import detectors

        detectors.forget()  # it may have changed since another run of this process
        detectors.load(finder)
