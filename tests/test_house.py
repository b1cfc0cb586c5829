"""The house: which package may import which, and targets that the README names."""

import ast
import graphlib
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Lower may not import higher; the parts of a rank do not know each other.
RANKS = [
    {"seeds", "tokens", "types"},
    {"atomic", "config", "grid", "run_files", "statistics", "values", "versions"},
    {"configure"},
    {"data", "masking", "models"},
    {"compiled", "inputs"},
    {"run_folder"},
    {"training"},
    {"examples", "weights"},
    {"effects", "starts"},
    {"build"},
    {"runs"},
    {"probe"},
    {"report"},
    {"demo"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(RANKS) for name in names}
FORBIDDEN = {"torch", "tensorflow", "transformers", "facenet_pytorch"}
OPENCV = ("mmdiffmask/grid", "mmdiffmask/data", "mmdiffmask/report", "preprocessing")
SOURCES = sorted(
    [*(ROOT / "mmdiffmask").rglob("*.py"), *(ROOT / "preprocessing").rglob("*.py")]
)


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
    place = path.relative_to(ROOT)
    own = place.parts[1].removesuffix(".py") if len(place.parts) > 1 else None
    for module, line in imports(path):
        where = f"{place}:{line} imports {module}"
        assert module.split(".")[0] not in FORBIDDEN, where
        if module.split(".")[0] == "cv2":
            assert str(place).startswith(OPENCV), where
        other = part(module)
        if place.parts[0] == "preprocessing":
            allowed = (None, "types", "seeds", "config", "grid", "data", "versions")
            allowed += ("atomic",)
            assert other in allowed, where
        elif own in RANK and other in RANK and other != own:
            assert RANK[other] < RANK[own], where
        if module.split(".")[0] == "preprocessing" and place.parts[0] == "mmdiffmask":
            assert own in ("demo", "__main__"), where


def test_imports_form_no_circle():
    """Also those inside functions: a file can be read after all that it names."""
    sources = [*SOURCES, *(ROOT / "benchmarks").rglob("*.py")]
    places = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources
    }
    below = {
        name: {
            module if module in places else module.rpartition(".")[0]
            for module, _ in imports(path)
        }
        & places.keys() - {name}
        for name, path in places.items()
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
    places = [ROOT / "mmdiffmask", ROOT / "benchmarks"]
    for path in sorted(path for place in places for path in place.rglob("*.py")):
        if path.stem in ("run_files", "folder"):  # the latter is of golden data
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
            own = name.endswith((".replace", ".rename")) and len(node.args) == 1
            is_folder = path.stem in ("orbax_folder", "write")  # of many files
            assert is_folder or not own or node.keywords, (path, node.lineno, name)
            assert name not in ("os.replace", "os.rename"), (path, node.lineno)
            assert not name.startswith("tempfile.mkstemp"), (path, node.lineno)


def test_what_setup_asks_for_is_imported():
    text = (ROOT / "setup.py").read_text()
    core = re.search(r"^CORE = (\[.*?^\])", text, re.MULTILINE | re.DOTALL)[1]
    names = {re.split(r"[><=\[]", line)[0] for line in ast.literal_eval(core)}
    modules = {"opencv-python": "cv2", "orbax-checkpoint": "orbax"}
    # The first is needed by tensorflow-datasets, the second may come to read records.
    names -= {"importlib_resources", "grain"}
    used = {m.split(".")[0] for path in SOURCES for m, _ in imports(path)}
    unused = {n for n in names if modules.get(n, n.replace("-", "_")) not in used}
    assert names and not unused


def test_make_targets_that_the_readme_names_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, node.name
