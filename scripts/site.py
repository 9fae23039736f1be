"""Pages of the site that are files elsewhere, and the shipped files that pages link to; a hook of mkdocs.yml.

The README is the front page. Links to what lies outside of docs/ lead to a copy in the site, so it is whole anywhere.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

__all__ = ["PAGES", "on_config", "on_files", "on_page_markdown", "with_links"]

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "deploy/README.md": "deploy.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
}
"""Files that are pages, and the address of each."""
SHIPPED = ("deploy", "grafana_dashboards", "requirements", "scripts", "config.example.yaml")
COPIES = "files"
_LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")


def with_links(text: str, folder: str) -> str:
    """Return Markdown of a file in `folder` of the repository with links that hold on a page of the site."""

    def place(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, match[1]))
        anchor = match[2] or ""
        if path in PAGES:
            return PAGES[path] + anchor
        if path.startswith("docs/"):
            return path.removeprefix("docs/") + anchor
        if (ROOT / path).is_dir():
            return f"files.md#{_anchor(path)}"
        return f"{COPIES}/{path}{anchor}"

    return _LINK.sub(place, text)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the anchors of headings as GitHub makes them, so that a link works in both places."""
    config.mdx_configs["toc"] = {**config.mdx_configs["toc"], "slugify": lambda text, _: _anchor(text)}
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are files elsewhere, the shipped files, and a page that lists them."""
    for path, name in PAGES.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=with_links(text, posixpath.dirname(path))))
    shipped = _shipped()
    for path in shipped:
        # A page would be made of Markdown and of names without a suffix: they are copied as text.
        files.append(File.generated(config, f"{COPIES}/{path}", abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "files.md", content=_listing(shipped)))
    return files


def on_page_markdown(markdown: str, page: object, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Return the Markdown of a page with links that hold in the site."""
    file = page.file  # type: ignore[attr-defined]
    return markdown if file.generated_by else with_links(markdown, "docs")


def _shipped() -> list[str]:
    tops = [ROOT / name for name in SHIPPED]
    files = [each for top in tops for each in ([top] if top.is_file() else top.rglob("*")) if each.is_file()]
    paths = [str(each.relative_to(ROOT)) for each in files if "__pycache__" not in each.parts]
    return sorted(path for path in paths if not path.endswith(".md"))


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def _listing(paths: list[str]) -> str:
    lines = ["# Shipped files", "", "Rules, manifests, dashboards and scripts, to take over."]
    folders = sorted({parent for path in paths for parent in _parents(path)})
    for folder in folders:
        inside = [path for path in paths if path.startswith(folder + "/")]
        lines += ["", f"## {folder}", ""]
        lines += [f"- [{os.path.relpath(path, folder)}]({COPIES}/{path})" for path in inside]
    return "\n".join([*lines, ""])


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
