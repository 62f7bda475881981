"""What a drop-in keeps of Django's SMTP backend, by its number in the contract (docs: drop-in): how mail is sent.

12 to 16 and 22 to 25 are in ``test_construction``.
"""

from __future__ import annotations

import smtplib
import ssl
from email import message_from_bytes, policy
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.functional import lazystr

from robust_email.smtp import errors
from robust_email.testing import At, Close, Extensions, Fault, Reply, Script, ScriptedServer
from tests.contract.ways import Ways, dead_port, letter, where

if TYPE_CHECKING:
    from robust_email.testing.certs import CertificateAuthority
    from robust_email.testing.pytest_plugin import ServerFactory


def test_01_counts_messages_of_a_list_and_of_an_iterator(build: Ways, smtp_server: ScriptedServer) -> None:
    """send_messages() returns how many messages the server accepted, from a list or a one-shot iterator."""
    backend = build(**where(smtp_server))
    assert backend.send_messages([letter(), letter()]) == 2
    assert backend.send_messages(iter([letter(), letter(), letter()])) == 3
    assert backend.send_messages(letter() for _ in range(1)) == 1
    assert backend.send_messages(iter([])) == 0
    assert len(smtp_server.accepted) == 6


def test_02_nothing_to_send_opens_nothing(build: Ways) -> None:
    """send_messages([]) returns 0 and never calls open()."""
    backend = build(**dead_port())
    opened = mock.Mock()
    vars(backend)["open"] = opened
    assert backend.send_messages([]) == 0
    opened.assert_not_called()


def test_03_without_recipients_nothing_is_sent(build: Ways, smtp_server: ScriptedServer) -> None:
    """A message without recipients counts 0 and sends nothing, alone and among others."""
    backend = build(**where(smtp_server))
    nobody = EmailMessage("Subject", "Content", "shop@example.org", to=[])
    assert backend.send_messages([nobody]) == 0
    assert smtp_server.connections == 0
    assert backend.send_messages([letter(), nobody, letter()]) == 2
    assert len(smtp_server.accepted) == 2


def test_04_open_says_whether_it_opened(build: Ways, smtp_server: ScriptedServer) -> None:
    """open() returns True for a new connection, False when one is open, and None for a silenced error."""
    backend = build(**where(smtp_server))
    before = backend.connection
    assert before is None
    assert backend.open() is True
    assert backend.connection is not None
    assert backend.open() is False
    backend.close()
    assert backend.connection is None
    assert build(**dead_port(), fail_silently=True).open() is None


def test_04_an_assigned_connection_counts_as_open(build: Ways) -> None:
    """open() returns False when somebody has put a connection there."""
    backend = build(**dead_port())
    backend.connection = mock.Mock(spec=object())
    assert backend.open() is False
    backend.close()
    assert backend.connection is None


def test_05_an_open_backend_serves_every_send(build: Ways, smtp_server: ScriptedServer) -> None:
    """An opened connection serves every send_messages() until close(); here the pool keeps it after that too."""
    backend = build(**where(smtp_server))
    backend.open()
    for _ in range(3):
        assert backend.send_messages([letter()]) == 1
    assert backend.connection is not None
    backend.close()
    assert backend.send_messages([letter()]) == 1
    assert backend.connection is None
    assert smtp_server.connections == 1


def test_06_close_raises_nothing(build: Ways) -> None:
    """close() raises nothing when never opened, when called twice, and when the server is gone."""
    with ScriptedServer() as server:
        backend = build(**where(server))
        backend.close()
        backend.open()
        backend.connection.mail("shop@example.org")
    backend.close()
    backend.close()


def test_07_a_with_block_opens_and_closes_once(build: Ways) -> None:
    """`with backend as b` gives the backend; open() and close() are looked up on the instance and called once each."""
    backend = build(**dead_port())
    opened, closed = mock.Mock(), mock.Mock()
    vars(backend).update(open=opened, close=closed)
    with backend as entered:
        assert entered is backend
        opened.assert_called_once_with()
        closed.assert_not_called()
    closed.assert_called_once_with()


