"""A backend as a project gets it, from ``EMAIL_*`` settings, by keywords, or from ``MAILERS``; and a mail for it."""

from __future__ import annotations

import contextlib
import socket
import warnings
from typing import TYPE_CHECKING, Any

from django.core import mail
from django.core.mail import EmailMessage
from django.test import override_settings

from robust_email import _compat, conf
from robust_email.backend import RobustSMTPEmailBackend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from robust_email.testing import ScriptedServer

PATH = "robust_email.backend.RobustSMTPEmailBackend"
QUICK = {"timeout": 5, "connection_retry_delay": 0}
WAYS = ["settings", "keywords", *(["mailers"] if _compat.HAS_MAILERS else [])]


@contextlib.contextmanager
def legacy_settings(**values: object) -> Iterator[None]:
    """Set ``EMAIL_*`` for a while, and our backend, which test runners replace by one that keeps mail in memory.

    From 6.1 on Django warns whoever sets them, and here that is us.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        override = override_settings(**{"EMAIL_BACKEND": PATH} | values)
        override.enable()
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            override.disable()


class Ways:
    """Builds backends: ``way`` is ``settings``, ``keywords`` or ``mailers``. What it sets is undone with the test."""

    def __init__(self, way: str, stack: contextlib.ExitStack) -> None:
        self.way = way
        self._stack = stack

    def __call__(self, **options: object) -> RobustSMTPEmailBackend:
        """Build with these options, and with a time-out that a test can wait for."""
        self._stack.close()  # what the last backend was built from is not this one's
        given: dict[str, Any] = QUICK | options
        if self.way == "mailers":
            self._stack.enter_context(override_settings(MAILERS={"default": {"BACKEND": PATH, "OPTIONS": given}}))
            backend = mail.mailers["default"]
        elif self.way == "settings":
            silent = given.pop("fail_silently", False)
            names = {conf.OPTIONS[name].setting: value for name, value in given.items()}
            self._stack.enter_context(legacy_settings(**names))
            backend = _compat.default_mailer()
            backend.fail_silently = silent
        else:
            backend = by_hand(RobustSMTPEmailBackend, **given)
        assert isinstance(backend, RobustSMTPEmailBackend)
        return backend


def by_hand(kind: type[RobustSMTPEmailBackend], **options: Any) -> Any:  # noqa: ANN401 - any option, any subclass
    """Build a backend as applications do, without 6.1's warning that they should not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return kind(**options)


def backend_for(
    server: ScriptedServer,
    kind: type[RobustSMTPEmailBackend] = RobustSMTPEmailBackend,
    **more: Any,  # noqa: ANN401 - any option
) -> Any:  # noqa: ANN401 - any subclass
    """Build a backend by hand."""
    return by_hand(kind, **QUICK, **where(server), **more)


def letter(to: str = "ann@example.org", **fields: Any) -> EmailMessage:  # noqa: ANN401 - its other arguments
    """Give a small message."""
    return EmailMessage("Subject", "Content\n", "shop@example.org", [to], **fields)


def where(server: ScriptedServer) -> dict[str, Any]:
    """Give the options that lead to a server."""
    return {"host": server.host, "port": server.port}


def dead_port() -> dict[str, Any]:
    """Give the options that lead where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return {"host": "127.0.0.1", "port": listener.getsockname()[1]}
