"""Groups: several metrics of one entity, judged together."""

from exporter.engine.multivariate.group import AlertsUnderLoad, Group, GroupVerdict, alerts_under_load
from exporter.engine.multivariate.inputs import GroupInput, GroupMatrix, entities_of, input_of, inputs_of, join
from exporter.engine.multivariate.isolation_forest import Forest, JointForest, fit
from exporter.engine.multivariate.settings import GroupSettings

__all__ = [
    "AlertsUnderLoad",
    "alerts_under_load",
    "entities_of",
    "inputs_of",
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
