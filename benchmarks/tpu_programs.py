"""The programs that a run compiles, as functions and shapes: nothing is computed."""

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from mmdiffmask import attention, build, config, examples, starts, types, video_family
from mmdiffmask.data import loader
from mmdiffmask.data.records import schema, shards
from mmdiffmask.masking import sampling
from mmdiffmask.probe import encoders, floors, question_features
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training import optim, steps
from mmdiffmask.training.family import Held
from mmdiffmask.training.question_batch import ANSWER, MATCH, Rows, Windows
from mmdiffmask.training.terms import patches

READ_OUTS = (MATCH, ANSWER)
VIEWS = {"": floors.FULL, "blind ": floors.BLIND}  # streams; floors
CANDIDATES = 5  # of a question: TVQA's; Social-IQ has four


@dataclasses.dataclass(frozen=True)
class Program:
    """A function with the shapes it is called with.

    Attributes:
      step: the jitted function.
      arguments: shapes of its arguments.
      beside: bytes on a core that a run holds meanwhile and that are no argument.
    """

    step: Any
    arguments: tuple
    beside: int


def made_up_record(data: config.Data) -> schema.Record:
    """A record without frames, sound or boxes: rows have the shapes of any other."""
    t, n_patches = data.segments, data.rows * data.cols
    none = np.zeros(0, np.float32)
    return schema.Record(
        example_id="example",
        clip="clip",
        group="clip",
        question="",
        answers=(),
        answer_index=-1,
        span_percent=(0, 100),
        subtitles=("",) * t,
        line_text=(),
        line_start_s=none,
        line_end_s=none,
        frames=(b"",) * t,
        frame_time_s=np.zeros(t, np.float32),
        source_size_px=np.zeros((t, 2), np.int32),
        is_frame_valid=np.zeros(t, bool),
        is_audio_valid=np.zeros(t, bool),
        spectrogram=np.zeros((t, data.sub_segments, 60, 65), np.float16),
        is_boxed=True,
        boxes=types.Boxes(
            frame=np.zeros(0, np.int32),
            xyxy_px=np.zeros((0, 4), np.float32),
            kind=(),
            label=(),
            score=none,
            track=np.zeros(0, np.int32),
            source=(),
        ),
        covered_share=np.zeros((0, n_patches), np.float16),
        labels={},
    )


class MadeUp(shards.Source):
    """A split of one record that no folder holds."""

    def __init__(self, record: schema.Record):
        self._record = record

    def __len__(self) -> int:
        return 1

    def __getitem__(self, position: int) -> schema.Record:
        return self._record


def batch_shapes(experiment: config.Experiment) -> types.VideoBatch:
    """Shapes of an update's batch, from a row that the loader's own code makes."""
    row = examples.make_row(
        experiment.data,
        experiment.masking,
        MadeUp(made_up_record(experiment.data)),
        examples.language(experiment, 0),
    )(0)
    return _batch(row, experiment.training.batch_size)


