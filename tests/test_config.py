"""Settings: names, ranges, types, files."""

import ast
import dataclasses
import json
import math
import pathlib
import subprocess
import sys

import pytest

from mmdiffmask import build, config, configure, settings_json

ROOT = pathlib.Path(__file__).resolve().parents[1]
BASE = config.Experiment("x")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("masking.strateg=random", ["masking.strateg", "masking.strategy"]),
        ("maskin.ratio=0.3", ["maskin.ratio", "masking.ratio"]),
        ("masking.ratio=2", ["masking.ratio=2.0", "0.01", "0.95"]),
        ("masking.ratio=nan", ["masking.ratio=nan", "0.01", "0.95"]),
        ("training.steps=-1", ["training.steps=-1", "at least 0"]),
        ("training.steps=1.5", ["training.steps=1.5", "whole number"]),
        ("training.early_stopping=maybe", ["true or false"]),
        ("masking.mask_unit=cel", ["patch, cell", "did you mean cell"]),
        ("masking.boxes=face", ["any more; use masking.strategy=difference-face"]),
        ("masking.boxes=bodies", ["masking.boxes=bodies: no such setting any more"]),
        ("masking", ["name=value"]),
        ("masking=3", ["masking.strategy"]),
        ("name.first=3", ["no settings inside"]),
        ("data.rows=7", ["data.rows=7", "even"]),
        ("model.hidden=100", ["multiple of"]),
        ("training.streams=text,sound", ["text, audio"]),
    ],
)
def test_a_wrong_setting_says_what_is_right(assignment, words):
    with pytest.raises(ValueError) as error:
        configure.override(BASE, [assignment])
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_are_replaced_by_type():
    changed = configure.override(
        BASE,
        [
            "masking.strategy=random",
            "training.lr=1e-3",
            "training.early_stopping=false",
            "training.streams=text",
            "probe.l2=0.1,1",
            "masking.label_embeddings=none",
        ],
    )
    assert changed.masking.strategy == "random"
    assert changed.training.lr == 1e-3
    assert changed.training.early_stopping is False
    assert changed.training.streams == ("text",)
    assert changed.probe.l2 == (0.1, 1.0)
    assert changed.masking.label_embeddings is None
    assert dataclasses.replace(changed, masking=BASE.masking) != BASE


def test_a_model_by_name_has_its_sizes_and_keeps_how_it_is_computed():
    small = dataclasses.replace(
        config.MODELS["small"], checkpoint="a", dtype="bfloat16", remat=True
    )
    base = configure.resize(dataclasses.replace(BASE, model=small), "base").model
    assert base == config.Model(checkpoint="a", dtype="bfloat16", remat=True)
    assert configure.resize(BASE, "small").model == config.MODELS["small"]


@pytest.mark.parametrize("toy", [None, config.Toy(train_clips=3)])
def test_settings_survive_json(toy):
    experiment = dataclasses.replace(BASE, data=config.Data(toy=toy))
    text = json.dumps(configure.settings(experiment))
    assert configure.from_settings(json.loads(text)) == experiment


def test_settings_of_another_version_are_refused():
    values = configure.settings(BASE)
    del values["masking.ratio"]
    with pytest.raises(ValueError, match=r"masking\.ratio is missing"):
        configure.from_settings(values)


def test_a_fingerprint_changes_with_any_setting():
    seen = {settings_json.fingerprint(BASE)}
    for assignment in ("name=y", "data.rows=14", "masking.anchors=face", "probe.l2=1"):
        seen.add(settings_json.fingerprint(configure.override(BASE, [assignment])))
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such config file"),
        ("x = 1", "get_config"),
        ("def get_config(): return 3", "get_config"),
        ("def get_config(: pass", "does not run"),
        ("import no_such_module_at_all", "does not run"),
        (
            "from mmdiffmask import config\n"
            "def get_config():\n"
            "    return config.Experiment('x', masking=config.Masking(ratio=7.0))",
            "masking.ratio=7.0",
        ),
    ],
)
def test_a_wrong_config_file_is_one_sentence(tmp_path, text, words):
    path = tmp_path / "c.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError) as error:
        configure.load(path)
    assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("mood (0-5)", ("mood (0-5)",)),
        (" tone", ("tone",)),
        ('[" tone", "mood, inner"]', (" tone", "mood, inner")),
        ("['who', 'a, b']", ("who", "a, b")),
        ('"mood, inner",rating', ("mood, inner", "rating")),
        ('"(x)"', ("(x)",)),
        ("(a, b)", ("a", "b")),
        ("(a) or (b),c", ("(a) or (b)", "c")),
        ("who=^(Who|Whose)", ("who=^(Who|Whose)",)),
        ("short=^.{3,5}$,who=^Who", ("short=^.{3,5}$", "who=^Who")),
        (r"open=\(,set=[(,]", (r"open=\(", "set=[(,]")),
        ("mood :),rating", ("mood :)", "rating")),
        ('say "hi"', ('say "hi"',)),
    ],
)
def test_cases_of_words_in_lists(text, items):
    changed = configure.override(BASE, [f"probe.labels={text}"])
    assert changed.probe.labels == items


