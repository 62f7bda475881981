"""What is read from outside: resolv.conf, DNS datagrams, certificates, URLs. Whatever comes, nothing else is raised."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.doctor import dnsquery
from robust_email.doctor.address import RelayUrl, parse_relay_url
from robust_email.doctor.certificate import read_certificate
from robust_email.doctor.resolvconf import ResolvConf, parse_resolv_conf
from robust_email.smtp import TlsMode
from robust_email.testing.certs import Certificate
from tests.doctor.name_server import Habit, NameServer

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority

# -- resolv.conf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ResolvConf()),
        ("nameserver 192.0.2.1\nnameserver ::1\n", ResolvConf(("192.0.2.1", "::1"))),
        ("# nameserver 192.0.2.1\n;nameserver 192.0.2.1\nnameserver not-an-address\n", ResolvConf()),
        ("domain old.example\nsearch a.example. b.example\n", ResolvConf(search=("a.example", "b.example"))),
        ("search .\n", ResolvConf()),
        ("options ndots:5 timeout:1 attempts:9 rotate\n", ResolvConf(ndots=5, timeout=1, attempts=5)),
        ("options ndots:99 timeout:x attempts:\n", ResolvConf(ndots=15)),
        ("options\nsearch\nnameserver\n", ResolvConf()),
    ],
)
def test_resolv_conf_is_read(text: str, expected: ResolvConf) -> None:
    """As the C library reads it."""
    assert parse_resolv_conf(text) == expected


@pytest.mark.parametrize(
    ("host", "ndots", "expected"),
    [
        ("mail", 1, True),
        ("mail.example", 1, False),
        ("mail.example.com", 3, True),
        ("mail.example.com", 2, False),
        ("mail.example.com", 5, True),
        ("mail.example.com.", 5, False),
    ],
)
def test_who_is_searched_first(host: str, ndots: int, expected: bool) -> None:  # noqa: FBT001 - a parameter
    """Too few dots send a name through the search domains; a dot at its end spares it."""
    assert bool(ResolvConf(search=("a.example",), ndots=ndots).searched_first(host)) is expected


@given(st.text())
def test_any_text_is_a_resolv_conf(text: str) -> None:
    """Nothing is raised."""
    conf = parse_resolv_conf(text)
    assert len(conf.asked) <= 3
    assert set(conf.loopback) <= set(conf.nameservers)


# -- DNS


def test_a_question_and_its_answers() -> None:
    """A and AAAA are asked for, and read, behind names that are compressed."""
    with NameServer(Habit({"mail.example.com": ["192.0.2.1", "192.0.2.2", "2001:db8::1"]})) as server:
        four = dnsquery.ask(server.address, "mail.example.com.", dnsquery.A, 5, server.port)
        six = dnsquery.ask(server.address, "mail.example.com", dnsquery.AAAA, 5, server.port)
    assert four == dnsquery.DnsAnswer(0, ("192.0.2.1", "192.0.2.2"))
    assert six == dnsquery.DnsAnswer(0, ("2001:db8::1",))


def test_the_answer_to_another_question_is_none() -> None:
    """A datagram with another identity is refused, or anybody could answer."""
    datagram = struct.pack("!6H", 7, 0x8180, 0, 0, 0, 0)
    assert dnsquery.read_answer(datagram, dnsquery.A, 7) == dnsquery.DnsAnswer(0, ())
    with pytest.raises(ValueError, match="not the response"):
        dnsquery.read_answer(datagram, dnsquery.A, 8)


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64 + ".example", "bücher..example"])
def test_what_is_no_name_is_not_asked_for(name: str) -> None:
    """An empty or long label is a ValueError."""
    with pytest.raises(ValueError, match="label"):
        dnsquery.query(name, dnsquery.A, 1)


def test_a_name_with_umlauts_is_asked_for_in_ascii() -> None:
    """IDNA, as getaddrinfo does it."""
    assert b"\x0dxn--bcher-kva\x07example\x00" in dnsquery.query("bücher.example", dnsquery.A, 1)


@given(st.binary(max_size=300), st.sampled_from([dnsquery.A, dnsquery.AAAA]), st.booleans())
def test_any_datagram_is_read(datagram: bytes, kind: int, well_begun: bool) -> None:  # noqa: FBT001 - a draw
    """An answer, or ValueError; no loop without end and no other error."""
    if well_begun:
        datagram = struct.pack("!6H", 1, 0x8180, 1, 3, 0, 0) + datagram
    try:
        answer = dnsquery.read_answer(datagram, kind, 1)
    except ValueError:
        return
    assert all(address.count(":") > 1 or address.count(".") == 3 for address in answer.addresses)


# -- certificates


@pytest.mark.parametrize("kind", Certificate, ids=lambda each: each.name)
def test_a_certificate_is_read_as_openssl_reads_it(kind: Certificate, smtp_certs: CertificateAuthority) -> None:
    """Names and times agree with the standard library's own reading."""
    chain, _ = smtp_certs.files(kind)
    found = read_certificate(der_of(chain.read_text()))
    expected = ssl._ssl._test_decode_cert(str(chain))  # type: ignore[attr-defined]  # CPython's own helper
    assert found.not_after == dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(expected["notAfter"]), dt.UTC)
    assert found.not_before == dt.datetime.fromtimestamp(ssl.cert_time_to_seconds(expected["notBefore"]), dt.UTC)
    assert list(found.names) == [
        str(ipaddress.ip_address(value.strip())) if what == "IP Address" else value
        for what, value in expected.get("subjectAltName", ())
    ]
    assert found.self_issued == (kind is Certificate.SELF_SIGNED)


