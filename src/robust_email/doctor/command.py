"""``python -m robust_email doctor URL``: the doctor without Django."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from typing import TYPE_CHECKING, Final

from robust_email.doctor.address import RelayUrl, parse_relay_url
from robust_email.doctor.causes import CAUSES
from robust_email.doctor.findings import Finding
from robust_email.doctor.plan import Plan
from robust_email.doctor.showing import run_and_show
from robust_email.smtp import ConfigurationError, Credentials, SmtpConfig, Timeouts, TlsPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

USAGE_ERROR: Final = 64
"""sysexits.h's EX_USAGE: apart from the codes that findings have."""
PASSWORD_VARIABLE: Final = "EMAIL_HOST_PASSWORD"  # noqa: S105 - a variable's name


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ) -> int:
    """Run the command; returns the exit code: 0, 1 with a warning, 2 with an error, 64 for a wrong call."""
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
        relay = parse_relay_url(options.url)
        plan = _plan(options, relay, environment)
    except (ConfigurationError, ValueError) as exc:
        sys.stderr.write(f"{parser.prog}: {exc}\n")
        return USAGE_ERROR
    try:
        return run_and_show(plan, sys.stdout, as_json=options.json, plain=options.plain).exit_code
    except KeyboardInterrupt:
        return 130  # as a shell reports SIGINT


class _Parser(argparse.ArgumentParser):
    """Leaves exit code 2 to findings."""

    def error(self, message: str) -> None:  # type: ignore[override]  # argparse's own never returns; this raises
        """Report wrong usage."""
        raise ValueError(message)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both shells of the doctor have."""
    parser.add_argument("--to", metavar="ADDRESS", default="", help="submit a real mail to this address at the end")
    parser.add_argument("--json", action="store_true", help="write the report as JSON")
    parser.add_argument("--plain", action="store_true", help="write plain text, also to a terminal")
    parser.add_argument("--timeout", metavar="SECONDS", type=_seconds, help="for each step, instead of the configured")
    parser.add_argument("--quick", action="store_true", help="only see whether a session can be had")
    parser.add_argument("--idle", metavar="SECONDS", type=_seconds, default=0.0, help="find the server's idle limit")
    parser.add_argument(
        "--dkim-selector", metavar="NAME", action="append", default=[], help="look for this DKIM key; may be repeated"
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 86_400:  # noqa: PLR2004 - a day
        raise ValueError("seconds")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m robust_email doctor",
        description="Examine a relay step by step. Exit code: 0 fine, 1 a warning, 2 an error, 64 a wrong call.",
        epilog=f"The password is read from ${PASSWORD_VARIABLE}, or asked for; it does not belong on a command line.",
    )
    parser.add_argument("url", metavar="URL", help="smtp+starttls://USER@HOST:PORT, or smtps:// or smtp://")
    parser.add_argument("--from", dest="sender", metavar="ADDRESS", default="", help="who mail is from")
    parser.add_argument("--cafile", metavar="FILE", help="PEM file of authorities to trust instead of the system's")
    add_options(parser)
    return parser


def _plan(options: argparse.Namespace, relay: RelayUrl, environment: Mapping[str, str]) -> Plan:
    config = SmtpConfig(
        relay.host,
        relay.port,
        tls=TlsPolicy(relay.mode, cafile=options.cafile),
        credentials=_credentials(relay, environment),
        timeouts=Timeouts() if options.timeout is None else Timeouts.uniform(options.timeout),
    )
    return Plan(
        config,
        sender=options.sender or (relay.username if "@" in relay.username else ""),
        recipient=options.to,
        quick=options.quick,
        idle=options.idle,
        dkim_selectors=tuple(options.dkim_selector),
        notes=tuple(_notes(relay, config)),
    )


def _credentials(relay: RelayUrl, environment: Mapping[str, str]) -> Credentials | None:
    if not relay.username:
        return None
    password = relay.password or environment.get(PASSWORD_VARIABLE, "")
    if not password and sys.stdin.isatty():
        password = getpass.getpass(f"Password for {relay.username} at {relay.host}: ", stream=sys.stderr)
    return Credentials(relay.username, password) if password else None


def _notes(relay: RelayUrl, config: SmtpConfig) -> list[Finding]:
    notes = []
    if relay.password:
        notes.append(_finding("password-in-url", "the URL holds the password"))
    if relay.username and config.credentials is None:
        notes.append(_finding("login-half-configured", "there is a user name and no password"))
    return notes


def _finding(code: str, found: str) -> Finding:
    cause = CAUSES[code]
    return Finding(code, cause.severity, found, cause.remedy)
