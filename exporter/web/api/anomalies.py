"""``/api/v1/anomalies``: episodes, their acknowledgement and feedback."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import msgspec

from exporter.alerting.alert import AuditEvent
from exporter.alerting.episode import Episode, Feedback, Status
from exporter.calendar.matchers import Matcher, MatcherError, all_match, parse_matcher
from exporter.silences import AlertStatus
from exporter.store import EpisodeChange, EpisodeCursor, EpisodeFilter, EpisodeLog
from exporter.web.api.endpoint import ApiRequest, Endpoint, Instant
from exporter.web.api.envelope import ApiError, ErrorType

__all__ = ["anomaly_endpoints", "cursor_of", "parse_matchers", "read_cursor"]

_NUMBERS = ("observed", "expected", "lower", "upper", "score", "z", "votes")
StatusName = Literal["open", "acknowledged", "resolved"]
VerdictName = Literal["confirmed", "expected", "false alarm", "new normal"]
Name = Annotated[str, msgspec.Meta(max_length=256)]
Comment = Annotated[str, msgspec.Meta(max_length=2000, description="Why; for whoever looks later.")]
Matchers = Annotated[
    tuple[str, ...],
    msgspec.Meta(max_length=20, description='Label matchers, such as `service="checkout"`; all must hold.'),
]
Who = Annotated[str, msgspec.Meta(max_length=200, description="For whom a program logs in; the user unless given.")]
Cursor = Annotated[str, msgspec.Meta(max_length=256, description="`next_cursor` of the page before.")]
Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="At most so many a page.")]


class AnomalyFilters(msgspec.Struct, frozen=True, kw_only=True):
    """Which episodes to list."""

    query: Annotated[Name | None, msgspec.Meta(description="Only of this query.")] = None
    status: Annotated[StatusName | None, msgspec.Meta(description="Only these.")] = None
    feedback: Annotated[VerdictName | None, msgspec.Meta(description="Only those with this newest verdict.")] = None
    match: Matchers = msgspec.field(default=(), name="match[]")
    since: Annotated[Instant | None, msgspec.Meta(description="Only those that were not over before.")] = None
    until: Annotated[Instant | None, msgspec.Meta(description="Only those that had begun by then.")] = None
    fired: Annotated[
        bool | None, msgspec.Meta(description="Whether it lasted long enough for Alertmanagers to be told.")
    ] = None
    min_score: Annotated[float, msgspec.Meta(ge=0, le=1, description="Least score of the worst slot.")] | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


class AnomalyId(msgspec.Struct, frozen=True):
    """An episode."""

    id: Annotated[str, msgspec.Meta(max_length=64, description="UUID of the episode.")]


class Acknowledgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That somebody takes care of it."""

    comment: Comment = ""
    who: Who = ""


class FeedbackBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What it was."""

    verdict: VerdictName
    comment: Comment = ""
    who: Who = ""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Who takes care of it."""

    at: float
    by: str
    comment: str


@dataclass(frozen=True, slots=True)
class FeedbackVerdict:
    """The newest verdict of a user."""

    verdict: str
    at: float
    by: str
    comment: str


