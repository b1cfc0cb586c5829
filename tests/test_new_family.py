"""A new model is a `Family`, its rows and its start: nothing else knows what it is."""

import ast
import contextlib
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mmdiffmask import config, configure
from mmdiffmask.data import loader
from mmdiffmask.inputs import Claim
from mmdiffmask.masking import sampling
from mmdiffmask.probe import clips as clip_probe
from mmdiffmask.probe import encoders, features, results, table
from mmdiffmask.report import collect
from mmdiffmask.run_folder import RunFolder
from mmdiffmask.training import checkpoint, journal, loop, steps
from mmdiffmask.training import mesh as meshes
from mmdiffmask.training.family import Family
from mmdiffmask.training.job import Job
from mmdiffmask.training.read_outs import clips as read_outs

ROOT = pathlib.Path(__file__).resolve().parents[1]
# What the families are made of: models, and the functions of each.
OF_RESERVE = tuple(
    f"mmdiffmask/{part}"
    for part in (
        "models/",
        "training/terms/",
        "training/read_outs/",
        "training/text_objective",
    )
)
LOOP = ("family", "job", "loop", "steps", "evaluate", "stopping", "journal", "optim")
FREE = [
    *(ROOT / "mmdiffmask" / "training" / f"{name}.py" for name in LOOP),
    *sorted((ROOT / "mmdiffmask" / "probe").glob("*.py")),
    *sorted((ROOT / "mmdiffmask" / "report").glob("*.py")),
]

DOTS, SIZE = 6, 8  # a row; a batch
SETTINGS = config.Training(
    steps=30, batch_size=SIZE, lr=0.05, warmup_steps=2, eval_every=15, save_every=15
)
KINDS = ("calm", "wild")
PARTS = {"train": range(32), "dev": range(32, 48), "val": range(48, 60)}


class Dots(NamedTuple):
    """A row: numbers that follow from one another, of one of two kinds."""

    values: np.ndarray
    unit_of_token: np.ndarray
    unit_score: np.ndarray
    is_box_unit: np.ndarray
    example_hash: np.ndarray
    clip_hash: np.ndarray
    is_real: np.ndarray


def make_row(index, epoch=0):
    rng = np.random.default_rng([3, index])
    values = rng.normal() * np.ones(DOTS) * (1 + 2 * (index % 2))
    hashed = np.uint32(index)
    unit, score = np.arange(DOTS, dtype=np.int32), np.ones(DOTS, np.float32)
    is_box, is_real = np.zeros(DOTS, bool), np.bool_(True)
    values = values.astype(np.float32)
    return Dots(values, unit, score, is_box, hashed, hashed, is_real)


def start():
    return {"kernel": np.zeros((DOTS, DOTS), np.float32)}


def draw(key, batch, epoch):
    """Two hidden dots of each row."""

    def one(example_hash, weight, unit):
        folded = sampling.example_key(key, example_hash, "dots")
        rank = sampling.order(jax.random.gumbel(folded, weight.shape), weight)
        return (rank < 2)[unit]

    return jax.vmap(one)(batch.example_hash, batch.unit_score, batch.unit_of_token)


def hold(params, batches):
    return {"mean": jnp.mean(jnp.stack([batch.values.mean(0) for batch in batches]), 0)}


def errors(params, held, batch, is_masked):
    """Squared error of each hidden dot, told from the others."""
    shown = jnp.where(is_masked, held.values["mean"], batch.values)
    return jnp.square(shown @ params["kernel"] - batch.values) * is_masked


def terms(params, held, batch, is_masked, key):
    return {"dots": errors(params, held, batch, is_masked).sum(1).mean()}, {}


def scores(params, held, batch, is_masked):
    count = is_masked.sum(1).astype(jnp.float32)
    lost = errors(params, held, batch, is_masked).sum(1)
    return {"line": {"loss": (lost, count)}}, jnp.int32(0)


def encode(params, batch):
    guessed = batch.values @ params["kernel"]
    return {"sizes": jnp.abs(guessed), "signs": jnp.sign(guessed)}


FAMILY = Family(
    weights={"dots": 1.0},
    masked="dots",
    hold=hold,
    terms=terms,
    scores=scores,
    encode=encode,
)


