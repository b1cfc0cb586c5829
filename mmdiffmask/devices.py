"""Which devices a run is meant for, and whether jax has them: it only warns itself."""

import os
import re
from typing import Literal

import jax

Kind = Literal["tpu", "gpu", "cpu"]
# What jax is told for each kind; the CPU stands beside it, for what runs on the host.
PLATFORMS = {"tpu": "tpu,cpu", "gpu": "cuda,cpu", "cpu": "cpu"}
KINDS = {"tpu": "tpu", "gpu": "gpu", "cuda": "gpu", "rocm": "gpu"}  # by jax's names


def use(kind: Kind | None) -> None:
    """Makes jax compute on devices of a kind, or refuses.

    Args:
      kind: what the user asks for. Where it is None and JAX_PLATFORMS begins with an
        accelerator, that one is asked for.

    Raises:
      ValueError: if there is none of it, or if there is more than one process.
    """
    source = f"--device {kind}"
    if kind is not None:
        jax.config.update("jax_platforms", PLATFORMS[kind])
    else:
        platforms = os.environ.get("JAX_PLATFORMS", "")
        source = f"JAX_PLATFORMS={platforms}"
        kind = KINDS.get(platforms.split(",")[0].strip())
    try:
        backend, reason = jax.default_backend(), ""
    except RuntimeError as error:
        backend, reason = None, _reason(error)
    if backend is None and kind is None:
        raise ValueError(f"{source}: jax cannot compute there{reason}")
    if kind is not None and backend != kind:
        reason = reason or f"; jax would compute on {backend}"
        raise ValueError(
            f"{source}: no {kind.upper()} was found{reason}; make the environment with"
            f" make venv DEVICE={kind}, let no other process hold the device, and see"
            " docs/tpu.md"
        )
    check_processes()


def _reason(error: RuntimeError) -> str:
    """Why jax could not start, in brackets, without its advice to use what it finds."""
    text = " ".join(re.sub(r"\(set JAX_PLATFORMS.*", "", str(error)).split())
    return f" ({text})"


def check_processes() -> None:
    """Refuses a run that is spread over several processes.

    Raises:
      ValueError: if there are several.
    """
    count = jax.process_count()
    if count > 1:
        raise ValueError(
            f"{count} processes share this run: only one is supported, since each would"
            " make the whole batch; use a machine of one host, as a v2-8 is, and start"
            " one process on it"
        )
