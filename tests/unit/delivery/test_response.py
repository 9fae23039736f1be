"""What an answer means."""

from __future__ import annotations

import pytest
from requests.structures import CaseInsensitiveDict

from exporter.delivery.response import ResponseKind, outcome_of_error, outcome_of_response
from exporter.errors import AlertmanagerError, Reason

NOW = 1_800_000_000.0
TAKEN, LATER, REFUSED, TOO_LARGE, FAULT = (
    ResponseKind.ACCEPTED,
    ResponseKind.LATER,
    ResponseKind.REJECTED,
    ResponseKind.TOO_LARGE,
    ResponseKind.FAULT,
)


@pytest.mark.parametrize(
    ("status", "body", "kind", "reason"),
    [
        (200, b"", TAKEN, None),
        (200, b" \n", TAKEN, None),
        (202, b"", TAKEN, None),
        (201, b'{"status":"created","note":"<html>"}', TAKEN, None),
        (200, b"OK", TAKEN, None),
        (204, b"", TAKEN, None),
        (207, b"[]", TAKEN, None),
        (200, b"<?xml version='1.0'?><response>taken</response>", TAKEN, None),
        (200, b"<html>Please log in</html>", FAULT, Reason.MALFORMED),
        (201, b"\xef\xbb\xbf \n<!-- a comment -->\n<!DOCTYPE html><title>x</title>", FAULT, Reason.MALFORMED),
        (202, b"<Head><META http-equiv=refresh content=0></head>", FAULT, Reason.MALFORMED),
        (301, b"", FAULT, Reason.REDIRECT),
        (302, b"", FAULT, Reason.REDIRECT),
        (307, b"", FAULT, Reason.REDIRECT),
        (308, b"", FAULT, Reason.REDIRECT),
        (400, b'"invalid label set"', REFUSED, Reason.REJECTED),
        (401, b"Unauthorized", FAULT, Reason.UNAUTHORIZED),
        (403, b"", FAULT, Reason.UNAUTHORIZED),
        (404, b"404 page not found", FAULT, Reason.HTTP),
        (405, b"", FAULT, Reason.HTTP),
        (408, b"", LATER, Reason.UNAVAILABLE),
        (410, b"", FAULT, Reason.HTTP),
        (413, b"", TOO_LARGE, Reason.TOO_LARGE),
        (415, b"", FAULT, Reason.HTTP),
        (422, b'{"code":602}', REFUSED, Reason.REJECTED),
        (425, b"", LATER, Reason.UNAVAILABLE),
        (429, b"", LATER, Reason.RATE_LIMITED),
        (500, b"", LATER, Reason.UNAVAILABLE),
        (502, b"", LATER, Reason.UNAVAILABLE),
        (503, b"", LATER, Reason.UNAVAILABLE),
        (504, b"", LATER, Reason.UNAVAILABLE),
        (100, b"", FAULT, Reason.HTTP),
    ],
)
def test_every_status_has_a_meaning(status: int, body: bytes, kind: ResponseKind, reason: Reason | None) -> None:
    outcome = outcome_of_response(status, {}, body, now=NOW)
    assert (outcome.kind, outcome.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("3600", 60.0),
        ("9" * 400, 60.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        ("\u0663", 0.0),
        ("Fri, 15 Jan 2027 08:00:20 GMT", 20.0),
        ("Fri, 15 Jan 2027 08:00:20", 20.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2100 08:00:00 GMT", 60.0),
        ("Fri, 99 Jan 2027 08:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_honoured_for_a_minute_at_most(text: str, wait: float) -> None:
    assert outcome_of_response(429, CaseInsensitiveDict({"RETRY-AFTER": text}), b"", now=NOW).wait == wait


def test_a_redirect_names_where_to_but_not_with_what() -> None:
    outcome = outcome_of_response(302, {"Location": "https://login.example/?token=secret"}, b"", now=NOW)
    assert outcome.text == "HTTP 302, redirected to https://login.example/"


def test_the_text_of_an_answer_is_short_and_printable() -> None:
    outcome = outcome_of_response(500, {}, b"a\x1b[31m\n" + b"\xff" * 9000, now=NOW)
    assert outcome.text.startswith("HTTP 500: a [31m \ufffd")
    assert len(outcome.text) < 250
    assert outcome.text.isprintable()


@pytest.mark.parametrize("reason", list(Reason))
def test_every_fault_without_an_answer_has_a_meaning(reason: Reason) -> None:
    outcome = outcome_of_error(AlertmanagerError("http://am", reason, "what happened"))
    assert outcome.kind is (LATER if reason.retryable else FAULT)
    assert (outcome.reason, outcome.text) == (reason, "what happened")
