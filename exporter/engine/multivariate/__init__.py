"""Groups: several metrics of one entity, judged together."""

from exporter.engine.multivariate.group import Group, GroupVerdict
from exporter.engine.multivariate.inputs import GroupInput, GroupMatrix, input_of, join
from exporter.engine.multivariate.isolation_forest import Forest, JointForest, fit
from exporter.engine.multivariate.settings import GroupSettings

__all__ = [
    "Forest",
    "Group",
    "GroupSettings",
    "GroupVerdict",
    "JointForest",
    "GroupMatrix",
    "GroupInput",
    "fit",
    "join",
    "input_of",
]
