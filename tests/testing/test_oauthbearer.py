"""The reader of OAUTHBEARER's message: what RFC 7628 3.1 allows is read, and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.smtp.protocol.sasl import OAuthBearer
from robust_email.testing.oauthbearer import ClientMessage, parse_client_message

names = st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"]), max_size=20)
keys = st.from_regex(r"[A-Za-z]{1,8}", fullmatch=True).filter(lambda key: key not in {"auth", "host", "port"})
values = st.text(st.sampled_from(["\t", "\n", "\r", *map(chr, range(32, 127))]), max_size=20)
tokens = st.from_regex(r"[A-Za-z0-9\-._~+/]{1,40}={0,2}", fullmatch=True)


def test_the_message_of_rfc_7628() -> None:
    """The example of section 4.1."""
    message = parse_client_message(
        b"n,a=user@example.com,\1host=server.example.com\1port=143\1"
        b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"
    )
    token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    assert message == ClientMessage("user@example.com", token, "server.example.com", 143)
    assert token not in repr(message)


@given(names, tokens, st.dictionaries(keys, values, max_size=4), st.sampled_from("ny"), st.booleans())
def test_every_legal_message_is_read(
    name: str,
    token: str,
    others: dict[str, str],
    flag: str,
    last: bool,  # noqa: FBT001 - drawn
) -> None:
    """Any name, with its commas and equals signs escaped; pairs that are unknown, in any order, change nothing."""
    authzid = "a=" + name.replace("=", "=3D").replace(",", "=2C") if name else ""
    pairs = [f"{key}={value}\1" for key, value in others.items()]
    pairs.insert(len(pairs) if last else 0, f"auth=Bearer {token}\1")
    octets = f"{flag},{authzid},\1{''.join(pairs)}\1".encode()
    assert parse_client_message(octets) == ClientMessage(name, token)


@given(names.filter(lambda name: name != "" and "\1" not in name), tokens)
def test_what_the_client_writes_is_read(name: str, token: str) -> None:
    """The engine's own half, for any name and token."""
    assert parse_client_message(OAuthBearer(name, token).initial_response()) == ClientMessage(name, token)


@given(st.binary(max_size=60) | st.text(st.sampled_from("ny,a=\1authBerxp:F2CD 09"), max_size=40).map(str.encode))
def test_any_octets_are_read_or_a_value_error(octets: bytes) -> None:
    """No other exception, and what is read has a token."""
    with contextlib.suppress(ValueError):
        assert parse_client_message(octets).token


@given(st.data())
def test_a_message_cut_short_is_refused(data: st.DataObject) -> None:
    """Each beginning of a message is none."""
    whole = OAuthBearer("a,b=c", "t0ken").initial_response()
    with pytest.raises(ValueError, match=r"\w"):
        parse_client_message(whole[: data.draw(st.integers(0, len(whole) - 1))])


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\1",
        b"n,,",
        b"n,,\1\1",
        b"auth=Bearer t\1\1",
        b"p=tls-unique,,\1auth=Bearer t\1\1",
        b"F,n,,\1auth=Bearer t\1\1",
        b"n,a=,\1auth=Bearer t\1\1",
        b"n,a=a=b,\1auth=Bearer t\1\1",
        b"n,a=a=2c,\1auth=Bearer t\1\1",
        b"n,a=a\0,\1auth=Bearer t\1\1",
        b"n,a=\xff,\1auth=Bearer t\1\1",
        b"n,user,\1auth=Bearer t\1\1",
        b"n,,auth=Bearer t\1\1",
        b"n,,\1auth=Bearer t\1",
        b"n,,\1auth=Bearer t\1\1\1",
        b"n,,\1\1auth=Bearer t\1\1",
        b"n,,\1auth=Bearer t\1\1x",
        b"n,,\1auth=t\1\1",
        b"n,,\1auth=Bearer \1\1",
        b"n,,\1auth=Bearer t t\1\1",
        b"n,,\1auth=Basic t\1\1",
        b"n,,\1AUTH=Bearer t\1\1",
        b"n,,\1auth=Bearer t\1auth=Bearer u\1\1",
        b"n,,\1auth=Bearer t\1x1=y\1\1",
        b"n,,\1auth=Bearer t\1=y\1\1",
        b"n,,\1auth=Bearer t\1x\1\1",
        b"n,,\1auth=Bearer t\1x=\xc3\xa9\1\1",
        b"n,,\1port=0587\1auth=Bearer t\1\1",
        b"n,,\1port=-1\1auth=Bearer t\1\1",
        b"n,,\1port=70000\1auth=Bearer t\1\1",
    ],
)
def test_what_the_grammar_does_not_allow(octets: bytes) -> None:
    """Each rule of it, broken once."""
    with pytest.raises(ValueError, match=r"\w"):
        parse_client_message(octets)
