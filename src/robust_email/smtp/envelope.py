"""Who the mail is from and for, as the server is told: MAIL and RCPT with their parameters (RFC 5321 2.3.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from robust_email.smtp.address import ForwardPath, ReversePath

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ENVID: Final = 100
"""Characters before xtext encoding (RFC 3461 4.4)."""

_NOTIFY = ("SUCCESS", "FAILURE", "DELAY", "NEVER")
_NOT_XCHAR = re.compile(r"[^!-*,-<>-~]")  # all but printable ASCII, and of that "+" and "=" (RFC 3461 4)


def xtext(text: str) -> str:
    """Encode printable ASCII and spaces as xtext: ``a b+c`` becomes ``a+20b+2Bc`` (RFC 3461 4).

    Raises:
        ValueError: the text holds anything else.
    """
    if not (text.isascii() and text.isprintable()):
        raise ValueError("xtext encodes printable ASCII only.")
    return _NOT_XCHAR.sub(lambda match: f"+{ord(match[0]):02X}", text)


@dataclass(frozen=True, slots=True)
class DeliveryStatusOptions:
    """Which reports the sender wants (RFC 3461); they go to the server only if it offers DSN.

    ``ret``: return the whole message or its headers. ``envid``: a name for this mail that reports repeat, at most 100
    printable ASCII characters. ``notify``: when to report, or ``("NEVER",)``.

    Raises:
        ValueError: a value is not one that the RFC allows.
    """

    ret: Literal["FULL", "HDRS"] | None = None
    envid: str | None = None
    notify: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values; they go into commands as they are."""
        if self.ret not in {None, "FULL", "HDRS"}:
            raise ValueError("RET is FULL or HDRS (RFC 3461 4.3).")
        if self.envid is not None and not 0 < len(self.envid) <= MAX_ENVID:
            raise ValueError(f"ENVID has 1 to {MAX_ENVID} characters (RFC 3461 4.4).")
        if self.envid is not None:
            xtext(self.envid)
        if not set(self.notify) <= set(_NOTIFY) or len(set(self.notify)) != len(self.notify):
            raise ValueError("NOTIFY holds SUCCESS, FAILURE and DELAY, each once, or NEVER (RFC 3461 4.1).")
        if "NEVER" in self.notify and len(self.notify) > 1:
            raise ValueError("NOTIFY=NEVER stands alone (RFC 3461 4.1).")

    def mail_parameters(self) -> tuple[str, ...]:
        """Return the parameters of MAIL: ``RET=...`` and ``ENVID=...``, as far as they are set."""
        ret = (f"RET={self.ret}",) if self.ret else ()
        return (*ret, f"ENVID={xtext(self.envid)}") if self.envid else ret

    def rcpt_parameters(self) -> tuple[str, ...]:
        """Return the parameters of each RCPT: ``NOTIFY=...``, if it is set."""
        return (f"NOTIFY={','.join(self.notify)}",) if self.notify else ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """One reverse path and at least one forward path, none of them twice.

    ``smtputf8`` says that the message's header fields hold raw UTF-8 (``MailData.needs_smtputf8``), so that the
    extension is needed even if every path is ASCII.

    Raises:
        ValueError: there is no forward path, or one mailbox stands twice.
    """

    reverse_path: ReversePath
    forward_paths: tuple[ForwardPath, ...]
    smtputf8: bool = False
    delivery_status: DeliveryStatusOptions = DeliveryStatusOptions()

    def __post_init__(self) -> None:
        """Hold what a transaction needs: someone to send to, and a reply per mailbox."""
        if not self.forward_paths:
            raise ValueError("An envelope needs at least one recipient.")
        if len({path.mailbox.identity for path in self.forward_paths}) != len(self.forward_paths):
            raise ValueError("A mailbox stands twice in the envelope: use Envelope.of(), which keeps the first.")

    @classmethod
    def of(
        cls,
        sender: str,
        recipients: Iterable[str],
        *,
        smtputf8: bool = False,
        delivery_status: DeliveryStatusOptions = DeliveryStatusOptions(),
    ) -> Envelope:
        """Parse addr-specs; of a mailbox given several times the first spelling stays, in its place.

        Args:
            sender: an addr-spec; empty for the null reverse path.
            recipients: addr-specs; ``address.mailbox_from_header`` takes them out of ``Name <a@b>``.
            smtputf8: whether the message's header fields hold raw UTF-8.
            delivery_status: which reports are wanted.

        Raises:
            InvalidAddress: an address is not exactly one mailbox.
            ValueError: there is no recipient.
        """
        paths: dict[tuple[str, str], ForwardPath] = {}
        for recipient in recipients:
            path = ForwardPath.of(recipient)
            paths.setdefault(path.mailbox.identity, path)
        return cls(ReversePath.of(sender), tuple(paths.values()), smtputf8, delivery_status)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether MAIL needs the SMTPUTF8 parameter (RFC 6531 3.4)."""
        return (
            self.smtputf8 or self.reverse_path.needs_smtputf8 or any(path.needs_smtputf8 for path in self.forward_paths)
        )
