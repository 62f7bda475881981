"""Everybody who is measured: each hands ``count`` mails to a target and says how long it took.

All submit the same message of the same size to one recipient. Those that render (Django's, Nodemailer, ours through
Django) build it anew for each mail, as an application does; the others are given ready octets.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import smtplib
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.processes import SYSTEM_PATH, Target
from robust_email.smtp import (
    Credentials,
    Envelope,
    MailData,
    PoolLimits,
    SmtpConfig,
    Submission,
    SubmissionClient,
    TlsMode,
    TlsPolicy,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SENDER, RECIPIENT = "shop@example.org", "ann@example.org"
HERE = Path(__file__).parent


class Peer:
    """One way of submitting mail. ``run`` returns seconds for ``count`` mails; ``close`` ends what it kept open."""

    speaks_tls = True
    keeps_sessions = True
    """Whether a turn goes on with the sessions of the one before, which are then woken first, uncounted."""
    patience = 1.0
    """How many times longer a turn lasts than another peer's."""

    @staticmethod
    def available() -> bool:
        """Whether it is installed here."""
        return True

    def __init__(self, target: Target, message: bytes) -> None:
        self.target = target
        self.message = message
        self.start()

    def start(self) -> None:
        """Open what stays open between measurements."""

    def run(self, count: int) -> float:
        """Submit ``count`` mails and return the seconds it took."""
        began = time.perf_counter()
        self.submit(count)
        return time.perf_counter() - began

    def submit(self, count: int) -> None:
        """Submit ``count`` mails."""
        raise NotImplementedError

    def close(self) -> None:
        """End what was opened."""


# -- ours


class Ours(Peer):
    """``SubmissionClient.submit``, one warm session, one message in flight."""

    window = 1
    threads = 1

    def start(self) -> None:
        target = self.target
        secure = target.cafile is not None
        self.client = SubmissionClient(
            SmtpConfig(
                host=target.host,
                port=target.port,
                tls=TlsPolicy(TlsMode.STARTTLS, cafile=target.cafile) if secure else TlsPolicy(),
                credentials=Credentials(target.user, target.password) if secure else None,
                pool=PoolLimits(size=64),
            )
        )
        self.envelope = Envelope.of(SENDER, [RECIPIENT])
        self.data = MailData.from_bytes(self.message)

    def submit(self, count: int) -> None:
        for _ in range(count):
            report = self.client.submit(self.envelope, self.data)
            assert report.all_accepted, report

    def close(self) -> None:
        self.client.close()


class OursBulk(Ours):
    """``SubmissionClient.submit_many``, one session, eight messages in flight."""

    window = 8
    sessions = 1

    def submit(self, count: int) -> None:
        mails = (Submission(self.envelope, self.data) for _ in range(count))
        for _, report in self.client.submit_many(mails, window=self.window, sessions=self.sessions):
            assert report.all_accepted, report


class OursBulk8(OursBulk):
    """``submit_many`` over eight sessions, eight messages in flight on each."""

    sessions = 8


class OursThreads(Ours):
    """``submit`` from several threads that share one client."""

    threads = 8

    def submit(self, count: int) -> None:
        in_threads(self.threads, count, super().submit)


class OursDjango(Peer):
    """``send_mail()`` through ``RobustSMTPEmailBackend``: rendered, pooled, one at a time."""

    backend = "robust_email.backend.RobustSMTPEmailBackend"

    def submit(self, count: int) -> None:
        for _ in range(count):
            assert django_message(self.connection()).send() == 1

    def connection(self) -> Any:
        from django.core.mail import get_connection

        target = self.target
        options: dict[str, Any] = {"host": target.host, "port": target.port, "username": "", "password": ""}
        if target.cafile:
            options |= {"use_tls": True, "username": target.user, "password": target.password}
        return get_connection(self.backend, **options, **self.more_options())

    def more_options(self) -> dict[str, Any]:
        return {"ssl_cafile": self.target.cafile} if self.target.cafile else {}


# -- Django's own


class StockDjango(OursDjango):
    """Django's ``EmailBackend``, as ``send_mail()`` uses it: a new connection (and TLS context) for each mail."""

    keeps_sessions = False
    backend = "benchmarks.stock.TrustingEmailBackend"

    def more_options(self) -> dict[str, Any]:
        return {"cafile": self.target.cafile}


class StockDjangoOpen(StockDjango):
    """Django's ``EmailBackend``, opened once by the application and kept open."""

    keeps_sessions = True

    def start(self) -> None:
        self.kept = self.connection()
        self.kept.open()

    def submit(self, count: int) -> None:
        for _ in range(count):
            assert self.kept.send_messages([django_message(self.kept)]) == 1

    def close(self) -> None:
        self.kept.close()


