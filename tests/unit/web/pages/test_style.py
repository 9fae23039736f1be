"""Colours can be told apart from what they stand on, by light and in the dark (WCAG 2.1, level AA)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

SHEET = (files("exporter.web.pages") / "static" / "style.css").read_text()
LIGHT, DARK = (dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)) for block in SHEET.split(":root {")[1:3])
PAIRS = [
    *((front, back) for front in ("text", "soft") for back in ("card", "back", "soft-back")),
    *((front, back) for front in ("link", "bad", "good", "warn") for back in ("card", "back")),
    *((kind, f"{kind}-back") for kind in ("good", "warn", "bad")),
]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), PAIRS)
def test_text_has_contrast(theme, front, back):
    high, low = sorted((luminance(theme[front]), luminance(theme[back])), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_style_sheet_asks_nobody():
    assert "url(" not in SHEET
    assert "@import" not in SHEET
    assert set(re.findall(r"var\(--([a-z-]+)\)", SHEET)) <= set(LIGHT) == set(DARK)