def der_of(pem: str) -> bytes:
    """Return the first certificate of a PEM file."""
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(pem[: pem.index(end) + len(end)])


def test_a_description_says_what_matters(smtp_certs: CertificateAuthority) -> None:
    """Hosts, issuer and days."""
    chain, _ = smtp_certs.files(Certificate.EXPIRED, "mail.example.com")
    text = read_certificate(der_of(chain.read_text())).describe(dt.datetime.now(dt.UTC))
    assert "certificate for mail.example.com, issued by " in text
    assert "expired" in text


@given(data=st.data())
def test_any_octets_are_a_certificate_or_not(data: st.DataObject, smtp_certs: CertificateAuthority) -> None:
    """Octets changed, cut, or made up raise ValueError at most."""
    whole = der_of(smtp_certs.ca_file.read_text())
    octets = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if octets:
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        certificate = read_certificate(bytes(octets))
    except ValueError:
        return
    assert certificate.describe(dt.datetime.now(dt.UTC)).isprintable()


# -- URLs


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example.com", RelayUrl(TlsMode.NONE, "mail.example.com", 25)),
        ("smtps://mail.example.com/", RelayUrl(TlsMode.IMPLICIT, "mail.example.com", 465)),
        ("smtp+starttls://a%40b.c:p%2Fw@[::1]:2525", RelayUrl(TlsMode.STARTTLS, "::1", 2525, "a@b.c", "p/w")),
        ("SMTP+STARTTLS://user@host", RelayUrl(TlsMode.STARTTLS, "host", 587, "user")),
    ],
)
def test_a_relay_url_is_read(url: str, expected: RelayUrl) -> None:
    """Scheme, user, host and port, with the port that goes with the scheme."""
    assert parse_relay_url(url) == expected


@pytest.mark.parametrize(
    "url", ["", "host", "http://u:canary@host", "smtp://", "smtp://u:canary@host:99999", "smtp://u:canary@h/x?y#z"]
)
def test_what_is_no_relay_url_is_refused_without_being_repeated(url: str) -> None:
    """The text of the error holds nothing of a URL that may hold a password."""
    with pytest.raises(ValueError, match="URL") as caught:
        parse_relay_url(url)
    assert "canary" not in str(caught.value)
    assert "canary" not in repr(caught.value.__cause__)


@given(st.text())
def test_any_text_is_a_url_or_not(rest: str) -> None:
    """A URL, or ValueError."""
    try:
        relay = parse_relay_url(f"smtp://{rest}")
    except ValueError:
        return
    assert relay.host
