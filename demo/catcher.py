"""The mail catcher's page: what the relay has accepted, as its receivers would see it. Nothing is sent on."""

from __future__ import annotations

import email
import email.policy
import html
import re
import threading
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage

    from robust_email.testing import AcceptedMessage, ScriptedServer

_MAIL: Final = re.compile(r"/mails/(\d+)")
_STYLE: Final = """
:root { color-scheme: light dark; --ground: #f2f4f7; --card: #fff; --ink: #1d2330; --soft: #566072; }
@media (prefers-color-scheme: dark) { :root { --ground: #14161b; --card: #1f2229; --ink: #e8eaed; --soft: #a9afb9; } }
body { margin: 0 auto; max-width: 46rem; padding: 1.5rem 1rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
article { background: var(--card); border-radius: 1rem; padding: 1.25rem; margin-block: 1rem; }
h2 { font-size: 1.1rem; margin: 0; } p { margin: .25rem 0 .75rem; color: var(--soft); font-size: .9rem; }
iframe { width: 100%; height: 27rem; border: 0; border-radius: .75rem; background: #fff; }
"""


@contextmanager
def mail_page(relay: ScriptedServer) -> Iterator[str]:
    """Serve the page on a free port of this machine; yield its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Page, relay))
    thread = threading.Thread(target=server.serve_forever, name="mail catcher", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Page(BaseHTTPRequestHandler):
    """``/`` lists the mails, the newest first; ``/mails/N`` is the HTML part of one."""

    def __init__(self, relay: ScriptedServer, *arguments: Any, **words: Any) -> None:  # noqa: ANN401 - the server's
        self._relay = relay
        super().__init__(*arguments, **words)

    def do_GET(self) -> None:
        """Answer."""
        accepted = self._relay.accepted
        if self.path == "/":
            self._answer(_list_page(accepted), "style-src 'unsafe-inline'; frame-src 'self'; script-src 'none'")
        elif (found := _MAIL.fullmatch(self.path)) and int(found[1]) < len(accepted):
            self._answer(_part(_parsed(accepted[int(found[1])]), "html"), "style-src 'unsafe-inline'")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _answer(self, page: str, policy: str) -> None:
        content = page.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", f"default-src 'none'; {policy}")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the terminal is the demo's."""


def _list_page(accepted: list[AcceptedMessage]) -> str:
    mails = "".join(_entry(number, accepted[number]) for number in reversed(range(len(accepted))))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Mail catcher</title><style>{_STYLE}</style></head><body>"
        f"<h1>{len(accepted)} mail{'s' * (len(accepted) != 1)} caught</h1>"
        f"{mails or '<p>Nothing yet. The page looks again every three seconds.</p>'}</body></html>"
    )


def _entry(number: int, received: AcceptedMessage) -> str:
    message = _parsed(received)
    to, subject = (html.escape(str(message[name]).strip()) for name in ("To", "Subject"))
    return (
        f"<article><h2>{subject}</h2><p>to {to} · message {received.order} on connection {received.connection}</p>"
        f'<iframe title="{subject}" src="/mails/{number}" sandbox></iframe></article>'
    )


def _parsed(received: AcceptedMessage) -> EmailMessage:
    message: EmailMessage = email.message_from_bytes(received.data, policy=email.policy.default)
    return message


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind, "plain"))
    return str(part.get_content()) if part else ""
