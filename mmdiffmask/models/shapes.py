"""How the arrays of a checkpoint differ from those that a model has."""

Shapes = dict[str, tuple[int, ...]]

_LISTED = 4  # names in a message; the others are counted


def differences(shapes: Shapes, wanted: Shapes) -> list[str]:
    """What is missing, what is too much, and what has another shape, each counted."""
    missing = sorted(wanted.keys() - shapes.keys())
    extra = sorted(shapes.keys() - wanted.keys())
    wrong = [
        f"{path} {list(shapes[path])} instead of {list(wanted[path])}"
        for path in sorted(wanted.keys() & shapes.keys())
        if wanted[path] != shapes[path]
    ]
    return [
        f"{len(names)} {kind}: {', '.join(f'{name:.120}' for name in names[:_LISTED])}"
        + (", ..." if len(names) > _LISTED else "")
        for names, kind in (
            (missing, f"of {len(wanted)} arrays missing"),
            (extra, "extra"),
            (wrong, "of another shape"),
        )
        if names
    ]
