"""``RobustSMTPEmailBackend``: Django's SMTP backend in front, a pool of sessions and true verdicts behind.

Put ``robust_email.backend.RobustSMTPEmailBackend`` where ``django.core.mail.backends.smtp.EmailBackend`` stood. It
takes the same arguments and settings and extends the same class, so code that asks ``isinstance``, subclasses it or
catches smtplib's exceptions goes on working. A backend is cheap and holds nothing but its options: sessions live in
the process's ``registry``.

What ``send_messages()`` tells its caller:

* a message counts if at least one recipient was accepted; ``message.smtp_report`` has a verdict for each of them;
* a message that nobody accepted raises, as with Django; in doubt raises ``InDoubt``. Of several messages all are
  tried first, then the first error is raised, with ``error.bulk`` (see ``bulk``);
* ``fail_silently`` keeps back ``SMTPException`` and ``OSError``, which are logged all the same, and never a
  ``ValueError`` for a bad message or an ``ImproperlyConfigured`` for a bad setting.

Different from Django's on purpose: a session goes back to the pool where Django's would be closed; the time-out is
30 seconds where Django has none; and ``connection`` is a facade (``smtplib_facade``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import smtplib
import threading
from typing import TYPE_CHECKING, Any, Final, cast

from django.core.mail.backends.smtp import EmailBackend

from robust_email import _compat, conf, signals
from robust_email.bulk import BulkResult
from robust_email.governing import governance_of, make_governor, relays_of, route_of
from robust_email.identity import keep_identity
from robust_email.messages import to_submission
from robust_email.observability.logging import open_transcript, relays_being_logged
from robust_email.registry import ClientKey, registry
from robust_email.smtp import (
    Connector,
    Deadline,
    Submission,
    SubmissionClient,
    TlsMaterialUnusable,
    error_for,
    new_tls_context,
)
from robust_email.smtp.failure import SessionFailure
from robust_email.smtp.lane import Lane
from robust_email.smtp.relays import Relay, RelayGroup
from robust_email.smtplib_facade import SmtplibFacade
from robust_email.socket_hook import has_socket_hook, open_socket_by

if TYPE_CHECKING:
    import ssl
    from collections.abc import Hashable, Iterable, Iterator

    from django.core.mail import EmailMessage

    from robust_email.smtp import SmtpConfig, SubmissionReport
    from robust_email.smtp.events import Listener

_ATTRIBUTES: Final = frozenset(conf.DJANGO_SETTINGS) | {
    *("alias", "connection", "fail_silently", "local_hostname", "ssl_context"),
    *("_assigned_context", "_fail_silently", "_lock", "_own_options", "_partial_connection", "_sending"),
}
"""What every instance has, on any Django; a subclass's instance may have more."""


