"""``/api/v1/what-if``: what other settings would have made of the alerts of a query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from exporter.web.api.anomalies import Name
from exporter.web.api.endpoint import ApiRequest, Endpoint
from exporter.web.api.envelope import ErrorType

__all__ = ["OtherSettings", "WhatIf", "WhatIfOutcome", "WhatIfParameters", "what_if_endpoint"]

Number = Annotated[float, msgspec.Meta(gt=0)]


class WhatIfParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The query, and settings to try; without any, some that are worth a look are tried."""

    query: Annotated[Name, msgspec.Meta(description="Its name.")]
    min_deviation: Annotated[Number | None, msgspec.Meta(description="In its unit.")] = None
    min_relative_deviation: Annotated[Number | None, msgspec.Meta(description="0.1 is a tenth of the expected.")] = None
    quorum: Annotated[int, msgspec.Meta(ge=1, le=100, description="Votes that are needed.")] | None = None
    for_: Annotated[Number | None, msgspec.Meta(description="`alert: for`, in seconds.")] = msgspec.field(
        name="for", default=None
    )


@dataclass(frozen=True, slots=True)
class OtherSettings:
    """Settings of a query to try; null: as it is configured. `for_` is in seconds."""

    min_deviation: float | None = None
    min_relative_deviation: float | None = None
    quorum: int | None = None
    for_: float | None = None


@dataclass(frozen=True, slots=True)
class WhatIfOutcome:
    """What some settings would have made of the alerts that can be followed.

    `gone` of `alerts` would not have been; of those that people confirmed `confirmed_gone`, and the latest of the
    others would have come `confirmed_later_seconds` later. `not_followed` are alerts that are not over, whose verdicts
    are not kept any more, whose series is gone, or that were about many series.
    """

    settings: OtherSettings
    alerts: int
    gone: int
    confirmed: int
    confirmed_gone: int
    confirmed_later_seconds: float
    false_alarms: int
    false_alarms_gone: int
    not_followed: int


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What other settings would have made of the alerts of a query in the last 30 days, the best first."""

    query: str
    followed: int
    alerts: int
    outcomes: tuple[WhatIfOutcome, ...]


def what_if_endpoint(answer: Callable[[WhatIfParameters], WhatIf]) -> Endpoint[Any, Any]:
    """Make the endpoint; `answer` raises `ApiError`."""

    def read(request: ApiRequest[WhatIfParameters, None]) -> WhatIf:
        return answer(request.parameters)

    return Endpoint(
        "GET", "/what-if", "What other settings would have made of the alerts of a query, from kept verdicts.", read,
        WhatIf, WhatIfParameters, type(None), (ErrorType.NOT_FOUND,),
    )  # fmt: skip