def make_job():
    key = sampling.seed_key(5)

    @contextlib.contextmanager
    def train_batches(first):
        with loader.train_batches(
            lambda i, epoch: make_row(i, epoch), 32, SIZE, 0, start_step=first
        ) as batches:
            yield ((batch, 0) for batch in batches)

    @contextlib.contextmanager
    def dev_batches():
        yield [loader.stack([make_row(i) for i in PARTS["dev"]])]

    experiment = config.Experiment("dots", training=SETTINGS)
    return Job(
        family=FAMILY,
        owner=Claim(configure.settings(experiment), 0),
        settings=SETTINGS,
        shapes=jax.eval_shape(start),
        batch_size=SIZE,
        mesh=meshes.make(SIZE, jax.devices()[:1]),
        start=start,
        check_clips=lambda: None,
        hold_batches=lambda: [loader.stack([make_row(i) for i in range(SIZE)])],
        train_batches=train_batches,
        example_ids=lambda step: [],
        dev_batches=dev_batches,
        draw_masks=draw,
        eval_masks={"own": lambda batch: draw(key, batch, 0)},
        own_masks="own",
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "dots")
    return folder, loop.train(make_job(), folder)


def read_out(params):
    """Features of every split, by the family's own functions."""
    encoder, sets = steps.make_encode(FAMILY), {}
    for name, positions in PARTS.items():
        names = [f"clip{i:02}" for i in positions]
        with loader.eval_batches(make_row, positions, SIZE) as batches:
            shown = features.named(names, batches)
            sets[name] = features.extract(encoder, params, shown)
    every = [i for part in PARTS.values() for i in part]
    labels = {f"clip{i:02}": {"kind": KINDS[i % 2]} for i in every}
    return clip_probe.ClipSets(**sets, labels=labels)


def test_it_trains(run):
    folder, progress = run
    assert progress.finished == "steps" and progress.step == SETTINGS.steps
    losses = {
        line["step"]: line["value"]
        for line in journal.read_metrics(folder)
        if line["kind"] == "eval" and line["stream"] == "all"
    }
    assert list(losses) == [0, 15, 30] and losses[30] < 0.2 * losses[0]


def test_it_is_probed_by_the_names_of_its_read_outs(run):
    folder, _ = run
    sets = read_out(checkpoint.load_params(folder, "best"))
    label = clip_probe.probe_label(config.Probe(), "kind", sets)
    assert list(label.heads) == ["signs", "sizes"] and len(label.clips) == 12
    # Sizes tell the kinds apart, signs do not; an untrained start has neither.
    hits = {name: np.mean(head.is_right) for name, head in label.heads.items()}
    assert hits["sizes"] > 0.7 > hits["signs"]
    blind = clip_probe.probe_label(config.Probe(), "kind", read_out(start()))
    assert np.mean(blind.heads["sizes"].is_right) == pytest.approx(0.5)
    key = results.make_key(probe={}, weights="0")
    probed = results.Probed(key=key, labels={"kind": label}, step=30)
    results.write(folder, probed)
    assert results.read(folder) == probed
    shown = table.lines(probed).splitlines()
    assert [line.split()[:2] for line in shown[1:]] == [
        ["kind", "signs"],
        ["kind", "sizes"],
    ]
    scores = collect._probe_scores(label)
    assert scores.main.linear.value == hits["signs"] and list(scores.others) == [
        "sizes"
    ]


def test_questions_are_refused_by_a_model_that_reads_none(monkeypatch):
    monkeypatch.setattr(encoders, "_family", lambda experiment: FAMILY)
    with pytest.raises(ValueError, match="reads no questions; ask for clip alone"):
        encoders.of_questions(config.Experiment("x"), ("match",))


def strings(path):
    """(text, line) of the strings of a file, docstrings included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


def test_nobody_else_knows_a_read_out_by_name():
    sources = sorted((ROOT / "mmdiffmask").rglob("*.py"))
    named = {
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources
        if not str(path.relative_to(ROOT)).startswith(OF_RESERVE)
        for text, line in strings(path)
        if text in read_outs.WORDS
    }
    assert named == set()


@pytest.mark.parametrize("path", FREE, ids=lambda p: str(p.relative_to(ROOT)))
def test_who_only_knows_families_imports_no_model(path):
    text = path.read_text()
    assert "mmdiffmask.models" not in text and "training.terms" not in text
    assert "training.objective" not in text and "import objective" not in text
