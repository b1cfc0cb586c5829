"""Compiled programs are kept on the disk, where the user has not said otherwise."""

import jax
import pytest

from mmdiffmask import compiled


@pytest.fixture
def setting():
    """JAX's own, put back afterwards."""
    before = jax.config.jax_compilation_cache_dir
    yield lambda value: jax.config.update("jax_compilation_cache_dir", value)
    jax.config.update("jax_compilation_cache_dir", before)


def test_programs_are_kept_in_the_users_cache(tmp_path, monkeypatch, setting):
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path))
    setting(None)
    compiled.keep()
    folder = jax.config.jax_compilation_cache_dir
    assert folder == str(tmp_path / "compiled" / compiled._machine())
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir == folder


@pytest.mark.parametrize("value", ["/elsewhere", ""])
def test_what_the_user_said_stays(tmp_path, monkeypatch, setting, value):
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path))
    setting(value)
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir == value
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_made_is_no_error(tmp_path, monkeypatch, setting):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MMDIFFMASK_CACHE", str(tmp_path / "file"))
    setting(None)
    compiled.keep()
    assert jax.config.jax_compilation_cache_dir is None