class RobustSMTPEmailBackend(EmailBackend):
    """A drop-in for Django's SMTP backend; the options are listed in ``conf.MailerOptions``.

    Public attributes may be set after construction, by a subclass say: what counts is their value when mail is sent.
    Raises ``ImproperlyConfigured`` (with an alias ``InvalidMailer``) for a value that cannot work, and ``ValueError``
    (``InvalidMailer``) for ``use_tls`` with ``use_ssl``.
    """

    connection: Any
    """None while closed, else a ``SmtplibFacade``, or what somebody has put there."""

    def __init__(  # noqa: PLR0917 - the order of Django's
        self,
        host: str | None = None,
        port: int | str | None = None,
        username: str | None = None,
        password: str | None = None,
        use_tls: bool | str | None = None,  # noqa: FBT001 - Django's
        fail_silently: bool | None = False,  # noqa: FBT001, FBT002 - Django's
        use_ssl: bool | str | None = None,  # noqa: FBT001 - Django's
        timeout: float | str | None = None,
        ssl_keyfile: str | None = None,
        ssl_certfile: str | None = None,
        **options: Any,  # noqa: ANN401 - checked one by one
    ) -> None:
        if "alias" not in options:
            _compat.warn_if_built_by_hand(self)
        alias = options.pop("alias", None)
        own = {name: options.pop(name) for name in conf.OWN_OPTIONS & options.keys()}
        conf.report_unknown_options(options, alias=alias)
        reached = {"host": host, "port": port or None, "use_tls": use_tls, "use_ssl": use_ssl}
        given = conf.django_options(reached, own.get("provider"), alias=alias) | {"timeout": timeout}
        host = cast("str | None", given.pop("host"))
        typed: dict[str, Any] = {name: conf.read_option(name, value, alias=alias) for name, value in given.items()}
        super().__init__(
            host=host,
            username=username,
            password=password,
            fail_silently=bool(fail_silently),
            ssl_keyfile=ssl_keyfile,
            ssl_certfile=ssl_certfile,
            **typed,
            **_compat.alias_argument(alias),
            **options,
        )
        self.alias = alias
        for name in given:  # once more, for what came from the settings
            setattr(self, name, conf.read_option(name, getattr(self, name), alias=alias))
        self._own_options = conf.own_options(own, alias=alias)
        self.local_hostname = self._own_options.local_hostname
        self._assigned_context: ssl.SSLContext | None = None
        self._sending = threading.local()

    # -- what it is configured to do

    @property
    def options(self) -> conf.MailerOptions:
        """All options as they stand now, the attributes' values included."""
        attributes = {name: getattr(self, name) for name in (*conf.DJANGO_SETTINGS, "local_hostname")}
        return conf.read_options(attributes, alias=self.alias, defaults=self._own_options)

    @property
    def config(self) -> SmtpConfig:
        """The engine's configuration; raises ``ImproperlyConfigured`` for options that cannot work together."""
        config = conf.smtp_config(self.options, alias=self.alias)
        return dataclasses.replace(config, tls_context=self._assigned_context) if self._assigned_context else config

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A new context, as the TLS options ask for it; a subclass may change it and return it from this property.

        Assigning one uses that. Left alone, all backends share one context, since building it costs 38 ms. Raises
        ``OSError`` for a file that cannot be used.
        """
        try:
            return self._assigned_context or new_tls_context(self.config.tls)
        except SessionFailure as exc:
            raise TlsMaterialUnusable(exc.failure.errno or 0, str(exc)) from exc

    @ssl_context.setter
    def ssl_context(self, context: ssl.SSLContext) -> None:
        self._assigned_context = context

    def client(self) -> SubmissionClient | RelayGroup:
        """Return the process's client for this configuration, with its pool; for several relays, all of them as one."""
        options = self.options
        if not options.relays:
            return self._client_of(options, self.config)
        relays = [
            Relay(name, self._client_of(each, conf.smtp_config(each, alias=self.alias)), weight)
            for name, weight, each in relays_of(options, alias=self.alias)
        ]
        return RelayGroup(relays, route=route_of(options.relay_router))

    def _client_of(self, options: conf.MailerOptions, config: SmtpConfig) -> SubmissionClient:
        governance, connection_class = governance_of(options), self.connection_class
        hooked = connection_class if has_socket_hook(connection_class) else None
        has_context = self._overrides("ssl_context")

        def make(listener: Listener) -> SubmissionClient:
            used = dataclasses.replace(config, tls_context=self.ssl_context) if has_context else config
            open_socket = open_socket_by(hooked, config.source_address) if hooked else None
            connector = Connector(used, open_socket=open_socket) if open_socket else None
            return SubmissionClient(
                used,
                listener=listener,
                transcript=open_transcript,
                timed=registry.wants_phases,
                connector=connector,
                governor=make_governor(governance, used, listener) if governance else None,
            )

        source = self._context_source() if has_context else None
        return registry.client(ClientKey(config, hooked, source, governance), make)

    def _context_source(self) -> Hashable:
        """Name what a subclass's ``ssl_context`` may depend on: two tenants' contexts may trust different authorities.

        It is asked once for each class and state, since Django makes a backend for every mail; a state that has no
        hash has a client for each instance.
        """
        state = {name: value for name, value in vars(self).items() if name not in _ATTRIBUTES}
        try:
            hash(found := (type(self), frozenset(state.items())))
        except TypeError:
            return self
        return found

    def _overrides(self, name: str) -> bool:
        """Tell whether a subclass, or somebody holding this instance, put something else in a method's place."""
        return name in vars(self) or getattr(type(self), name) is not getattr(RobustSMTPEmailBackend, name)

    # -- the connection, for those who ask for one

    def open(self) -> bool | None:
        """Have a session ready, TLS and log-in included, and ``connection`` set: one attempt, ``timeout`` in total.

        Returns True, or False if it was open, or None for an error that ``fail_silently`` kept back. Raises
        ``OSError`` or ``SMTPException``. The session waits in the pool, for ``send_messages()`` or whoever is first.
        """
        if self.connection:
            return False
        client, timeout = self.client(), self.options.timeout
        try:
            client.verify(Deadline.after(timeout, client.clock))
        except OSError:  # smtplib's exceptions among them
            if self.fail_silently:
                return None
            raise
        self.connection = SmtplibFacade(client, timeout, self._note_report)
        return True

    def close(self) -> None:
        """Let go of ``connection``; never raises. The backend stays usable."""
        connection, self.connection = self.connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # whatever somebody put there, the mail is out
                connection.quit()

    # -- mail

    def send_messages(self, email_messages: Iterable[EmailMessage]) -> int:
        """Submit messages and return how many were accepted; see the module's docstring.

        Takes any iterable and, of many messages, only as many at a time as are under way. Called by a log handler
        with a line about this very relay, it returns 0 at once (see ``observability.logging``).
        """
        if not email_messages or self._is_being_logged():
            return 0
        opened = self._open_for_hooks()
        if opened is None:
            return 0
        try:
            return self._send_each(email_messages)
        finally:
            if opened:
                self.close()

    def _is_being_logged(self) -> bool:
        relays = relays_being_logged()
        return bool(relays) and self.config.endpoint in relays

    def _open_for_hooks(self) -> bool | None:
        """Call ``open()`` as Django does, for subclasses that override it, or expect ``connection`` in ``_send()``."""
        if isinstance(self.connection, SmtplibFacade):
            self.connection.give_back()
        if not (self._overrides("open") or self._overrides("_send")):
            return False
        opened = self.open()
        return None if opened is None or not self.connection else bool(opened)

    def _send_each(self, email_messages: Iterable[EmailMessage]) -> int:
        messages, result = iter(email_messages), BulkResult()
        head = list(itertools.islice(messages, 2))
        everything = itertools.chain(head, messages)
        if len(head) > 1 and not self._overrides("_send") and not self._has_foreign_connection():
            self._submit_many(everything, result)
            return result.count()
        for message in everything:
            result.messages += 1
            self._sending.message = message
            try:
                result.accepted += bool(self._send(message))
            except (ValueError, OSError) as error:  # smtplib's exceptions are OSErrors
                result.failure(result.messages, message, error)
            finally:
                self._sending.message = None
        return result.count()

    def _send(self, email_message: EmailMessage) -> bool:
        """Submit one message; the hook that subclasses override. Returns whether anybody was accepted."""
        submission = self._submission(email_message)
        if submission is None:
            return False
        if self._has_foreign_connection():
            return self._send_through_foreign_connection(submission)
        report = self.client().submit(submission.envelope, submission.data, lane=submission.lane, kind=submission.kind)
        return self._settle(email_message, submission, report)

    def _submit_many(self, messages: Iterable[EmailMessage], result: BulkResult) -> None:
        options = self.options
        finished = self.client().submit_many(
            self._submissions(messages, result), window=options.bulk_window, sessions=options.bulk_sessions
        )
        for submission, report in finished:
            number, message = cast("tuple[int, EmailMessage]", submission.key)
            try:
                result.accepted += self._settle(message, submission, report)
            except OSError as error:
                result.failure(number, message, error)

    def _submissions(self, messages: Iterable[EmailMessage], result: BulkResult) -> Iterator[Submission]:
        for number, message in enumerate(messages, 1):
            result.messages = number
            try:
                submission = self._submission(message)
            except ValueError as error:
                result.failure(number, message, error)
            else:
                if submission is not None:
                    yield dataclasses.replace(submission, key=(number, message))

    def _submission(self, message: EmailMessage) -> Submission | None:
        """Return the envelope and octets of a message, or None where nobody is to have it."""
        _leave_report(message, None)
        if not message.recipients():
            return None
        envelope, data = to_submission(message, message_id_domain=self.local_hostname)
        # A word of the project's for this class of mail, as ``outbox.enqueue`` takes one.
        kind = str(getattr(message, "smtp_kind", ""))
        return Submission(envelope, data, kind=kind, lane=self._lane(message))

    def _lane(self, message: EmailMessage) -> Lane:
        """Return who goes first: the message's ``smtp_lane`` (a ``Lane`` or its name), else the mailer's."""
        chosen = getattr(message, "smtp_lane", None)
        return chosen if isinstance(chosen, Lane) else Lane[str(chosen or self._own_options.lane).upper()]

    def _settle(self, message: EmailMessage, submission: Submission, report: SubmissionReport) -> bool:
        """Leave the report where callers look for it; raise what they are to be told, or return what counts."""
        _leave_report(message, report)
        if not report.accepted:
            keep_identity(message, submission.data)
        signals.announce(type(self), message, report)
        error = error_for(
            report,
            partial=self._own_options.partial_failure == "raise",
            sender=str(submission.envelope.reverse_path),
        )
        if error is not None and not self.fail_silently:
            raise error
        return bool(report.accepted)

    # -- what others do with it

    def _has_foreign_connection(self) -> bool:
        return self.connection is not None and not isinstance(self.connection, SmtplibFacade)

    def _send_through_foreign_connection(self, submission: Submission) -> bool:
        """Use what somebody assigned to ``connection`` as Django's backend would. There is no report of it."""
        envelope = submission.envelope
        try:
            self.connection.sendmail(
                str(envelope.reverse_path), [str(path) for path in envelope.forward_paths], submission.data.content
            )
        except smtplib.SMTPException:
            if not self.fail_silently:
                raise
            return False
        return True

    def _note_report(self, report: SubmissionReport) -> None:
        """Leave the report of a ``connection.sendmail()`` on the message whose overridden ``_send()`` called it."""
        message: EmailMessage | None = getattr(self._sending, "message", None)
        if message is not None:
            _leave_report(message, report)
            signals.announce(type(self), message, report)


def _leave_report(message: EmailMessage, report: SubmissionReport | None) -> None:
    vars(message)["smtp_report"] = report
