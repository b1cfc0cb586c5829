"""How processes that tests start compile: lightly, and each program once for all."""

# Beside the folder of compiled programs, which they inherit. Lightly compiled programs
# take less than the half second from which tests/conftest.py keeps others.
ENVIRONMENT = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
