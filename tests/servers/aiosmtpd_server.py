"""aiosmtpd in this process: neither PIPELINING nor CHUNKING, though it puts up with the former.

Recipients whose local part begins with ``bad`` get 550 and with ``temp`` 451; a handler keeps the ledger.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from email import message_from_bytes
from typing import TYPE_CHECKING

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.running import HOST, RunningServer, ServerTls, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class _Books:
    """An aiosmtpd handler that refuses by local part and keeps what it took."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: list[Taken] = []

    @property
    def taken(self) -> list[Taken]:
        with self._lock:
            return list(self._taken)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and arguments
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.startswith("bad"):
            return "550 5.1.1 no such user here"
        if address.startswith("temp"):
            return "451 4.7.1 come back later"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        content = envelope.content
        message = message_from_bytes(content if isinstance(content, bytes) else (content or "").encode())
        message_id = str(message["message-id"] or "")
        with self._lock:
            self._taken += [(recipient, message_id) for recipient in envelope.rcpt_tos]
        return "250 2.0.0 OK"


@contextlib.contextmanager
def aiosmtpd_server(
    *, tls: ServerTls | None = None, accounts: Mapping[str, str] | None = None, size: int = 33_554_432
) -> Iterator[RunningServer]:
    """Run aiosmtpd's own SMTP class on a loop of its own; ``size`` is the largest message in octets."""
    books = _Books()
    context = _context(tls)
    known = dict(accounts or {})

    def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        is_known = isinstance(data, LoginPassword) and known.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=is_known, handled=False)

    def protocol() -> SMTP:
        return SMTP(
            books,
            hostname="aiosmtpd.test",
            enable_SMTPUTF8=True,
            data_size_limit=size,
            tls_context=None if tls is None or tls.implicit else context,
            authenticator=authenticate if known else None,
            auth_require_tls=tls is not None or not known,
        )

    with _serving(protocol, context if tls is not None and tls.implicit else None) as port:
        yield RunningServer(name="aiosmtpd", port=port, tls=tls, accounts=known, read_ledger=lambda: books.taken)


@contextlib.contextmanager
def _serving(protocol: Callable[[], SMTP], context: ssl.SSLContext | None) -> Iterator[int]:
    """Serve on a free port from a thread with an event loop; open sessions are dropped at the end."""
    loop = asyncio.new_event_loop()
    sessions: list[SMTP] = []

    def begin() -> SMTP:
        sessions.append(protocol())
        return sessions[-1]

    server = loop.run_until_complete(loop.create_server(begin, HOST, 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, name="aiosmtpd", daemon=True)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        asyncio.run_coroutine_threadsafe(_end(server, sessions), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncio.Server, sessions: list[SMTP]) -> None:
    """Stop listening, cancel the sessions' tasks, which aiosmtpd starts and does not keep, and drop connections."""
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for session in sessions:
        # Of a session with STARTTLS the inner one: the outer would wait for the peer's goodbye.
        for transport in (session._original_transport, session.transport):
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()
    await asyncio.sleep(0)


def _context(tls: ServerTls | None) -> ssl.SSLContext | None:
    if tls is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.chain, tls.key)
    return context
