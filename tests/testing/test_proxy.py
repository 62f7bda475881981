"""The proxy cuts where it is told, to the octet, and its round trips are honest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from robust_email.testing.proxy import Cut, CuttableProxy, Ending, Toward
from tests.testing.dialogue import CONTENT, GREETING, TRANSACTION, connected, ready

if TYPE_CHECKING:
    from robust_email.testing import ScriptedServer

HELLO = b"EHLO client.example.org\r\n"


def test_a_message_goes_through(smtp_server: ScriptedServer) -> None:
    """Without cuts the proxy is not noticed, and it passes the end of the stream on."""
    with CuttableProxy(smtp_server.host, smtp_server.port) as proxy, ready(proxy) as wire:
        wire.write(TRANSACTION + b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT)
        assert [wire.reply()[:3] for _ in range(3)] == [b"250"] * 3
        assert wire.ask(b"QUIT").startswith(b"221 ")
        assert wire.rest() == b""
    assert smtp_server.accepted[0].data == CONTENT


@pytest.mark.parametrize("after", [0, 1, len(HELLO) - 1, len(HELLO)])
@pytest.mark.parametrize("ending", Ending)
def test_a_cut_on_the_way_to_the_server(smtp_server: ScriptedServer, after: int, ending: Ending) -> None:
    """The server gets so many octets and not one more; the client sees the ending asked for."""
    with CuttableProxy(smtp_server.host, smtp_server.port, cuts=[Cut(Toward.SERVER, after, ending=ending)]) as proxy:
        with connected(proxy) as wire:
            assert wire.reply() == GREETING
            wire.write(HELLO)
            if ending is Ending.RST:
                with pytest.raises(ConnectionResetError):
                    wire.rest()
            else:
                wire.rest()
        smtp_server.wait_for(lambda server: server.transcript().closed)
    assert HELLO[:after].startswith(smtp_server.transcript().received)
    if ending is Ending.FIN:
        assert smtp_server.transcript().received == HELLO[:after]


@pytest.mark.parametrize("after", [0, 1, len(GREETING) - 1])
def test_a_cut_on_the_way_to_the_client(smtp_server: ScriptedServer, after: int) -> None:
    """The client gets so many octets of the greeting."""
    cut = Cut(Toward.CLIENT, after, ending=Ending.FIN, connection=1)
    with CuttableProxy(smtp_server.host, smtp_server.port, cuts=[cut]) as proxy:
        with connected(proxy) as wire:
            assert wire.rest() == GREETING[:after]
        with connected(proxy) as wire:
            assert wire.reply() == GREETING
        assert proxy.connections == 2


def test_a_final_reply_is_lost_to_the_octet(smtp_server: ScriptedServer) -> None:
    """The server took the message; the client has all replies but the last octet of the last."""
    with CuttableProxy(smtp_server.host, smtp_server.port) as proxy, ready(proxy) as wire:
        wire.write(TRANSACTION + b"BDAT 0 LAST\r\n")
        wire.reply(), wire.reply(), wire.reply()
    seen = len(smtp_server.transcript().written)
    cut = Cut(Toward.CLIENT, seen - 1, ending=Ending.FIN)
    with CuttableProxy(smtp_server.host, smtp_server.port, cuts=[cut]) as proxy, ready(proxy) as wire:
        wire.write(TRANSACTION + b"BDAT 0 LAST\r\n")
        assert wire.rest().endswith(b"250 2.0.0 Accepted as 2\r")
    assert len(smtp_server.accepted) == 2


def test_cutting_by_hand(smtp_server: ScriptedServer) -> None:
    """All open connections end; the next one is taken."""
    with CuttableProxy(smtp_server.host, smtp_server.port) as proxy:
        with ready(proxy) as wire:
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                wire.rest()
        with ready(proxy) as wire:
            proxy.cut(Ending.FIN)
            assert wire.rest() == b""


def test_refusing_and_restoring(smtp_server: ScriptedServer) -> None:
    """New connections are refused on the same port, open ones go on, and all is well afterwards."""
    with CuttableProxy(smtp_server.host, smtp_server.port) as proxy:
        port = proxy.port
        with ready(proxy) as wire:
            proxy.refuse()
            with pytest.raises(ConnectionRefusedError), connected(proxy):
                pass
            assert wire.ask(b"NOOP").startswith(b"250 ")
        proxy.restore()
        assert proxy.port == port
        with ready(proxy) as wire:
            assert wire.ask(b"NOOP").startswith(b"250 ")


def test_deafness_and_hearing(smtp_server: ScriptedServer) -> None:
    """A deaf proxy takes connections and octets; what it held back arrives when it hears again."""
    with CuttableProxy(smtp_server.host, smtp_server.port) as proxy, ready(proxy) as wire:
        proxy.deaf()
        wire.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            wire.ask(b"NOOP")
        with connected(proxy, timeout=0.05) as other, pytest.raises(TimeoutError):
            other.reply()
        wire.socket.settimeout(5)
        proxy.restore()
        assert wire.reply().startswith(b"250 ")


def test_round_trips_are_honest(smtp_server: ScriptedServer) -> None:
    """A greeting takes two round trips from the start of connect(), a reply one, and the order is kept."""
    rtt = 0.1
    with CuttableProxy(smtp_server.host, smtp_server.port, rtt=rtt) as proxy:
        began = time.monotonic()
        with connected(proxy) as wire:
            wire.reply()
            assert 2 * rtt <= time.monotonic() - began < 3.5 * rtt
            began = time.monotonic()
            wire.ask(HELLO.strip())
            assert rtt <= time.monotonic() - began < 2.5 * rtt
            wire.write(TRANSACTION + b"RSET\r\n")
            assert [wire.reply()[4:9] for _ in range(3)] == [b"2.1.0", b"2.1.5", b"2.0.0"]


def test_an_upstream_that_is_gone(smtp_server: ScriptedServer) -> None:
    """The client is taken and then reset, as by a load balancer without a backend."""
    with CuttableProxy(smtp_server.host, smtp_server.port) as proxy:
        smtp_server.close()
        # The reset may come while connect() is returning.
        with pytest.raises(ConnectionResetError), connected(proxy) as wire:
            wire.rest()
    with pytest.raises(RuntimeError):
        _ = CuttableProxy("127.0.0.1", 1).port
