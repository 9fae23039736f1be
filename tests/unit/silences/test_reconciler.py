"""What has to be done so that Alertmanagers say what the calendar says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from exporter.calendar import Calendar, CalendarEntry, Occurrence, TimeWindow, parse_matcher
from exporter.silences.reconciler import EndSilence, PutSilence, body_of, plan_silences, steps
from exporter.silences.silence import AUTHOR, Silence, comment_of
from exporter.store import CreatedSilence

NOW = 1_798_761_600.0
HOUR = 3600.0


def occurrence(name: str = "x", begin: float = -HOUR, end: float = HOUR, match: str = "a=b", action: str = "silence"):
    return Occurrence(name, action, 1.0, (parse_matcher(match),), TimeWindow(NOW + begin, NOW + end), "")  # type: ignore[arg-type]


def calendar(*occurrences: Occurrence) -> Calendar:
    return Calendar([], "UTC", occurrences)


def made(one: Occurrence, identity: str = "s1", **changes: object) -> Silence:
    silence = Silence(identity, one.matchers, one.window, "as it was", False, AUTHOR, comment_of(one))
    return replace(silence, **changes)  # type: ignore[arg-type]


def plan(
    calendar_: Calendar, *present: Silence, mine: tuple[Silence, ...] = (), at: float = NOW
) -> list[PutSilence | EndSilence]:
    known = {one.id: CreatedSilence(one.id, one.entry or "", one.window.end) for one in (*present, *mine)}
    return steps(plan_silences(calendar_, at), present, known, at=at)


def test_what_is_missing_is_made_and_what_is_there_is_left() -> None:
    one = occurrence()
    assert plan(calendar(one)) == [PutSilence(one)]
    assert plan(calendar(one), made(one)) == []
    # Alertmanager begins a silence when it is asked, at the earliest.
    assert plan(calendar(one), made(one, window=TimeWindow(NOW - 60, NOW + HOUR))) == []


def test_silences_are_made_a_day_ahead_and_three_of_an_entry() -> None:
    soon, late = occurrence(begin=23 * HOUR, end=24 * HOUR), occurrence("y", begin=25 * HOUR, end=26 * HOUR)
    assert plan(calendar(soon, late)) == [PutSilence(soon)]
    often = CalendarEntry.model_validate(
        {"name": "often", "cron": "*/10 * * * *", "duration": "1m", "match": ["a=b"], "action": "silence"}
    )
    assert len(plan(Calendar([often]))) == 3
    # The fourth that another exporter made, whose clock differs, is not undone.
    fourth = often.occurrences(NOW, NOW + HOUR, "UTC")[4]
    assert [type(step) for step in plan(Calendar([often]), made(fourth))] == [PutSilence, PutSilence, PutSilence]


def test_what_is_not_for_silence_is_not_silenced() -> None:
    assert (
        plan(calendar(occurrence(action="ignore"), occurrence("y", action="expect"), occurrence("z", end=-1.0))) == []
    )


def test_a_new_end_changes_the_silence_that_is_there() -> None:
    before, after = occurrence(), occurrence(end=2 * HOUR)
    (step,) = plan(calendar(after), made(before))
    assert step == PutSilence(after, made(before))
    body = body_of(step, at=NOW)
    assert (body["id"], body["startsAt"], body["endsAt"]) == ("s1", "as it was", "2027-01-01T02:00:00Z")
    assert body["matchers"] == [{"name": "a", "value": "b", "isRegex": False, "isEqual": True}]


def test_a_new_start_changes_a_silence_that_has_not_begun() -> None:
    before, after = occurrence(begin=HOUR, end=3 * HOUR), occurrence(begin=2 * HOUR, end=3 * HOUR)
    (step,) = plan(calendar(after), made(before))
    assert isinstance(step, PutSilence)
    assert body_of(step, at=NOW)["startsAt"] == "2027-01-01T02:00:00Z"


def test_other_matchers_are_another_silence() -> None:
    before, after = occurrence(), occurrence(match="a=c")
    assert plan(calendar(after), made(before)) == [PutSilence(after), EndSilence(made(before))]


def test_what_is_gone_from_the_calendar_is_ended() -> None:
    assert plan(calendar(), made(occurrence())) == [EndSilence(made(occurrence()))]
    assert plan(calendar(), made(occurrence(), expired=True)) == []


def test_what_is_not_ours_is_never_touched() -> None:
    hers = made(occurrence(), author="eve")
    by_hand = made(occurrence(), comment="mine")
    one = occurrence()
    assert plan(calendar(), hers, by_hand) == []
    assert plan(calendar(one), hers) == [PutSilence(one)]
    # Another exporter's, for an entry that we know nothing of.
    assert steps(plan_silences(calendar(), NOW), [made(occurrence())], {}, at=NOW) == []


def test_of_twins_one_goes_and_everybody_agrees_which() -> None:
    one = occurrence()
    twins = (made(one, "s2"), made(one, "s1"))
    assert plan(calendar(one), *twins) == plan(calendar(one), *reversed(twins)) == [EndSilence(made(one, "s2"))]


def test_a_silence_that_somebody_ended_is_not_made_again_in_its_window() -> None:
    one = occurrence()
    ended = made(one, expired=True, window=TimeWindow(NOW - HOUR, NOW - 60))
    assert plan(calendar(one), ended) == []
    # The next window is another matter, and so is one that we ended ourselves.
    next_one = occurrence(begin=2 * HOUR, end=3 * HOUR)
    assert plan(calendar(one, next_one), ended) == [PutSilence(next_one)]
    ours = {ended.id: CreatedSilence(ended.id, "x", ended.window.end, removed=True)}
    assert steps(plan_silences(calendar(one), NOW), [ended], ours, at=NOW) == [PutSilence(one)]


occurrences = st.builds(
    lambda name, begin, length, match: occurrence(name, begin * HOUR, (begin + length) * HOUR, match),
    st.sampled_from("xyz"),
    st.integers(-3, 20),
    st.integers(1, 4),
    st.sampled_from(["a=b", "a=c"]),
)
calendars = st.lists(occurrences, max_size=4, unique_by=lambda one: one.name).map(lambda found: calendar(*found))


class Alertmanager:
    """What a real one does with the steps, as far as it matters here."""

    def __init__(self) -> None:
        self.silences: dict[str, Silence] = {}
        self.made: dict[str, CreatedSilence] = {}

    def take(self, step: PutSilence | EndSilence, at: float) -> None:
        if isinstance(step, EndSilence):
            self._end(step.silence.id, at)
            return
        wanted_ = step.occurrence
        if step.replaces is not None:
            self._end(step.replaces.id, at)
        identity = f"s{len(self.silences)}"
        window = TimeWindow(max(wanted_.window.start, at), wanted_.window.end)
        self.silences[identity] = made(wanted_, identity, window=window)
        self.made[identity] = CreatedSilence(identity, wanted_.name, wanted_.window.end)

    def _end(self, identity: str, at: float) -> None:
        one = self.silences[identity]
        window = TimeWindow(min(one.window.start, at), min(one.window.end, at))
        self.silences[identity] = replace(one, expired=True, window=window)
        self.made[identity] = replace(self.made[identity], removed=True)


@given(st.lists(calendars, min_size=1, max_size=5))
def test_whatever_the_calendar_becomes_one_round_is_enough_and_a_second_does_nothing(versions: list[Calendar]) -> None:
    server, at = Alertmanager(), NOW
    for version in versions:
        at += 60.0
        for step in steps(plan_silences(version, at), list(server.silences.values()), server.made, at=at):
            server.take(step, at)
        assert steps(plan_silences(version, at), list(server.silences.values()), server.made, at=at) == []
        living = [one for one in server.silences.values() if not one.expired and one.window.end > at]
        needed = plan_silences(version, at).needed
        assert sorted((one.entry, one.matchers, one.window.end) for one in living) == sorted(
            (one.name, one.matchers, one.window.end) for one in needed
        )
