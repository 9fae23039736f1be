"""A mail server of the test, which takes every mail."""

from __future__ import annotations

import email
import email.policy
import socketserver
from email.message import EmailMessage

from tests.integration.in_thread import InThread

__all__ = ["Mailbox"]


class Mailbox(InThread):
    """Takes mail by SMTP, without TLS and without a login.

    Attributes
    ----------
    mails : list of EmailMessage
        What came, in order.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        mails = self.mails

        class Handler(socketserver.StreamRequestHandler):
            timeout = 30

            def handle(self) -> None:
                self._say("220 mailbox")
                for line in self.rfile:
                    word = line[:4].upper().strip()
                    if word == b"DATA":
                        self._say("354 go on")
                        lines = iter(self.rfile.readline, b".\r\n")
                        raw = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
                        # Appended before the answer, so that who waits for the answer finds it.
                        mails.append(email.message_from_bytes(raw, policy=email.policy.default))
                        self._say("250 taken")
                    elif word == b"QUIT":
                        self._say("221 bye")
                        return
                    else:
                        self._say("250 mailbox")

            def _say(self, text: str) -> None:
                self.wfile.write(text.encode() + b"\r\n")

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        super().__init__(Server, Handler)
