"""The sender's domain: SPF, DKIM, DMARC and MX as records say, and silence where nobody can be asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from robust_email.doctor import Plan, RecordsFailed, Severity, examine
from robust_email.doctor.records import dnspython_records
from robust_email.smtp import SmtpConfig
from tests.doctor.name_server import Habit, NameServer
from tests.doctor.world import SOUND_DOMAIN, addresses_of, codes, records_of, surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DOMAIN = "shop.example.com"
TXT, MX, DMARC = (DOMAIN, "TXT"), (DOMAIN, "MX"), (f"_dmarc.{DOMAIN}", "TXT")


def domain_findings(
    port: int,
    zone: Mapping[tuple[str, str], Sequence[str]] | None = None,
    *,
    records: Any = None,  # noqa: ANN401 - Records, or what stands for its absence
    host: str = "localhost",
    **wishes: Any,  # noqa: ANN401 - the fields of Plan
) -> list[str]:
    """Return the codes of the last probe that are not fine."""
    around = surroundings(
        records=records or records_of(SOUND_DOMAIN if zone is None else zone), getaddrinfo=addresses_of("127.0.0.1")
    )
    given: dict[str, Any] = {"sender": f"orders@{DOMAIN}", "surroundings": around}
    report = examine(Plan(SmtpConfig(host, port), **given | wishes))
    last = report.examined[-1]
    assert last.probe == "domain"
    return [finding.code for finding in last.findings if finding.severity > Severity.OK]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({TXT: ()}, ["spf-missing"]),
        ({TXT: ("v=spf10 -all", "google-site-verification=x")}, ["spf-missing"]),
        ({TXT: ("v=spf1 -all", "V=SPF1 mx ~all")}, ["spf-twice"]),
        ({TXT: ("v=spf1 +all",)}, ["spf-lets-everybody"]),
        ({DMARC: ()}, ["dmarc-missing"]),
        ({DMARC: (), ("_dmarc.example.com", "TXT"): ("v=DMARC1; p=none",)}, []),
        ({MX: ()}, ["mx-missing"]),
        ({MX: ("0 .",)}, ["mx-missing"]),
    ],
)
def test_records(changes: dict[tuple[str, str], tuple[str, ...]], expected: list[str], closed_port: int) -> None:
    """Each record that is missing, doubled or too lax is a warning of its own."""
    found = domain_findings(closed_port, SOUND_DOMAIN | changes)
    assert found == [*[code for code in expected if code.startswith("spf")], "dkim-not-examined"] + [
        code for code in expected if not code.startswith("spf")
    ]


@pytest.mark.parametrize(
    ("key", "expected"),
    [("v=DKIM1; p=MIGf", []), ("k=rsa; p=MIGf", []), ("v=DKIM1; p=", ["dkim-missing"]), ("", ["dkim-missing"])],
    ids=["there", "without version", "revoked", "not there"],
)
def test_a_dkim_key_is_found_by_its_selector(key: str, expected: list[str], closed_port: int) -> None:
    """A key that was revoked is as good as none."""
    zone = SOUND_DOMAIN | ({(f"s1._domainkey.{DOMAIN}", "TXT"): (key,)} if key else {})
    assert domain_findings(closed_port, zone, dkim_selectors=("s1",)) == expected


def test_the_providers_include_is_missed(closed_port: int) -> None:
    """With Google's relay, an SPF record that does not include Google is a warning."""
    found = domain_findings(closed_port, host="smtp.gmail.com")
    assert found == ["spf-without-provider", "dkim-not-examined"]


def test_the_providers_include_is_there(closed_port: int) -> None:
    """And with it, none."""
    zone = SOUND_DOMAIN | {TXT: ("v=spf1 include:_spf.google.com -all",)}
    assert domain_findings(closed_port, zone, host="smtp.gmail.com") == ["dkim-not-examined"]


@pytest.mark.parametrize("sender", ["webmaster@localhost", "x@intranet.local", "shop@shop.test"])
def test_a_domain_that_is_nobodys(sender: str, closed_port: int) -> None:
    """A domain outside the public DNS is not asked about."""
    assert domain_findings(closed_port, sender=sender) == ["domain-not-public"]


def test_a_domain_that_does_not_exist(closed_port: int) -> None:
    """NXDOMAIN."""
    assert domain_findings(closed_port, {}) == ["domain-unknown"]


def test_no_sender(closed_port: int) -> None:
    """Nothing to look at."""
    assert domain_findings(closed_port, sender="") == ["domain-not-examined"]


def test_dns_does_not_answer(closed_port: int) -> None:
    """A dead DNS is no statement about the domain."""

    def dead(name: str, kind: str) -> tuple[str, ...]:
        raise RecordsFailed(f"LifetimeTimeout for {name} {kind}")

    assert domain_findings(closed_port, records=dead) == ["domain-look-up-failed"]


@pytest.fixture
def ask_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    """Give a name server, and let dnspython ask it instead of the system's."""
    resolver = pytest.importorskip("dns.resolver")
    habit = Habit(texts={DOMAIN: ["v=spf1 -all", "another"], f"_dmarc.{DOMAIN}": []})
    with NameServer(habit) as server:
        system = resolver.Resolver(configure=False)
        system.nameservers, system.port, system.search = [server.address], server.port, []
        monkeypatch.setattr(resolver, "default_resolver", system)
        yield server


def test_records_by_dnspython(ask_server: NameServer) -> None:
    """TXT records come whole, though they travel in pieces; no record and no name are told apart."""
    records = dnspython_records()
    assert records is not None
    assert records(DOMAIN, "TXT") == ("v=spf1 -all", "another")
    assert records(f"_dmarc.{DOMAIN}", "TXT") == ()
    assert records("elsewhere.example.com", "TXT") is None
    assert ask_server.asked[0] == DOMAIN


def test_what_dnspython_cannot_find_out(ask_server: NameServer) -> None:
    """A name that is none, or a server's refusal, is no answer."""
    records = dnspython_records()
    assert records is not None
    with pytest.raises(RecordsFailed):
        records("x" * 64 + ".example", "TXT")


def test_dnspython_is_not_installed(closed_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the doctor says which one would let it look, and finds nothing wrong."""
    monkeypatch.setitem(sys.modules, "dns.resolver", None)
    report = examine(Plan(SmtpConfig("localhost", closed_port), f"a@{DOMAIN}", surroundings=surroundings(records=None)))
    finding = report.examined[-1].findings[0]
    assert finding.code == "domain-without-dnspython"
    assert "django-robust-email[dns]" in finding.remedy
    assert codes(report) == ["tcp-refused"]
