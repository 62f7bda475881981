"""What is known of e-mail providers, each figure with its source and the day it was read there.

``EMAIL_PROVIDER = "microsoft365"`` fills in what a project does not set: host, port, TLS, and the pool's limits. A
system check compares the settings with the profile that belongs to the host, whether ``EMAIL_PROVIDER`` is set or not.

With ``EMAIL_GOVERNOR`` set, the limits that all workers together must keep to are filled in too.

Providers change their figures and give accounts different ones. A figure that no source states is None: nobody should
find a guess here.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, Final

_READ: Final = dt.date(2026, 11, 24)
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Source:
    """Where something is stated. ``says`` names the fields that it is the source of."""

    url: str
    says: str
    read: dt.date = _READ


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider's SMTP service. Times are seconds, sizes octets; None is unknown or unlimited."""

    name: str
    title: str
    host: str
    """Where to connect; ``{region}`` stands for one, or for nothing where it may be left out."""
    hosts: tuple[str, ...]
    """Patterns of host names that are this provider's (``*`` as in file names)."""
    region: str = ""
    """An example of one, where the host needs it."""
    regions: tuple[tuple[str, str], ...] = ()
    """Region and host, where they are few and the pattern does not fit."""
    port: int = 587
    use_ssl: bool = False
    """TLS from the first octet on ``port``; STARTTLS otherwise."""
    ports: tuple[tuple[int, bool], ...] = ()
    """Every port that answers, and whether it begins with TLS."""
    idle: float | None = None
    """After which a session is closed."""
    connections: int | None = None
    """At a time, of one account or from one address."""
    messages_per_session: int | None = None
    rates: tuple[str, ...] = ()
    """What an account may submit, as ``EMAIL_RATE_LIMIT`` writes it."""
    rates_vary: bool = False
    """Whether accounts have different ones, so that ``rates`` is only what every account has at least."""
    size: int | None = None
    """Of a whole message, encoded."""
    recipients: int | None = None
    """Of one message."""
    oauth: bool = False
    """Whether XOAUTH2 is the way to log in."""
    rewrites: tuple[str, ...] = ()
    """Header fields that it replaces, which breaks a DKIM signature of one's own."""
    quirks: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()

    def host_in(self, region: str) -> str | None:
        """Return the host to connect to; None if it takes a region and none is given."""
        if self.regions and region:
            return dict(self.regions).get(region)
        if "{region}" not in self.host:
            return self.host
        return self.host.format(region=region) if region else None

    def serves(self, host: str) -> bool:
        """Tell whether a host name is one of this provider's."""
        return any(fnmatchcase(host.lower().rstrip("."), pattern) for pattern in self.hosts)

    @property
    def pool_options(self) -> dict[str, Any]:
        """What the pool's options should be, as far as anything is known: a little inside each limit."""
        options: dict[str, Any] = {}
        if self.idle is not None:
            options["pool_max_idle"] = self.idle * 0.8
        if self.connections is not None:
            options["pool_size"] = min(self.connections, 10)
        if self.messages_per_session is not None:
            options["pool_max_messages"] = self.messages_per_session
        return options

    @property
    def shared_options(self) -> dict[str, object]:
        """What all workers together should keep to, in the words of the options; for a project with a governor."""
        options: dict[str, object] = {}
        if self.connections is not None:
            options["max_connections"] = self.connections
        if self.rates and not self.rates_vary:
            options["rate_limit"] = ", ".join(self.rates)
        return options


