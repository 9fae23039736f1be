"""The ``groups:`` section."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from exporter.settings import Items, Section, SourceLabel

__all__ = ["GroupSettings", "GroupVotes"]

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_:.-]{0,127}")


def _group_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"not a group name: {name[:60]!r}; letters, digits and _ : . - only, "
            "starting with a letter or _, at most 128 characters"
        )
    return name


class GroupVotes(Section):
    """Queries that vote beside the joint detector, each with what its own detection says."""

    quorum: int = Field(
        ge=1, description="How many must agree: the joint detector has one vote, and each query of `queries` one."
    )
    queries: Items[str] = Field(
        (),
        description="Names of the voting queries, which are among those of the group. Empty: all of them.",
    )


class GroupSettings(Section):
    """Several metrics of one thing, judged together."""

    name: Annotated[str, AfterValidator(_group_name)] = Field(
        description="Label `group` of its scores. Unique; learned state is kept under this name."
    )
    by: Items[SourceLabel] = Field(
        (),
        description="Labels that say which series of the queries belong to one thing, such as `[namespace, pod]`. "
        "Series without all of them belong to none. Empty: all series belong to one thing.",
    )
    queries: Items[str] = Field(
        min_length=2, max_length=64, description="Names of the queries whose metrics are judged together."
    )
    detector: Literal["whitened", "isolation_forest"] = Field(
        "whitened",
        description="`whitened` knows how the metrics go together, finds more, and costs less; "
        "`isolation_forest` is scikit-learn's.",
    )
    contamination: float | None = Field(
        None,
        gt=0,
        lt=0.5,
        description="Share of the past that is as unusual as a score of 0.5, the threshold. "
        "Default: 0.001 for `whitened`, up to 0.003 where slots are five minutes or longer; "
        "0.02 for `isolation_forest`.",
    )
    votes: GroupVotes | None = Field(
        None,
        description="Several metrics vote with the joint detector, such as the z-score of one and the quartiles of "
        "another. Left out: the joint detector decides alone.",
    )
    max_things: int = Field(10_000, ge=1, description="Things judged at most; those that are known stay.")

    @property
    def voters(self) -> tuple[int, ...]:
        """Places of the voting queries in `queries`; none where the joint detector decides alone."""
        if self.votes is None:
            return ()
        return tuple(at for at, name in enumerate(self.queries) if not self.votes.queries or name in self.votes.queries)

    @property
    def forest_contamination(self) -> float:
        """The contamination of a forest."""
        return 0.02 if self.contamination is None else self.contamination