@pytest.mark.parametrize("text", ["[person]", '"open', '"a" b', "a (b,c", "[[1]]", ""])
def test_cases_of_lists_that_are_not_clear(text):
    with pytest.raises(ValueError, match=r"masking\.anchors"):
        configure.override(BASE, [f"masking.anchors={text}"])


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("training.steps=1_000", 1000),
        ("training.steps=1e4", 10_000),
        ("training.lr=1e-9", 1e-9),
        ("training.early_stopping=No", False),
        ("training.early_stopping=1", True),
        ("probe.l2=inf,1e-9", (math.inf, 1e-9)),
        ("data.toy.seed=9223372036854775807", 2**63 - 1),
    ],
)
def test_cases_of_numbers_and_switches(assignment, value):
    base = dataclasses.replace(BASE, data=config.Data(toy=config.Toy()))
    changed = configure.settings(configure.override(base, [assignment]))
    assert changed[assignment.partition("=")[0]] == value


@pytest.mark.parametrize(
    "assignment",
    [
        *("probe.l2=nan", "model.scale_init=inf", "model.scale_init=nan"),
        *("reserve.patches=inf", "training.steps=inf", "training.steps=1.5"),
        *("training.early_stopping=2", "data.toy.seed=9223372036854775808"),
    ],
)
def test_cases_of_numbers_that_are_refused(assignment):
    base = dataclasses.replace(BASE, data=config.Data(toy=config.Toy()))
    with pytest.raises(ValueError, match=assignment.partition("=")[0]):
        configure.override(base, [assignment])


WRONG_CONFIGS = {
    "config.Experiment('x', data={'rows': 12})": "data is {'rows': 12}: must be",
    "config.Experiment('x', model=None)": "model is None: must be",
    "config.Experiment('x', masking='random')": "masking is 'random': must be",
    "config.Experiment('x', training=config.Training)": "the class itself",
    "config.Experiment('x', probe=config.Model())": "probe is Model(",
    "config.Experiment('x', data=config.Data(toy=3))": "data.toy is 3: must be",
    "config.Experiment('x', probe=config.Probe(labels='a'))": "must be a tuple",
    "config.Experiment('x', model=config.Model(checkpoint=pathlib.Path('a')))": (
        "model.checkpoint=PosixPath('a'): must be of type str"
    ),
    "config.Experiment('x', training=config.Training(steps=False))": (
        "training.steps=False: must be of type int"
    ),
    "config.Experiment": "get_config",
    "sys.exit('bye')": "SystemExit: bye",
    "open('/no/such')": "FileNotFoundError",
}
LOAD = """
import sys
from mmdiffmask import configure
for path in sys.argv[1:]:
    try:
        configure.load(path)
    except ValueError as error:
        print(error)
"""


def test_cases_of_configs_of_another_type(tmp_path):
    # A process of its own: the types that tests check everywhere would stop it first.
    paths = [tmp_path / f"c{i}.py" for i in range(len(WRONG_CONFIGS))]
    for path, text in zip(paths, WRONG_CONFIGS, strict=True):
        path.write_text(
            "import pathlib, sys\nfrom mmdiffmask import config\n\n\n"
            f"def get_config():\n    return {text}\n"
        )
    command = [sys.executable, "-c", LOAD, *map(str, paths)]
    root = pathlib.Path(configure.__file__).parents[1]
    said = subprocess.run(command, capture_output=True, text=True, cwd=root)
    lines = said.stdout.splitlines()
    assert len(lines) == len(paths), said.stderr
    for path, line, words in zip(paths, lines, WRONG_CONFIGS.values(), strict=True):
        assert line.startswith(f"{path}: ") and words in line


CONFIGS = sorted((ROOT / "tpu_configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_config_and_its_rows_are_sound(path):
    experiment = configure.load(path)
    is_video = isinstance(experiment.data, config.Data)
    if is_video:  # the toy tokenizer stands for Reserve's; its size is checked
        experiment = configure.override(experiment, ["data.tokenizer=toy"])
    build.check(experiment)
    told = ast.get_docstring(ast.parse(path.read_text()))
    for word in ("Command:", "Hardware:", "Expect:"):
        assert word in told
    if not is_video or experiment.model.hidden < 768:
        return
    size = dataclasses.replace(experiment.model, checkpoint=None, dtype="float32")
    assert dataclasses.replace(size, remat=False) == config.MODELS["base"]
    assert experiment.training.batch_size % 8 == 0  # of a v2-8's cores
    for word in ("Memory:", "Hours:", "8 rows x 5 seeds", "estimated", "--device gpu"):
        assert word in told
