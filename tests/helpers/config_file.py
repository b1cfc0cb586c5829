"""Config files of experiments that a test has changed."""

import pathlib

from mmdiffmask import config, configure

TEXT = """from mmdiffmask import configure

def get_config():
    return configure.from_settings({settings!r})
"""


def write(path: pathlib.Path, experiment: config.Experiment) -> str:
    """Writes a file whose `get_config` gives the experiment; its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TEXT.format(settings=configure.settings(experiment)))
    return str(path)
