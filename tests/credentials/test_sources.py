"""Credentials from files, the environment and functions."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_email.credentials.sources import (
    EnvironmentCredentials,
    FileCredentials,
    FunctionCredentials,
    provider_of,
)
from robust_email.smtp import Credentials, CredentialsUnavailable

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hunter2", Credentials("shop", "hunter2")),
        ("hunter2\n", Credentials("shop", "hunter2")),
        (" spaces count \r\n", Credentials("shop", " spaces count ")),
        ('{"password": "hunter2"}', Credentials("shop", "hunter2")),
        ('{"username": "other", "password": "hunter2", "port": 25}', Credentials("other", "hunter2")),
    ],
)
def test_a_file_holds_a_password_or_an_object(content: str, expected: Credentials, tmp_path: Path) -> None:
    """A mounted secret is the password alone, line end aside; JSON may bring the user name along."""
    path = tmp_path / "secret"
    path.write_bytes(content.encode())
    assert FileCredentials(str(path), "shop").credentials(1.0) == expected


@pytest.mark.parametrize("content", [None, b"", b"\n", b"{", b'{"username": "x"}', b"\xff\xfe", b'{"password": ""}'])
def test_a_bad_file_is_a_mistake_without_its_content(content: bytes | None, tmp_path: Path) -> None:
    """What is no secret, or not there, is told with the file's name, and asking again is not suggested."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CredentialsUnavailable, match=str(path)) as failed:
        FileCredentials(str(path), "shop").credentials(1.0)
    assert failed.value.permanent


def test_a_file_without_a_user_name_needs_one_from_the_settings(tmp_path: Path) -> None:
    """A password for nobody is no log-in."""
    path = tmp_path / "secret"
    path.write_text("hunter2")
    with pytest.raises(CredentialsUnavailable, match="gives no user name"):
        FileCredentials(str(path)).credentials(1.0)


@given(password=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: not text.isspace()))
def test_any_password_survives_json(password: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Quotes, braces and line ends in a password come through a JSON object as they are."""
    path = tmp_path_factory.mktemp("secrets") / "secret"
    path.write_text(json.dumps({"password": password}), encoding="utf-8")
    assert FileCredentials(str(path), "shop").credentials(1.0).password == password


def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    """Sessions of the old password end, and a refusal leads to another try, once the file is another."""
    path = tmp_path / "secret"
    path.write_text("first")
    provider = FileCredentials(str(path), "shop")
    first = provider.credentials(1.0)
    assert provider.still_good(first)
    assert not provider.refused(first)
    (tmp_path / "new").write_text("later")  # the same length, and perhaps the same time stamp
    (tmp_path / "new").replace(path)
    assert not provider.still_good(first)
    assert provider.refused(first)
    assert provider.credentials(1.0).password == "later"


def test_a_file_that_is_gone_for_a_moment_ends_no_session(tmp_path: Path) -> None:
    """While somebody replaces the file, what is logged in stays so."""
    path = tmp_path / "secret"
    path.write_text("first")
    provider = FileCredentials(str(path), "shop")
    first = provider.credentials(1.0)
    path.unlink()
    assert provider.still_good(first)
    assert not provider.refused(first)


def test_the_environment_is_read_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that changes in this process is used from then on."""
    monkeypatch.setenv("SHOP_USER", "ann")
    monkeypatch.setenv("SHOP_PASSWORD", "first")
    both, one = (provider_of(f"env:{names}", "shop") for names in ("SHOP_USER,SHOP_PASSWORD", "SHOP_PASSWORD"))
    first = both.credentials(1.0)
    assert (first, one.credentials(1.0)) == (Credentials("ann", "first"), Credentials("shop", "first"))
    assert both.still_good(first)
    os.environ["SHOP_PASSWORD"] = "second"
    assert not both.still_good(first)
    assert both.refused(first)
    monkeypatch.delenv("SHOP_PASSWORD")
    with pytest.raises(CredentialsUnavailable, match="SHOP_PASSWORD is not set"):
        both.credentials(1.0)
    assert both.still_good(first)


@pytest.mark.parametrize(("user", "missing"), [("", "EMAIL_HOST_USER"), ("shop", "SHOP_PASSWORD")])
def test_the_missing_half_is_named(user: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says what to set."""
    monkeypatch.setenv("SHOP_PASSWORD", "" if user else "hunter2")
    with pytest.raises(CredentialsUnavailable, match=f"{missing} is not set"):
        EnvironmentCredentials("SHOP_PASSWORD", "", user).credentials(1.0)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("hunter2", Credentials("shop", "hunter2")),
        (("ann", "hunter2"), Credentials("ann", "hunter2")),
        ({"password": "hunter2"}, Credentials("shop", "hunter2")),
        (Credentials("", access_token="token"), Credentials("shop", access_token="token")),
        (Credentials("ann", "hunter2"), Credentials("ann", "hunter2")),
    ],
)
def test_a_function_may_return_what_it_likes_best(returned: object, expected: Credentials) -> None:
    """A password, a pair, a mapping, or the engine's own kind."""
    assert FunctionCredentials(lambda: returned, "shop").credentials(1.0) == expected


@pytest.mark.parametrize("returned", [None, 5, ("a", "b", "c"), b"hunter2", ""])
def test_a_function_that_returns_something_else_is_a_mistake(returned: object) -> None:
    """The text names the kind of thing, and not the thing."""
    with pytest.raises(CredentialsUnavailable) as failed:
        FunctionCredentials(lambda: returned, "shop").credentials(1.0)
    assert failed.value.permanent
    assert "hunter2" not in str(failed.value)


def test_what_a_function_gave_last_is_good() -> None:
    """A changed password ends earlier sessions as soon as it was given; the function is not called to find out."""
    answers = iter(["first", "second", "second"])
    provider = FunctionCredentials(lambda: next(answers), "shop")
    first = provider.credentials(1.0)
    assert provider.still_good(first)
    assert provider.refused(first)
    assert not provider.still_good(first)
    assert not provider.refused(provider.credentials(1.0)), "the function is at its end"


def test_a_function_s_new_token_ends_no_session() -> None:
    """A session outlives the token it was opened with."""
    answers = iter(["token-1", "token-2"])
    provider = FunctionCredentials(lambda: next(answers), "shop", gives_token=True)
    first = provider.credentials(1.0)
    assert (first.access_token, first.password) == ("token-1", "")
    provider.credentials(1.0)
    assert provider.still_good(first)


@pytest.mark.parametrize("text", ["env:", "env:A,B,C", "env:A,,B", "secret", "some.module.path"])
def test_a_text_that_is_no_place(text: str) -> None:
    """What is neither a path nor a variable is refused with what would be."""
    with pytest.raises(ValueError, match="env:"):
        provider_of(text, "shop")
