"""How pages are made of templates: every text is escaped, and all share a style."""

from collections.abc import Callable

import jinja2

PACKAGE = "mmdiffmask.report"


def load(
    name: str,
    package: str = PACKAGE,
    filters: dict[str, Callable[..., str]] | None = None,
) -> jinja2.Template:
    """A template of a package, which may include those of this one.

    Args:
      name: of its file.
      package: where it lies.
      filters: name -> what it makes of a value.
    """
    loaders = [jinja2.PackageLoader(place, "") for place in (package, PACKAGE)]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(name)