@dataclass(frozen=True, slots=True)
class StormSummary:
    """Of many series that turned together, as its alert says it now."""

    members: Annotated[str, msgspec.Meta(description="How many are anomalous, and of how many.")]
    in_common: Annotated[tuple[str, ...], msgspec.Meta(description="Label values that are frequent among them.")]
    worst: Annotated[tuple[str, ...], msgspec.Meta(description="The worst of them, a sentence each.")]


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One episode; the numbers are those of its worst slot, in source units. Times are Unix seconds.

    `alertmanagers` says what each made of its alert when it was asked last: empty where it does not fire, but for an
    alert that is not sent any more (`resolved_why` is `source_down`) and still listed there. `storm` is null where it
    is about one series, or its alert is gone.
    """

    id: str
    query: str
    labels: Mapping[str, str]
    status: StatusName
    opened_at: float
    fired_at: float | None
    resolved_at: float | None
    resolved_why: str | None
    summary: str
    worst_at: float | None
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    score: float | None
    z: float | None
    votes: float | None
    acknowledged: Acknowledged | None
    feedback: FeedbackVerdict | None
    alertmanagers: tuple[AlertStatus, ...]
    storm: StormSummary | None


@dataclass(frozen=True, slots=True)
class Transition:
    """One entry of the audit. `intact` is false where what is stored is not what was written."""

    at: float
    event: str
    who: str
    why: str
    details: Mapping[str, str]
    intact: bool


@dataclass(frozen=True, slots=True)
class AnomalyWithTransitions:
    """One episode, and everything that happened to it, oldest first."""

    anomaly: Anomaly
    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class AnomalyPage:
    """Episodes, those opened last first. More follow where `next_cursor` is not null."""

    anomalies: tuple[Anomaly, ...]
    next_cursor: str | None


def parse_matchers(texts: tuple[str, ...], name: str = "match[]") -> list[Matcher]:
    """Read label matchers of a request.

    Raises
    ------
    ApiError
    """
    try:
        return [parse_matcher(text) for text in texts]
    except MatcherError as error:
        raise ApiError(ErrorType.BAD_DATA, f"{name}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Anomalies:
    """What the endpoints do with episodes; the attributes as of `anomaly_endpoints`."""

    episodes: EpisodeLog
    clock: Callable[[], float]
    alert_status: Callable[[Mapping[str, str], float], tuple[AlertStatus, ...]]
    annotations: Callable[[str, str], Mapping[str, str]]

    def list_page(self, request: ApiRequest[AnomalyFilters, None]) -> AnomalyPage:
        """Return one page of episodes."""
        parameters = request.parameters
        matchers = parse_matchers(parameters.match)
        filters = EpisodeFilter(
            query=parameters.query,
            status=None if parameters.status is None else Status(parameters.status),
            feedback=None if parameters.feedback is None else Feedback(parameters.feedback),
            since=parameters.since,
            until=parameters.until,
            fired=parameters.fired,
            least_score=parameters.min_score,
            labels=(lambda labels: all_match(matchers, labels)) if matchers else None,
        )
        page = self.episodes.page(filters, after=read_cursor(parameters.cursor), limit=parameters.limit)
        following = None if page.next is None else cursor_of(page.next)
        return AnomalyPage(tuple(map(self._described, page.episodes)), following)

    def get(self, request: ApiRequest[AnomalyId, None]) -> AnomalyWithTransitions:
        """Return one episode with its audit."""
        result = self.episodes.get(request.parameters.id)
        if result is None:
            raise _unknown_anomaly(request.parameters.id)
        episode, entries = result
        transitions = (
            Transition(entry.at, entry.event, entry.who, entry.why, entry.details, entry.intact) for entry in entries
        )
        return AnomalyWithTransitions(self._described(episode), tuple(transitions))

    def acknowledge(self, request: ApiRequest[AnomalyId, Acknowledgement]) -> Anomaly:
        """Note that somebody takes care of it."""
        body = request.body
        who = _who(request.who, body.who)
        change = self.episodes.acknowledge(request.parameters.id, at=self.clock(), who=who, why=body.comment)
        if change.episode is not None and change.episode.acknowledged_at is None:
            raise ApiError(ErrorType.CONFLICT, "it is resolved: there is nothing left to acknowledge; give feedback")
        return self._changed(request, change)

    def give_feedback(self, request: ApiRequest[AnomalyId, FeedbackBody]) -> Anomaly:
        """Note what it was."""
        body, anomaly = request.body, request.parameters.id
        who, verdict = _who(request.who, body.who), Feedback(body.verdict)
        change = self.episodes.give_feedback(anomaly, verdict, at=self.clock(), who=who, comment=body.comment)
        return self._changed(request, change)

    def take_back(self, event: AuditEvent, request: ApiRequest[AnomalyId, None]) -> Anomaly:
        """Take an acknowledgement or feedback back."""
        change = self.episodes.take_back(request.parameters.id, event, at=self.clock(), who=request.who or "")
        return self._changed(request, change)

    def _changed(self, request: ApiRequest[AnomalyId, Any], change: EpisodeChange) -> Anomaly:
        if change.episode is None:
            raise _unknown_anomaly(request.parameters.id)
        return self._described(change.episode)

    def _described(self, episode: Episode) -> Anomaly:
        fires = episode.fired_at is not None and (episode.resolved_at is None or episode.ended_unsent)
        texts = self.annotations(episode.query, episode.fingerprint) if episode.resolved_at is None else {}
        status = self.alert_status(episode.labels, episode.fired_at or 0.0) if fires else ()
        if episode.resolved_at is not None:
            status = tuple(each for each in status if each.state != "absent")
        return _anomaly(episode, status, _storm(texts))


def anomaly_endpoints(
    episodes: EpisodeLog,
    clock: Callable[[], float],
    alert_status: Callable[[Mapping[str, str], float], tuple[AlertStatus, ...]],
    annotations: Callable[[str, str], Mapping[str, str]],
) -> tuple[Endpoint[Any, Any], ...]:
    """Make the endpoints.

    Parameters
    ----------
    clock : callable
        Unix seconds.
    alert_status : callable
        From the labels of an alert and since when it fires to its status in every Alertmanager.
    annotations : callable
        From a query and a fingerprint to the annotations of its alert; empty where there is none.
    """
    anomalies = _Anomalies(episodes, clock, alert_status, annotations)
    nothing, missing = type(None), (ErrorType.NOT_FOUND,)
    return (
        Endpoint(
            "GET",
            "/anomalies",
            "Episodes, those opened last first.",
            anomalies.list_page,
            AnomalyPage,
            AnomalyFilters,
            nothing,
        ),
        Endpoint(
            "GET",
            "/anomalies/{id}",
            "One episode with everything that happened to it.",
            anomalies.get,
            AnomalyWithTransitions,
            AnomalyId,
            nothing,
            missing,
        ),
        Endpoint(
            "POST",
            "/anomalies/{id}/acknowledge",
            "Say that somebody takes care of it; the first one does, and saying it again changes nothing.",
            anomalies.acknowledge,
            Anomaly,
            AnomalyId,
            Acknowledgement,
            (*missing, ErrorType.CONFLICT),
            action=True,
        ),
        Endpoint(
            "DELETE",
            "/anomalies/{id}/acknowledge",
            "Take an acknowledgement back; the audit keeps both.",
            partial(anomalies.take_back, AuditEvent.UNACKNOWLEDGED),
            Anomaly,
            AnomalyId,
            nothing,
            missing,
            action=True,
        ),
        Endpoint(
            "POST",
            "/anomalies/{id}/feedback",
            "Say what it was; the newest word holds. `new normal` has the present level accepted at once.",
            anomalies.give_feedback,
            Anomaly,
            AnomalyId,
            FeedbackBody,
            missing,
            action=True,
        ),
        Endpoint(
            "DELETE",
            "/anomalies/{id}/feedback",
            "Take feedback back; the audit keeps both. A level that was accepted meanwhile stays so.",
            partial(anomalies.take_back, AuditEvent.FEEDBACK_WITHDRAWN),
            Anomaly,
            AnomalyId,
            nothing,
            missing,
            action=True,
        ),
    )


def _storm(annotations: Mapping[str, str]) -> StormSummary | None:
    if "members" not in annotations:
        return None
    in_common, worst = (tuple(annotations.get(name, "").splitlines()) for name in ("in_common", "worst"))
    return StormSummary(annotations["members"], in_common, worst)


def _anomaly(episode: Episode, alert_status: tuple[AlertStatus, ...], storm: StormSummary | None) -> Anomaly:
    worst = episode.worst
    acknowledged = feedback = None
    if episode.acknowledged_at is not None:
        acknowledged = Acknowledged(
            episode.acknowledged_at, episode.acknowledged_by or "", episode.acknowledged_why or ""
        )
    if episode.feedback is not None and episode.feedback_at is not None:
        feedback = FeedbackVerdict(
            str(episode.feedback), episode.feedback_at, episode.feedback_by or "", episode.feedback_comment or ""
        )
    return Anomaly(
        id=episode.id,
        query=episode.query,
        labels=episode.labels,
        status=episode.status.value,
        opened_at=episode.opened_at,
        fired_at=episode.fired_at,
        resolved_at=episode.resolved_at,
        resolved_why=episode.resolved_why,
        summary=episode.summary,
        worst_at=None if worst is None else worst.at,
        **{name: getattr(worst, name, None) for name in _NUMBERS},
        acknowledged=acknowledged,
        feedback=feedback,
        alertmanagers=alert_status,
        storm=storm,
    )


def _who(authenticated: str | None, given: str) -> str:
    """Return the author: a program may write for a user, but not hide itself."""
    user = authenticated or ""
    return user if given in ("", user) else f"{given} (via {user})"


def _unknown_anomaly(episode: str) -> ApiError:
    return ApiError(ErrorType.NOT_FOUND, f"there is no anomaly {episode!r}")


def cursor_of(end: EpisodeCursor) -> str:
    """Write the end of a page."""
    return f"{end[0]!r},{end[1]}"


def read_cursor(text: str | None) -> EpisodeCursor | None:
    """Read what `cursor_of` wrote; raises `ApiError`."""
    if text is None:
        return None
    at, _, episode = text.partition(",")
    if not episode or not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", at):
        raise ApiError(ErrorType.BAD_DATA, "cursor: not one that an earlier answer gave")
    return float(at), episode
