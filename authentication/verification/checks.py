"""Start-up checks: a configuration with a hole that was measured is refused. The network is not asked.

=================  ==================================================================================================
accounts.E001      a frontend URL is missing: known addresses would be answered by an error, unknown ones not
accounts.E002      sessions are kept in the customer's cookie, and with them the codes
accounts.E003      mail goes to addresses that nobody has registered
accounts.E004      limits are counted in a cache that each process has by itself
accounts.E005      an endpoint's database work is not one transaction: half a registration can stay behind
accounts.E006      codes of a reset live longer than ten minutes (ASVS 6.5.5), or codes are not used at all
=================  ==================================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from django.conf import settings
from django.core import checks

if TYPE_CHECKING:
    from collections.abc import Iterator

FRONTEND_URLS: Final = (
    "account_confirm_email",
    "account_reset_password",
    "account_reset_password_from_key",
    "account_signup",
)
COOKIE_SESSIONS: Final = "django.contrib.sessions.backends.signed_cookies"
CACHES_OF_ONE_PROCESS: Final = ("locmem.LocMemCache", "dummy.DummyCache")
LONGEST_RESET: Final = 600


@checks.register(checks.Tags.security)
def check_accounts(**_: object) -> list[checks.CheckMessage]:
    """Look at the settings that close the holes."""
    return [checks.Error(words, id=f"accounts.{number}") for number, words in _holes()]


def _holes() -> Iterator[tuple[str, str]]:
    urls = getattr(settings, "HEADLESS_FRONTEND_URLS", {})
    for name in FRONTEND_URLS:
        if not str(urls.get(name, "")).startswith(("https://", "http://")):
            yield "E001", f"HEADLESS_FRONTEND_URLS[{name!r}] must be an absolute URL: no Host header makes links here."
    if settings.SESSION_ENGINE == COOKIE_SESSIONS:
        yield "E002", "SESSION_ENGINE keeps sessions in the cookie, where the customer can read the code."
    if getattr(settings, "ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS", True):
        yield "E003", "ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS must be False: strangers would be mailed."
    if not settings.DEBUG and settings.CACHES["default"]["BACKEND"].endswith(CACHES_OF_ONE_PROCESS):
        yield "E004", "The default cache must be shared by all processes: the limits are counted in it."
    if not settings.DATABASES["default"].get("ATOMIC_REQUESTS"):
        yield "E005", "ATOMIC_REQUESTS must be True: an account and its mail are one."
    by_code = getattr(settings, "ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED", False) and getattr(
        settings, "ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED", False
    )
    if not by_code or getattr(settings, "ACCOUNT_PASSWORD_RESET_BY_CODE_TIMEOUT", 0) > LONGEST_RESET:
        yield "E006", "Codes must be enabled, and a code for a new password must die within 600 s."
