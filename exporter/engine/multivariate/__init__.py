"""Groups: several metrics of one thing, judged together."""

from exporter.engine.multivariate.group import Group, GroupVerdict
from exporter.engine.multivariate.inputs import GroupInput, Matrix, join, reading_of
from exporter.engine.multivariate.isolation_forest import Forest, IsolationForest, fit
from exporter.engine.multivariate.settings import GroupSettings

__all__ = [
    "Forest",
    "Group",
    "GroupSettings",
    "GroupVerdict",
    "IsolationForest",
    "Matrix",
    "GroupInput",
    "fit",
    "join",
    "reading_of",
]
