"""Features of questions against the model called directly; towers; nothing leaks."""

import dataclasses

import numpy as np
import pytest
from helpers import model_tools, training_run
from helpers.question_records import record

from mmdiffmask import config, grid, video_family
from mmdiffmask.data import questions, tokenizers, video
from mmdiffmask.data.records import index
from mmdiffmask.grid import PatchGrid
from mmdiffmask.models.reserve import joining, layers
from mmdiffmask.probe import encoders, question_features
from mmdiffmask.training.read_outs import questions as read_outs

MODEL = dataclasses.replace(training_run.MODEL, vocabulary=512)
DATA = config.Data(rows=4, cols=6, segments=2, sub_segments=1, text_length=40)
GRID = grid.PatchGrid(4, 6)
ENCODE = tokenizers.load("toy").encode_plain
FULL = ("frames and sound", "frames and subtitles")
BOTH = ("match", "answer")
EXPERIMENT = config.Experiment("x", data=DATA, model=MODEL)


@pytest.fixture(scope="module")
def params():
    found = training_run.start()
    rng = np.random.default_rng(5)
    table = rng.normal(size=(512, 64)).astype(np.float32)
    return found | {"token_encoder": {"Embed_0": {"embedding": table}}}


@pytest.fixture(scope="module")
def start():
    return encoders.of_questions(EXPERIMENT, BOTH)


def keyed(rows):
    return [(row, index.window_key(row)) for row in rows]


def extract(start, params, rows, views=FULL, size=3):
    def groups():
        return question_features.groups(keyed(rows), ENCODE, DATA, size, views, BOTH)

    return question_features.extract(start, params, groups, views)


@pytest.fixture(scope="module")
def rows():
    silent = {"is_audio_valid": np.array([True, False])}
    dark = {"is_frame_valid": np.array([True, False])}
    dark["frames"] = (record(window=2).frames[0], b"")
    return [
        record(0, 0),
        record(1, 0, question="Where is it?"),
        record(2, 1, **silent),
        record(3, 2, **dark),
    ]


@pytest.fixture(scope="module")
def found(start, params, rows):
    return extract(start, params, rows)


@model_tools.fast_jit
def one_sequence(params, wave, patches, kept, tokens, segment, pointer, spans):
    """The whole model on one sequence: at every text place joint, head; span."""

    def call(*args, method):
        params_of = {"params": params}
        return video_family.model(MODEL).apply(params_of, *args, method=method)

    sound = call(wave, method="audio").seq_attnpool
    text = joining.TextPart(tokens[None], segment[None], sound[None], pointer)
    cells = call(patches, PatchGrid(4, 6), method="vision").seq_attnpool
    vision = joining.VisionPart(cells[None], kept[None] + 1)
    joint = call(text, vision, PatchGrid(4, 6), method="joint").text[0]
    head = layers.unit_normalize(call(joint, method="project"))
    return joint, head, layers.unit_normalize(call(spans, method="span"))


def direct(params, made, view, answer):
    """(joint output at MASK, head's there, span vectors) of one sequence."""
    rest = (DATA.text_length, questions.VIEWS[view], answer)
    tokens, segment, _, mask_at = questions.sequence(made, ENCODE, *rest)
    # Pointers are counted over all sound, also that which is not there.
    whole = questions.sequence(record(question=made.question), ENCODE, *rest)
    pointer = joining.count_pointers(whole.tokens[None], 2)
    kept = np.flatnonzero(made.is_frame_valid)  # frames that are not there: left out
    joint, head, span = one_sequence(
        params,
        made.spectrogram[:, 0].astype(np.float32),
        video.pictures(made, GRID)[0][kept],
        kept,
        tokens,
        segment,
        pointer,
        questions.spans(made, ENCODE),
    )
    return joint[mask_at], head[mask_at], span


@pytest.mark.parametrize("row", [0, 2, 3])
@pytest.mark.parametrize("view", FULL)
def test_features_are_the_model_s_outputs_at_mask(params, rows, found, row, view):
    answer, _, span = direct(params, rows[row], view, rows[row].answers[1])
    _, head, _ = direct(params, rows[row], view, None)
    vectors = {name: value[row] for name, value in found.vectors.items()}
    np.testing.assert_allclose(vectors[f"answer/{view}"][1], answer, atol=2e-4)
    np.testing.assert_allclose(vectors[f"match/{view}"], head, atol=5e-5)
    np.testing.assert_allclose(vectors["span"], span, atol=5e-5)


def test_the_right_answer_is_not_in_any_input(start, params, rows, found):
    swapped = []
    for made in rows:
        other = record()
        vars(other).update(vars(made) | {"answer_index": (made.answer_index + 1) % 3})
        swapped.append(other)
    again = extract(start, params, swapped)
    for name, vectors in found.vectors.items():
        np.testing.assert_array_equal(vectors, again.vectors[name])


