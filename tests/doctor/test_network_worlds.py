"""Broken networks: DNS by name servers of the test's own and a given getaddrinfo, TCP by real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from robust_email.smtp.proxy import Proxy, ProxyKind
from robust_email.testing import Script, ScriptedServer
from tests.doctor.name_server import REFUSED, SERVFAIL, Habit, NameServer
from tests.doctor.world import (
    HASTY,
    Relay,
    addresses_of,
    codes,
    diagnose,
    failing_with,
    surroundings,
)
from tests.net.proxies import ProxyServer
from tests.net.test_connector import black_hole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from robust_email.doctor import DoctorReport
    from robust_email.testing.certs import CertificateAuthority

HOST = "mail.example.com"
PASSWORD = "hunter2-canary"
FOUND = addresses_of("127.0.0.1")
NONAME = failing_with(socket.EAI_NONAME, "Name or service not known")
NODATA = failing_with(socket.EAI_NODATA, "No address associated with hostname")
AGAIN = failing_with(socket.EAI_AGAIN, "Temporary failure in name resolution")
NO_RECOVERY = failing_with(socket.EAI_FAIL, "Non-recoverable failure in name resolution")
KNOWN = Habit({HOST: ["127.0.0.1"]})


@contextlib.contextmanager
def name_servers(habits: Sequence[Habit]) -> Iterator[tuple[int, str]]:
    """Run name servers on 127.0.0.1, 127.0.0.2 ... and one port; give the port and the lines for resolv.conf."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(NameServer(habits[0]))
        others = [
            stack.enter_context(NameServer(habit, f"127.0.0.{number}", first.port))
            for number, habit in enumerate(habits[1:], start=2)
        ]
        yield first.port, "".join(f"nameserver {server.address}\n" for server in (first, *others))


def look_up(
    getaddrinfo: Any,  # noqa: ANN401 - any of the above
    habits: Sequence[Habit] = (KNOWN,),
    *,
    conf: str = "",
    host: str = HOST,
    **changes: Any,  # noqa: ANN401 - the fields of Surroundings
) -> DoctorReport:
    """Examine a relay of that name where DNS is like this; the relay itself is sound."""
    with ScriptedServer() as server, name_servers(habits) as (port, lines):
        around = surroundings(
            getaddrinfo=getaddrinfo, resolv_conf=lambda: lines + conf, nameserver_port=port, **changes
        )
        return diagnose(Relay(server.port, host, seconds=4.0).config(), surroundings=around)


def warnings(report: DoctorReport) -> list[str]:
    """Return what is wrong, but for that the name leads to this machine, which is so in all of these worlds."""
    return [code for code in codes(report) if code != "name-is-loopback"]


def cause(report: DoctorReport) -> tuple[str, str]:
    """Return the code and the remedy of the cause."""
    assert report.cause is not None
    return report.cause.code, report.cause.remedy


def test_a_sound_dns_is_silent() -> None:
    """With name servers that answer, nothing is found worth a warning."""
    report = look_up(FOUND)
    assert warnings(report) == []
    assert f"{HOST} is 127.0.0.1" in str(report.as_dict())


@pytest.mark.parametrize(
    ("getaddrinfo", "habit", "expected", "words"),
    [
        (NONAME, Habit(), "name-unknown", "gaierror -2"),
        (NODATA, Habit({HOST: []}), "name-without-address", "gaierror -5"),
        (AGAIN, Habit(silent=True), "name-try-again", "gaierror -3"),
        (NO_RECOVERY, Habit(rcode=SERVFAIL), "name-look-up-failed", "resolver itself"),
    ],
    ids=["-2", "-5", "-3", "-4"],
)
def test_gaierror_is_explained(getaddrinfo: Any, habit: Habit, expected: str, words: str) -> None:  # noqa: ANN401
    """Each of getaddrinfo's errors gets plain words, its number, and Docker's remedies."""
    code, remedy = cause(look_up(getaddrinfo, [habit]))
    assert code == expected
    assert words in remedy
    assert "`docker run --dns ADDRESS`" in remedy
    assert "networks:" in remedy


def test_a_look_up_without_end() -> None:
    """A getaddrinfo that hangs is left behind at the time-out."""
    release = threading.Event()

    def hang(*_: object, **__: object) -> list[Any]:
        release.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "too late")

    config = Relay(25, HOST, seconds=HASTY).config()
    try:
        report = diagnose(config, surroundings=surroundings(getaddrinfo=hang, resolv_conf=lambda: ""))
    finally:
        release.set()
    assert cause(report)[0] == "name-look-up-silent"


