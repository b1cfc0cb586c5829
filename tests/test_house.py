"""The house: which package may import which, and targets that the README names."""

import ast
import graphlib
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Lower may not import higher; the parts of a rank do not know each other.
RANKS = [
    {"devices", "ranges", "seeds", "tokens", "types"},
    {"earlier_settings", "probe_settings", "setting_checks", "text_settings"},
    {
        *("atomic", "config", "grid", "run_files", "softmax", "statistics", "values"),
        "versions",
    },
    {"configure", "contrast_statistics", "contrasts", "label_leak", "settings_json"},
    {"data", "masking", "models"},
    {"compiled", "inputs"},
    {"run_folder"},
    {"training"},
    {
        "examples",
        "label_vectors",
        "machine",
        "start_run",
        "text_examples",
        "weights",
    },
    {"encoder_files"},
    {"attention", "text"},
    {"labelled_clips", "labelled_texts", "masks", "text_hidden", "text_masks"},
    {"effects", "starts", "text_start", "video_family"},
    {"finetune_start", "learning_start"},
    {"finetune_job", "text_pretraining", "video_learning", "video_pretraining"},
    {"text_job", "video_job"},
    {"build", "text_doctor"},
    {"pretrain"},
    {"finetune"},
    {"finetune_table"},
    {"probe"},
    {"premise"},
    {"anchor_choice", "doctor", "report"},
    {"experiment"},
    {"corpus_anchors", "run_arguments", "text_arguments", "toy_records"},
    {
        "anchor_commands",
        "demo",
        "experiment_command",
        "finetune_command",
        "masks_commands",
        "weights_commands",
    },
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
# What preprocessing may import of the package.
BELOW_PREPROCESSING = ("types", "seeds", "config", "grid", "tokens", "atomic")
BELOW_PREPROCESSING += ("versions", "data.cache", "data.records", "models.torch_file")
FORBIDDEN = {"torch", "tensorflow", "transformers", "facenet_pytorch"}
OPENCV = ("mmdiffmask/grid", "mmdiffmask/data", "mmdiffmask/report", "preprocessing")
SOURCES = sorted(
    [*(ROOT / "mmdiffmask").rglob("*.py"), *(ROOT / "preprocessing").rglob("*.py")]
)
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
CONFIGS = sorted((ROOT / "tpu_configs").rglob("*.py"))
# Words that name nothing: a variable is called by what it holds.
NO_NAMES = {"found", "made", "told", "asked", "given", "rest", "own", "of", "what"}


def imports(path):
    """(module, line) of every import, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (
                (f"{node.module}.{name.name}", node.lineno) for name in node.names
            )


def part(module):
    names = module.split(".")
    return names[1] if names[0] == "mmdiffmask" and len(names) > 1 else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    relative = path.relative_to(ROOT)
    importer = relative.parts[1].removesuffix(".py")
    for module, line in imports(path):
        where = f"{relative}:{line} imports {module}"
        assert module.split(".")[0] not in FORBIDDEN, where
        if module.split(".")[0] == "cv2":
            assert str(relative).startswith(OPENCV), where
        other = part(module)
        if relative.parts[0] == "preprocessing":
            inner = module.removeprefix("mmdiffmask.")
            may = [f"{inner}.".startswith(f"{name}.") for name in BELOW_PREPROCESSING]
            assert other is None or any(may), where
        elif importer in RANK and other in RANK and other != importer:
            assert RANK[other] < RANK[importer], where
        is_of_package = relative.parts[0] == "mmdiffmask"
        if is_of_package and module.split(".")[0] == "preprocessing":
            assert importer in ("toy_records", "anchor_commands", "__main__"), where


def test_imports_form_no_circle():
    """Also those inside functions: a file can be read after all that it names."""
    path_of = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path
        for path in (*SOURCES, *BENCHMARKS)
    }
    below = {
        name: {
            module if module in path_of else module.rpartition(".")[0]
            for module, _ in imports(path)
        }
        & path_of.keys() - {name}
        for name, path in path_of.items()
    }
    assert below["preprocessing.work.shards"] >= {"preprocessing.work.clips"}
    graphlib.TopologicalSorter(below).prepare()  # raises CycleError, which names it


def test_every_part_has_a_rank():
    folder = ROOT / "mmdiffmask"
    parts = {p.name.removesuffix(".py") for p in folder.iterdir()} - {"__pycache__"}
    assert parts - {"__init__"} == set(RANK)


def test_special_ids_and_lengths_are_defined_once():
    shared = {
        name.id
        for node in ast.parse((ROOT / "mmdiffmask/tokens.py").read_text()).body
        if isinstance(node, ast.Assign)
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
    }
    # A stretch of time, of a table or of a run may begin and end as well.
    shared -= {"START", "END"}
    assert {"PAD", "MASK", "AUDIOSPAN", "SPAN_LENGTH"} <= shared
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            names = {n.id for t in targets for n in ast.walk(t) if hasattr(n, "id")}
            assert path.stem == "tokens" or not names & shared, (path, names & shared)


def test_files_of_a_run_are_named_once():
    """In the code, that is: documents and docstrings may name them too."""
    tree = ast.parse((ROOT / "mmdiffmask/run_files.py").read_text())
    strings = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
    names = {s for s in strings if re.fullmatch(r"\w+\.jsonl?", str(s))}
    assert {"config.json", "probe.json", "metrics.jsonl", "done.json"} <= names
    for path in (*sorted((ROOT / "mmdiffmask").rglob("*.py")), *BENCHMARKS):
        # The latter two are of golden data and of Hugging Face's models.
        if path.stem in ("run_files", "folder", "weight_folder"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            value = node.value if isinstance(node, ast.Constant) else None
            assert value not in names, (path, node.lineno, value)


def test_files_are_replaced_in_one_place():
    """Whoever writes what others read does so through `atomic`."""
    for path in SOURCES:
        if path.relative_to(ROOT) == pathlib.Path("mmdiffmask/atomic.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            is_move = name.endswith((".replace", ".rename")) and len(node.args) == 1
            is_folder = path.stem in ("orbax_folder", "write")  # of many files
            assert is_folder or not is_move or node.keywords, (path, node.lineno, name)
            assert name not in ("os.replace", "os.rename"), (path, node.lineno)
            assert not name.startswith("tempfile.mkstemp"), (path, node.lineno)


def test_what_setup_asks_for_is_imported():
    text = (ROOT / "setup.py").read_text()
    core = re.search(r"^CORE = (\[.*?^\])", text, re.MULTILINE | re.DOTALL)[1]
    names = {re.split(r"[><=\[]", line)[0] for line in ast.literal_eval(core)}
    modules = {"opencv-python": "cv2", "orbax-checkpoint": "orbax"}
    names -= {"importlib_resources"}  # needed by tensorflow-datasets
    used = {m.split(".")[0] for path in SOURCES for m, _ in imports(path)}
    unused = {n for n in names if modules.get(n, n.replace("-", "_")) not in used}
    assert names and not unused


def test_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_make_knows_the_devices():
    def make(*words):
        return subprocess.run(
            ["make", "-n", "venv", *words], cwd=ROOT, capture_output=True, text=True
        )

    for device in ("cpu", "gpu", "tpu"):
        run = make(f"DEVICE={device}", "VENV=no-such-folder")
        assert f"-r requirements/{device}.txt" in run.stdout, run.stderr
    wrong = make("DEVICE=xpu")
    assert wrong.returncode == 2 and "must be cpu, gpu or tpu" in wrong.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, node.name


def _nodes():
    """(file:line, node) of all code that users run."""
    for path in (*SOURCES, *BENCHMARKS, *CONFIGS):
        for node in ast.walk(ast.parse(path.read_text())):
            line = getattr(node, "lineno", 0)
            yield f"{path.relative_to(ROOT)}:{line}", node


def _name(node):
    """What a node binds as a variable or a parameter, if it does."""
    if isinstance(node, ast.arg):
        return node.arg
    is_stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    return node.id if is_stored else None


def _has_star_tuple(node):
    """Whether a node is a call such as f(*(a, b), c)."""
    arguments = node.args if isinstance(node, ast.Call) else []
    starred = [x.value for x in arguments if isinstance(x, ast.Starred)]
    return any(isinstance(value, ast.Tuple | ast.List) for value in starred)


def test_names_say_what_they_name():
    bad = [
        f"{where}: {_name(node)}" for where, node in _nodes() if _name(node) in NO_NAMES
    ]
    assert not bad, "\n".join(bad)


def test_arguments_are_written_one_by_one():
    bad = [where for where, node in _nodes() if _has_star_tuple(node)]
    assert not bad, "\n".join(bad)


def test_the_rules_on_names_and_arguments_see_what_they_forbid():
    code = (
        "def f(made, *what, own=1): rest: int = 2\nfor of in g(*(1, 2), *x): found = of"
    )
    nodes = list(ast.walk(ast.parse(code)))
    names = {_name(node) for node in nodes} & NO_NAMES
    assert names == {"made", "what", "own", "rest", "of", "found"}
    assert sum(map(_has_star_tuple, nodes)) == 1
    plain = ast.walk(ast.parse("f(*x, a, *g((1, 2)))"))
    assert not any(map(_has_star_tuple, plain))
