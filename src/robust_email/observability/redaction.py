"""Addresses and secrets taken out of log records, whoever wrote them: Django, Celery, a project's own code.

The library's own lines hold none. Others' may: Celery shows a task's arguments, an error page a mail's headers.
``RedactingFilter`` is for handlers of plain ``logging``; ``redact_event`` is the same for structlog. Addresses are
masked as in our own lines (``a***@e***.org``), secrets become ``***``.
"""

from __future__ import annotations

import copy
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from robust_email.smtp.transcript import masked

STARS: Final = "***"
DEPTH: Final = 8
"""Levels of a structure that are looked into; what lies deeper is left out."""

_NAMES: Final = (
    r"pass(?:word|wd|phrase)?|pwd|secret|client_secret|secret_key|api_?key|credentials?|"
    r"(?:access_|refresh_|oauth_|auth_|csrf|session)?token|authorization|cookie|private_key|sessionid"
)
_SECRET_NAME: Final = re.compile(rf"(?:^|[\W_])(?:{_NAMES})$", re.IGNORECASE)
_PATTERNS: Final = (
    # user:password@ in a URL (left out, since stars before an @ would make an address of the host)
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,30}://)[^\s/@]{1,500}@", re.IGNORECASE), r"\1"),
    # RFC 4954: the initial response of AUTH
    (re.compile(r"(\bAUTH\s+[A-Z0-9_-]{1,20}\s+)\S+"), rf"\1{STARS}"),
    # RFC 9110 11.4: credentials of a scheme
    (re.compile(r"(\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{6,}"), rf"\1{STARS}"),
    # password=..., "token": "...", --password ...
    (
        re.compile(
            rf"(\b\w{{0,30}}?(?:{_NAMES})\b[\"']?\s{{0,3}}[:=]\s{{0,3}})(\"[^\"]*\"|'[^']*'|[^\s,;&}})\]\"']+)",
            re.IGNORECASE,
        ),
        rf"\1{STARS}",
    ),
)

_PLAIN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; whatever else is there came by ``extra``."""


def redacted(text: str) -> str:
    """Return the text with secrets and addresses taken out. Doing it twice changes nothing more."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return masked(text)


class RedactingFilter(logging.Filter):
    """Put it on a handler: the message with its arguments, the traceback, and every ``extra`` are redacted.

    Of the library's own records only the traceback is: the rest was masked as it was made, but for Message-IDs.

    From Python 3.12 on the handler has a copy of its own; before, handlers that come later see the redacted record too.
    """

    def filter(self, record: logging.LogRecord) -> Any:  # noqa: ANN401 - a bool, or from 3.12 on a record
        """Let everything through, redacted."""
        replaces = _CAN_REPLACE
        changed = copy.copy(record) if replaces else record
        if record.exc_info:
            # The text alone goes on: a formatter that was given the exception would write its own.
            changed.exc_text = logging.Formatter().formatException(record.exc_info)
            changed.exc_info = None
        if changed.exc_text:
            changed.exc_text = redacted(changed.exc_text)
        if changed.stack_info:
            changed.stack_info = redacted(changed.stack_info)
        if _is_ours(record):
            return changed if replaces else True
        changed.msg, changed.args = redacted(record.getMessage()), None
        for name in vars(changed).keys() - _PLAIN:
            setattr(changed, name, _of(getattr(changed, name), name, DEPTH))
        return changed if replaces else True


def redact_event(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Redact an event, as a processor of structlog; behind ``format_exc_info``, before the renderer."""
    record = event.get("_record")
    ours = isinstance(record, logging.LogRecord) and _is_ours(record)
    for name in list(event):
        if name not in _OF_STRUCTLOG and (name == "exception" or not ours):
            event[name] = _of(event[name], name, DEPTH)
    return event


_OF_STRUCTLOG: Final = frozenset({"_record", "_from_structlog", "exc_info"})
"""Keys that ``ProcessorFormatter`` needs as they are."""


def _is_ours(record: logging.LogRecord) -> bool:
    """Tell whether the line is the library's own: masked as it was made, and its Message-ID is to be looked for."""
    return record.name == "robust_email" or record.name.startswith("robust_email.")


def _of(value: Any, name: str, depth: int) -> Any:  # noqa: ANN401 - what people log
    """Return a value in whose strings nothing is left; objects are left alone, for their formatter to write."""
    if isinstance(value, (bool, int, float, type(None))):
        return value
    if depth == 0 or _SECRET_NAME.search(name):
        return STARS
    if isinstance(value, (bytes, bytearray)):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {redacted(str(key)): _of(each, str(key), depth - 1) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_of(each, name, depth - 1) for each in value]
    return value


_CAN_REPLACE: Final = sys.hexversion >= 0x030C0000  # noqa: PLR2004 - 3.12, where a filter may return another record
