"""A setting's text on the command line becomes its value: one rule for all settings.

    true, yes, on, 1 / false, no, off, 0      a switch
    5, 1_000, 1e4                             a whole number
    0.1, 1e-9, inf                            a number
    a,b   (a, b)   "a, b",c   ["a, b", "c"]   several values

Commas inside quotes or brackets do not separate. Blanks around a value are dropped,
those inside quotes are kept. What begins with "[" is a list of JSON (or Python). A
setting of one text takes it as it stands.
"""

import ast
import json
import re
import types
import typing
from typing import Any, Literal

SWITCH = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}
CLOSES = {"(": ")", "[": "]", "{": "}"}
AS_JSON = 'write it as a JSON list in single quotes: \'["a, b", "c"]\''


def parse(name: str, hint: Any, text: str) -> Any:
    """The value of a setting of type `hint`.

    Args:
      name: of the setting, for messages.
      hint: its annotation.
      text: what stands after "=".

    Raises:
      ValueError: naming the setting, the text and what is needed.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if text.strip().lower() == "none" and type(None) in arguments:
            return None
        return parse(name, next(a for a in arguments if a is not type(None)), text)
    if origin is tuple:
        try:
            items = several(text)
        except ValueError as error:
            raise ValueError(f"--set {name}={text}: {error}") from None
        return tuple(parse(name, arguments[0], item) for item in items)
    if origin is Literal:
        return text.strip()
    if hint is str:
        return text
    value = _number(hint, text.strip())
    if value is None:
        kind = {int: "a whole number", float: "a number"}
        needed = kind.get(hint, "true or false (or yes, no, on, off, 1, 0)")
        raise ValueError(f"--set {name}={text}: needs {needed}")
    return value


def _number(hint: type, text: str) -> bool | int | float | None:
    """A switch or a number; None: it is none."""
    if hint is bool:
        return SWITCH.get(text.lower())
    try:
        if hint is int and re.fullmatch(r"[+-]?[\d_]+", text):
            return int(text)
        value = float(text)
        return value if hint is float else int(value) if value.is_integer() else None
    except ValueError:
        return None


def several(text: str) -> list[str]:
    """The values of a list.

    >>> several('who=^(Who|Whose),short=^.{3,5}$')
    ['who=^(Who|Whose)', 'short=^.{3,5}$']
    >>> several('"a, b", c')
    ['a, b', 'c']

    Raises:
      ValueError: where quotes or brackets leave open what is meant.
    """
    text = text.strip()
    if text.startswith("["):
        return _json_list(text)
    if text.startswith("(") and _end_of_bracket(text, 0) == len(text) - 1:
        text = text[1:-1]
    items, start = [], 0
    while start < len(text):
        if text[start].isspace():
            start += 1
            continue
        item, start = _next(text, start)
        items.append(item)
    return [item for item in items if item]


def _json_list(text: str) -> list[str]:
    try:
        items = json.loads(text)
    except json.JSONDecodeError as error:
        items = _python_list(text)
        if items is None:
            raise ValueError(
                f'what begins with "[" is a JSON list, its texts in double quotes, such'
                f' as \'["a, b", "c"]\' ({error.msg} at character {error.pos + 1})'
            ) from None
    if not all(isinstance(item, (str, int, float)) for item in items):
        raise ValueError("a list holds texts and numbers, no lists or null")
    return [item if isinstance(item, str) else json.dumps(item) for item in items]


def _python_list(text: str) -> list[Any] | None:
    """The list that Python would read, with texts in single quotes too."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _next(text: str, start: int) -> tuple[str, int]:
    """The value that begins at `start`, and where the next one may begin."""
    if text[start] == '"':
        try:
            item, end = json.JSONDecoder().raw_decode(text, start)
        except json.JSONDecodeError:
            raise ValueError(f"a quote is not closed; {AS_JSON}") from None
        separator = re.compile(r"\s*(,|$)").match(text, end)
        if separator is None:
            raise ValueError(f"a comma must follow a closing quote; {AS_JSON}")
        return item, separator.end()
    end = start
    while end < len(text) and text[end] != ",":
        if text[end] == "\\":
            end += 2
            continue
        if text[end] in CLOSES:
            closing = _end_of_bracket(text, end)
            if closing is None and "," in text[end:]:
                raise ValueError(f"a bracket is not closed; {AS_JSON}")
            end = end if closing is None else closing
        end += 1
    return text[start:end].strip(), end + 1


def _end_of_bracket(text: str, start: int) -> int | None:
    """Where the bracket at `start` is closed; None: nowhere.

    As in a regular expression a backslash takes away the meaning of what follows, and
    brackets mean nothing within "[...]".
    """
    position, opened = start, []
    while position < len(text):
        sign = text[position]
        if sign == "\\":
            position += 1
        elif opened and sign == CLOSES[opened[-1]]:
            opened.pop()
            if not opened:
                return position
        elif sign in CLOSES and opened[-1:] != ["["]:
            opened.append(sign)
        position += 1
    return None
