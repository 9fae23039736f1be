"""One slot of one query, from the question to Prometheus to the alerts that are sent."""

from exporter.cycle.causes import Causes
from exporter.cycle.cycle import Cycle
from exporter.cycle.departed import Departed
from exporter.cycle.group_cycle import GroupCycle, job_of
from exporter.cycle.groups import Groups
from exporter.cycle.latest import Latest
from exporter.cycle.people import People
from exporter.cycle.room import Room
from exporter.cycle.suppression import Suppression
from exporter.cycle.surroundings import Surroundings
from exporter.cycle.treatment import Treatments
from exporter.cycle.turned import Turned

__all__ = [
    "Causes",
    "Cycle",
    "Departed",
    "GroupCycle",
    "Groups",
    "Latest",
    "People",
    "Room",
    "Suppression",
    "Surroundings",
    "Treatments",
    "Turned",
    "job_of",
]
