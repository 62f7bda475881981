"""Requests that come at the same moment, on PostgreSQL with a threaded web server (V7, V9, V17)."""

from __future__ import annotations

import email
import email.policy
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from demo.shop import Answer, Shop
from tests.service.customers import ACCOUNT, AUTH, CODE
from tests.service.running import service_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

PASSWORD = "CANARY-correct-horse"


@dataclass(frozen=True, slots=True)
class Running:
    """The web server and its database."""

    url: str
    database: str
    folder: Path

    def forget_limits(self) -> None:
        """Empty the cache, so that a test need not wait for a minute to pass."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)

    def query(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Ask the database."""
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(self.database) as connection:
            return list(connection.execute(sql, parameters))

    def codes_to(self, address: str) -> list[str]:
        """Return the codes in the mails to an address, the oldest first."""
        rows = self.query(
            "SELECT content FROM robust_email_outbox_outboxmessage m JOIN robust_email_outbox_outboxrecipient r"
            " ON r.message_id = m.id WHERE r.address = %s AND content IS NOT NULL ORDER BY m.id",
            address,
        )
        texts = []
        for (content,) in rows:
            part = email.message_from_bytes(bytes(content), policy=email.policy.default).get_body(("plain",))
            assert part is not None
            texts.append(part.get_content())
        return [found[1] for text in texts if (found := CODE.search(text))]

    def customer(self, address: str) -> Shop:
        """Give somebody who is logged in and has just said his password."""
        shop = Shop(self.url)
        shop.register(address, PASSWORD)
        (code,) = self.codes_to(address)
        assert shop.verify(code).status == 200
        assert shop.post(f"{AUTH}reauthenticate", {"password": PASSWORD}).status == 200
        return shop


@pytest.fixture(scope="module")
def running(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Run the web server on an empty database."""
    folder = tmp_path_factory.mktemp("races")
    place = urlsplit(postgres_url)
    service = service_in(
        folder,
        POSTGRES_HOST=str(place.hostname),
        POSTGRES_PORT=str(place.port or 5432),
        POSTGRES_USER=str(place.username),
        POSTGRES_PASSWORD=place.password or "",
        POSTGRES_DB=place.path.lstrip("/"),
    )
    with service.web(0) as url:
        yield Running(url, postgres_url, folder)


def at_once(*actions: Callable[[], Answer]) -> list[int]:
    """Do all of it at the same moment; return the statuses."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], Answer]) -> int:
        barrier.wait()
        return action().status

    with ThreadPoolExecutor(len(actions)) as pool:
        return sorted(pool.map(act, actions))


def test_v07_guesses_at_once_are_counted_one_by_one(running: Running) -> None:
    """Of twelve wrong codes three are looked at, and then the right one is worth nothing."""
    shop = Shop(running.url)
    shop.register("guessed@customer.example", PASSWORD)
    token = shop.token
    (code,) = running.codes_to("guessed@customer.example")
    wrong = [lambda n=n: Shop(running.url, token).verify(f"XXXX-XX{n:02}") for n in range(12)]
    assert at_once(*wrong) == [400] * 3 + [409] * 9
    assert Shop(running.url, token).verify(code).status == 409


def test_v09_a_code_that_is_sent_many_times_at_once_is_good_once(running: Running) -> None:
    """Of eight one is a success, and the address is proven once."""
    shop = Shop(running.url)
    shop.register("twice@customer.example", PASSWORD)
    token = shop.token
    (code,) = running.codes_to("twice@customer.example")
    statuses = at_once(*[lambda: Shop(running.url, token).verify(code)] * 8)
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 401, 409, 410}
    proven = running.query(
        "SELECT count(*) FROM account_emailaddress WHERE email = %s AND verified", "twice@customer.example"
    )
    assert proven == [(1,)]


def test_v17_two_who_prove_one_address_at_once(running: Running) -> None:
    """One has it, the other is told that it is taken, and nobody sees a 500."""
    wanted = "wanted@customer.example"
    customers = [running.customer(f"rival{number}@customer.example") for number in range(2)]
    for shop in customers:
        running.forget_limits()
        assert shop.post(f"{ACCOUNT}email", {"email": wanted}).status == 200
    codes = running.codes_to(wanted)
    assert len(codes) == 2
    statuses = at_once(
        *[lambda shop=shop, code=code: shop.verify(code) for shop, code in zip(customers, codes, strict=True)]
    )
    assert statuses.count(200) == 1
    assert statuses[1] in {400, 409}
    assert running.query("SELECT count(*) FROM account_emailaddress WHERE email = %s AND verified", wanted) == [(1,)]


def test_two_who_register_one_address_at_once(running: Running) -> None:
    """One account, and no 500."""
    address = "same@customer.example"
    statuses = at_once(*[lambda: Shop(running.url).register(address, PASSWORD)] * 4)
    assert set(statuses) <= {401, 409, 429}
    assert running.query("SELECT count(*) FROM authentication_user WHERE email = %s", address) == [(1,)]


def test_an_order_that_is_sent_many_times_at_once_is_placed_once(running: Running) -> None:
    """V31 under a race: one order, one confirmation."""
    shop = running.customer("buyer@customer.example")
    body = {
        "reference": "7a1c9f3e-5f52-4f1e-9d55-0f5b0c5f6f01",
        "lines": [{"product": "Cup", "quantity": 1, "unit_price": 790}],
    }
    statuses = at_once(*[lambda: Shop(running.url, shop.token).post("/api/orders/", body)] * 6)
    assert statuses == [200] * 5 + [201]
    assert running.query("SELECT count(*) FROM orders_order") == [(1,)]
    sql = "SELECT count(*) FROM robust_email_outbox_outboxmessage WHERE kind = 'order-confirmation'"
    assert running.query(sql) == [(1,)]
