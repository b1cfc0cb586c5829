"""Eight simulated devices, strict ranks and checked shapes for every test."""

import atexit
import fcntl
import os
import pathlib
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Simulated devices share few threads: where independent collectives of a program wait
# at once, none is left for the device that they wait for, and XLA aborts in a minute.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8"
    + " --xla_cpu_enable_concurrency_optimized_scheduler=false"
)

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Shared with the processes that tests start: most of their time is compiling.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "compiled")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
# Where the user keeps weights that no wheel has; pytest's workers inherit it.
CACHE, USERS = "MMDIFFMASK_CACHE", "MMDIFFMASK_CACHE_OF_USER"
os.environ.setdefault(
    USERS, os.environ.get(CACHE) or os.path.expanduser("~/.cache/mmdiffmask")
)
# Not the user's: indexes of records and notes of checksums would pile up there.
os.environ[CACHE] = tempfile.mkdtemp(prefix="mmdiffmask-tests-")
atexit.register(shutil.rmtree, os.environ[CACHE], ignore_errors=True)
# Two threads on two busy cores are slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("mmdiffmask", "beartype.beartype")

SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of golden data and media beside the project; skips where absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the project: golden data and media absent")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _no_shared_cache(tmp_path_factory):
    """What runs of a user share is not the developer's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("cache"))
        patch.setenv(CACHE, folder)
        yield


@pytest.fixture(scope="module")
def quick_compilation():
    """Programs compile lightly: they run a few times, on little."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def nanodet_file() -> str:
    """NanoDet's weight file in the user's cache; skips without `make labels`."""
    path = pathlib.Path(os.environ[USERS]) / "nanodet" / "nanodet.bin"
    if not path.is_file():
        pytest.skip(f"{path} is not there: make labels fetches it")
    return str(path)


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory) -> str:
    """The records of tpu_configs/tiny.py, made once by the real pipeline.

    The processes of a run wait for the first and share them: no test changes them.
    """
    from mmdiffmask import configure, toy_records

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    experiment = configure.load(ROOT / "tpu_configs" / "tiny.py")
    with (folder / "tiny.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return toy_records.make(experiment, folder / "tiny")
