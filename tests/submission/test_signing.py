"""DKIM: what a verifier makes of the octets that the server got, for every way there."""

from __future__ import annotations

import base64
import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from robust_email.dkim_signing import DkimKey, DkimSigner
from robust_email.smtp import Envelope, MailData, Scope, SigningImpossible, SubmissionClient, WirePolicy, error_for
from robust_email.testing import Extensions, Script, ScriptedServer
from tests.submission.relay import TRANSPORTS, config_for, submissions

if TYPE_CHECKING:
    from robust_email.smtp import SubmissionReport

dkim = pytest.importorskip("dkim")

needs_nacl = pytest.mark.skipif(find_spec("nacl") is None, reason="the extra `ed25519` is not installed")

HEADERS = (
    b"From: Shop <shop@example.org>\r\nTo: ann@example.org\r\nSubject: hi\r\nDate: Tue, 24 Nov 2026 07:00:00 +0000\r\n"
    b"Message-ID: <1@example.org>\r\nMIME-Version: 1.0\r\nList-Unsubscribe: <https://example.org/u>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
)
SEVEN_BIT = HEADERS + b"Content-Type: text/plain\r\n\r\nhello\r\n.\r\n..dots\r\n"
EIGHT_BIT = (
    HEADERS
    + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    + "Grüße  \r\n.\r\n".encode() * 3
)
BINARY_SUBJECT = EIGHT_BIT.replace(b"Subject: hi", "Subject: grüß".encode())


def new_ed25519_key() -> tuple[bytes, bytes, bytes]:
    """Make a key: PKCS #8 in PEM as openssl does, the seed in base64 as dknewkey does, and the TXT record."""
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = base64.b64encode(key.public_key().public_bytes_raw())
    return pem, base64.b64encode(key.private_bytes_raw()), b"v=DKIM1; k=ed25519; p=" + public


