"""HTML by Jinja2 templates: everything is escaped, and an unknown variable is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from exporter.hidden_text import escape_hidden

__all__ = ["Templates"]

# Characters that no document may contain, not even as references.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def _visible(value: object) -> object:
    # What is markup already has gone through here.
    return escape_hidden(value) if type(value) is str else value


class Templates:
    """The templates in the folder ``templates`` of a package.

    Parameters
    ----------
    functions, filters, tests : mapping, optional
        What the templates may call, by name.
    """

    def __init__(
        self,
        package: str,
        *,
        functions: Mapping[str, Callable[..., object]] | None = None,
        filters: Mapping[str, Callable[..., object]] | None = None,
        tests: Mapping[str, Callable[..., bool]] | None = None,
    ) -> None:
        self._environment = Environment(
            loader=PackageLoader(package),
            autoescape=select_autoescape(default=True, default_for_string=True, disabled_extensions=()),
            undefined=StrictUndefined,
            finalize=_visible,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(functions or {})
        self._environment.filters.update(filters or {})
        self._environment.tests.update(tests or {})

    def render(self, name: str, **values: object) -> str:
        """Render a template; characters that no document may contain become U+FFFD."""
        return _FORBIDDEN.sub("\ufffd", self._environment.get_template(name).render(values))
