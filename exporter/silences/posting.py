"""Sends the messages of this exporter to the Alertmanagers that do not list them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from exporter.errors import AlertmanagerError
from exporter.silences.messages import Message, silence_of
from exporter.silences.peer import Peer

__all__ = ["Posting"]

log = logging.getLogger(__name__)

_AGAIN = 3600.0
"""Seconds after which a message that is not listed is sent again."""
_MOST = 50
"""Messages that are sent in one round."""


class Posting:
    """Which messages still have to be sent to which Alertmanagers; used by one thread."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str], float] = {}
        self._trouble: str | None = None

    def missing(
        self, pending: Iterable[Message], listed: Mapping[str, Iterable[Message]], mono: float
    ) -> list[Message]:
        """Return the messages that none of the members of a cluster lists, or was sent lately.

        Parameters
        ----------
        listed : mapping
            By URL of a member: the messages that it lists.
        mono : float
            Monotonic seconds.
        """
        self._sent = {key: at for key, at in self._sent.items() if mono - at < _AGAIN}
        present = {message.id for messages in listed.values() for message in messages}
        present |= {identity for url, identity in self._sent if url in listed}
        return [message for message in pending if message.id not in present][:_MOST]

    def note(self, url: str, message: Message, mono: float) -> None:
        """Note that an Alertmanager was sent a message."""
        self._sent[url, message.id] = mono

    def post(self, pending: Iterable[Message], cluster: Sequence[Peer], *, at: float, mono: float) -> None:
        """Send what is missing to one member of a cluster, which passes it on to the others.

        Parameters
        ----------
        at, mono : float
            Unix and monotonic seconds.
        """
        for message in self.missing(pending, {peer.url: peer.messages for peer in cluster}, mono):
            if not any(self._send(message, peer, at, mono) for peer in cluster):
                # The others would not be taken either.
                return

    def _send(self, message: Message, peer: Peer, at: float, mono: float) -> bool:
        theirs = peer.clock.at(mono)
        body = silence_of(message, at=at if theirs is None else theirs)
        try:
            if body is not None:
                peer.api.put_silence(body)
        except AlertmanagerError as fault:
            # Logged once for every change of the reason, because an outage may last for hours.
            if self._trouble != fault.reason:
                more = {"alertmanager": peer.url, "reason": str(fault.reason), "error": fault.message}
                log.warning("other exporters cannot be sent messages", extra=more)
            self._trouble = fault.reason
            return False
        self._trouble = None
        self.note(peer.url, message, mono)
        return True
