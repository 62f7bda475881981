"""The tree of errors, and what to do about each, from ``robust_email.smtp.errors``."""

from __future__ import annotations

import inspect
from typing import Final

from facts.markdown import code, plain, table
from robust_email.options import OPTIONS
from robust_email.smtp import errors

WHAT_TO_DO: Final = {
    "NameResolutionFailed": "Nothing left. Try again later; the text explains -2, -3 and -5 and the Docker remedies.",
    "ConnectionRefused": "Nothing left. Try again later, and check host and port.",
    "ConnectionTimedOut": "Nothing left. Try again later; a firewall that drops packets looks like this.",
    "ConnectionBroken": "Nothing left. Try again later.",
    "TlsFailed": "Nothing left. The text says what is wrong with the certificate or the port.",
    "SessionRefused": "Nothing left. Try again later: the server said so, with a code.",
    "PoolTimedOut": "Nothing left. Try again; raise `EMAIL_POOL_SIZE` if the relay allows more connections.",
    "HeldBack": "Nothing was tried. Wait `retry_after` seconds, where it is set, and try again.",
    "SMTPConnectionError": "Nothing left. Try again later. Catching this one covers all the kinds of no session.",
    "SessionLost": "The end of the message had not left. Try again.",
    "SenderRefused": "4yz: try again later. 5yz: the relay will not take mail from this sender.",
    "RecipientsRefused": "Read `recipients`, or `report.retryable` for those to try again.",
    "DataRefused": "4yz: try again later. 5yz: the message was refused for good.",
    "MessageTooLarge": "Make it smaller. Nothing of it left.",
    "ExtensionMissing": "The mail needs what this server does not offer. Nothing of it left.",
    "PartlyAccepted": "Do not send the whole mail again: only `report.retryable`.",
    "InDoubt": "The server may have it. Sending again may double it; decide per kind of mail.",
    "AuthenticationRefused": "Do not retry: accounts get locked. Correct the credentials.",
    "AuthenticationImpossible": "Do not retry. Set TLS, or the mechanism that the server offers.",
    "TlsImpossible": "Do not retry. Nothing went in clear instead; the port or the network is wrong.",
    "TlsMaterialUnusable": "Do not retry. The file named cannot be read.",
    "ProxyRefused": "Do not retry. The proxy's credentials, or its rules, are to be corrected.",
    "SigningImpossible": "Do not retry. The key for DKIM cannot be used; nothing went unsigned.",
    "GreetingNameRefused": "Do not retry. Set `EMAIL_LOCAL_HOSTNAME`.",
    "ServerMisconfigured": "Do not retry. The reply says what is missing: log in first, encrypt first.",
    "ConfigurationError": "Do not retry any of this branch: a person has to act.",
    "SubmissionError": "About this mail and this moment: the report has a verdict for each recipient.",
    "RobustEmailError": "The root, with `phase`, `endpoint` and `report`.",
}
"""By class name; a class without an entry stops the generator."""

_AWAITED: Final = {"ProxyRefused": "EMAIL_PROXY", "SigningImpossible": "EMAIL_DKIM"}
"""Errors of features that cannot be switched on as long as no setting begins like this: not announced to readers."""

_OURS = errors.RobustEmailError


def public_errors() -> list[type[errors.RobustEmailError]]:
    """Return the classes of the tree, as they stand in the source."""
    return [
        each
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, _OURS) and not name.startswith("_") and not _is_awaited(name)
    ]


def _is_awaited(name: str) -> bool:
    prefix = _AWAITED.get(name)
    return prefix is not None and not any(option.setting.startswith(prefix) for option in OPTIONS.values())


def readme_table() -> str:
    """Return a row for each error that can be raised."""
    leaves = [each for each in public_errors() if each not in {_OURS, errors.SubmissionError}]
    return table(
        ("Exception", "Also a", "What to do"),
        ((code(each.__name__), _kinds(each), _what_to_do(each)) for each in leaves),
    )


def page() -> str:
    """Return the reference page."""
    tree = inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2].partition("\n\nNo text")[0]
    parts = [
        f"## {each.__name__}\n\n{plain(each.__doc__)}\n\n{_table_of(each)}\n{_what_to_do(each)}\n"
        for each in public_errors()
    ]
    return f"""# Errors

Every error of the package is a `RobustEmailError`, and at the same time the `smtplib` or `OSError` kind that existing
code catches. `except SMTPException` and `except OSError` in your project go on working, with the attributes they read.

```text
{inspect.cleandoc(tree)}
```

Each carries `phase` (how far it got), `endpoint` (`host:port`) and `report`, a
{{doc}}`SubmissionReport </how-to/read-the-report>` with a verdict for each recipient. Where a socket's error is behind
it, that is its `__cause__`. No text holds a password, and addresses are masked; `recipients` alone has them whole.

A mistake in a message (an address that is none, a header with a line end) is a `ValueError`, found before any server is
spoken to. It is raised under `fail_silently` too.

{chr(10).join(parts)}"""


def _what_to_do(error: type[BaseException]) -> str:
    try:
        return WHAT_TO_DO[error.__name__]
    except KeyError as exc:
        raise LookupError(f"docs/facts/failures.py does not say what to do about {error.__name__}") from exc


def _table_of(error: type[BaseException]) -> str:
    return table(("Import", "Also a"), [(code(f"robust_email.smtp.errors.{error.__name__}"), _kinds(error))])


def _kinds(error: type[BaseException]) -> str:
    """Name the standard library's kinds that this class is, the nearest only."""
    outside = [each for each in error.__mro__ if not each.__module__.startswith("robust_email") and each is not object]
    nearest = [each for each in outside if not any(other is not each and issubclass(other, each) for other in outside)]
    return ", ".join(code(_name(each)) for each in nearest)


def _name(kind: type) -> str:
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
