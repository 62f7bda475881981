"""Who a project's mail is from, as far as a relay is concerned: log-in and signature, made of the options for them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from django.utils.module_loading import import_string

from robust_email.credentials.sources import FunctionCredentials, is_place, provider_of
from robust_email.dkim_signing import DkimKey, DkimSigner
from robust_email.smtp import ConfigurationError, Credentials, SigningFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from robust_email.credentials.oauth import OAuthCredentials
    from robust_email.credentials.tokens import TokenStore
    from robust_email.options import MailerOptions
    from robust_email.smtp import CredentialsProvider


def credentials_of(options: MailerOptions, *, secret_key: Callable[[], str]) -> Credentials | None:
    """Return who logs in; None where nobody does. Of several ways OAuth comes first, then ``credentials``.

    ``secret_key()`` seals what is kept in a cache. Raises ``ConfigurationError``, or ``ImportError`` for a dotted path.
    """
    username = options.username or ""
    provider = _provider(options, username, secret_key)
    if provider is not None:
        return Credentials(username, mechanisms=options.auth_mechanisms, provider=provider)
    token = options.oauth_access_token
    if not username or not (options.password or token):
        return None
    return Credentials(
        username=username,
        password=options.password or "",
        access_token=str(token) if token else None,
        mechanisms=options.auth_mechanisms,
    )


def _provider(options: MailerOptions, username: str, secret_key: Callable[[], str]) -> CredentialsProvider | None:
    if options.oauth is not None:
        return oauth_credentials(options, secret_key=secret_key)
    source = options.credentials
    if source is not None:
        if isinstance(source, str) and not is_place(source):
            source = import_string(source)
        try:
            return provider_of(source, username)
        except ValueError as exc:
            raise ConfigurationError(f"EMAIL_CREDENTIALS must be {exc}") from exc
    token = options.oauth_access_token
    if isinstance(token, str) and _is_dotted_path(token):
        token = import_string(token)
    return FunctionCredentials(token, username, gives_token=True) if callable(token) and username else None


def oauth_credentials(options: MailerOptions, *, secret_key: Callable[[], str]) -> OAuthCredentials:
    """Return what gets and renews tokens by the option ``oauth``. Raises ``ConfigurationError``."""
    # Here, since most projects have no use for an HTTP client.
    from robust_email.credentials.oauth import OAuthCredentials
    from robust_email.credentials.oauth_settings import OAuthSettings

    if not options.username:
        raise ConfigurationError("EMAIL_OAUTH needs EMAIL_HOST_USER: the mailbox to log in to")
    settings = OAuthSettings.read(options.oauth or {})
    return OAuthCredentials(options.username, settings.grant(options.username), _store(options.oauth_store, secret_key))


def _store(place: str, secret_key: Callable[[], str]) -> TokenStore:
    from robust_email.credentials.stores import FileStore, MemoryStore

    kind, _, where = place.partition(":")
    if kind == "file":
        return FileStore(where)
    if kind == "cache":
        from robust_email.credentials.cache_store import CacheStore  # it asks for Django's caches

        return CacheStore(where or "default", secret_key())
    return MemoryStore()


def signer_of(options: MailerOptions) -> DkimSigner | None:
    """Return what signs each mail; None where nothing does. Raises ``ConfigurationError`` for what cannot sign."""
    parts = {name: getattr(options, name) for name in ("dkim_domain", "dkim_selector", "dkim_key_file")}
    if not any(parts.values()):
        return None
    missing = [f"EMAIL_{name.upper()}" for name, value in parts.items() if not value]
    if missing:
        raise ConfigurationError(f"DKIM needs {' and '.join(missing)} too")
    selectors, files = options.dkim_selector, options.dkim_key_file
    if len(selectors) != len(files) or len(set(selectors)) != len(selectors):
        raise ConfigurationError("DKIM needs a file in EMAIL_DKIM_KEY_FILE for each name in EMAIL_DKIM_SELECTOR")
    keys = tuple(DkimKey(selector, file) for selector, file in zip(selectors, files, strict=True))
    for key in keys:
        try:
            key.check()
        except SigningFailed as exc:
            raise ConfigurationError(str(exc)) from exc
    return DkimSigner(options.dkim_domain or "", keys)


def _is_dotted_path(token: str) -> bool:
    """Tell a path from a token, which may have dots too (``ya29.a0Af-...``): its first part can be imported."""
    package, dot, _ = token.partition(".")
    return bool(dot) and package.isidentifier() and find_spec(package) is not None
