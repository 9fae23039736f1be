from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from exporter.config.model import Config
from exporter.config.schema_walk import models_in
from scripts.config_reference import render

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def models(model: type[BaseModel] = Config) -> set[type[BaseModel]]:
    inner = [part for info in model.model_fields.values() for part in models_in(info.annotation)]
    return {model, *(found for part in inner for found in models(part))}


def test_the_document_is_what_the_models_say(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        DOCUMENT.write_text(render(), encoding="utf-8")
    document = DOCUMENT.read_text(encoding="utf-8")
    # A detector that is being written may have no section so far; one that has a section has this one.
    sections = [
        part for part in render().split("\n## ") if not part.startswith("Detector ") or _title(part) in document
    ]
    assert document == "\n## ".join(sections), "make reference"


def _title(section: str) -> str:
    return "\n## " + section.partition("\n")[0] + "\n"


@pytest.mark.parametrize("model", sorted(models(), key=lambda model: model.__name__))
def test_every_field_has_a_description(model: type[BaseModel]) -> None:
    assert [name for name, info in model.model_fields.items() if not info.description] == []


@pytest.mark.parametrize("model", sorted(models(), key=lambda model: model.__name__))
def test_every_field_is_in_the_document(model: type[BaseModel]) -> None:
    text = render()
    assert [n for n, info in model.model_fields.items() if f"{info.alias or n}:" not in text] == []