def test_candidates_permuted_permute_the_features(start, params, rows, found):
    order = [2, 0, 1]
    made = [record(0, 0, answers=tuple(rows[0].answers[i] for i in order))]
    again = extract(start, params, made)
    for name in ("answer/frames and sound", "span"):
        np.testing.assert_allclose(
            again.vectors[name][0], found.vectors[name][0][order], atol=1e-5
        )
    for name in ("match/frames and sound", "match/frames and subtitles"):
        np.testing.assert_allclose(
            again.vectors[name][0], found.vectors[name][0], atol=1e-5
        )


def test_cases_of_candidates_with_the_same_tokens(start, params):
    same = [record(0, 0, answers=("red", "blue", "red")), record(1, 1)]
    found = extract(start, params, same)
    for name in ("answer/frames and sound", "span"):
        one = found.vectors[name][0]
        np.testing.assert_array_equal(one[0], one[2])
        assert (one[0] != one[1]).any() and (one[1] != found.vectors[name][1][1]).any()


def test_neither_batch_nor_sharing_a_window_changes_features(
    start, params, rows, found
):
    assert found.clip == ("q0", "q1", "q2", "q3")
    alone = [extract(start, params, [made]) for made in rows]
    for name, vectors in found.vectors.items():
        each = np.concatenate([one.vectors[name] for one in alone])
        np.testing.assert_allclose(vectors, each, atol=2e-5)


def test_towers_run_once_a_window_and_blind_views_see_no_frame(params, rows):
    broken = [record(0, 0, frames=(b"no", b"jpeg")), rows[1], rows[2]]
    blind = ("answers", "question", "subtitles", "sound")
    groups = list(question_features.groups(keyed(broken), ENCODE, DATA, 3, blind, BOTH))
    assert [group.windows.patches for group in groups] == [None]
    groups = list(question_features.groups(keyed(rows), ENCODE, DATA, 4, FULL, BOTH))
    assert len(groups) == 1 and len(groups[0].rows) == 1
    np.testing.assert_array_equal(groups[0].rows[0][1].window, [0, 0, 1, 2])
    first = groups[0].windows.patches
    np.testing.assert_array_equal(first[2], first[3])  # three windows, one to fill up


def test_blind_views_equal_frames_that_nobody_may_look_at(start, params):
    dark = [record(0, 0, frames=(b"", b""), is_frame_valid=np.zeros(2, bool))]
    seen, blind = (
        extract(start, params, dark),
        extract(start, params, [record(0, 0)], ("sound", "subtitles")),
    )
    for one, two in zip(FULL, ("sound", "subtitles"), strict=True):
        for name in ("match", "answer"):
            np.testing.assert_allclose(
                seen.vectors[f"{name}/{one}"],
                blind.vectors[f"{name}/{two}"],
                atol=2e-5,
            )


def test_checkpoints_without_head_or_span_encoder_can_not_match(params):
    read_outs.check_params(params, BOTH)
    bare = {k: v for k, v in params.items() if k not in ("head", "span_encoder")}
    read_outs.check_params(bare, ("answer",))
    with pytest.raises(ValueError, match="no head and no span_encoder"):
        read_outs.check_params(bare, BOTH)


def test_a_broken_feature_is_named(start, params, rows):
    broken = params | {"head": {k: v * np.nan for k, v in params["head"].items()}}
    with pytest.raises(ValueError, match="match of question q0 is not finite"):
        extract(start, broken, rows[:1])


@pytest.mark.parametrize("at_once", [None, 8])
def test_eight_devices_give_what_one_gives(start, params, rows, found, at_once):
    devices = encoders.devices()
    assert devices.mesh.size == 8

    def groups():
        return question_features.groups(
            keyed(rows), ENCODE, DATA, 16, FULL, BOTH, at_once
        )

    done = []
    cut = question_features.extract(
        start, devices.put(params), groups, FULL, cut=devices.cut, note=done.append
    )
    assert cut.clip == found.clip and sum(done) == len(rows)
    for name, vectors in found.vectors.items():
        np.testing.assert_allclose(cut.vectors[name], vectors, atol=2e-5)


def test_one_device_gives_the_bits_of_arrays_that_lie_nowhere(
    start, params, rows, found
):
    devices = encoders.devices(1)

    def groups():
        return question_features.groups(keyed(rows), ENCODE, DATA, 3, FULL, BOTH)

    placed = devices.put(params)
    cut = question_features.extract(start, placed, groups, FULL, cut=devices.cut)
    for name, vectors in found.vectors.items():
        np.testing.assert_array_equal(cut.vectors[name], vectors)


def test_fewer_questions_at_once_leave_the_windows_whole(rows):
    (group,) = question_features.groups(keyed(rows), ENCODE, DATA, 4, FULL, BOTH, 3)
    assert len(group.windows.is_frame_valid) == 4
    assert [names for names, _ in group.rows] == [["q0", "q1", "q2"], ["q3"]]
    assert all(len(batch.window) == 3 for _, batch in group.rows)
