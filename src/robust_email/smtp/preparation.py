"""A mail fitted to what one server offers: parameters, 8-bit, SMTPUTF8, size. Refused here, nothing was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from robust_email.smtp.failure import Failure, FailureKind
from robust_email.smtp.maildata import MailData, downgrade_7bit
from robust_email.smtp.outcome import Verdict, classify_failure
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol import commands
from robust_email.smtp.signing import SigningFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from robust_email.smtp.address import ForwardPath
    from robust_email.smtp.envelope import Envelope
    from robust_email.smtp.protocol.extensions import Extensions
    from robust_email.smtp.signing import Signer


@dataclass(frozen=True, slots=True)
class Prepared:
    """What one transaction will say. ``content`` is canonical octets."""

    paths: tuple[ForwardPath, ...]
    mail_line: bytes
    rcpt_lines: tuple[bytes, ...]
    content: bytes


class Unfit(Exception):
    """This server cannot take this mail; ``verdict`` says why. Nothing was sent."""

    def __init__(self, verdict: Verdict) -> None:
        """Carry the verdict."""
        super().__init__(verdict.reason)
        self.verdict = verdict


def prepare(
    envelope: Envelope,
    data: MailData,
    paths: Sequence[ForwardPath],
    extensions: Extensions,
    signer: Signer | None = None,
) -> Prepared:
    """Fit the mail to the server, and sign it. Raises ``Unfit``: too large, not to be signed, or an extension missing.

    What is signed goes as 7-bit text where it can, since some server behind this one may not take 8-bit (RFC 6376 5.3).
    """
    utf8 = envelope.needs_smtputf8 or data.needs_smtputf8
    if utf8 and "SMTPUTF8" not in extensions:
        raise _unfit(
            FailureKind.NOT_OFFERED,
            "the mail has a non-ASCII mailbox or header and the server does not offer SMTPUTF8 (RFC 6531); "
            "use an address with an ASCII local part, or another relay",
        )
    if data.is_8bit and (signer is not None or "8BITMIME" not in extensions):
        try:
            data = downgrade_7bit(data)
        except ValueError as exc:
            if "8BITMIME" not in extensions:
                raise _unfit(FailureKind.NOT_OFFERED, f"the server does not offer 8BITMIME, and: {exc}") from exc
    if signer is not None:
        data = _signed(data, signer)
    if extensions.size is not None and data.size > extensions.size:
        raise _unfit(
            FailureKind.TOO_LARGE,
            f"the message has {data.size} octets and the server takes at most {extensions.size} (SIZE, RFC 1870); "
            "nothing of it was sent",
        )
    return Prepared(
        paths=tuple(paths),
        mail_line=commands.mail(
            envelope.reverse_path.to_path(smtputf8=utf8), *_mail_parameters(envelope, data, extensions, utf8=utf8)
        ),
        rcpt_lines=tuple(
            commands.rcpt(path.to_path(smtputf8=utf8), *_rcpt_parameters(envelope, extensions)) for path in paths
        ),
        content=data.content,
    )


def _signed(data: MailData, signer: Signer) -> MailData:
    try:
        return MailData(signer.sign(data.content) + data.content)
    except SigningFailed as exc:
        raise _unfit(FailureKind.LOCAL, f"the mail cannot be signed: {exc}") from exc


def _mail_parameters(envelope: Envelope, data: MailData, extensions: Extensions, *, utf8: bool) -> list[str]:
    parameters = []
    if "SIZE" in extensions:
        parameters.append(f"SIZE={data.size}")
    if data.is_8bit or utf8:
        parameters.append("BODY=8BITMIME")
    if utf8:
        parameters.append("SMTPUTF8")
    if "DSN" in extensions:
        parameters += envelope.delivery_status.mail_parameters()
    return parameters


def _rcpt_parameters(envelope: Envelope, extensions: Extensions) -> tuple[str, ...]:
    return envelope.delivery_status.rcpt_parameters() if "DSN" in extensions else ()


def _unfit(kind: FailureKind, text: str) -> Unfit:
    return Unfit(classify_failure(Failure(kind, Phase.MAIL, text)))
