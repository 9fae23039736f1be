"""The envelope, the checks and the gate, on endpoints of the test's own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import bcrypt
import jsonschema
import msgspec
import pytest
import requests
import trustme

from exporter.errors import PrometheusError, Reason
from exporter.store import StoreError, StoreReason
from exporter.web import WebConfigFile
from exporter.web.api import ApiError, ApiRequest, Endpoint, ErrorType, Instant, NoParameters

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
ALICE = ("alice", "secret")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=10, description="At most so many.")] = 5
    since: Annotated[Instant | None, msgspec.Meta(description="Not before.")] = None
    match: Annotated[tuple[str, ...], msgspec.Meta(description="Only these.")] = msgspec.field(
        default=(), name="match[]"
    )


class One(msgspec.Struct, frozen=True):
    id: Annotated[str, msgspec.Meta(description="Which one.")]


class Comment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    comment: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    weight: float = 1.0


@dataclass(frozen=True)
class Answer:
    """What was understood.

    More of it.
    """

    limit: int
    since: float | None
    match: tuple[str, ...]
    unsaid: float | None = float("nan")


def listed(call: ApiRequest[Wanted, None]) -> Answer:
    wanted = call.parameters
    return Answer(wanted.limit, wanted.since, wanted.match)


def noted(call: ApiRequest[One, Comment]) -> dict[str, str | None]:
    if call.parameters.id == "gone":
        raise ApiError(ErrorType.NOT_FOUND, "there is no gone")
    if call.parameters.id == "full":
        raise StoreError(StoreReason.FULL, "the disk is full: /secret/place")
    if call.parameters.id == "down":
        raise PrometheusError("http://prometheus:9090", Reason.REFUSED, "nobody listens")
    if call.parameters.id == "mistake":
        raise RuntimeError("secret detail")
    return {"id": call.parameters.id, "comment": call.body.comment, "who": call.who}


def removed(call: ApiRequest[One, None]) -> dict[str, str | None]:
    return {"id": call.parameters.id, "who": call.who}


ENDPOINTS = (
    Endpoint("GET", "/things", "Lists.", listed, Answer, Wanted, type(None)),
    Endpoint("POST", "/things/{id}/note", "Notes.", noted, dict[str, str | None], One, Comment, (ErrorType.NOT_FOUND,)),
    Endpoint("DELETE", "/things/{id}", "Removes.", removed, dict[str, str | None], One, type(None)),
    Endpoint("POST", "/hook", "Has its own proof.", lambda _: {}, dict[str, str], NoParameters, type(None), open=True),
)


@pytest.fixture
def url(serve, tmp_path):
    """The API of a server where alice may log in."""
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: {HASH}}}\n")
    return serve(web_config=WebConfigFile(tmp_path / "web.yml"), endpoints=ENDPOINTS).url + "/api/v1"


def get(url: str, query: str) -> requests.Response:
    return requests.get(f"{url}/things?{query}", auth=ALICE, timeout=10)


def post(url: str, name: str = "a", **options: object) -> requests.Response:
    options = {"json": {"comment": "fine"}, "auth": ALICE, **options}
    return requests.post(f"{url}/things/{name}/note", timeout=10, **options)


@pytest.mark.parametrize(
    ("query", "data"),
    [
        ("", {"limit": 5, "since": None, "match": []}),
        ("limit=10", {"limit": 10}),
        ("since=1700000000.5", {"since": 1700000000.5}),
        ("since=2026-11-22T18:00:00Z", {"since": 1795370400.0}),
        ("since=2026-11-22T19:00:00%2B01:00", {"since": 1795370400.0}),
        ("match[]=a&match%5B%5D=b", {"match": ["a", "b"]}),
    ],
)
def test_parameters_are_read(url, query, data):
    answer = get(url, query)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["status"] == "success"
    assert data.items() <= answer.json()["data"].items()
    assert answer.json()["data"]["unsaid"] is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: expected `int` >= 1"),
        ("limit=1000000000", "limit: expected `int` <= 10"),
        ("limit=-1", "limit: expected `int` >= 1"),
        ("limit=9.5", "limit: expected `int`, got `str`"),
        ("limit=", "limit: expected `int`, got `str`"),
        ("limit=5&limit=6", "limit: given more than once"),
        ("since=NaN", "since: expected Unix seconds, or a time such as 2026-11-22T18:00:00Z"),
        ("since=2026-11-22", "since: expected Unix seconds, or a time such as 2026-11-22T18:00:00Z"),
        ("since=1e400", "since: expected Unix seconds, or a time such as 2026-11-22T18:00:00Z"),
        ("limt=5", "'limt': unknown parameter; known: limit, match[], since"),
        ("id='--\"", "'id': unknown parameter; known: limit, match[], since"),
    ],
)
def test_a_wrong_parameter_is_named(url, query, message):
    answer = get(url, query)
    assert answer.status_code == 400
    assert answer.json() == {"status": "error", "errorType": "bad_data", "error": message}


def test_who_changes_something_is_known(url):
    answer = post(url)
    assert answer.json() == {"status": "success", "data": {"id": "a", "comment": "fine", "who": "alice"}}
    answer = requests.delete(f"{url}/things/b", auth=ALICE, timeout=10)
    assert answer.json()["data"] == {"id": "b", "who": "alice"}


@pytest.mark.parametrize("auth", [None, ("alice", "wrong"), ("mallory", "secret")], ids=["nobody", "wrong", "unknown"])
def test_where_users_are_configured_nobody_else_gets_in(url, auth):
    assert post(url, auth=auth).status_code == 401


def test_without_credentials_nothing_can_be_changed(serve):
    url = serve(endpoints=ENDPOINTS).url + "/api/v1"
    for answer in (post(url), requests.delete(f"{url}/things/b", timeout=10)):
        assert answer.status_code == 403
        assert answer.json()["errorType"] == "forbidden"
        for what in ("basic_auth_users", "client_ca_file", "--web.config.file"):
            assert what in answer.json()["error"]
    assert requests.get(f"{url}/things", timeout=10).status_code == 200
    assert requests.post(f"{url}/hook", timeout=10).status_code == 200


@pytest.mark.parametrize("shown", [True, False])
def test_a_client_certificate_is_somebody(serve, tmp_path, shown):
    authority = trustme.CA()
    server = authority.issue_cert("localhost", "127.0.0.1")
    server.private_key_pem.write_to_path(tmp_path / "key.pem")
    server.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    client = authority.issue_cert("pager.example", common_name="carol")
    client.private_key_and_cert_chain_pem.write_to_path(tmp_path / "client.pem")
    (tmp_path / "web.yml").write_text(
        "tls_server_config: {cert_file: cert.pem, key_file: key.pem, client_ca_file: ca.pem,"
        " client_auth_type: VerifyClientCertIfGiven}\n"
    )
    served = serve(web_config=WebConfigFile(tmp_path / "web.yml"), endpoints=ENDPOINTS)
    more = {"cert": str(tmp_path / "client.pem")} if shown else {}
    answer = post(f"https://localhost:{served.port}/api/v1", verify=str(tmp_path / "ca.pem"), auth=None, **more)
    if shown:
        assert answer.json()["data"]["who"] == "carol"
    else:
        assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: input data was truncated"),
        (b"{", "body: input data was truncated"),
        (b"[]", "body: expected `object`, got `array`"),
        (b"null", "body: expected `object`, got `null`"),
        (b"{}", "body: object missing required field `comment`"),
        (b'{"comment": "a", "comment": "b"}', "comment: given more than once"),
        (b'{"comment": 5}', "body.comment: expected `str`, got `int`"),
        (b'{"comment": ""}', "body.comment: expected `str` of length >= 1"),
        (b'{"comment": "%s"}' % (b"x" * 21), "body.comment: expected `str` of length <= 20"),
        (b'{"comment": "a", "coment": "b"}', "body: object contains unknown field `coment`"),
        (b'{"comment": "a", "weight": NaN}', "body: JSON is malformed"),
        (b'{"comment": "a", "weight": 1e999}', "out of range"),
        (b'{"comment": "\xff"}', "codec can't decode"),
        (b'{"comment": "a"} x', "body: JSON is malformed"),
        (b"[" * 50_000, "body: expected `object`, got `array`"),
        (b'{"comment": "a", "x": ' + b"[" * 50_000, "unknown field"),
    ],
)
def test_a_wrong_body_is_said(url, body, message):
    answer = post(url, json=None, data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["errorType"] == "bad_data"
    assert message in answer.json()["error"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_what_a_form_of_another_site_could_send_is_refused(url, kind):
    answer = post(url, json=None, data=b'{"comment": "a"}', headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["errorType"]) == (415, "bad_data")


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=str)
def test_another_site_cannot_make_a_browser_change_something(url, headers):
    assert post(url, headers=headers).status_code == 403
    assert requests.delete(f"{url}/things/a", auth=ALICE, headers=headers, timeout=10).status_code == 403


@pytest.mark.parametrize(
    ("name", "status", "kind", "message"),
    [
        ("gone", 404, "not_found", "there is no gone"),
        ("full", 503, "unavailable", "the store cannot be used now; the log says why"),
        ("down", 503, "unavailable", "nobody listens"),
        ("mistake", 500, "internal", "internal error; request"),
    ],
)
def test_what_goes_wrong_is_in_the_envelope(url, name, status, kind, message, caplog):
    answer = post(url, name)
    assert (answer.status_code, answer.json()["status"], answer.json()["errorType"]) == (status, "error", kind)
    assert message in answer.json()["error"]
    assert "secret" not in answer.text
    if kind == "internal":
        number = answer.json()["error"].split("request ")[1].split()[0]
        assert f"request {number}: POST '/api/v1/things/mistake/note' failed" in caplog.text


def test_a_label_that_utf8_cannot_hold_is_still_answered(serve):
    odd = Endpoint("GET", "/odd", "Odd.", lambda _: ["\ud800", float("nan")], list[str], NoParameters, type(None))
    answer = requests.get(serve(endpoints=[odd]).url + "/api/v1/odd", timeout=10)
    assert answer.text == '{"status":"success","data":["\\ud800",null]}'


def test_the_document_describes_every_route_and_is_valid(url):
    document = requests.get(f"{url}/openapi.json", auth=ALICE, timeout=10).json()
    assert document["openapi"] == "3.1.0"
    assert document["paths"].keys() == {
        "/status/config",
        "/status/buildinfo",
        "/things",
        "/things/{id}/note",
        "/things/{id}",
        "/hook",
    }
    names = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            names.add(operation["operationId"])
            in_path = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert in_path == set(re.findall(r"{(\w+)}", path))
            assert all(one["required"] for one in operation["parameters"] if one["in"] == "path")
    assert len(names) == 6
    (limit, since, match) = document["paths"]["/things"]["get"]["parameters"]
    assert limit == {
        "name": "limit",
        "in": "query",
        "required": False,
        "description": "At most so many.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 10, "default": 5},
    }
    assert (since["required"], match["name"]) == (False, "match[]")
    note = document["paths"]["/things/{id}/note"]["post"]
    assert note["security"] == [{"basic": []}, {"certificate": []}]
    assert set(note["responses"]) == {"200", "400", "403", "404", "415", "500", "503"}
    assert "security" not in document["paths"]["/hook"]["post"]
    assert document["components"]["schemas"]["Answer"]["description"] == "What was understood."
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
