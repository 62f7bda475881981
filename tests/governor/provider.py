"""A provider that enforces what real ones do, and keeps count of who broke the rules: the judge of the governor.

Limits are those of Microsoft 365 as it documents them (three connections, 30 messages a minute), with the minute as
short as a test wants. The clock is the provider's own, and it looks back one window from the moment MAIL arrives.
"""

from __future__ import annotations

import asyncio
import base64
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

_ID = re.compile(rb"Message-ID: <([^>]*)>", re.IGNORECASE)


@dataclass
class Account:
    """What the provider saw, at any moment. Times are seconds of its monotonic clock."""

    accepted: list[tuple[float, str]] = field(default_factory=list)
    """When, and the Message-ID."""
    connected: list[float] = field(default_factory=list)
    begun: int = 0
    """Transactions that came as far as DATA."""
    too_many_connections: int = 0
    too_many_messages: int = 0
    logins: list[float] = field(default_factory=list)
    most_at_once: int = 0
    idled_out: int = 0
    """Sessions that it ended because nothing came: no offence, unless the client goes on talking."""
    spoke_after_the_end: int = 0
    lockouts: int = 0
    logins_while_locked: int = 0
    greylisted: int = 0
    """Recipients that were put off once, as they should be."""
    came_back_too_soon: int = 0
    storms: list[int] = field(default_factory=list)
    """How many connected in each storm."""

    def most_in(self, window: float) -> int:
        """The most messages in any window."""
        times = [when for when, _ in self.accepted]
        return max((sum(start <= when < start + window for when in times) for start in times), default=0)


@dataclass(frozen=True)
class Rules:
    """What it asks for besides; nothing by default. Times are seconds."""

    idle: float | None = None
    """It hangs up on a session that says nothing for so long: 421 4.4.2."""
    logins: tuple[int, float, float] | None = None
    """One more log-in than so many in a window locks the account for the last figure: 454 4.7.0."""
    greylist: float | None = None
    """A recipient that it has not seen is put off for so long: 450 4.2.0."""
    storm: tuple[int, float] | None = None
    """After so many mails it answers everything with 421 4.7.0 for so long."""
    dies: int | None = None
    """Of so many mails one ends its session: in turn before its end of data, and after it without a reply."""


class Provider:
    """An SMTP server in a thread of its own, for the life of the block."""

    def __init__(
        self,
        rules: Rules = Rules(),
        *,
        connections: int = 3,
        rate: tuple[int, float] = (10**6, 1.0),
        password: str | None = None,
    ) -> None:
        self._rules = rules
        self._limit = connections
        self._rate = rate
        self._password = password
        self._open = set[asyncio.StreamWriter]()
        self._mails: list[float] = []
        self._locked_until = self._storm_until = 0.0
        self._first_seen: dict[bytes, float] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.account = Account()
        self.host, self.port = "127.0.0.1", 0
        self.is_down = False
        """Answers every connection with 421, as long as this is set."""
        self._changed = threading.Condition()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, self.host, 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def wait_for(self, holds: Callable[[], bool], timeout: float) -> bool:
        """Wait until something holds, asking after each change; whether it did within ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(holds, timeout)

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def __exit__(self, *_: object) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.account.connected.append(time.monotonic())
        self._tell()
        self._open.add(writer)
        try:
            if self.is_down:
                writer.write(b"421 4.3.2 down for maintenance\r\n")
            elif self._is_stormy():
                self.account.storms[-1] += 1
                writer.write(b"421 4.7.0 try again later\r\n")
            elif len(self._open) > self._limit:
                self.account.too_many_connections += 1
                writer.write(b"421 4.7.0 too many connections\r\n")
            else:
                self.account.most_at_once = max(self.account.most_at_once, len(self._open))
                writer.write(b"220 provider.test\r\n")
                await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                line = await asyncio.wait_for(reader.readline(), self._rules.idle)
            except TimeoutError:
                return await self._hang_up(reader, writer)
            verb = line[:4].upper()
            if verb in {b"", b"QUIT"}:
                return None
            if self.is_down and verb == b"MAIL":
                writer.write(b"421 4.3.2 down for maintenance\r\n")
                return None
            if self._is_stormy():
                writer.write(b"421 4.7.0 try again later\r\n")
                return None
            writer.write(await self._answer(verb, line, reader, writer))

    async def _hang_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """End an idle session, and listen whether the client has noticed."""
        self.account.idled_out += 1
        writer.write(b"421 4.4.2 idle for too long\r\n")
        writer.write_eof()
        self._open.discard(writer)
        said = await reader.read()
        self.account.spoke_after_the_end += bool(said) and said.upper() != b"QUIT\r\n"
        self._tell()

    def _is_stormy(self) -> bool:
        return time.monotonic() < self._storm_until

    async def _answer(
        self, verb: bytes, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bytes:
        if verb == b"EHLO":
            return b"250-provider.test\r\n250 AUTH PLAIN\r\n" if self._password else b"250 provider.test\r\n"
        if verb == b"AUTH":
            return self._login(line)
        if verb == b"MAIL":
            return self._mail()
        if verb == b"RCPT":
            return self._recipient(line)
        if verb == b"DATA":
            self.account.begun += 1
            turn, rest = divmod(self.account.begun, self._rules.dies or self.account.begun + 1)
            writer.write(b"354 go\r\n")
            if rest == 0 and turn % 2:
                raise ConnectionResetError
            content = await reader.readuntil(b"\r\n.\r\n")
            found = _ID.search(content)
            self.account.accepted.append((time.monotonic(), found[1].decode() if found else ""))
            if self._rules.storm and len(self.account.accepted) % self._rules.storm[0] == 0:
                self._storm_until = time.monotonic() + self._rules.storm[1]
                self.account.storms.append(0)
            self._tell()
            if rest == 0:
                raise ConnectionResetError
        return b"250 2.0.0 ok\r\n"

    def _mail(self) -> bytes:
        limit, window = self._rate
        now = time.monotonic()
        self._mails = [then for then in self._mails if then > now - window]
        if len(self._mails) >= limit:
            self.account.too_many_messages += 1
            return b"432 4.3.2 sending limit exceeded\r\n"
        self._mails.append(now)
        return b"250 2.1.0 ok\r\n"

    def _login(self, line: bytes) -> bytes:
        now = time.monotonic()
        self.account.logins.append(now)
        if now < self._locked_until:
            self.account.logins_while_locked += 1
            return b"454 4.7.0 too many logins, try again later\r\n"
        if self._rules.logins is not None:
            limit, window, lock = self._rules.logins
            if sum(then > now - window for then in self.account.logins) > limit:
                self.account.lockouts += 1
                self._locked_until = now + lock
                return b"454 4.7.0 too many logins, try again later\r\n"
        _, _, password = base64.b64decode(line.split()[-1]).split(b"\0")
        return b"235 2.7.0 ok\r\n" if password.decode() == self._password else b"535 5.7.8 no\r\n"

    def _recipient(self, line: bytes) -> bytes:
        if self._rules.greylist is None:
            return b"250 2.1.5 ok\r\n"
        now = time.monotonic()
        waited = now - self._first_seen.setdefault(line, now)
        if waited >= self._rules.greylist:
            return b"250 2.1.5 ok\r\n"
        self.account.came_back_too_soon += waited > 0
        self.account.greylisted += waited == 0
        return b"450 4.2.0 greylisted, come back later\r\n"
