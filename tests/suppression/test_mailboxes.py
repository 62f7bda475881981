"""``email_bounces``: a Maildir, and an IMAP server over TLS, each mail once."""

from __future__ import annotations

import os
import socket
import threading
from io import StringIO
from typing import TYPE_CHECKING, Self

import pytest
from django.core.management import CommandError, call_command

from robust_email.suppression import bounce_address, mailboxes
from robust_email.suppression.models import Effect, SuppressedAddress, SuppressionEvidence
from robust_email.suppression.selectors import is_suppressed
from robust_email.suppression.services import lift
from robust_email.testing.certs import Certificate
from tests.suppression.letters import ABSENCE_NOTE, ANN, bounce

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from pytest_django import Settings

    from robust_email.outbox.models import OutboxMessage
    from robust_email.testing.certs import CertificateAuthority

    Mailed = Callable[..., OutboxMessage]

FORGED = bounce(message_id="<invented@shop.example>")


def read(*arguments: str) -> str:
    """Run the command; return what it said."""
    said = StringIO()
    call_command("email_bounces", *arguments, stdout=said)
    return said.getvalue().strip()


# -- Maildir


@pytest.fixture
def maildir(tmp_path: Path) -> Path:
    """Give an empty Maildir."""
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_a_maildir_is_read_once(mailed: Mailed, maildir: Path) -> None:
    """New mails are dealt with and moved to cur as seen; the second run finds nothing."""
    mailed(ANN)
    for number, raw in enumerate((bounce(), FORGED, ABSENCE_NOTE)):
        (maildir / "new" / f"{number}.host").write_bytes(raw)
    assert read("--maildir", str(maildir)) == "3 mails read: 1 suppressed, 1 forged, 1 ignored"
    assert is_suppressed(ANN)
    assert sorted(path.name for path in (maildir / "cur").iterdir()) == ["0.host:2,S", "1.host:2,S", "2.host:2,S"]
    assert read("--maildir", str(maildir)) == "0 mails read"


def test_a_mail_that_could_not_be_dealt_with_stays_new(maildir: Path) -> None:
    """If the database fails in the middle, the mail is read again next time."""
    (maildir / "new" / "1.host").write_bytes(bounce())

    def fail(raw: bytes) -> None:
        raise RuntimeError("the database is away")

    with pytest.raises(RuntimeError):
        mailboxes.read_maildir(maildir, fail)
    assert [path.name for path in (maildir / "new").iterdir()] == ["1.host"]


def test_a_reader_killed_before_it_marks_a_mail(maildir: Path, settings: Settings, db: None) -> None:
    """Read once more, a bounce that returns no Message-ID is no second event: what a person lifted since stays so."""
    settings.EMAIL_SUPPRESSION_RETURN_PATH = "bounces@shop.example"
    (maildir / "new" / "1.host").write_bytes(bounce(message_id="", to=bounce_address(ANN)))
    (maildir / "cur" / "1.host:2,S").mkdir()  # it cannot be moved there
    with pytest.raises(CommandError, match=r"1\.host: "):
        read("--maildir", str(maildir))
    lift(SuppressedAddress.objects.get())
    (maildir / "cur" / "1.host:2,S").rmdir()
    assert read("--maildir", str(maildir)) == "1 mails read: 1 suppressed"
    assert not is_suppressed(ANN)
    assert [each.effect for each in SuppressionEvidence.objects.all()] == [Effect.SUPPRESSED, Effect.LIFTED]


def test_what_is_no_file_is_passed_over(maildir: Path) -> None:
    """A pipe, a folder or a link to itself among the new mails is neither waited for nor an error."""
    os.mkfifo(maildir / "new" / "1.pipe")
    (maildir / "new" / "2.folder").mkdir()
    (maildir / "new" / "3.link").symlink_to("3.link")
    (maildir / "new" / "4.host").write_bytes(b"hi")
    assert mailboxes.read_maildir(maildir, len) == 1


def test_two_readers_of_a_maildir(maildir: Path) -> None:
    """A mail that another reader took meanwhile is no error, and the next one is dealt with."""
    for name in ("1.host", "2.host"):
        (maildir / "new" / name).write_bytes(b"hi")
    dealt: list[bytes] = []

    def deal(raw: bytes) -> None:
        dealt.append(raw)
        (maildir / "new" / f"{len(dealt)}.host").rename(maildir / "cur" / f"{len(dealt)}.host:2,S")

    assert mailboxes.read_maildir(maildir, deal) == 2
    assert len(dealt) == 2


def test_what_is_no_maildir(tmp_path: Path) -> None:
    """A folder without new and cur is an error of the command's."""
    with pytest.raises(CommandError, match="no Maildir"):
        read("--maildir", str(tmp_path))


# -- IMAP


