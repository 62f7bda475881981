"""The whole service in its own processes: web, a real Celery worker, a real Redis, and a relay that misbehaves.

The schedule is shortened by EMAIL_TASK_RETRY_SCALE; that the waits are 60, 120, 240, 300 and 300 seconds without it is
shown in ``test_tasks.py``.
"""

from __future__ import annotations

import base64
import json
import re
import sqlite3
import time
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from demo import RELAY
from demo.shop import Shop
from robust_email.testing import At, Close, Extensions, Fault, Reply, Script, ScriptedServer, TakeThenClose
from robust_email.testing.certs import Certificate
from tests.service.customers import code_sent
from tests.service.running import SECRET_KEY, demo_in, service_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from robust_email.testing import AcceptedMessage
    from robust_email.testing.certs import CertificateAuthority

pytestmark = [pytest.mark.redis, pytest.mark.slow]

PASSWORD = "CANARY-correct-horse"
SMTP_PASSWORD = "CANARY-relay-password"


@dataclass(frozen=True, slots=True)
class Running:
    """The service while it runs."""

    folder: Path
    url: str
    relay: ScriptedServer

    @property
    def zone(self) -> Path:
        """The demo's DNS: the relay's name is known while this file is there."""
        return self.folder / "zone"

    def mails_to(self, address: str) -> list[AcceptedMessage]:
        """Return what the relay took for this customer."""
        return [message for message in self.relay.accepted if address in message.forward_paths]

    def register(self, address: str, *faults: Fault) -> Shop:
        """Register a customer, to whose mail the faults will happen; return his side."""
        for fault in faults:
            self.relay.add_fault(fault)
        shop = Shop(self.url)
        assert shop.register(address, PASSWORD).waits_for_code
        return shop

    def settled(self, address: str, within: float = 20.0) -> tuple[str, int]:
        """Wait until the mail's state is final; return it with the number of attempts."""
        deadline = time.monotonic() + within
        while (found := self._mail(address))[0] in {"queued", "claimed", "data-started"}:
            assert time.monotonic() < deadline, f"still waiting: {found}\n{self.worker_log()[-3000:]}"
            time.sleep(0.05)
        return found

    def attempts_so_far(self, address: str, at_least: int, within: float = 20.0) -> None:
        """Wait until so many attempts were begun."""
        deadline = time.monotonic() + within
        while self._mail(address)[1] < at_least:
            assert time.monotonic() < deadline, self.worker_log()[-3000:]
            time.sleep(0.02)

    def ended(self, address: str, kind: str, count: int = 1, within: float = 20.0) -> tuple[str, int, str]:
        """Wait until so many mails of this kind have ended; return state, attempts and reason of the newest."""
        deadline = time.monotonic() + within
        while len(found := self._ended(address, kind)) < count:
            assert time.monotonic() < deadline, self.worker_log()[-3000:]
            time.sleep(0.05)
        return found[-1]

    def _ended(self, address: str, kind: str) -> list[tuple[str, int, str]]:
        with sqlite3.connect(self.folder / "database.sqlite3", timeout=20) as database:
            found: list[tuple[str, int, str]] = database.execute(
                "SELECT state, attempts, m.reason FROM robust_email_outbox_outboxmessage m"
                " JOIN robust_email_outbox_outboxrecipient r ON r.message_id = m.id"
                " WHERE r.address = ? AND m.kind = ? AND m.finished_at IS NOT NULL ORDER BY m.created_at",
                [address, kind],
            ).fetchall()
        database.close()
        return found

    def worker_log(self) -> str:
        """Return the worker's output so far."""
        return (self.folder / "worker.log").read_text()

    def _mail(self, address: str) -> tuple[str, int]:
        with sqlite3.connect(self.folder / "database.sqlite3", timeout=20) as database:
            row = database.execute(
                "SELECT state, attempts FROM robust_email_outbox_outboxmessage m"
                " JOIN robust_email_outbox_outboxrecipient r ON r.message_id = m.id WHERE r.address = ?",
                [address],
            ).fetchone()
        database.close()
        return row[0], row[1]


