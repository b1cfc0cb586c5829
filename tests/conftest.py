"""Eight simulated devices, strict ranks and checked shapes for every test."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
)

import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("mmdiffmask", "beartype.beartype")

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of golden data and media beside the project; skips where absent."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the project: golden data and media absent")
    return SHARED
