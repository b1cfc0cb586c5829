"""Where compiled programs are kept, so that a resumed run need not compile again."""

import hashlib
import logging
import pathlib
import platform

import jax

from mmdiffmask.data import cache

NAME = "compiled"
_CPU = pathlib.Path("/proc/cpuinfo")


def keep() -> None:
    """Keeps programs in the user's cache, where nobody has said otherwise.

    JAX_COMPILATION_CACHE_DIR names another folder; JAX_ENABLE_COMPILATION_CACHE=false
    keeps none.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    folder = cache.folder() / NAME / _machine()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logging.info("compiled programs are not kept: %s", error)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _machine() -> str:
    """A name that processors of other abilities do not share.

    A program for one may end another with an illegal instruction, and homes are often
    shared by machines of several kinds.
    """
    text = platform.machine() + platform.processor()
    if _CPU.is_file():
        lines = _CPU.read_text(encoding="utf-8", errors="replace").splitlines()
        text += "".join(
            next((line for line in lines if line.startswith(key)), "")
            for key in ("model name", "flags", "Features")
        )
    return hashlib.sha256(text.encode()).hexdigest()[:12]