def django_message(connection: Any) -> Any:
    """The message as an application makes it."""
    from django.core.mail import EmailMessage

    return EmailMessage("Your order", BODY, SENDER, [RECIPIENT], connection=connection)


BODY = "Thank you for your order, it is on its way.\n" * 20


# -- libraries


class WarmSmtplib(Peer):
    """``smtplib.SMTP.sendmail`` on one connection."""

    def start(self) -> None:
        self.smtp = smtplib.SMTP(self.target.host, self.target.port)
        if self.target.cafile:
            self.smtp.starttls(context=ssl.create_default_context(cafile=self.target.cafile))
            self.smtp.login(self.target.user, self.target.password)

    def submit(self, count: int) -> None:
        for _ in range(count):
            self.smtp.sendmail(SENDER, [RECIPIENT], self.message)

    def close(self) -> None:
        self.smtp.close()


class Aiosmtplib(Peer):
    """``aiosmtplib.SMTP.sendmail`` on warm connections, one task each."""

    connections = 1

    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clients = self.loop.run_until_complete(self._open())

    async def _open(self) -> list[Any]:
        import aiosmtplib

        clients = []
        for _ in range(self.connections):
            context = ssl.create_default_context(cafile=self.target.cafile) if self.target.cafile else None
            client = aiosmtplib.SMTP(
                hostname=self.target.host,
                port=self.target.port,
                start_tls=context is not None,
                tls_context=context,
                username=self.target.user if context else None,
                password=self.target.password if context else None,
            )
            await client.connect()
            clients.append(client)
        return clients

    def submit(self, count: int) -> None:
        async def one(client: Any, mails: int) -> None:
            for _ in range(mails):
                await client.sendmail(SENDER, [RECIPIENT], self.message)

        async def everything() -> None:
            await asyncio.gather(*(one(client, mails) for client, mails in zip(self.clients, shares, strict=True)))

        shares = split(count, self.connections)
        self.loop.run_until_complete(everything())

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


class Aiosmtplib8(Aiosmtplib):
    """The same on eight connections."""

    connections = 8


class Aiosmtplib32(Aiosmtplib):
    """The same on 32 connections."""

    connections = 32


class Nodemailer(Peer):
    """Nodemailer's pooled SMTP transport, one connection."""

    connections = 1

    @staticmethod
    def available() -> bool:
        """Whether node and the package are there (``make bench`` installs it)."""
        return shutil.which("node") is not None and (HERE / "node_modules" / "nodemailer").is_dir()

    def start(self) -> None:
        arguments = {
            "host": self.target.host,
            "port": self.target.port,
            "connections": self.connections,
            "cafile": self.target.cafile,
            "user": self.target.user,
            "pass": self.target.password,
            "text": BODY,
            "from": SENDER,
            "to": RECIPIENT,
        }
        self.process = subprocess.Popen(
            ["node", str(HERE / "nodemailer_peer.mjs"), json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.run(self.connections)

    def run(self, count: int) -> float:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


class Nodemailer8(Nodemailer):
    """The same with eight connections."""

    connections = 8


class SmtpSource(Peer):
    """Postfix's ``smtp-source -d`` (C): connections kept, nothing rendered; turns are long, since each opens them."""

    connections = 1
    speaks_tls = False
    keeps_sessions = False
    patience = 4.0

    @staticmethod
    def available() -> bool:
        """Whether Postfix is installed."""
        return shutil.which("smtp-source", path=SYSTEM_PATH) is not None

    def submit(self, count: int) -> None:
        program = shutil.which("smtp-source", path=SYSTEM_PATH)
        assert program is not None
        size = str(len(self.message))
        where = f"{self.target.host}:{self.target.port}"
        command = [program, "-d", "-s", str(self.connections), "-m", str(count), "-l", size]
        subprocess.run([*command, "-f", SENDER, "-t", RECIPIENT, where], check=True, stdout=subprocess.DEVNULL)


class SmtpSource8(SmtpSource):
    """The same with eight connections."""

    connections = 8


def split(count: int, parts: int) -> list[int]:
    """``count`` in ``parts`` nearly equal whole numbers."""
    return [count // parts + (index < count % parts) for index in range(parts)]


def in_threads(threads: int, count: int, work: Callable[[int], None]) -> None:
    """``work`` in threads, ``count`` shared among them; an error in one is raised."""
    errors: list[BaseException] = []

    def run(share: int) -> None:
        try:
            work(share)
        except BaseException as exc:  # noqa: BLE001 - raised below
            errors.append(exc)

    pool = [threading.Thread(target=run, args=(share,)) for share in split(count, threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()
    if errors:
        raise errors[0]
