"""Groups: several metrics of one thing, judged together."""

from exporter.engine.groups.group import Group, GroupVerdict
from exporter.engine.groups.isolation_forest import Forest, IsolationForest, fit
from exporter.engine.groups.reading import Matrix, Reading, join, reading_of
from exporter.engine.groups.settings import GroupSettings

__all__ = [
    "Forest",
    "Group",
    "GroupSettings",
    "GroupVerdict",
    "IsolationForest",
    "Matrix",
    "Reading",
    "fit",
    "join",
    "reading_of",
]