class ImapServer:
    """The little of IMAP4rev1 (RFC 3501) that a reader of one folder sees, over TLS, on a port of its own."""

    def __init__(self, context: ssl.SSLContext, mails: list[bytes], *, refuse: str = "") -> None:
        self._context, self.mails, self.refuse = context, mails, refuse
        self.seen: set[int] = set()
        self.commands: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, also where nobody came."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(plain, server_side=True) as stream, stream.makefile("rwb") as file:
                    file.write(b"* OK ready\r\n")
                    file.flush()
                    while line := file.readline():
                        tag, _, command = line.decode().strip().partition(" ")
                        self.commands.append(command)
                        file.write(self._answer(tag, command))
                        file.flush()
            except OSError:
                continue  # the client left, or did not like the certificate

    def _answer(self, tag: str, command: str) -> bytes:
        words = command.split()
        done = f"{tag} OK done\r\n".encode()
        if self.refuse and self.refuse in command:
            return f"{tag} NO [AUTHENTICATIONFAILED] {command}\r\n".encode()
        if words[0] == "CAPABILITY":
            return b"* CAPABILITY IMAP4rev1\r\n" + done
        if words[0] == "LOGOUT":
            return b"* BYE\r\n" + done
        if words[:2] == ["UID", "SEARCH"]:
            found = " ".join(str(uid) for uid in range(1, len(self.mails) + 1) if uid not in self.seen)
            return f"* SEARCH {found}\r\n".encode() + done
        if words[:2] == ["UID", "FETCH"]:
            raw = self.mails[int(words[2]) - 1]
            return f"* {words[2]} FETCH (UID {words[2]} BODY[]<0> {{{len(raw)}}}\r\n".encode() + raw + b")\r\n" + done
        if words[:2] == ["UID", "STORE"]:
            self.seen.add(int(words[2]))
        return (b"* 3 EXISTS\r\n" if words[0] == "SELECT" else b"") + done


def arguments(server: ImapServer, authority: CertificateAuthority, *more: str) -> list[str]:
    """Return the command's for this server."""
    return ["--imap", f"localhost:{server.port}", "--user", "bounces", "--ca-file", str(authority.ca_file), *more]


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the password where it belongs."""
    monkeypatch.setenv("EMAIL_BOUNCES_PASSWORD", "s3cret")


def test_an_imap_folder_is_read_once(mailed: Mailed, smtp_certs: CertificateAuthority) -> None:
    """Unseen mails are fetched without marking them, dealt with, and then flagged; the next run finds none."""
    mailed(ANN)
    with ImapServer(smtp_certs.server_context(), [bounce(), FORGED, ABSENCE_NOTE]) as server:
        once, twice = (read(*arguments(server, smtp_certs, "--folder", 'My "B"')) for _ in range(2))
    assert once == "3 mails read: 1 suppressed, 1 forged, 1 ignored"
    assert twice == "0 mails read"
    assert is_suppressed(ANN)
    assert r'SELECT "My \"B\""' in server.commands
    assert [each.split()[1] for each in server.commands if each.startswith("UID")][:3] == ["SEARCH", "FETCH", "STORE"]
    assert all("BODY.PEEK[]" in each for each in server.commands if "FETCH" in each)


def test_an_imap_reader_that_was_cut_off(mailed: Mailed, smtp_certs: CertificateAuthority) -> None:
    """If the flag cannot be set, the mail is dealt with again by the next run, and that changes nothing."""
    mailed(ANN)
    with ImapServer(smtp_certs.server_context(), [bounce(), FORGED], refuse="STORE") as server:
        with pytest.raises(CommandError):
            read(*arguments(server, smtp_certs))
        lift(SuppressedAddress.objects.get())
        server.refuse = ""
        assert read(*arguments(server, smtp_certs)) == "2 mails read: 1 suppressed, 1 forged"
    assert not is_suppressed(ANN)


@pytest.mark.parametrize("refuse", ["LOGIN", "SELECT", "SEARCH", "STORE"])
@pytest.mark.django_db
def test_a_server_that_refuses(smtp_certs: CertificateAuthority, refuse: str) -> None:
    """A refusal is the command's error, without the password, though the server repeats it."""
    with (
        ImapServer(smtp_certs.server_context(), [ABSENCE_NOTE], refuse=refuse) as server,
        pytest.raises(CommandError, match="localhost") as caught,
    ):
        read(*arguments(server, smtp_certs))
    assert "s3cret" not in str(caught.value)


def test_a_server_with_a_wrong_certificate_gets_no_password(smtp_certs: CertificateAuthority) -> None:
    """TLS is checked before anything is said."""
    context = smtp_certs.server_context(Certificate.UNKNOWN_CA)
    with ImapServer(context, []) as server, pytest.raises(CommandError, match=r"(?i)certificate"):
        read(*arguments(server, smtp_certs))
    assert server.commands == []


def test_what_the_command_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """One mailbox, and for IMAP a user and a password in the environment."""
    monkeypatch.setenv("EMPTY", "")
    for given in (["--imap", "h"], ["--imap", "h", "--user", "u", "--password-env", "EMPTY"], ["--imap", "h:x"], []):
        with pytest.raises(CommandError):
            read(*given)
    account = mailboxes.ImapAccount(host="h", user="u", password="s3cret")
    assert "s3cret" not in repr(account)
