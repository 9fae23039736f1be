"""The picture of the documentation shows what it says that it shows."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from zoneinfo import ZoneInfo

import matplotlib as mpl
import numpy as np
import pytest

from exporter.engine.engine import EngineSettings
from exporter.engine.settings import BaselineSettings, DetectionSettings
from tests.deploy.tools import ROOT


@pytest.fixture
def picture() -> ModuleType:
    spec = importlib.util.spec_from_file_location("picture", ROOT / "scripts" / "picture.py")
    assert spec is not None
    assert spec.loader is not None
    mpl.use("agg")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_picture_shows_an_hour_that_is_anomalous(picture: ModuleType, tmp_path: Path) -> None:
    settings = EngineSettings(ZoneInfo("UTC"), BaselineSettings(), DetectionSettings())
    judged = picture.judge(settings)
    shown = judged.series.times >= judged.series.times[-1] - picture.SHOWN * picture.DAY
    hours = (judged.series.times[-1] - judged.series.times[judged.anomalous & shown]) / 3600
    assert len(hours) >= 6
    assert np.all((hours > 8.0) & (hours <= 9.0))
    with mpl.rc_context():
        picture.draw(judged, settings, tmp_path / "concepts.svg")
    assert (tmp_path / "concepts.svg").stat().st_size > 50_000