def new_key() -> tuple[bytes, bytes]:
    """Make a key: the PEM file's octets and the TXT record that belongs to it."""
    key = rsa.generate_private_key(65_537, 2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem, b"v=DKIM1; k=rsa; p=" + b"".join(public.splitlines()[1:-1])


PEM, RECORD = new_key()
EMPTY_PEM = b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def signer(tmp_path: Path) -> DkimSigner:
    """Give a signer for example.org."""
    path = tmp_path / "dkim.pem"
    path.write_bytes(PEM)
    return DkimSigner("example.org", (DkimKey("mail", str(path)),))


def verified(octets: bytes, record: bytes = RECORD) -> bool:
    """Ask dkimpy what it thinks, with this key under mail._domainkey.example.org."""
    return bool(
        dkim.verify(octets, dnsfunc=lambda name, **_: record if name == b"mail._domainkey.example.org." else b"")
    )


def submit(server: ScriptedServer, signer: DkimSigner, octets: bytes) -> SubmissionReport:
    """Hand one mail over, signed."""
    client = SubmissionClient(dataclasses.replace(config_for(server), signer=signer))
    try:
        return client.submit(Envelope.of("shop@example.org", ["ann@example.org"]), MailData.from_bytes(octets))
    finally:
        client.close()


def verdicts(octets: bytes, **records: bytes) -> list[bool]:
    """Ask dkimpy what it thinks of each signature, first to last, with these records by selector."""
    txt = {f"{selector}._domainkey.example.org.".encode(): record for selector, record in records.items()}
    message = dkim.DKIM(octets)
    count = sum(name.lower() == b"dkim-signature" for name, _ in message.headers)
    found = []
    for number in range(count):
        try:
            found.append(bool(message.verify(number, dnsfunc=lambda name, **_: txt.get(name, b""))))
        except dkim.DKIMException:
            found.append(False)
    return found


@pytest.fixture(params=["PEM", "base64"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[DkimSigner, bytes]:
    """Give a signer with an RSA and an Ed25519 key, the latter in each form, and its record."""
    pem, seed, record = new_ed25519_key()
    (tmp_path / "rsa.pem").write_bytes(PEM)
    (tmp_path / "ed25519.key").write_bytes(pem if request.param == "PEM" else seed + b"\n")
    keys = DkimKey("r", str(tmp_path / "rsa.pem")), DkimKey("e", str(tmp_path / "ed25519.key"))
    return DkimSigner("example.org", keys), record


@needs_nacl
@pytest.mark.parametrize("octets", [SEVEN_BIT, EIGHT_BIT], ids=["7-bit", "8-bit"])
def test_two_keys_make_two_signatures_that_both_hold(octets: bytes, both: tuple[DkimSigner, bytes]) -> None:
    """RFC 8463: a verifier that knows RSA alone is content, and so is one that prefers Ed25519."""
    signer, record = both
    with ScriptedServer() as server:
        assert submit(server, signer, octets).all_accepted
        [taken] = server.accepted
    assert int(taken.parameters["SIZE"]) == len(taken.data)
    assert [b"a=rsa-sha256" in taken.data, b"a=ed25519-sha256" in taken.data] == [True, True]
    assert verdicts(taken.data, r=RECORD, e=record) == [True, True]


@needs_nacl
def test_each_of_two_signatures_stands_alone(both: tuple[DkimSigner, bytes]) -> None:
    """A wrong key in DNS breaks the one signature and not the other; a changed mail breaks both."""
    signer, record = both
    octets = signer.sign(SEVEN_BIT) + SEVEN_BIT
    assert verdicts(octets, r=RECORD, e=new_ed25519_key()[2]) == [True, False]
    assert verdicts(octets, r=new_key()[1], e=record) == [False, True]
    assert verdicts(octets.replace(b"hello", b"Hello"), r=RECORD, e=record) == [False, False]


@needs_nacl
def test_ed25519_alone(both: tuple[DkimSigner, bytes]) -> None:
    """One key, one signature."""
    signer, record = both
    alone = dataclasses.replace(signer, keys=signer.keys[1:])
    assert verdicts(alone.sign(SEVEN_BIT) + SEVEN_BIT, e=record) == [True]


@needs_nacl
def test_the_signature_of_rfc_8463(tmp_path: Path) -> None:
    """The key of RFC 8463 A.1 belongs to its record: what it signs verifies."""
    (tmp_path / "key").write_text("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=\n")
    record = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    octets = DkimSigner("example.org", (DkimKey("e", str(tmp_path / "key")),)).sign(SEVEN_BIT) + SEVEN_BIT
    assert verdicts(octets, e=record) == [True]


def test_without_pynacl_an_ed25519_key_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing goes unsigned, or with half of its signatures."""
    monkeypatch.delattr(dkim, "nacl", raising=False)
    (tmp_path / "rsa.pem").write_bytes(PEM)
    (tmp_path / "key").write_bytes(new_ed25519_key()[1])
    keys = DkimKey("r", str(tmp_path / "rsa.pem")), DkimKey("e", str(tmp_path / "key"))
    with ScriptedServer() as server:
        report = submit(server, DkimSigner("example.org", keys), SEVEN_BIT)
        assert server.commands["MAIL"] == 0
    assert report.decisive.scope is Scope.CONFIGURATION
    assert "needs PyNaCl: pip install 'django-robust-email[ed25519]'" in str(error_for(report))


@pytest.mark.parametrize("octets", [SEVEN_BIT, EIGHT_BIT], ids=["7-bit", "8-bit"])
@pytest.mark.parametrize("eight_bit_mime", [True, False])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_octets_that_the_server_got_verify(
    transport: str,
    eight_bit_mime: bool,  # noqa: FBT001 - a parameter of the test
    octets: bytes,
    signer: DkimSigner,
) -> None:
    """Step by step, pipelined or chunked, 7-bit or downgraded: the signature holds, and the SIZE said was right."""
    offered = dataclasses.replace(TRANSPORTS[transport], eight_bit_mime=eight_bit_mime)
    with ScriptedServer(Script(extensions=offered)) as server:
        assert submit(server, signer, octets).all_accepted
        [taken] = server.accepted
    assert verified(taken.data)
    assert taken.data.isascii()
    assert int(taken.parameters["SIZE"]) == len(taken.data)


def test_a_mail_with_raw_utf8_headers_is_signed_as_it_is(signer: DkimSigner) -> None:
    """What cannot be made 7-bit (RFC 6532) is signed in 8-bit, to a server with SMTPUTF8."""
    with ScriptedServer() as server:
        assert submit(server, signer, BINARY_SUBJECT).all_accepted
        [taken] = server.accepted
    assert not taken.data.isascii()
    assert verified(taken.data)


def test_a_window_of_mails_is_signed_one_by_one(signer: DkimSigner) -> None:
    """Each of several mails on the way at once has a signature of its own."""
    with ScriptedServer() as server:
        config = dataclasses.replace(config_for(server), signer=signer, wire=WirePolicy(window=4))
        client = SubmissionClient(config)
        reports = [report for _, report in client.submit_many(submissions(6))]
        client.close()
        taken = [message.data for message in server.accepted]
    assert all(report.all_accepted for report in reports)
    assert len(taken) == 6
    assert all(data.count(b"DKIM-Signature:") == 1 for data in taken)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"hello", b"Hello"),
        (b"Subject: hi", b"Subject: ho"),
        (b"<https://example.org/u>", b"<https://example.net/u>"),
        (b"List-Unsubscribe=One-Click", b"x"),
        (b"\r\n\r\n", b"\r\nSubject: another\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nFrom: another@example.org\r\n\r\n"),
        (b"\r\n\r\n", b"\r\nCc: another@example.org\r\n\r\n"),
    ],
)
def test_what_matters_is_covered(old: bytes, new: bytes, signer: DkimSigner) -> None:
    """A changed body or header, or a second one beside the first, breaks the signature."""
    octets = signer.sign(SEVEN_BIT) + SEVEN_BIT
    assert verified(octets)
    head, _, rest = octets.partition(b"\r\nFrom: ")
    assert not verified(head + b"\r\nFrom: " + rest.replace(old, new, 1))


def test_a_new_key_file_is_used_at_once(signer: DkimSigner, tmp_path: Path) -> None:
    """A key that an operator replaced signs the next mail."""
    first = signer.sign(SEVEN_BIT) + SEVEN_BIT
    pem, record = new_key()
    (tmp_path / "new.pem").write_bytes(pem)
    (tmp_path / "new.pem").replace(signer.keys[0].file)
    second = signer.sign(SEVEN_BIT) + SEVEN_BIT
    assert (verified(first), verified(first, record)) == (True, False)
    assert (verified(second), verified(second, record)) == (False, True)


@pytest.mark.parametrize("content", [None, b"", b"no key", PEM[:200], EMPTY_PEM])
def test_a_mail_that_cannot_be_signed_does_not_go_unsigned(content: bytes | None, signer: DkimSigner) -> None:
    """A missing or broken key is a mistake of configuration; the server gets nothing, and no text holds the key."""
    path = Path(signer.keys[0].file)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with ScriptedServer() as server:
        report = submit(server, signer, SEVEN_BIT)
        assert not server.accepted
        assert server.commands["MAIL"] == 0
    assert report.decisive.scope is Scope.CONFIGURATION
    assert isinstance(error_for(report), SigningImpossible)
    assert "MII" not in str(error_for(report))


def test_a_server_too_small_for_the_signature_is_told_nothing(signer: DkimSigner) -> None:
    """SIZE is compared with what would go, the signature included."""
    with ScriptedServer(Script(extensions=Extensions(size=len(SEVEN_BIT) + 10))) as server:
        assert submit(server, signer, SEVEN_BIT).refused
        assert server.commands["MAIL"] == 0
