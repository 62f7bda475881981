"""``manage.py email_doctor``: the relay that the project's mail really goes to."""

from __future__ import annotations

import io
import json
import smtplib
import socket
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from robust_email import _compat
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.diagnosis import plan_for
from robust_email.testing import At, Fault, Reply, Script, ScriptedServer
from tests.contract.ways import PATH, legacy_settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

pytestmark = pytest.mark.django_db  # where there is an outbox, the doctor says how it stands

PASSWORD = "hunter2-canary"
DJANGOS = "django.core.mail.backends.smtp.EmailBackend"


def email_doctor(*arguments: str) -> tuple[int, str]:
    """Call the command; return its exit code and what it wrote."""
    out = io.StringIO()
    try:
        call_command("email_doctor", *arguments, stdout=out)
    except SystemExit as exc:
        assert isinstance(exc.code, int)
        return exc.code, out.getvalue()
    return 0, out.getvalue()


def settings_for(server: ScriptedServer, **changes: object) -> AbstractContextManager[None]:
    """Set what leads to a server."""
    given: dict[str, Any] = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": server.port, "EMAIL_TIMEOUT": 10}
    return legacy_settings(**given | {"DEFAULT_FROM_EMAIL": "Shop <orders@shop.test>"} | changes)


def findings_of(text: str) -> list[str]:
    """Return all codes of a JSON report."""
    return [finding["code"] for part in json.loads(text)["probes"] for finding in part["findings"]]


def test_a_sound_project(smtp_server: ScriptedServer) -> None:
    """The settings' relay is examined; what is not sound is the sender's domain, which is nobody's."""
    with settings_for(smtp_server):
        code, text = email_doctor("--json")
    assert code == 1
    assert json.loads(text)["cause"] == "domain-not-public"
    assert "envelope" in findings_of(text)


def test_quick_is_a_health_check(smtp_server: ScriptedServer) -> None:
    """Exit code 0 where a session can be had."""
    with settings_for(smtp_server):
        assert email_doctor("--quick")[0] == 0


def test_a_real_mail(smtp_server: ScriptedServer) -> None:
    """``--to`` submits one, from DEFAULT_FROM_EMAIL; the report masks whom it went to."""
    with settings_for(smtp_server):
        _, text = email_doctor("--to", "ann.customer@private.example")
    assert [(m.reverse_path, m.forward_paths) for m in smtp_server.accepted] == [
        ("orders@shop.test", ("ann.customer@private.example",))
    ]
    assert "ann.customer" not in text


def test_an_error(closed_port: int) -> None:
    """Exit code 2, and the text says what to do."""
    with legacy_settings(EMAIL_HOST="127.0.0.1", EMAIL_PORT=closed_port):
        code, text = email_doctor("--timeout", "2", "--quick")
    assert code == 2
    assert "What to do:" in text


def test_the_system_checks_are_part_of_it(smtp_server: ScriptedServer) -> None:
    """What the checks see in the settings stands in the report under their own ids."""
    with settings_for(smtp_server, EMAIL_HOST_USER="shop", EMAIL_HOST_PASSWORD="", EMAIL_POOL_SZE=3):
        _, text = email_doctor("--quick", "--json")
    assert {"robust_email.W001", "robust_email.W007"} <= set(findings_of(text))


@pytest.mark.parametrize("backend", ["console", "locmem", "dummy"])
def test_a_backend_that_sends_nothing(backend: str) -> None:
    """The usual reason for mail that vanishes without an error is named."""
    with legacy_settings(EMAIL_BACKEND=f"django.core.mail.backends.{backend}.EmailBackend"):
        code, text = email_doctor("--json")
    assert code == 2
    assert findings_of(text) == ["backend-not-smtp"]
    assert PATH in text


def test_djangos_own_backend_is_examined_too(smtp_server: ScriptedServer) -> None:
    """Before the migration: the relay is the same."""
    with settings_for(smtp_server, EMAIL_BACKEND=DJANGOS):
        code, text = email_doctor("--quick", "--json")
    assert code == 0
    assert "backend-not-ours" in findings_of(text)
    assert smtp_server.connections > 0


@pytest.mark.parametrize("broken", [{"EMAIL_USE_TLS": True, "EMAIL_USE_SSL": True}, {"EMAIL_POOL_SIZE": "many"}])
def test_settings_that_cannot_be_used(broken: dict[str, object]) -> None:
    """No traceback: a report with one finding that names the setting."""
    with legacy_settings(**broken):
        code, text = email_doctor("--json")
    assert code == 2
    assert findings_of(text) == ["configuration-unusable"]
    assert next(iter(broken)) in text or "EMAIL_USE_SSL" in text


def test_an_alias_that_is_not_there(smtp_server: ScriptedServer) -> None:
    """A wrong call, with those that are."""
    with settings_for(smtp_server), pytest.raises(CommandError, match="default") as caught:
        email_doctor("transactional")
    assert caught.value.returncode == 64


def test_secrets_stay_where_they_are() -> None:
    """A server that repeats the password is not repeated."""
    script = Script(faults=[Fault(At.AUTH, Reply(f"535 5.7.8 {PASSWORD} is wrong"))], accounts={"shop": PASSWORD})
    with ScriptedServer(script) as server, settings_for(server, EMAIL_HOST_USER="shop", EMAIL_HOST_PASSWORD=PASSWORD):
        code, text = email_doctor("--json")
    assert code == 2
    assert "auth-refused" in findings_of(text)
    assert PASSWORD not in text


@pytest.mark.skipif(not _compat.HAS_MAILERS, reason="MAILERS came with Django 6.1")
def test_a_mailer_by_its_alias(smtp_server: ScriptedServer) -> None:
    """Each mailer has a relay of its own."""
    mailers = {
        "default": {"BACKEND": PATH, "OPTIONS": {"host": "127.0.0.1", "port": 1}},
        "bulk": {"BACKEND": PATH, "OPTIONS": {"host": "127.0.0.1", "port": smtp_server.port}},
    }
    with override_settings(MAILERS=mailers, DEFAULT_FROM_EMAIL="orders@shop.test"):
        assert email_doctor("bulk", "--quick")[0] == 0
        assert email_doctor("--quick", "--timeout", "2")[0] == 2


class Guarded(smtplib.SMTP):
    """Opens sockets its own way."""

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        return socket.create_connection((host, port), timeout)


class GuardedBackend(RobustSMTPEmailBackend):
    """A project's backend with a guard on addresses."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """Where sockets come from."""
        return Guarded


def test_sockets_of_the_projects_own(smtp_server: ScriptedServer) -> None:
    """The doctor says that it connects otherwise than such a backend does."""
    with settings_for(smtp_server, EMAIL_BACKEND=f"{__name__}.GuardedBackend"):
        _, text = email_doctor("--quick", "--json")
    assert "own-sockets" in findings_of(text)


def test_through_the_outbox(smtp_server: ScriptedServer) -> None:
    """With the outbox in front, the relay behind it is examined."""
    outbox = "robust_email.outbox.backend.OutboxEmailBackend"
    with settings_for(smtp_server, EMAIL_BACKEND=outbox, EMAIL_OUTBOX_BACKEND=PATH):
        assert plan_for().config.port == smtp_server.port