PROVIDERS: Final = (
    Provider(
        name="ses",
        title="Amazon SES",
        host="email-smtp.{region}.amazonaws.com",
        hosts=("email-smtp.*.amazonaws.com", "email-smtp-fips.*.amazonaws.com", "*.email-smtp.*.vpce.amazonaws.com"),
        region="eu-west-1",
        ports=((25, False), (587, False), (2587, False), (465, True), (2465, True)),
        idle=10.0,
        rates=("1/s", "200/d"),
        rates_vary=True,
        size=40 * _MIB,
        rewrites=("Message-ID", "Date"),
        quirks=(
            "The rates are the sandbox's; an account that has left it has its own, shown in the console.",
            "User name and password are SMTP credentials of one region, not AWS keys.",
            "An idle session is ended with 451 4.4.2 instead of a 421.",
            "Servers come and go behind a load balancer: long-lived sessions are discouraged.",
            "From EC2, port 25 is restricted: use 587 or 2587.",
            "The recipient sees SES's Message-ID; the reply to the end of data names it.",
        ),
        sources=(
            Source("https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html", "ports"),
            Source("https://docs.aws.amazon.com/ses/latest/dg/quotas.html", "rates, size"),
            Source("https://docs.aws.amazon.com/ses/latest/dg/header-fields.html", "rewrites"),
            Source("https://docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html", "port 25, credentials"),
            Source("https://aws.amazon.com/blogs/ses/amazon-ses-smtp-recommendations/", "long-lived sessions"),
            Source("https://github.com/symfony/symfony/issues/36301", "idle (as users measured it)"),
            Source("https://github.com/jstedfast/MailKit/issues/1581", "451 4.4.2 (a transcript)"),
        ),
    ),
    Provider(
        name="microsoft365",
        title="Microsoft 365",
        host="smtp.office365.com",
        hosts=("*.office365.com", "smtp-mail.outlook.com", "smtp.outlook.com"),
        ports=((587, False), (25, False)),
        connections=3,
        rates=("30/m", "10000/d"),
        oauth=True,
        quirks=(
            "A fourth connection gets 432 4.3.2, and mail beyond 30 a minute is delayed.",
            "The day's limit counts recipients.",
            "SMTP AUTH must be switched on for the mailbox; basic authentication is being retired.",
        ),
        sources=(
            Source(
                "https://learn.microsoft.com/en-us/exchange/troubleshoot/send-emails/smtp-submission-improvements",
                "connections, rates",
            ),
            Source(
                "https://learn.microsoft.com/en-us/exchange/client-developer/legacy-protocols/"
                "how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth",
                "oauth",
            ),
            Source("https://www.powershellgallery.com/packages/SmtpClientDiag", "ports (Microsoft's own test of it)"),
        ),
    ),
    Provider(
        name="gmail",
        title="Gmail and Google Workspace, a person's mailbox",
        host="smtp.gmail.com",
        hosts=("smtp.gmail.com", "smtp.googlemail.com"),
        ports=((587, False), (465, True)),
        rates=("500/d",),
        rates_vary=True,
        recipients=100,
        oauth=True,
        quirks=(
            "An ordinary password is refused: an app password, or a token.",
            "2,000 messages a day with Google Workspace; an account beyond its limit is blocked for up to a day.",
        ),
        sources=(
            Source("https://developer.nylas.com/docs/cookbook/email/gmail-smtp-settings/", "ports, rates"),
            Source("https://smith.edu/tara/googleapps/mail_limits.html", "recipients (a university on its contract)"),
        ),
    ),
    Provider(
        name="workspace-relay",
        title="Google Workspace's SMTP relay service",
        host="smtp-relay.gmail.com",
        hosts=("smtp-relay.gmail.com",),
        ports=((587, False), (465, True), (25, False)),
        rates=("10000/d",),
        quirks=(
            "An administrator has to set it up; without a log-in it knows you by your IP address.",
            "The day's limit is a user's; 450 4.2.1 and 550 5.4.5 tell of it.",
        ),
        sources=(
            Source("https://support.google.com/a/answer/2956491", "ports, set-up"),
            Source("https://developer.nylas.com/docs/cookbook/email/gmail-smtp-settings/", "rates"),
        ),
    ),
    Provider(
        name="sendgrid",
        title="Twilio SendGrid",
        host="smtp.sendgrid.net",
        hosts=("smtp.sendgrid.net", "smtp.*.sendgrid.net"),
        ports=((587, False), (2525, False), (25, False), (465, True)),
        connections=10_000,
        messages_per_session=5_000,
        quirks=("The user name is the word apikey, the password an API key.",),
        sources=(
            Source(
                "https://docs.sendgrid.com/for-developers/sending-email/integrating-with-the-smtp-api",
                "ports, connections, messages per session",
            ),
        ),
    ),
    Provider(
        name="mailgun",
        title="Mailgun",
        host="smtp.mailgun.org",
        hosts=("smtp.mailgun.org", "smtp.eu.mailgun.org"),
        regions=(("eu", "smtp.eu.mailgun.org"),),
        ports=((587, False), (2525, False), (25, False), (465, True)),
        quirks=("Credentials belong to one sending domain; an API key is none of them.",),
        sources=(
            Source("https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/send-smtp", "ports"),
        ),
    ),
    Provider(
        name="postmark",
        title="Postmark",
        host="smtp.postmarkapp.com",
        hosts=("smtp.postmarkapp.com", "smtp-broadcasts.postmarkapp.com"),
        ports=((587, False), (2525, False), (25, False)),
        size=10 * _MIB,
        recipients=50,
        quirks=(
            "The server's API token is user name and password at once, unless an SMTP token is made.",
            "No port begins with TLS.",
            "Some file types are refused as attachments.",
        ),
        sources=(
            Source("https://postmarkapp.com/developer/user-guide/send-email-with-smtp", "ports, credentials"),
            Source("https://postmarkapp.com/developer", "size, recipients, file types"),
        ),
    ),
    Provider(
        name="brevo",
        title="Brevo",
        host="smtp-relay.brevo.com",
        hosts=("smtp-relay.brevo.com", "smtp-relay.sendinblue.com"),
        ports=((587, False), (2525, False), (465, True)),
        quirks=("The password is an SMTP key; an API key looks like one and is refused.",),
        sources=(Source("https://developers.brevo.com/docs/smtp-integration", "ports, credentials"),),
    ),
    Provider(
        name="ovh",
        title="OVHcloud MX Plan",
        host="ssl0.ovh.net",
        hosts=("ssl0.ovh.net", "*.mail.ovh.net"),
        port=465,
        use_ssl=True,
        ports=((465, True), (587, False)),
        quirks=("The certificate is for ssl0.ovh.net: an alias of one's own domain is refused.",),
        sources=(
            Source("https://www.quai-des-entrepreneurs.com/ovh-mail", "ports (a user's guide)"),
            Source("http://gids.ovh.nl/EmailSmtpPop3Imap", "certificate"),
        ),
    ),
    Provider(
        name="postfix",
        title="Postfix with its own defaults",
        host="localhost",
        hosts=(),
        ports=((587, False), (25, False), (465, True)),
        idle=300.0,
        connections=50,
        size=10_240_000,
        recipients=1000,
        quirks=("Under stress it closes idle sessions after ten seconds.", "Every default may have been changed."),
        sources=(
            Source(
                "https://www.postfix.org/postconf.5.html",
                "idle (smtpd_timeout), connections (smtpd_client_connection_count_limit), size (message_size_limit), "
                "recipients (smtpd_recipient_limit)",
            ),
        ),
    ),
)

_BY_NAME: Final = {provider.name: provider for provider in PROVIDERS}


def find_provider(text: str) -> tuple[Provider, str]:
    """Return a profile by its name, and the region behind a colon. ``ValueError`` names the ones that there are."""
    name, _, region = text.lower().partition(":")
    provider = _BY_NAME.get(name)
    if provider is None:
        meant = get_close_matches(name, _BY_NAME, n=1)
        hint = f"; did you mean {meant[0]!r}?" if meant else ""
        raise ValueError(f"one of {', '.join(_BY_NAME)}, not {name!r}{hint}")
    if region and provider.regions and provider.host_in(region) is None:
        raise ValueError(
            f"{name} or one of its regions {', '.join(key for key, _ in provider.regions)}, not {region!r}"
        )
    if region and not (provider.regions or provider.region):
        raise ValueError(f"{name!r}: there are no regions of it")
    return provider, region


def provider_of_host(host: str) -> Provider | None:
    """Return the profile of a host name, if it is a known provider's."""
    return next((provider for provider in PROVIDERS if provider.serves(host)), None)
