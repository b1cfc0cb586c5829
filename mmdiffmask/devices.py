"""Which devices a run is meant for, whether jax has them, and their peak rates."""

import os
import re
from collections.abc import Iterable
from typing import Literal

import jax

Kind = Literal["tpu", "gpu", "cpu"]
# What jax is told for each kind; the CPU stands beside it, for what runs on the host.
PLATFORMS = {"tpu": "tpu,cpu", "gpu": "cuda,cpu", "cpu": "cpu"}
KINDS = {"tpu": "tpu", "gpu": "gpu", "cuda": "gpu", "rocm": "gpu"}  # by jax's names
# FLOP/s of a device's dense matrix products in bfloat16, by jax's name of its kind:
# from Google's page on each TPU (a chip of v2 or v3 is two devices) and from NVIDIA's
# data sheets.
PEAKS = {
    "TPU v2": 23.0e12,
    "TPU v3": 61.5e12,
    "TPU v5 lite": 197.0e12,
    "TPU v6 lite": 918.0e12,
    "NVIDIA A100-SXM4-40GB": 312.0e12,
    "NVIDIA A100-SXM4-80GB": 312.0e12,
    "NVIDIA H100 80GB HBM3": 989.0e12,
    "NVIDIA H200": 989.0e12,
}


def peak_flop_s(kinds: Iterable[str]) -> float | None:
    """FLOP/s of devices of these kinds together; None if one's peak is not known."""
    peaks = [PEAKS.get(kind) for kind in kinds]
    return None if None in peaks else sum(peaks)


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