@pytest.mark.parametrize("getaddrinfo", [NONAME, AGAIN], ids=["-2", "-3"])
def test_a_wrong_search_domain(getaddrinfo: Any) -> None:  # noqa: ANN401 - a getaddrinfo
    """A short name that no search domain completes: the search domains are shown, and a full name asked for."""
    report = look_up(getaddrinfo, [Habit()], conf="search wrong.example\n", host="mail")
    code, remedy = cause(report)
    assert code == "name-needs-search-domain"
    assert "dns_search:" in remedy
    assert report.cause is not None
    assert "wrong.example" in report.cause.found


def test_a_search_domain_that_answers_for_others() -> None:
    """A wildcard in a search domain takes the relay's place: said with the name that really answered."""
    zone = Habit({HOST: ["192.0.2.9"], f"{HOST}.corp.example": ["127.0.0.1"]})
    report = look_up(FOUND, [zone], conf="search corp.example\noptions ndots:5\n")
    assert warnings(report) == ["resolver-ndots", "name-from-search-domain"]
    assert f"{HOST}.corp.example" in str(report.as_dict())


@pytest.mark.parametrize(
    ("habit", "expected"),
    [
        (Habit(silent=True), "nameserver-silent"),
        (Habit(rcode=SERVFAIL), "nameserver-fails"),
        (Habit(rcode=REFUSED), "nameserver-refuses"),
        (Habit(nonsense=b"no DNS"), "nameserver-garbage"),
        (Habit(), "nameserver-unknown-name"),
    ],
    ids=["silent", "SERVFAIL", "REFUSED", "nonsense", "NXDOMAIN"],
)
def test_a_name_server_that_does_not_help(habit: Habit, expected: str) -> None:
    """The one that is at fault is named by its address, also where another one answers."""
    report = look_up(FOUND, [habit, KNOWN])
    bad = next(finding for finding in report.findings if finding.code == expected)
    assert bad.found.startswith("127.0.0.1:")
    assert bad.remedy
    assert report.exit_code == 1
    assert ("nameservers-disagree" in warnings(report)) == (expected == "nameserver-unknown-name")


def test_nothing_listens_at_a_name_server() -> None:
    """A closed port 53 is told from one that swallows questions."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, ScriptedServer() as server:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        sock.close()
        around = surroundings(getaddrinfo=FOUND, nameserver_port=port)
        report = diagnose(Relay(server.port, HOST).config(), surroundings=around)
    assert warnings(report) == ["nameserver-unreachable"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "resolver-no-nameserver"),
        ("nameserver 127.0.0.53\n", "resolver-loopback-in-container"),
        ("nameserver 127.0.0.11\n", None),
        ("search a.example b.example\nnameserver 127.0.0.11\noptions ndots:5\n", "resolver-ndots"),
    ],
    ids=["none", "the host's stub", "Docker's own", "Kubernetes"],
)
def test_resolv_conf_is_judged(text: str, expected: str | None) -> None:
    """In a container, a resolv.conf that cannot work or costs time is a warning with Docker's remedy."""
    with NameServer(KNOWN, "127.0.0.11") as docker, ScriptedServer() as server:
        around = surroundings(
            getaddrinfo=FOUND, resolv_conf=lambda: text, in_container=lambda: True, nameserver_port=docker.port
        )
        report = diagnose(Relay(server.port, HOST).config(), surroundings=around)
    found = warnings(report)
    assert (expected in found) if expected else "resolver-loopback-in-container" not in found


def test_no_resolv_conf_is_no_error(smtp_server: ScriptedServer) -> None:
    """Where there is no resolv.conf (Windows, say), the round goes on."""

    def missing() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    report = diagnose(
        Relay(smtp_server.port, HOST).config(), surroundings=surroundings(getaddrinfo=FOUND, resolv_conf=missing)
    )
    assert warnings(report) == []


def test_a_hosts_file_that_leads_home() -> None:
    """A public name that ends on this machine is remarked upon."""
    report = look_up(FOUND, [Habit({HOST: ["192.0.2.1"]})])
    assert codes(report) == ["name-is-loopback"]


def test_a_name_that_cannot_be_one() -> None:
    """An empty label is a typo, and is called one."""
    report = diagnose(Relay(25, "mail..example.com").config(), surroundings=surroundings(resolv_conf=lambda: ""))
    assert cause(report)[0] == "name-malformed"


# -- TCP


def test_a_refused_port(closed_port: int) -> None:
    """Nothing listens: check the port."""
    code, remedy = cause(diagnose(Relay(closed_port).config()))
    assert code == "tcp-refused"
    assert "EMAIL_PORT" in remedy


