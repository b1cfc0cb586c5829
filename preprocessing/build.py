"""Raw data to records in one call; what the command line and the demo share."""

import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import tqdm

from mmdiffmask.data.manifest import Manifest
from preprocessing import finders, outputs, plans, social_iq, tvqa, video, workers
from preprocessing.items import Search, Settings

CLIPS_PER_SHARD = {"tvqa": 16, "social_iq": 16, "toy": 16, "video": 4}
PEOPLE = finders.People()

Path = str | os.PathLike


def build_tvqa(raw: Path, out: Path, settings: Settings, **options: Any) -> Manifest:
    """Records of a TVQA download, one a question. Options as in `_build`."""
    return _build("tvqa", tvqa, raw, out, settings, **options)


def build_social_iq(
    raw: Path, out: Path, settings: Settings, **options: Any
) -> Manifest:
    """Records of a Social-IQ 2.0 download, one a question. Options as in `_build`."""
    return _build("social_iq", social_iq, raw, out, settings, **options)


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
    return _build("video", extras, raw, out, settings, more=more, **options)


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

    outputs.require_place(pathlib.Path(out))  # before the work of rendering
    if pathlib.Path(raw).is_file():
        raise ValueError(f"{raw}: is a file; --raw takes a folder")
    count = options.get("worker_count")
    count = workers.default_count() if count is None else max(count, 1)
    with _bar(options.get("bar", True)) as show:
        toy.render(
            raw,
            domain=domain,
            train_clips=train_clips,
            val_clips=val_clips,
            seed=seed,
            workers=count,
            progress=progress or show,
        )
    limits = {"train": train_clips, "val": val_clips}
    options.setdefault("finder", finders.People(tracks="none"))
    return _build("toy", tvqa, raw, out, settings, limits=limits, **options)


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
    from preprocessing import own_boxes, track_files

    raw, out = pathlib.Path(raw), pathlib.Path(out)
    if finder.fps is None:
        raise ValueError("--bodies none: then there is nothing to follow")
    layouts = {"tvqa": tvqa, "social_iq": social_iq, "video": video.Extras()}
    reader = layouts[layout]
    described = {
        "source": layout,
        "raw_sha256": reader.fingerprint(raw),
        "boxes": finder.settings(),
    }
    described = json.loads(json.dumps(described))
    counts = track_files.finished(out, described)
    if counts is not None:
        return counts
    _require_detectors(finder)
    plan = reader.plan(raw)
    lost = own_boxes.lost(finder, plan)
    plan = dataclasses.replace(plan, repaired=(*plan.repaired, *lost))
    count = workers.default_count() if worker_count is None else worker_count
    return track_files.write(plan, out, described, finder, count, bar, deadline_s)


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
    source: str,
    reader: Any,
    raw: Path,
    out: Path,
    settings: Settings,
    *,
    finder: Search | None = PEOPLE,
    worker_count: int | None = None,
    strict: bool = False,
    bar: bool = True,
    limits: dict[str, int] | None = None,
    more: dict[str, Any] | None = None,
    deadline_s: float = workers.DEADLINE_S,
    execute: Callable[..., Iterator[Any]] | None = None,
) -> Manifest:
    """Makes the records unless they are there already.

    Args:
      source: name of the kind of raw data.
      reader: what has `fingerprint(raw)` and `plan(raw)`.
      raw: folder of raw data.
      out: folder of records; a killed run is taken up where it was.
      settings: of the data set.
      finder: looks for boxes; None = no boxes. Default: people and their tracks.
      worker_count: processes; None = one a core; 0 = this process, for debugging.
      strict: anything that is skipped is an error.
      bar: shows progress on stderr.
      limits: of clips in a split, the first by name.
      more: what else the records depend on.
      deadline_s: what a clip may take, beside a share of its length.
      execute: has the shards written elsewhere (see `runner.Execute`).

    Raises:
      ValueError: whatever a user can mend, in one sentence.
    """
    raw, out = pathlib.Path(raw), pathlib.Path(out)
    more = (more or {}) | ({"limits": limits} if limits else {})
    described = outputs.describe(
        source,
        reader.fingerprint(raw),
        settings,
        finder,
        CLIPS_PER_SHARD[source],
        **more,
    )
    manifest = outputs.finished(out, described)
    if manifest is not None:
        if strict and manifest.counts.get("skipped"):
            raise ValueError(
                f"{out}: {manifest.counts['skipped']} thing(s) were skipped, see"
                f" {outputs.SKIPPED}; mend them and make the records again"
            )
        return manifest
    from preprocessing import runner  # heavy: only when there is work

    if isinstance(finder, finders.People):
        _require_detectors(finder)
    plan = _limited(_with_boxes(reader.plan(raw), finder), limits or {})
    count = workers.default_count() if worker_count is None else worker_count
    return runner.build(
        plan, out, described, settings, finder, count, strict, bar, deadline_s, execute
    )


def _with_boxes(plan: plans.Plan, finder: Search | None) -> plans.Plan:
    """The plan that also tells of a user's boxes."""
    if not isinstance(finder, finders.People) or finder.boxes is None:
        return plan
    from preprocessing import own_boxes

    told = own_boxes.lost(finder, plan) + own_boxes.objects(finder)
    return dataclasses.replace(plan, repaired=(*plan.repaired, *told))


def _limited(plan: plans.Plan, limits: dict[str, int]) -> plans.Plan:
    clips = {split: found[: limits.get(split)] for split, found in plan.clips.items()}
    kept = {split: found for split, found in clips.items() if found}
    return dataclasses.replace(plan, clips=kept)


def _require_detectors(finder: finders.People) -> None:
    """Raises ValueError, with the way out, if a detector cannot be loaded."""
    from preprocessing import weights

    files = [weights.SSDLITE] if finder.bodies == "ssdlite" else []
    if finder.faces != "none":
        files += [weights.PNET, weights.RNET, weights.ONET]
    for file in files:
        weights.read(file)
    if finder.faces == "facenet":  # before the work
        from preprocessing import facenet

        facenet.load()
    if finder.bodies in ("yolox", "file"):  # a file of the user's
        from preprocessing import detectors

        detectors.forget()  # it may have changed since another run of this process
        detectors.load(finder)
