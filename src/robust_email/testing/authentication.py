"""The server's half of SASL over SMTP (RFC 4954), written from the RFCs and apart from the client's half.

A mechanism is a generator: it yields challenges, is sent responses, and returns the user's name, or raises
:exc:`Refused`. The dialogue around it (base64, 334, cancelling) is in :func:`authenticate`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING

from robust_email.testing.oauthbearer import ACKNOWLEDGEMENT, parse_client_message

if TYPE_CHECKING:
    from robust_email.testing.channel import Channel

Accounts = Mapping[str, str]
Exchange = Generator[bytes, bytes, str]

MAX_COMMAND = 512
"""Octets of AUTH with its initial response (RFC 4954 4, RFC 5321 4.5.3.1.4); a longer one comes after a 334."""
_ITERATIONS = 4096


class Refused(Exception):
    """AUTH ends with this reply."""

    def __init__(self, reply: str = "535 5.7.8 Authentication credentials invalid") -> None:
        super().__init__(reply)
        self.reply = reply


def authenticate(mechanism: str, initial: str, accounts: Accounts, channel: Channel) -> str:
    """Run one exchange on the channel and return the user's name; raises :exc:`Refused`."""
    exchange = _MECHANISMS[mechanism](accounts)
    try:
        challenge = next(exchange)
        if initial:
            if mechanism == "CRAM-MD5":
                raise Refused("501 5.5.4 CRAM-MD5 has no initial response")
            challenge = exchange.send(b"" if initial == "=" else _decode(initial))
        while True:
            challenge = exchange.send(_ask(challenge, channel))
    except StopIteration as end:
        return str(end.value)
    finally:
        exchange.close()


def _ask(challenge: bytes, channel: Channel) -> bytes:
    channel.write(b"334 " + base64.b64encode(challenge) + b"\r\n")
    response = channel.read_line().decode("ascii", "replace")
    if response == "*":
        raise Refused("501 5.7.0 Authentication cancelled")
    return _decode(response)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("501 5.5.2 Cannot decode base64") from error


def _check(accounts: Accounts, user: str, password: str) -> str:
    if user not in accounts or not hmac.compare_digest(accounts[user].encode(), password.encode()):
        raise Refused
    return user


def _plain(accounts: Accounts) -> Exchange:
    """RFC 4616."""
    response = (yield b"").decode("utf-8", "replace")
    try:
        _authzid, user, password = response.split("\0")
    except ValueError as error:
        raise Refused("501 5.5.2 PLAIN wants authzid, authcid and password") from error
    return _check(accounts, user, password)


def _login(accounts: Accounts) -> Exchange:
    """draft-murchison-sasl-login: two prompts, no more."""
    user = yield b"Username:"
    password = yield b"Password:"
    return _check(accounts, user.decode("utf-8", "replace"), password.decode("utf-8", "replace"))


def _cram_md5(accounts: Accounts) -> Exchange:
    """RFC 2195."""
    challenge = f"<{secrets.token_hex(8)}@scripted.test>".encode()
    user, _, digest = (yield challenge).decode("utf-8", "replace").rpartition(" ")
    wanted = hmac.new(accounts.get(user, "").encode(), challenge, hashlib.md5).hexdigest()
    if user not in accounts or not hmac.compare_digest(wanted, digest):
        raise Refused
    return user


def _scram_sha_256(accounts: Accounts) -> Exchange:
    """RFC 5802 and RFC 7677, without channel binding."""
    first = (yield b"").decode("utf-8", "replace")
    if not first.startswith(("n,", "y,")):
        raise Refused("501 5.5.4 No channel binding here")
    bare = first.split(",", 2)[2]
    fields = _fields(bare)
    user = fields.get("n", "").replace("=2C", ",").replace("=3D", "=")
    nonce = fields.get("r", "") + secrets.token_urlsafe(12)
    salt = secrets.token_bytes(16)
    server_first = f"r={nonce},s={base64.b64encode(salt).decode()},i={_ITERATIONS}"
    final = (yield server_first.encode()).decode("utf-8", "replace")
    without_proof, _, proof = final.rpartition(",p=")
    if _fields(final).get("r") != nonce or user not in accounts:
        raise Refused
    salted = hashlib.pbkdf2_hmac("sha256", accounts[user].encode(), salt, _ITERATIONS)
    auth_message = f"{bare},{server_first},{without_proof}".encode()
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    client_key = _xor(_decode(proof), _hmac(stored_key, auth_message))
    if not hmac.compare_digest(hashlib.sha256(client_key).digest(), stored_key):
        raise Refused
    signature = _hmac(_hmac(salted, b"Server Key"), auth_message)
    yield b"v=" + base64.b64encode(signature)
    return user


def _xoauth2(accounts: Accounts) -> Exchange:
    """Google's XOAUTH2: a wrong token is explained by a challenge that the client answers with an empty response."""
    fields = dict(part.split("=", 1) for part in (yield b"").decode("utf-8", "replace").split("\x01") if "=" in part)
    user = fields.get("user", "")
    token = fields.get("auth", "").removeprefix("Bearer ")
    try:
        return _check(accounts, user, token)
    except Refused:
        yield json.dumps({"status": "401", "schemes": "bearer", "scope": "https://mail.google.com/"}).encode()
        raise


def _oauthbearer(accounts: Accounts) -> Exchange:
    """RFC 7628: a refusal is JSON in a challenge, which the client has to acknowledge before it gets its 535."""
    try:
        message = parse_client_message((yield b""))
    except ValueError as error:
        raise Refused(f"501 5.5.2 {error}") from error
    owners = (user for user, token in accounts.items() if hmac.compare_digest(token.encode(), message.token.encode()))
    user = message.authzid or next(owners, "")
    try:
        return _check(accounts, user, message.token)
    except Refused as refused:
        answer = yield json.dumps({"status": "invalid_token", "scope": "https://mail.example.org/"}).encode()
        if answer != ACKNOWLEDGEMENT:
            raise Refused("501 5.5.2 OAUTHBEARER wants an error to be acknowledged") from refused
        raise


def _fields(message: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in message.split(",") if "=" in part)


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=False))


_MECHANISMS: Mapping[str, Callable[[Accounts], Exchange]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "CRAM-MD5": _cram_md5,
    "SCRAM-SHA-256": _scram_sha_256,
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
}
