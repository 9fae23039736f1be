"""GitHub deployments as announced events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr, model_validator

from exporter.calendar.entries import Match, Multiplier, check_multiplier, parsed_by
from exporter.calendar.events import Action, AnnouncedEvent, event_id
from exporter.calendar.matchers import Regexp
from exporter.settings import Duration, Items, Section

__all__ = ["Deployment", "DeploymentSettings", "GithubSettings", "WebhookSettings", "event_of"]

_RUNNING = frozenset({"pending", "queued", "in_progress", "waiting", "requested"})
_OVER = frozenset({"success", "failure", "error"})
"""Not ``inactive``: a deployment of last week gets that state when the next one succeeds."""
_END_BONUS = 0.5
"""Seconds added to the revision of the end of a deployment: it wins over other states of the same second."""


Pattern = Annotated[str, parsed_by(Regexp)]


class DeploymentSettings(Section):
    """Which deployments are events, and for whom."""

    repository: Pattern = Field(".*", description="Regular expression for `owner/name`, anchored.")
    environment: Pattern = Field(".*", description="Regular expression for the environment, anchored.")
    match: Match = Field(description="Matchers: whose series are concerned.")
    action: Action = Field("ignore", description="As in `calendar`.")
    multiplier: Multiplier | None = Field(None, description="For `expect`: how many times the usual value is expected.")
    duration: Duration = Field(
        1800.0, gt=0, le=86400.0, description="How long a deployment lasts, unless GitHub says that it is over."
    )
    settle: Duration = Field(300.0, le=86400.0, description="How long things may be unusual after its end.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_multiplier(self.action, self.multiplier)
        return self


class GithubSettings(Section):
    """A webhook of GitHub with the events `deployment` and `deployment_status`, as JSON."""

    secret: SecretStr | None = Field(None, description="The secret of the webhook. `${ENV}` is expanded.")
    secret_file: Annotated[Path, Field(strict=False)] | None = Field(None, description="File that holds the secret.")
    deployments: Annotated[Items[DeploymentSettings], Field(min_length=1)] = Field(
        description="The first one that fits a deployment says what is done."
    )

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("give exactly one of secret and secret_file")
        if self.secret is not None and not self.secret.get_secret_value():
            raise ValueError("the secret is empty, so anybody could sign")
        return self


class WebhookSettings(Section):
    """Who may announce events without a login, because what they send is signed."""

    github: GithubSettings | None = Field(None, description="Deployments: `POST /api/v1/webhooks/github`.")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The state of a deployment in a delivery of GitHub. Times are Unix seconds.

    Attributes
    ----------
    number : int
        Its id.
    state : str
        ``created``, or the state of the newest status.
    changed_at : float
        When it entered that state.
    """

    repository: str
    number: int
    environment: str
    ref: str
    who: str
    state: str
    created_at: float
    changed_at: float


def event_of(deployment: Deployment, rules: Sequence[DeploymentSettings], *, at: float) -> AnnouncedEvent | None:
    """Return the event of a deployment, or None where no rule matches it or its state is neither running nor over.

    A repeated or late delivery gives the same event with the same revision, so that it changes nothing.

    Parameters
    ----------
    deployment : Deployment
    rules : sequence of DeploymentSettings
    at : float, Unix seconds
        Now.
    """
    rule = next((rule for rule in rules if _fits(rule, deployment)), None)
    over = deployment.state in _OVER
    if rule is None or not (over or deployment.state in _RUNNING or deployment.state == "created"):
        return None
    name = f"github/{deployment.repository}/{deployment.number}"[:128]
    ends_at = deployment.changed_at + (rule.settle if over else rule.duration)
    return AnnouncedEvent(
        id=event_id(name),
        name=name,
        source="github",
        action=rule.action,
        multiplier=1.0 if rule.multiplier is None else rule.multiplier,
        match=rule.match,
        starts_at=deployment.created_at,
        ends_at=max(ends_at, deployment.created_at + 1.0),
        comment=f"deployment of {deployment.ref} to {deployment.environment}: {deployment.state}"[:500],
        who=deployment.who,
        created_at=at,
        updated_at=at,
        revision=deployment.changed_at + (_END_BONUS if over else 0.0),
    )


def _fits(rule: DeploymentSettings, deployment: Deployment) -> bool:
    return Regexp(rule.repository).matches(deployment.repository) and Regexp(rule.environment).matches(
        deployment.environment
    )
