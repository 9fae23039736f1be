"""What every page has around its content."""

from __future__ import annotations

from exporter.web.pages.markup import Markup, Node, join, tag
from exporter.web.pages.text import instant

__all__ = ["CONTENT_SECURITY_POLICY", "page"]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; base-uri 'none'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self'; script-src 'self'; style-src 'self'"
)
"""Nothing but our own files, and nothing inline: what got into a page unescaped could still do nothing."""

_LINKS = (
    ("./", "Overview"),
    ("metrics", "Metrics"),
    ("api/v1/openapi.json", "API"),
    ("api/v1/status/config", "Configuration"),
)


def page(title: str, *content: Node, at: float, zone: str, version: str, assets: str, here: str = "") -> Markup:
    """Make a whole document.

    Parameters
    ----------
    title : str
    at : float, Unix seconds
    zone : str
        IANA time zone of all instants on the page.
    version : str
        Of the program.
    assets : str
        Version of the style sheet and the script: another one is another address, so that no cache is stale.
    here : str
        The link that leads to this page; a page that has one is kept fresh.
    """
    links = [
        tag("li", tag("a", text, href=href, aria_current="page" if href == here else None)) for href, text in _LINKS
    ]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · Anomaly Exporter"),
        tag("link", rel="icon", href=f"static/icon.svg?v={assets}", type="image/svg+xml"),
        tag("link", rel="stylesheet", href=f"static/style.css?v={assets}"),
        tag("script", "", src=f"static/script.js?v={assets}", defer=True),
    ]
    body = [
        tag("a", "Skip to content", href="#content", class_="skip"),
        tag(
            "header",
            tag("a", "Anomaly Exporter", href="./", class_="brand"),
            tag("nav", tag("ul", links), aria_label="Site"),
        ),
        tag("main", *content, id="content", data_fresh=bool(here)),
        tag("footer", f"{version} · ", instant(at, zone), "" if zone == "UTC" else f" ({zone})"),
    ]
    document = tag("html", tag("head", head), tag("body", body), lang="en")
    return join([Markup("<!DOCTYPE html>\n"), document, Markup("\n")])
