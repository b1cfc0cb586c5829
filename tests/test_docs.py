"""The documents: what comments refer to is there, and commands that they show parse."""

import ast
import importlib.util
import io
import pathlib
import re
import shlex
import subprocess
import tokenize

import pytest

from mmdiffmask import __main__ as command_line
from mmdiffmask import configure
from preprocessing import __main__ as preprocessing_line
from preprocessing import beam

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("mmdiffmask", "preprocessing", "tests", "benchmarks", "tpu_configs")
SOURCES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
DOCUMENTS = [
    *(ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))),
    *sorted((ROOT / "mmdiffmask").rglob("*.md")),
]

NUMBER = r"\d+(?:\.\d+)*"
ASIDE = r"(?: \([^()]*\))?"  # "(correction)" behind a number
NUMBERS = rf"{NUMBER}{ASIDE}(?:(?:,| and| to) {NUMBER}{ASIDE})*"
NAMED = re.compile(r"(?<![\w*/])[\w.-][\w./-]*\.md\b")
CITED = re.compile(
    rf"(?P<name>[\w./-]+\.md)(?:'s)?,?(?: sections?)? (?P<numbers>{NUMBERS})"
)
PAPER = re.compile(rf"\b[Pp]aper[:,]? (?:Eq\. [\d, and]+, )?sections? (?:{NUMBERS})")
SECTION = re.compile(rf"\bsections? (?P<numbers>{NUMBERS})")


def prose(path):
    """The docstrings and the comments of a source file, each on one line."""
    text = path.read_text(encoding="utf-8")
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [
        ast.get_docstring(node) or ""
        for node in ast.walk(ast.parse(text))
        if isinstance(node, kinds)
    ]
    last = -1  # line of the comment before
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            words = token.string.lstrip("# ")
            is_next = token.start[0] == last + 1
            found[-1:] = [f"{found[-1]} {words}"] if is_next else [found[-1], words]
            last = token.start[0]
    return [" ".join(words.split()) for words in found]


def headings(path):
    """The numbers of a document's headings."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(rf"^#+ ({NUMBER})\.? ", text, re.MULTILINE))


def find(name, beside):
    """The document of that name; None if there is none."""
    places = (ROOT / name, ROOT / "docs" / name, beside.parent / name)
    return next((place for place in places if place.is_file()), None)


def lost(text, path):
    """What a text names that is not there; `path` is where it stands."""
    document = path if path.suffix == ".md" else None  # a bare section is its own
    found = [name for name in NAMED.findall(text) if find(name, path) is None]
    told = []
    for cited in CITED.finditer(text):
        told.append(cited.span())
        place = find(cited["name"], path)
        if place is not None:
            known = headings(place)
            found += [f"{cited[0]}" for n in numbers(cited) if n not in known]
    told += [paper.span() for paper in PAPER.finditer(text)]
    for section in SECTION.finditer(text):
        if not any(low <= section.start() < high for low, high in told):
            known = headings(document) if document else set()
            found += [section[0] for n in numbers(section) if n not in known]
    return found


def numbers(match):
    return re.findall(NUMBER, re.sub(r"\([^()]*\)", "", match["numbers"]))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_comments_refer_to_is_there(path):
    assert [name for text in prose(path) for name in lost(text, path)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_documents_refer_to_is_there(path):
    text = path.read_text(encoding="utf-8")
    for label, link in re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", text):
        if "://" not in link:
            assert (path.parent / link.split("#")[0]).exists(), (label, link)
    flat = re.sub(r"\[([^\]]*)\]\(([^)\s]+)\)", r"\1", text)
    assert lost(" ".join(flat.split()), path) == []


@pytest.mark.parametrize(
    "text, expected",
    [
        ("as design.md section 4 has it; docs/design.md 4.1; reserve.md 2.7.", []),
        ("reserve.md sections 3.3 (correction) and 4.2 (none), README.md", []),
        ("Paper: section 3.5; paper sections 3.4, 3.5; Paper: Eq. 4, section 3.5.", []),
        ("boxes.md section 3, steps 2 to 5; boxes.md's section 1", []),
        ("PLAN.md section 4", ["PLAN.md"]),
        ("design.md section 40", ["design.md section 40"]),
        ("design.md sections 3 and 40", ["design.md sections 3 and 40"]),
        ("PLAN section 4", ["section 4"]),
        ("Paper: section 3.5. PLAN section 5.", ["section 5"]),
    ],
)
def test_what_leads_nowhere_is_found(text, expected):
    assert lost(text, ROOT / "setup.py") == expected


def test_comments_and_docstrings_are_read(tmp_path):
    path = tmp_path / "source.py"
    path.write_text(
        '"""First,\nand second."""\n\nX = "no comment"  # a\n# b\n\n# c\n'
        'def f():\n    """Own."""\n'
    )
    assert prose(path) == ["First, and second.", "Own.", "a b", "c"]


def commands():
    """(file, line) of every command that a document or a config shows."""
    for path in (*DOCUMENTS, *sorted((ROOT / "tpu_configs").glob("*.py"))):
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^(?: {4}|\$ |Command: +| {10})(\S.*)$", text, re.M):
            words = line.split("#")[0].replace(" ...", "").split()
            names = ("mmdiffmask", "tpu_configs/launch.sh")
            if words and (words[0] in names or "bin/" in words[0]):
                yield path.relative_to(ROOT), " ".join(words)


SHOWN = sorted(set(commands()))


@pytest.mark.parametrize("path, line", SHOWN, ids=lambda x: str(x))
def test_commands_in_the_documents_parse(path, line):
    words = shlex.split(re.sub(r"\.venv(-beam)?/bin/", "", line))
    if words[0] == "tpu_configs/launch.sh":
        launch_parses(words[1:])
        words = words[words.index("--") + 1 :] if "--" in words else words[:0]
        if not words:
            return
    if words[0] == "mmdiffmask":
        found = command_line._parser().parse_args(words[1:])
        config = getattr(found, "config", "CONFIG.py")
        if config not in ("CONFIG.py", None):
            configure.override(
                configure.load(str(ROOT / config)), getattr(found, "set", [])
            )
        return
    assert words[:2] == ["python", "-m"], line
    module, rest = words[2], words[3:]
    assert importlib.util.find_spec(module) is not None, module
    if module == "preprocessing.beam":
        rest = rest[: rest.index("--")]
        assert beam._problem(rest) is None
    if module.startswith("preprocessing"):
        assert preprocessing_line._parser().parse_args(rest)


def launch_parses(words):
    """Runs the launch script without effect: it prints what it would call."""
    command = [ROOT / "tpu_configs" / "launch.sh", words[0], "--dry-run", *words[1:]]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0 and "gcloud compute tpus" in run.stdout, run.stderr


def test_every_kind_of_command_is_shown():
    """So that the test above reads what it should."""
    text = "\n".join(line for _, line in SHOWN)
    for words in (
        *("mmdiffmask pretrain", "mmdiffmask probe", "mmdiffmask inspect"),
        *("mmdiffmask weights export", "preprocessing video", "preprocessing tracks"),
        *("preprocessing check", "preprocessing.beam tvqa", "--set masking.strategy"),
        *("mmdiffmask doctor", "launch.sh up", "launch.sh run", "launch.sh down"),
    ):
        assert words in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_that_documents_name_exist(path):
    for module in re.findall(r"python -m ([\w.]+\w)", path.read_text(encoding="utf-8")):
        assert importlib.util.find_spec(module) is not None, module
