"""Alerts of before a start or a reload of which no series was seen here: only these may be another shard's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from exporter.alerting.alert import Alert, fingerprint
from exporter.engine.series import labels_of
from exporter.evaluation.row_identities import RowIdentities

__all__ = ["UnplacedAlerts"]


class UnplacedAlerts:
    """Looks for the series of alerts that were restored.

    Parameters
    ----------
    alerts : iterable of str
        Identities of the alerts that were restored.
    """

    def __init__(self, alerts: Iterable[str]) -> None:
        self._left = set(alerts)

    def __bool__(self) -> bool:
        return bool(self._left)

    def moved(
        self,
        alerts: Mapping[str, Alert],
        identities: RowIdentities,
        elsewhere: Callable[[], Sequence[bytes]] | None,
    ) -> set[str]:
        """Return the alerts whose series are in the answer and belong to another shard.

        Parameters
        ----------
        alerts : mapping of str to Alert
            Those of now, by identity.
        identities : RowIdentities
            Which of them each row belongs to.
        elsewhere : callable, optional
            Returns the series of the answer that belong to other shards; None: there are no others.
        """
        self._left = {
            identity
            for identity in self._left
            if identity in alerts and "storm" not in alerts[identity].labels and not len(identities.rows_of(identity))
        }
        if not self._left or elsewhere is None:
            return set()
        return self._left & {fingerprint(identities.labels(labels_of(key))) for key in elsewhere()}
