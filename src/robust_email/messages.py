"""Turn a Django ``EmailMessage`` into what SMTP carries: an envelope and mail data. Start reading the Django side here.

The envelope comes from ``from_email`` and ``recipients()`` alone, the octets from ``message()``, both as in Django's
SMTP backend; a ``From`` or ``To`` among the headers changes what is read, not where it goes. Everything that can be
wrong with a message is found here, before a server is spoken to:

========================================  ===========================================================================
an address that is not one mailbox        ``InvalidAddress`` ("Invalid address ...")
a local part beyond ASCII                 ``InvalidAddress``: Django would write it as an encoded word, which is
                                          another mailbox (RFC 2047 5)
a header that would become two            ``HeaderInjection``
``Bcc`` among the headers                 ``ValueError``: it would tell each recipient of the others
a NUL, a line of more than 998 octets     ``ValueError``
========================================  ===========================================================================

All of them are ``ValueError``, which Django's ``fail_silently`` does not silence.
"""

from __future__ import annotations

from email.errors import HeaderParseError
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from django.utils.encoding import force_str

from robust_email import _compat
from robust_email.identity import with_kept_identity
from robust_email.message_id import with_bounded_message_id
from robust_email.rendering import POLICY, serialise
from robust_email.smtp.address import CACHED_ADDRESSES, Mailbox, mailbox_from_header, parse_mailbox
from robust_email.smtp.envelope import Envelope
from robust_email.smtp.headers import HeaderInjection, header_names
from robust_email.smtp.maildata import MailData

if TYPE_CHECKING:
    from django.core.mail import EmailMessage

_BLIND_COPIES: Final = frozenset({"bcc", "resent-bcc"})


def to_submission(message: EmailMessage, *, message_id_domain: str | None = None) -> tuple[Envelope, MailData]:
    """Return who the message goes to and the octets that go there.

    Keep the pair and submit it as often as need be: it has one Message-ID, whatever becomes of ``message``.

    Args:
        message: with at least one recipient; it is not changed.
        message_id_domain: what follows the ``@`` in a new Message-ID. None means the host's name, as in Django.

    Raises:
        ValueError: one of the module's table, or Django itself refuses the message. Nothing was sent.
    """
    return envelope_of(message), mail_data_of(message, message_id_domain=message_id_domain)


def envelope_of(message: EmailMessage) -> Envelope:
    """Return the envelope: MAIL FROM is ``from_email``, RCPT TO are ``to``, ``cc`` and ``bcc``, each mailbox once.

    Raises:
        InvalidAddress: an address is not exactly one mailbox, or its local part is not ASCII.
        ValueError: there is no recipient.
    """
    return Envelope.of(_addr_spec(message.from_email), [_addr_spec(address) for address in message.recipients()])


def mail_data_of(message: EmailMessage, *, message_id_domain: str | None = None) -> MailData:
    """Return the octets of the message, found to hold the headers that were set and no other.

    The arguments and errors are those of ``to_submission``.
    """
    dated = with_bounded_message_id(with_kept_identity(message), message_id_domain)
    try:
        octets, names = serialise(_compat.mime_tree(dated, POLICY))
    except HeaderParseError as error:  # the legacy API's own check for injections (Django 5.2); not a ValueError
        raise HeaderInjection("A header's value holds a line end, which would begin another header.") from error
    data = MailData.from_bytes(octets, names)
    if names is None:
        names = [name.decode("ascii") for name in header_names(data.content)]
    if not _BLIND_COPIES.isdisjoint(name.lower() for name in names):
        # Django 6.1's words; earlier versions write the header.
        raise ValueError(
            'Bcc is not a valid email header. Use the "bcc" argument to specify blind carbon copy recipients.'
        )
    return data


def _addr_spec(address: object) -> str:
    """Take the addr-spec out of a string, a lazy string or an ``email.headerregistry.Address``."""
    return _ascii_addr_spec(force_str(address))


@lru_cache(maxsize=CACHED_ADDRESSES)
def _ascii_addr_spec(text: str) -> str:
    mailbox: Mailbox = parse_mailbox(mailbox_from_header(text))
    return mailbox.addr_spec(smtputf8=False)
