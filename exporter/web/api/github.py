"""``POST /api/v1/webhooks/github``: deployments of signed deliveries become events."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from exporter.calendar.events import TooManyEventsError
from exporter.calendar.github import Deployment, GithubSettings, event_of
from exporter.web.api.endpoint import ApiRequest, Endpoint, NoParameters
from exporter.web.api.envelope import ApiError, ErrorType
from exporter.web.api.events import EventEntry, EventRegistry, event_entry

__all__ = ["github_endpoint"]

log = logging.getLogger(__name__)


class GithubUser(msgspec.Struct, frozen=True):
    """A user of GitHub."""

    login: str = ""


class Repository(msgspec.Struct, frozen=True):
    """A repository."""

    full_name: str


class DeploymentBody(msgspec.Struct, frozen=True):
    """A deployment."""

    id: int
    environment: str
    created_at: datetime
    ref: str = ""
    creator: GithubUser | None = None


class StatusBody(msgspec.Struct, frozen=True):
    """The status of a deployment."""

    state: str
    created_at: datetime
    updated_at: datetime | None = None


class WebhookDelivery(msgspec.Struct, frozen=True):
    """A delivery of GitHub, as far as it is read."""

    repository: Repository | None = None
    deployment: DeploymentBody | None = None
    deployment_status: StatusBody | None = None


@dataclass(frozen=True, slots=True)
class WebhookResult:
    """The event of the deployment; null where the delivery is ignored."""

    event: EventEntry | None


def github_endpoint(
    events: EventRegistry, settings: Callable[[], GithubSettings | None], clock: Callable[[], float]
) -> Endpoint[Any, Any]:
    """Make the endpoint.

    Parameters
    ----------
    events : EventRegistry
        The announced events.
    settings : callable
        Returns what the configuration in force says; None: there is no webhook.
    clock : callable
        Unix seconds.
    """

    def deliver(request: ApiRequest[NoParameters, WebhookDelivery]) -> WebhookResult:
        rules = settings()
        if rules is None:
            raise ApiError(ErrorType.NOT_FOUND, "webhooks.github is not configured")
        if not _is_signed(request, rules):
            raise ApiError(ErrorType.FORBIDDEN, "the signature (X-Hub-Signature-256) is not that of the secret")
        deployment = _deployment(request.headers.get("X-GitHub-Event", ""), request.body)
        now = clock()
        event = None if deployment is None else event_of(deployment, rules.deployments, at=now)
        if event is None or (event.ends_at <= now and events.get(event.id) is None):
            # Not configured, or long over.
            return WebhookResult(None)
        try:
            return WebhookResult(event_entry(events.put(event, at=now), now))
        except TooManyEventsError:
            raise ApiError(ErrorType.CONFLICT, "there are too many events that are not over") from None

    return Endpoint(
        "POST",
        "/webhooks/github",
        "Take a signed delivery of GitHub: deployments become events.",
        deliver,
        WebhookResult,
        NoParameters,
        WebhookDelivery,
        (ErrorType.NOT_FOUND, ErrorType.CONFLICT),
        open=True,
    )


def _is_signed(request: ApiRequest[NoParameters, WebhookDelivery], settings: GithubSettings) -> bool:
    try:
        # Read for every delivery, so that a secret can be changed without a restart.
        secret = b"" if settings.secret_file is None else settings.secret_file.read_bytes().strip()
    except OSError as error:
        log.error("the secret of the webhook cannot be read", extra={"error": str(error)})
        return False
    if settings.secret is not None:
        secret = settings.secret.get_secret_value().encode()
    given = request.headers.get("X-Hub-Signature-256", "").encode("utf-8", "replace")
    expected = b"sha256=" + hmac.new(secret, request.raw, hashlib.sha256).hexdigest().encode()
    return bool(secret) and hmac.compare_digest(given, expected)


def _deployment(kind: str, body: WebhookDelivery) -> Deployment | None:
    if kind not in ("deployment", "deployment_status") or body.deployment is None or body.repository is None:
        return None
    status, what = body.deployment_status, body.deployment
    if (kind == "deployment_status") != (status is not None):
        return None
    changed_at = what.created_at if status is None else status.updated_at or status.created_at
    return Deployment(
        repository=body.repository.full_name,
        number=what.id,
        environment=what.environment,
        ref=what.ref,
        who="github" if what.creator is None else f"github:{what.creator.login}",
        state="created" if status is None else status.state,
        created_at=what.created_at.timestamp(),
        changed_at=changed_at.timestamp(),
    )
