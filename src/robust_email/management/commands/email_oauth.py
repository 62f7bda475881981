"""``manage.py email_oauth [alias]``: get a person's consent once, keep the refresh token, and try it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from robust_email import _compat
from robust_email.backend import RobustSMTPEmailBackend
from robust_email.credentials.consent import Client, ConsentFailed, by_browser, by_device
from robust_email.credentials.oauth import OAuthCredentials
from robust_email.credentials.oauth_settings import OAuthSettings
from robust_email.credentials.stores import replace_file
from robust_email.smtp import CredentialsUnavailable, Deadline, RobustEmailError

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from robust_email.credentials.tokens import Token


class Command(BaseCommand):
    """Exits with 1 where there is no consent, no token, or no log-in with it."""

    help = (
        "Log in to the mailbox of EMAIL_OAUTH: have a person consent (by a code on any device, or in a browser on this "
        "machine), write the refresh token to its file, and log in to the mail server with a first token. Where no "
        "person is needed (a service account, or the client's own right), only the last step is done."
    )
    # The refresh token's file may be what is still missing.
    requires_system_checks: list[str] = []  # noqa: RUF012 - Django's

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("alias", nargs="?", help="of MAILERS (Django 6.1); the default mailer unless given")
        parser.add_argument("--browser", action="store_true", help="consent in a browser here, not by a code")
        parser.add_argument(
            "--port", type=int, default=0, help="for the browser to come back to, as registered; any unless given"
        )
        parser.add_argument("--renew", action="store_true", help="ask for consent though there is a refresh token")
        parser.add_argument("--no-login", action="store_true", help="do not try the token with the mail server")

    def handle(self, *_: Any, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Walk through it."""
        backend, provider, settings = self._configured(options["alias"])
        try:
            if settings.refresh_token_file and (options["renew"] or not Path(settings.refresh_token_file).exists()):
                token = self._consented(backend, settings, options)
                replace_file(Path(settings.refresh_token_file), token.refresh_token + "\n")
                provider.store.save(provider.grant.key, token)
                self._say(f"The refresh token is in {settings.refresh_token_file}, readable for this account alone.")
            seconds = backend.options.timeout
            provider.token(seconds)
            self._say("The token server gives access tokens.")
            if not options["no_login"]:
                backend.client().verify(Deadline.after(seconds))
                self._say(f"Logged in to {backend.config.endpoint}.")
        except (ConsentFailed, CredentialsUnavailable, RobustEmailError) as exc:
            raise CommandError(f"{exc}.") from exc
        except OSError as exc:
            raise CommandError(f"The refresh token cannot be written: {exc.strerror}.") from exc

    def _configured(self, alias: str | None) -> tuple[RobustSMTPEmailBackend, OAuthCredentials, OAuthSettings]:
        try:
            backend = _compat.build_mailer(alias)
            config = backend.config if isinstance(backend, RobustSMTPEmailBackend) else None
        except (ImproperlyConfigured, KeyError) as exc:
            raise CommandError(str(exc)) from exc
        provider = config.credentials.provider if config and config.credentials else None
        if not isinstance(backend, RobustSMTPEmailBackend) or not isinstance(provider, OAuthCredentials):
            raise CommandError("This mailer has no EMAIL_OAUTH (option 'oauth').")
        return backend, provider, OAuthSettings.read(backend.options.oauth or {})

    def _consented(self, backend: RobustSMTPEmailBackend, settings: OAuthSettings, options: dict[str, Any]) -> Token:
        client = Client(
            settings.consent,
            settings.client_id,
            settings.client_secret,
            login_hint=backend.options.username or "",
            cafile=settings.cafile or None,
        )
        if client.consent.device_url and not options["browser"]:
            return by_device(client, lambda url, code: self._say(f"Open {url} on any device and type in {code}."))
        if not client.consent.authorization_url:
            raise CommandError("EMAIL_OAUTH needs 'device_url' or 'authorization_url' for a person to consent.")
        return by_browser(
            client, lambda url: self._say(f"Open this address in a browser here:\n{url}"), port=options["port"]
        )

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