def test_a_refused_port_on_a_containers_own_loopback(closed_port: int) -> None:
    """EMAIL_HOST = localhost in a container is the mistake, not the port."""
    around = surroundings(in_container=lambda: True, resolv_conf=lambda: "nameserver 127.0.0.11\n")
    code, remedy = cause(diagnose(Relay(closed_port, "localhost").config(), surroundings=around))
    assert code == "host-is-this-container"
    assert "host.docker.internal" in remedy


def test_a_filtered_port() -> None:
    """Packets that vanish are told from a refusal, and the usual block of port 25 is named."""
    with black_hole(socket.AF_INET, "127.0.0.1") as port:
        code, remedy = cause(diagnose(Relay(port, seconds=HASTY).config()))
    assert code == "tcp-filtered"
    assert "port 25" in remedy


def test_no_route() -> None:
    """An address that the system will not connect to at all."""
    around = surroundings(getaddrinfo=addresses_of("255.255.255.255"), resolv_conf=lambda: "nameserver 127.0.0.1\n")
    code, remedy = cause(diagnose(Relay(25, "localhost").config(), surroundings=around))
    assert code == "tcp-unreachable"
    assert "internal: true" in remedy


def test_ipv6_only_broken(smtp_server: ScriptedServer) -> None:
    """A relay that answers over IPv4 and not over IPv6 works, and the broken half is named."""
    around = surroundings(getaddrinfo=addresses_of("::1", "127.0.0.1"))
    report = diagnose(Relay(smtp_server.port, "localhost").config(), surroundings=around)
    code, remedy = cause(report)
    assert code == "tcp-ipv6-broken"
    assert "enable_ipv6" in remedy
    assert report.exit_code == 1


def test_one_of_two_addresses_is_down(smtp_server: ScriptedServer) -> None:
    """The other one is used, and the dead one named."""
    around = surroundings(getaddrinfo=addresses_of("127.0.0.2", "127.0.0.1"))
    report = diagnose(Relay(smtp_server.port, "localhost").config(), surroundings=around)
    assert codes(report) == ["tcp-address-down"]
    assert smtp_server.connections > 0


# -- a proxy on the way


def test_a_relay_behind_a_proxy(smtp_server: ScriptedServer) -> None:
    """The proxy's name is looked up here, the relay's by the proxy, and the rest is as without."""
    where = {f"{HOST}:25": (smtp_server.host, smtp_server.port)}
    with ProxyServer(where, user="shop", password=PASSWORD) as server:
        proxy = Proxy(ProxyKind.SOCKS5, "localhost", server.port, "shop", PASSWORD)
        report = diagnose(Relay(25, HOST).config(proxy=proxy))
    assert codes(report) == []
    assert "proxy" in [finding.code for finding in report.findings]
    assert smtp_server.connections > 0


@pytest.mark.parametrize("kind", ProxyKind, ids=lambda kind: kind.value)
def test_a_proxy_that_refuses(kind: ProxyKind) -> None:
    """A wrong password for the proxy is its own cause, not the relay's, and is not shown."""
    with ProxyServer({}, user="shop", password="another") as server:
        proxy = Proxy(kind, "localhost", server.port, "shop", PASSWORD)
        report = diagnose(Relay(25, HOST).config(proxy=proxy))
    code, remedy = cause(report)
    assert code == "proxy-failed"
    assert "EMAIL_PROXY" in remedy
    assert PASSWORD not in str(report.as_dict())


@pytest.mark.parametrize(
    ("script", "user", "expected"),
    [
        ({"starttls": True}, "", "tls-available-unused"),
        ({"accounts": {"shop": PASSWORD}}, "shop", "auth-clear-text"),
    ],
    ids=["mail", "password"],
)
def test_over_a_network_in_clear(
    script: dict[str, Any], user: str, expected: str, smtp_certs: CertificateAuthority
) -> None:
    """Behind a proxy the relay is not this machine: mail in clear is a warning, a password in clear is not sent."""
    fields = script | ({"starttls": smtp_certs.server_context()} if "starttls" in script else {})
    with ScriptedServer(Script(**fields)) as server, ProxyServer({f"{HOST}:25": (server.host, server.port)}) as way:
        proxy = Proxy(ProxyKind.SOCKS5, "localhost", way.port)
        report = diagnose(Relay(25, HOST, user=user, password=PASSWORD).config(proxy=proxy))
    assert codes(report) == [expected]
    assert server.commands["AUTH"] == 0


def test_a_slow_look_up() -> None:
    """A DNS that takes its time is a warning with the seconds."""
    never = threading.Event()

    def slow(*arguments: Any, **options: Any) -> list[Any]:  # noqa: ANN401 - as getaddrinfo
        never.wait(0.6)
        found: list[Any] = FOUND(*arguments, **options)
        return found

    report = look_up(slow)
    assert warnings(report) == ["name-slow"]