def test_08_errors_while_opening_are_os_errors(build: Ways, smtp_certs: CertificateAuthority) -> None:
    """A refused connection is a ConnectionError, a failed handshake an ssl.SSLError; connection stays None."""
    backend = build(**dead_port())
    with pytest.raises(ConnectionRefusedError):
        backend.open()
    assert backend.connection is None
    with ScriptedServer(Script(implicit_tls=smtp_certs.server_context())) as server:
        untrusting = build(**where(server), use_ssl=True)
        with pytest.raises(ssl.SSLError):
            untrusting.open()
        assert untrusting.connection is None
    with ScriptedServer() as in_clear:
        mistaken = build(**where(in_clear), use_ssl=True)
        with pytest.raises(ssl.SSLError), mistaken:
            pass
        assert mistaken.connection is None


def test_09_refusals_are_smtp_exceptions_with_their_text(build: Ways, smtp_faults: ServerFactory) -> None:
    """What the server refuses is an smtplib exception of the kind that belongs to it, with code and text."""
    server = smtp_faults(extensions=Extensions(auth=()))
    with pytest.raises(smtplib.SMTPException, match=r"SMTP AUTH extension not supported by server\."):
        build(**where(server), username="user", password="secret").open()

    server = smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no such user")))
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        build(**where(server)).send_messages([letter()])
    assert refused.value.recipients == {"ann@example.org": (550, b"5.1.1 no such user")}

    server = smtp_faults(Fault(At.MAIL, Reply("550 5.7.1 not you")))
    with pytest.raises(smtplib.SMTPSenderRefused) as sender:
        build(**where(server)).send_messages([letter()])
    assert (sender.value.smtp_code, sender.value.smtp_error) == (550, b"5.7.1 not you")
    assert sender.value.sender == "shop@example.org"

    server = smtp_faults(Fault(At.BEFORE_FINAL, Reply("554 5.6.0 not that")))
    with pytest.raises(smtplib.SMTPDataError) as data:
        build(**where(server)).send_messages([letter()])
    assert (data.value.smtp_code, data.value.smtp_error) == (554, b"5.6.0 not that")


def test_09_a_wrong_password_is_an_authentication_error(build: Ways) -> None:
    """Refused credentials raise SMTPAuthenticationError, once, with the server's words."""
    with ScriptedServer(Script(accounts={"user": "right"})) as server:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            build(**where(server), username="user", password="wrong").open()
        assert refused.value.smtp_code == 535
        assert "wrong" not in str(refused.value)
        assert server.commands["AUTH"] == 1


def test_10_fail_silently_keeps_back_just_those(build: Ways, smtp_faults: ServerFactory) -> None:
    """fail_silently, given or set later, silences OSError and SMTPException; a bad address still raises ValueError."""
    assert build(**dead_port(), fail_silently=True).send_messages([letter()]) == 0
    server = smtp_faults(Fault(At.RCPT, Reply("550 5.1.1 no such user")))
    backend = build(**where(server))
    assert backend.fail_silently is False
    backend.fail_silently = True
    message = letter()
    assert backend.send_messages([message]) == 0
    assert vars(message)["smtp_report"].refused == ("ann@example.org",)
    with pytest.raises(ValueError, match="Invalid address"):
        backend.send_messages([letter("not an address")])


def test_11_no_starttls_no_mail(build: Ways) -> None:
    """use_tls and a server without STARTTLS raises SMTPException; nothing goes on in clear."""
    with ScriptedServer(Script(accounts={"user": "secret"})) as server:
        backend = build(**where(server), use_tls=True, username="user", password="secret")
        with pytest.raises(smtplib.SMTPException, match=r"STARTTLS extension not supported by server\."):
            backend.send_messages([letter()])
        assert server.commands["AUTH"] == 0
        assert server.commands["MAIL"] == 0


def test_17_the_envelope_is_the_messages_own(build: Ways, smtp_server: ScriptedServer) -> None:
    """MAIL FROM and RCPT TO are from_email and to, cc, bcc, with IDNA, whatever the headers say."""
    message = EmailMessage(
        from_email="lists@discussão.example.org",
        to=["To Example <to@漢字.example.com>"],
        cc=["cc@example.com"],
        bcc=["monitor@discussão.example.org"],
        headers={"From": "Someone <else@example.org>", "To": "Undisclosed <list@example.org>"},
    )
    assert build(**where(smtp_server)).send_messages([message]) == 1
    [accepted] = smtp_server.accepted
    assert accepted.reverse_path == "lists@xn--discusso-xza.example.org"
    assert accepted.forward_paths == (
        "to@xn--p8s937b.example.com",
        "cc@example.com",
        "monitor@xn--discusso-xza.example.org",
    )
    assert b"else@example.org" in accepted.data
    assert b"monitor" not in accepted.data


