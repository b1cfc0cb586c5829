"""A setting's value against its annotation: section, type, choices, range."""

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from typing import Any, Literal


def check_node(node: Any, prefix: str) -> None:
    """Checks every setting of a section, and of those in it.

    Args:
      node: the section.
      prefix: how names of its settings begin.

    Raises:
      ValueError: naming the setting, the value found and what is allowed.
    """
    hints = typing.get_type_hints(type(node))
    for field in dataclasses.fields(node):
        name, value = prefix + field.name, getattr(node, field.name)
        hint = _present(hints[field.name], value)
        if dataclasses.is_dataclass(hint):
            _check_section(name, hint, value)
            check_node(value, name + ".")
            continue
        if value is None and hint is None:
            continue
        if value == () and field.metadata.get("empty"):
            continue
        _check_type(name, hint, value)
        check_choice(name, hint, value)
        for number in value if isinstance(value, tuple) else (value,):
            _check_range(name, number, field.metadata)


def _present(hint: Any, value: Any) -> Any:
    """The type that a value must have; None if it is missing and may be.

    Of several sections that of the value, or the first.
    """
    kinds = typing.get_args(hint)
    sections = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    if len(sections) > 1:
        return type(value) if type(value) in sections else sections[0]
    if type(None) not in kinds:
        return hint
    return None if value is None else next(k for k in kinds if k is not type(None))


def _check_section(name: str, kind: type, value: Any) -> None:
    if not isinstance(value, kind):
        shown = f"{value!r:.60}" if not isinstance(value, type) else "the class itself"
        raise ValueError(
            f"{name} is {shown}: must be a section, config.{kind.__name__}(...)"
        )


def _check_range(name: str, number: Any, limits: Mapping[str, Any]) -> None:
    """Numbers within their limits; infinite only where these say so."""
    if isinstance(number, str | bool) or number is None:
        return
    low, high = limits.get("low"), limits.get("high")
    below = low is not None and not number >= low  # so that NaN is out of range
    if below or (high is not None and number > high):
        allowed = f"from {low} to {high}" if high is not None else f"at least {low}"
        raise ValueError(f"{name}={number} is out of range: must be {allowed}")
    if not math.isfinite(number) and high != math.inf:
        raise ValueError(f"{name}={number}: must be a finite number")


def _check_type(name: str, hint: Any, value: Any) -> None:
    """Plain values of the annotated type; a whole number does as a float."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, tuple) or not value:
            raise ValueError(f"{name}={value!r}: must be a tuple, not empty")
        for item in value:
            _check_type(name, arguments[0], item)
    elif hint in (int, float, bool, str):
        kinds = (int, float) if hint is float else (hint,)
        is_switch = isinstance(value, bool)
        if not isinstance(value, kinds) or is_switch != (hint is bool):
            raise ValueError(f"{name}={value!r}: must be of type {hint.__name__}")


def check_choice(name: str, hint: Any, value: Any) -> None:
    """Checks a value, or each of several, against those that its type lists."""
    if typing.get_origin(hint) is tuple:
        for item in value:
            check_choice(name, typing.get_args(hint)[0], item)
    if typing.get_origin(hint) is Literal and value not in typing.get_args(hint):
        choices = typing.get_args(hint)
        near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)
        raise ValueError(
            f"{name}={value}: must be one of {', '.join(choices)};"
            f" did you mean {near[0]}?"
        )