def _batch(row: Any, size: int) -> Any:
    """Shapes of so many rows."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((size, *np.shape(x)), np.asarray(x).dtype), row
    )


def programs(experiment: config.Experiment, mesh: Mesh) -> dict[str, Program]:
    """Name -> what a run, its attention and its probe compile."""
    return dict(of_run(experiment, mesh)) | dict(of_probe(experiment, mesh))


def of_run(experiment: config.Experiment, mesh: Mesh) -> Iterator[tuple[str, Program]]:
    """What training compiles, with what lies beside it.

    Beside a program lie the part of the weights, moments and start that is no argument
    of it, and batches that are made ahead: of training, and in an evaluation those of
    the held-out clips too.
    """
    family, settings = build.family(experiment), experiment.training
    params, batch = starts.shapes(experiment), batch_shapes(experiment)
    key = jax.eval_shape(lambda: sampling.seed_key(0))
    state = steps.state_shapes(optim.make(settings), params)
    start = steps.read_start(family, settings, params)
    held = Held(start, _held_values(experiment.model.hidden), key)
    ahead = (loader.AHEAD + 1) * _size(batch, meshes.by_example(mesh))
    weights = _size(params, meshes.replicated(mesh))
    moments = _size(state.opt_state, steps.state_shardings(state, mesh).opt_state)
    parts = {name: start[name] for name in family.start_parts}
    unread = _size(start, meshes.spread(start, mesh))  # by the scores
    unread -= _size(parts, meshes.spread(parts, mesh))
    is_masked = None
    if family.masked:
        is_masked = jax.ShapeDtypeStruct(batch.is_patch_valid.shape, bool)
        draw = steps.make_draw(video_family.draw_patches(experiment), mesh)
        epoch = jax.ShapeDtypeStruct((), np.int32)
        beside = weights + moments + _size(start, meshes.spread(start, mesh)) + ahead
        yield "draw", Program(draw, (key, batch, epoch), beside)
    train = steps.make_train_step(family, settings, mesh)
    yield "train", Program(train, (state, held, batch, is_masked), ahead)
    if family.masked:
        score, beside = steps.make_score_step(family, mesh), moments + unread
        arguments = (params, held, batch, is_masked)
        yield "score", Program(score, arguments, beside + 2 * ahead)
    if family.others is not None:
        others = steps.make_others_step(family, mesh)
        beside = moments + _size(start, meshes.spread(start, mesh))
        yield "others", Program(others, (params, held, batch), beside + 2 * ahead)


def of_probe(
    experiment: config.Experiment, mesh: Mesh
) -> Iterator[tuple[str, Program]]:
    """What reading a checkpoint out compiles: a start's attention, clips, questions.

    Whole weights lie on each device, a batch is cut over them. Questions are read in
    two programs, one of their windows and one of their texts with what came of these.
    Beside a program lie batches that are made ahead.
    """
    data, devices = experiment.data, encoders.Devices(mesh)
    size = devices.batch(experiment.probe.batch_size)
    row = examples.make_row(data, None, MadeUp(made_up_record(data)))(0)
    cut, same = meshes.by_example(mesh), meshes.replicated(mesh)
    params = _placed(starts.shapes(experiment), same)
    clips = _placed(_batch(row, size), cut)
    ahead = (loader.AHEAD + 1) * _size(clips, cut)
    attend = attention.encoder(experiment.model, examples.patch_grid(data), mesh)
    pair = params["vision_encoder"], clips.patches
    yield "attention", Program(attend, pair, ahead)
    yield "clips", Program(encoders.of_clips(experiment), (params, clips), ahead)
    read_outs = [name for name in experiment.probe.read_outs if name in READ_OUTS]
    if read_outs:
        reader = encoders.of_questions(experiment, read_outs)
        for name, views in VIEWS.items():
            windows, rows = _group(experiment, devices, views, read_outs)
            ahead = 2 * (_size(windows, cut) + _size(rows, cut))
            yield f"{name}windows", Program(reader.look, (params, windows), ahead)
            seen = _placed(jax.eval_shape(reader.look, params, windows), same)
            arguments = (params, seen, rows)
            yield f"{name}questions", Program(reader.read, arguments, ahead)


def _group(
    experiment: config.Experiment,
    devices: encoders.Devices,
    views: Sequence[str],
    read_outs: Sequence[str],
) -> tuple[Windows, Rows]:
    """Shapes of windows, and of the questions on them that are read at once."""
    record = dataclasses.replace(
        made_up_record(experiment.data), question="?", answers=("?",) * CANDIDATES
    )
    each = CANDIDATES * (ANSWER in read_outs) + (MATCH in read_outs)
    size = devices.batch(experiment.probe.batch_size)
    at_once = devices.questions(size, len(views) * each, platform="tpu")
    group = next(
        question_features.groups(
            [(record, "window")],
            lambda text: [0],
            experiment.data,
            size,
            views,
            read_outs,
            at_once,
        )
    )
    shown = group.windows, group.rows[0][1]
    return _placed(shown, meshes.by_example(devices.mesh))


def _placed(tree: Any, sharding: Any) -> Any:
    """Shapes that say where they lie, for functions that follow their arguments."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree
    )


def _size(tree: Any, shardings: Any) -> int:
    """Bytes of a tree of shapes on one device."""
    whole = jax.tree.broadcast(shardings, tree)
    pairs = zip(*map(jax.tree.leaves, (tree, whole)), strict=True)
    return sum(math.prod(s.shard_shape(x.shape)) * x.dtype.itemsize for x, s in pairs)


def _held_values(hidden: int) -> dict[str, jax.ShapeDtypeStruct]:
    channel = jax.ShapeDtypeStruct((hidden,), np.float32)
    return {patches.NOISE_MEAN: channel, patches.NOISE_SD: channel}


def digest(program: Program) -> str:
    """16 hex digits of the program as it goes to a TPU's compiler; needs no TPU."""
    lowered = program.step.trace(*program.arguments).lower(lowering_platforms=("tpu",))
    return hashlib.sha256(lowered.as_text().encode()).hexdigest()[:16]