@pytest.fixture(scope="module")
def running(
    redis_server: str, smtp_certs: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Run the service once for all tests of this file; each has a customer of its own."""
    folder = tmp_path_factory.mktemp("service")
    redis = urlsplit(redis_server)
    script = Script(
        extensions=Extensions(chunking=False),  # so that a connection dropped early is known to have taken nothing
        starttls=smtp_certs.server_context(Certificate.GOOD, RELAY),
        accounts={"shop": SMTP_PASSWORD},
        require_auth=True,
    )
    with ScriptedServer(script) as relay:
        service = demo_in(
            folder,
            relay,
            REDIS_HOST=str(redis.hostname),
            REDIS_PORT=str(redis.port),
            EMAIL_USE_TLS="True",
            EMAIL_SSL_CAFILE=str(smtp_certs.ca_file),
            EMAIL_HOST_USER="shop",
            EMAIL_HOST_PASSWORD=SMTP_PASSWORD,
            EMAIL_TIMEOUT="5",
            EMAIL_CONNECTION_RETRY_ATTEMPTS="2",
            EMAIL_TASK_RETRY_SCALE="0.002",
            LOG_LEVEL="DEBUG",
        )
        (folder / "zone").write_text(relay.host)
        with service.web(0) as url, service.worker():
            yield Running(folder, url, relay)


def test_a_mail_arrives_and_its_code_works(running: Running) -> None:
    """Registered, mailed, verified; Celery's line reads as in the brief."""
    address = "plain@customer.example"
    shop = running.register(address)
    assert running.settled(address) == ("accepted", 1)
    (message,) = running.mails_to(address)
    assert shop.verify(code_sent(message.data)).status == 200
    name = r"Task authentication\.verification\.send_verification_email\[[0-9a-f-]{36}\]"
    assert re.search(rf"{name} succeeded in [0-9.e-]+s: {{'status': 'success', ", running.worker_log())
    assert "SMTP connection established successfully on attempt 1" in running.worker_log()


def test_a_dead_dns_is_outlived(running: Running) -> None:
    """The name does not resolve at first; once it does, a retry brings the mail, once."""
    address = "dns@customer.example"
    host = running.zone.read_text()
    running.zone.unlink()
    # Sessions that are open already need no DNS, so the relay ends them.
    running.relay.act(Close())
    running.register(address)
    running.attempts_so_far(address, 2)
    running.zone.write_text(host)
    state, attempts = running.settled(address)
    assert state == "accepted"
    assert attempts >= 2
    assert len(running.mails_to(address)) == 1


def test_a_dropped_connection_is_outlived(running: Running) -> None:
    """The relay hangs up more often than one attempt of the task tries; a retry brings the mail, once."""
    address = "dropped@customer.example"
    running.register(address, Fault(At.RCPT, Close(), subject=address, times=4))
    state, attempts = running.settled(address)
    assert (state, len(running.mails_to(address))) == ("accepted", 1)
    assert attempts >= 2


def test_greylisting_is_outlived(running: Running) -> None:
    """450 three times, then accepted: four attempts, one mail."""
    address = "grey@customer.example"
    running.register(address, Fault(At.RCPT, Reply("450 4.7.1 greylisted"), subject=address, times=3))
    assert running.settled(address) == ("accepted", 4)
    assert len(running.mails_to(address)) == 1


def test_a_refused_recipient_is_not_tried_again(running: Running) -> None:
    """550: one attempt, and an error in the worker's log."""
    address = "nobody@customer.example"
    running.register(address, Fault(At.RCPT, Reply("550 5.1.1 unknown"), subject=address))
    assert running.settled(address) == ("refused", 1)
    assert running.mails_to(address) == []
    assert re.search(r"ERROR.*permanent failure, trying again cannot help: .*550", running.worker_log())


def test_s32_a_mailbox_that_is_gone_gets_codes_and_nothing_else(running: Running) -> None:
    """S32: after one 5.1.1 the worker keeps the next mail back, its row says why, and a code that is asked for goes."""
    address = "gone@customer.example"
    shop = running.register(address)
    running.settled(address)
    assert shop.verify(code_sent(running.mails_to(address)[0].data)).status == 200
    running.relay.add_fault(Fault(At.RCPT, Reply("550 5.1.1 unknown"), subject=address, times=1))
    reasons = []
    for count in (1, 2):
        lines = [{"product": "Teapot", "quantity": 1, "unit_price": 3490}]
        assert shop.post("/api/orders/", {"reference": str(uuid.uuid4()), "lines": lines}).status == 201
        reasons.append(running.ended(address, "order-confirmation", count))
    assert reasons == [("refused", 1, "550 5.1.1 unknown"), ("refused", 0, "suppressed: refused for good 5.1.1")]
    assert Shop(running.url).post("/_allauth/app/v1/auth/password/request", {"email": address}).status == 401
    assert running.ended(address, "password-reset")[:2] == ("accepted", 1)
    assert len(running.mails_to(address)) == 2


def test_a_relay_that_never_accepts_is_given_up(running: Running) -> None:
    """451 for ever: six attempts, then given up."""
    address = "never@customer.example"
    running.register(address, Fault(At.RCPT, Reply("451 4.3.0 later"), subject=address))
    assert running.settled(address) == ("dead", 6)
    assert running.mails_to(address) == []


def test_a_mail_in_doubt_comes_again_unchanged(running: Running) -> None:
    """Taken without an answer: the copy that follows has the same octets and the same Message-ID."""
    address = "doubt@customer.example"
    running.register(address, Fault(At.FINAL, TakeThenClose(), times=1))
    assert running.settled(address) == ("accepted", 2)
    first, second = running.mails_to(address)
    assert first.data == second.data
    assert "in doubt, the server may have it" in running.worker_log()


def test_v04_smtp_and_the_broker_are_both_down(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, redis_server: str
) -> None:
    """A registration is answered as always, at once; the mail arrives after both have come back, once."""
    with ScriptedServer(Script(host_name=RELAY)) as relay:
        down = demo_in(tmp_path, relay, REDIS_HOST="127.0.0.1", REDIS_PORT="1")
        with down.web(0) as url:
            shops = [Shop(url) for _ in range(2)]
            addresses = [f"customer{number}@customer.example" for number in range(2)]
            answers = [shop.register(address, PASSWORD) for shop, address in zip(shops, addresses, strict=True)]
        assert all(answer.waits_for_code for answer in answers)
        assert max(answer.seconds for answer in answers) < 2
        assert "No worker could be told of new mail" in (tmp_path / "web.log").read_text()
        (tmp_path / "zone").write_text(relay.host)
        redis = urlsplit(redis_server)
        up = replace(down, environment={**down.environment, "REDIS_PORT": str(redis.port), "REDIS_DB": "3"})
        with up.worker():
            relay.wait_for(lambda server: len(server.accepted) == 2, timeout=30)
        assert sorted(path for mail in relay.accepted for path in mail.forward_paths) == addresses


def test_the_broker_gets_the_number_of_a_mail_and_nothing_else(tmp_path: Path, redis_server: str) -> None:
    """What lies in Redis while no worker runs has no address, no code, no password and no text."""
    redis = pytest.importorskip("redis")
    place, address = urlsplit(redis_server), "queued@customer.example"
    service = service_in(tmp_path, REDIS_HOST=str(place.hostname), REDIS_PORT=str(place.port), REDIS_DB="5")
    with service.web(0) as url, redis.Redis(host=place.hostname, port=place.port, db=5) as client:
        assert Shop(url).register(address, PASSWORD).waits_for_code
        _, payload = client.brpop("celery", timeout=20)
    message = json.loads(payload)
    arguments, options, _ = json.loads(base64.b64decode(message["body"]))
    assert message["headers"]["task"] == "authentication.verification.send_verification_email"
    assert [str(uuid.UUID(argument)) for argument in arguments] == arguments
    assert (len(arguments), options) == (1, {})
    seen = payload + base64.b64decode(message["body"])
    assert not [secret for secret in (PASSWORD, SECRET_KEY, address) if secret.encode() in seen]
    assert not re.search(rb"[A-Z]{4}-[A-Z]{4}", seen)


def test_no_log_has_a_secret(running: Running) -> None:
    """With every logger at DEBUG: no password, no key, no code, and no address in any process's output."""
    address = "canary.address@customer.example"
    running.register(address, Fault(At.RCPT, Reply(f"451 4.7.1 <{address}> later"), subject=address, times=1))
    running.settled(address)
    (message,) = running.mails_to(address)
    logs = "".join((running.folder / name).read_text() for name in ("worker.log", "web.log", "log.jsonl"))
    assert "RCPT" in logs, "the transcript was not on"
    for secret in (PASSWORD, SMTP_PASSWORD, SECRET_KEY, code_sent(message.data), address):
        assert secret not in logs