def test_18_encoded_domains_stay_as_they_are(build: Ways, smtp_server: ScriptedServer) -> None:
    """Domains already encoded by IDNA 2008 are not re-encoded."""
    message = letter('"faß" <to@xn--10cl1a0b660p.example.com>')
    message.from_email = '"βόλος" <from@xn--fa-hia.example.com>'
    assert build(**where(smtp_server)).send_messages([message]) == 1
    [accepted] = smtp_server.accepted
    assert accepted.reverse_path == "from@xn--fa-hia.example.com"
    assert accepted.forward_paths == ("to@xn--10cl1a0b660p.example.com",)


@pytest.mark.parametrize(
    "address",
    [
        "to@other.com@example.com",
        "to@other.com <to@example.com>",
        "to@example.com, other@example.com",
        "@",
        "to@",
        "@example.com",
        '"evil@example.com\r\nto"@example.com',
        "to\nevil@example.com",
        "to@example.com> NOTIFY=NEVER",
    ],
)
def test_19_malformed_addresses_reach_nobody(build: Ways, smtp_server: ScriptedServer, address: str) -> None:
    """A malformed or multiple address, and CR or LF in one, is a ValueError; the wire stays silent."""
    with pytest.raises(ValueError, match="Invalid address"):
        build(**where(smtp_server)).send_messages([EmailMessage(bcc=[address])])
    assert smtp_server.connections == 0


def test_20_local_parts(build: Ways, smtp_server: ScriptedServer) -> None:
    """A non-ASCII local part raises; an address without a domain, and lazy strings, are fine."""
    backend = build(**where(smtp_server))
    with pytest.raises(ValueError, match="Invalid address"):
        backend.send_messages([letter("josé@example.org")])
    lazy = EmailMessage(lazystr("Subject"), lazystr("Body"), "django", [lazystr("ann@example.org")])  # type: ignore[list-item]  # Django takes lazy strings
    assert backend.send_messages([lazy]) == 1
    assert smtp_server.accepted[0].reverse_path == "django"


def test_21_what_arrives(build: Ways, smtp_server: ScriptedServer) -> None:
    """CRLF only on the wire, long lines encoded, non-ASCII headers RFC 2047, Cc and Date there, Bcc not."""
    message = EmailMultiAlternatives(
        "Chère maman",
        "Je t'aime\r\ntrès\rfort\n" + "x" * 2000 + "\n.\n..\n",
        "shop@example.org",
        ["ann@example.org"],
        cc=["carol@example.org"],
        bcc=["hidden@example.org"],
    )
    message.attach_alternative("<p>Ça va</p>", "text/html")
    assert build(**where(smtp_server)).send_messages([message]) == 1
    data = smtp_server.accepted[0].data
    without = data.replace(b"\r\n", b"")
    assert b"\r" not in without
    assert b"\n" not in without
    assert max(map(len, data.split(b"\r\n"))) <= 998
    received = message_from_bytes(data, policy=policy.default)
    assert received["Subject"] == "Chère maman"
    assert "=?utf-8?" in data.decode("ascii", "replace").lower()
    assert received["Cc"] == "carol@example.org"
    assert received["Date"]
    assert b"hidden" not in data
    body = received.get_body(("plain",))
    assert body is not None
    assert body.get_content().splitlines()[-2:] == [".", ".."]


def test_a_raised_error_belongs_to_our_tree_too(build: Ways, smtp_faults: ServerFactory) -> None:
    """Every raised error carries phase, endpoint and report beside what Django's callers read."""
    server = smtp_faults(Fault(At.FINAL, Close()))
    backend = build(**where(server))
    message = letter()
    with pytest.raises(errors.InDoubt) as in_doubt:
        backend.send_messages([message])
    assert in_doubt.value.report is vars(message)["smtp_report"]
    assert in_doubt.value.endpoint == f"{server.host}:{server.port}"
    assert len(server.accepted) == 1
