from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from exporter.config.json_schema import config_schema, text_of
from exporter.config.load import load
from exporter.config.model import Config
from exporter.config.schema_walk import models_in
from exporter.errors import ConfigError
from scripts import preset_reference
from scripts.config_reference import render

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "configuration.md"
PRESETS = ROOT / "docs" / "presets.md"
SCHEMA = ROOT / "docs" / "config.schema.json"


def models(model: type[BaseModel] = Config) -> set[type[BaseModel]]:
    inner = [part for info in model.model_fields.values() for part in models_in(info.annotation)]
    return {model, *(found for part in inner for found in models(part))}


def test_the_document_is_what_the_models_say(update_golden: bool) -> None:
    if update_golden:
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


def test_the_presets_in_the_documents_are_those_of_the_package(update_golden: bool) -> None:
    if update_golden:
        PRESETS.write_text(preset_reference.render(), encoding="utf-8")
    assert PRESETS.read_text(encoding="utf-8") == preset_reference.render(), "make reference"


def test_the_published_schema_is_that_of_the_models(update_golden: bool) -> None:
    if update_golden:
        SCHEMA.write_text(text_of(config_schema()), encoding="utf-8")
    assert SCHEMA.read_text(encoding="utf-8") == text_of(config_schema()), "make reference"


def test_the_schema_takes_what_the_program_takes() -> None:
    validator = jsonschema.Draft202012Validator(config_schema())
    example = yaml.safe_load((ROOT / "config.example.yaml").read_text(encoding="utf-8"))
    assert list(validator.iter_errors(example)) == []
    detectors = ["zscore", {"kind": "iqr", "multiplier": 2.0}, {"kind": "package.module:Class", "colour": 3}]
    more = {"queries": [{"preset": "node", "interval": "5m"}], "detection": {"detectors": detectors}}
    assert list(validator.iter_errors(more)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"querys": []},
        {"queries": [{"name": "a"}]},
        {"queries": [{"preset": "nothing"}]},
        {"queries": [{"name": "a", "expr": "up", "interval": 5}]},
        {"detection": {"detectors": [{"kind": "zscore", "multiplier": 2.0}]}},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_program_refuses(wrong: dict[str, object], tmp_path: Path) -> None:
    assert list(jsonschema.Draft202012Validator(config_schema()).iter_errors(wrong))
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump({"queries": [{"name": "a", "expr": "up"}], **wrong}))
    with pytest.raises(ConfigError):
        load(file)
