"""From the greeting to a session that is ready for mail: EHLO, STARTTLS, AUTH (RFC 5321 3.1, RFC 3207, RFC 4954)."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from robust_email.smtp.config import TlsMode
from robust_email.smtp.failure import Failure, FailureKind, SessionFailure
from robust_email.smtp.net.naming import ehlo_name
from robust_email.smtp.net.tls import context_for
from robust_email.smtp.outcome import Verdict, classify_failure, classify_reply
from robust_email.smtp.phases import Phase
from robust_email.smtp.protocol import commands
from robust_email.smtp.protocol.extensions import Extensions
from robust_email.smtp.protocol.replies import Reply, ReplyClass
from robust_email.smtp.protocol.sasl import SaslError, choose_mechanism, decode_challenge
from robust_email.smtp.protocol.states import Verb

if TYPE_CHECKING:
    from robust_email.smtp.config import Credentials, SmtpConfig
    from robust_email.smtp.dialogue import Dialogue
    from robust_email.smtp.net.deadline import Deadline
    from robust_email.smtp.protocol.sasl import Mechanism

MAX_CHALLENGES = 8
"""No mechanism of ours has more; a server that goes on asking is ended."""


class SessionUnavailable(Exception):
    """No session could be had; ``verdict`` says why. Its ``__cause__`` is the socket's error, if there is one."""

    def __init__(self, verdict: Verdict) -> None:
        """Carry the verdict."""
        super().__init__(verdict.reason)
        self.verdict = verdict


def identify(dialogue: Dialogue, config: SmtpConfig, deadline: Deadline) -> Extensions:
    """Greeting to ready; returns what the latest EHLO offered.

    Raises ``SessionUnavailable`` for a refusing reply and for what is not offered, ``SessionFailure`` for the rest.
    """
    _, greeting = dialogue.next_reply(deadline)
    if not greeting.positive:
        raise SessionUnavailable(classify_reply(Phase.GREETING, greeting))
    name = config.local_hostname or ehlo_name(dialogue.stream.own_address)
    extensions = hello(dialogue, name, deadline)
    if config.tls.mode is TlsMode.STARTTLS:
        start_tls(dialogue, config, extensions, deadline)
        extensions = hello(dialogue, name, deadline)
    if config.credentials is not None:
        authenticate(dialogue, config, config.credentials, extensions, deadline)
    return extensions


def hello(dialogue: Dialogue, name: str, deadline: Deadline) -> Extensions:
    """EHLO, or HELO where that is unknown; returns what is offered. Raises as ``identify``."""
    reply = dialogue.ask(Verb.EHLO, commands.ehlo(name), deadline=deadline)
    if reply.positive:
        return Extensions.parse(reply)
    # 500 and 502: the command itself is unknown; any other refusal is about us (RFC 5321 3.2).
    if reply.code in {500, 502, 504}:
        reply = dialogue.ask(Verb.HELO, commands.helo(name), deadline=deadline)
        if reply.positive:
            return Extensions()
    raise SessionUnavailable(classify_reply(Phase.EHLO, reply))


def start_tls(dialogue: Dialogue, config: SmtpConfig, extensions: Extensions, deadline: Deadline) -> None:
    """STARTTLS and the handshake (RFC 3207); what the server offers must be asked anew. Raises as ``identify``."""
    if "STARTTLS" not in extensions:
        raise _impossible(
            Phase.STARTTLS,
            FailureKind.NOT_OFFERED,
            "STARTTLS extension not supported by server. Nothing was sent in clear instead. If the relay speaks TLS "
            "from the first octet (port 465), use EMAIL_USE_SSL; if somebody is in between, he removed it",
        )
    context = config.tls_context or context_for(config.tls)
    reply = dialogue.ask(Verb.STARTTLS, commands.STARTTLS, deadline=deadline)
    if not reply.positive:
        raise SessionUnavailable(classify_reply(Phase.STARTTLS, reply))
    dialogue.start_tls(context, deadline)


def authenticate(
    dialogue: Dialogue, config: SmtpConfig, credentials: Credentials, extensions: Extensions, deadline: Deadline
) -> None:
    """AUTH by the best mechanism that both have (RFC 4954). Raises as ``identify``."""
    encrypted = dialogue.stream.tls_version is not None
    if not (encrypted or config.allow_clear_text_auth or dialogue.stream.peer_is_loopback):
        raise _impossible(
            Phase.AUTH,
            FailureKind.CLEAR_TEXT,
            "the password would cross the network unencrypted. Set EMAIL_USE_TLS (port 587) or EMAIL_USE_SSL (465); "
            "EMAIL_ALLOW_CLEAR_TEXT_AUTH = True permits it all the same",
        )
    mechanism = _mechanism(credentials, extensions, encrypted=encrypted)
    try:
        reply = _converse(dialogue, mechanism, deadline)
        if reply.positive:
            mechanism.verify_success(None)
            return
    except SaslError as exc:
        failure = Failure(FailureKind.GARBAGE, Phase.AUTH, f"AUTH {mechanism.name} went wrong: {exc}")
        raise SessionFailure(failure) from exc
    except commands.CommandError as exc:
        raise _impossible(Phase.AUTH, FailureKind.LOCAL, f"the credentials cannot be used: {exc}") from exc
    raise SessionUnavailable(classify_reply(Phase.AUTH, reply))


def _mechanism(credentials: Credentials, extensions: Extensions, *, encrypted: bool) -> Mechanism:
    offered = extensions.auth_mechanisms
    if not offered:
        raise _impossible(Phase.AUTH, FailureKind.NOT_OFFERED, "SMTP AUTH extension not supported by server.")
    try:
        mechanism = choose_mechanism(
            offered,
            username=credentials.username,
            password=credentials.password,
            access_token=credentials.access_token,
            tls=encrypted,
            nonce=secrets.token_urlsafe(24),
            allowed=credentials.mechanisms,
        )
    except ValueError as exc:
        raise _impossible(Phase.AUTH, FailureKind.LOCAL, f"the credentials cannot be used: {exc}") from exc
    if mechanism is None:
        raise _impossible(
            Phase.AUTH,
            FailureKind.NOT_OFFERED,
            f"No suitable authentication method found: the server offers {', '.join(offered[:8])}",
        )
    return mechanism


def _converse(dialogue: Dialogue, mechanism: Mechanism, deadline: Deadline) -> Reply:
    initial = mechanism.initial_response()
    reply = dialogue.ask(Verb.AUTH, commands.auth(mechanism.name, initial), deadline=deadline)
    for _ in range(MAX_CHALLENGES):
        if reply.klass is not ReplyClass.INTERMEDIATE:
            return reply
        challenge = decode_challenge(reply.lines[0])
        # An empty challenge asks for the initial response: it was too long for AUTH, or the server takes none there.
        wanted, initial = (initial if not challenge else None), None
        response = commands.auth_response(mechanism.respond(challenge) if wanted is None else wanted)
        reply = dialogue.ask(Verb.AUTH_RESPONSE, response, deadline=deadline)
    raise SaslError("the server asks without end")


def _impossible(phase: Phase, kind: FailureKind, text: str) -> SessionUnavailable:
    return SessionUnavailable(classify_failure(Failure(kind, phase, text)))
