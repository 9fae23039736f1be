"""The learned profile of queries as rules of Prometheus: how it is measured, and the text of the rules."""

from exporter.rule_export.profile import Comparison, Profile, profile_of
from exporter.rule_export.render import as_rules

__all__ = ["Comparison", "Profile", "as_rules", "profile_of"]
