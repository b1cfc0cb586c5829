"""Settings as JSON, and a name for what is made with them."""

import dataclasses
import hashlib
import json
from typing import Any

from mmdiffmask import config


def to_json(node: Any) -> str:
    """The settings as JSON, in a fixed order.

    Without those that a version added and that have no effect, so that what earlier
    versions made is found again.
    """
    content = dataclasses.asdict(node)
    prefix = _PREFIXES.get(type(node))
    for name, value in config.ADDED.items() if prefix is not None else ():
        is_named = prefix != _MODEL or name in _OF_MODEL
        if name.startswith(prefix) and is_named:
            _leave_out(content, name.removeprefix(prefix).split("."), value)
    return json.dumps(content, indent=1, sort_keys=True)


# Of the nodes whose JSON names what is kept: how names of settings in them begin.
_MODEL = "model."
_PREFIXES = {config.Experiment: "", config.Data: "data.", config.Toy: "data.toy."}
_PREFIXES[config.Model] = _MODEL
_OF_MODEL = ("model.start", "model.start_step")  # its others always stood in its JSON


def _leave_out(content: dict[str, Any], path: list[str], value: Any) -> None:
    """Removes the setting at the path if it has that value; sections may be absent."""
    *sections, name = path
    for section in sections:
        content = content.get(section) or {}
    if name in content and content[name] == value:
        del content[name]


def fingerprint(*nodes: Any) -> str:
    """12 hex digits that change with any setting of the nodes."""
    text = "\n".join(n if isinstance(n, str) else to_json(n) for n in nodes)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
