"""The admin's pages in Chromium: drawn under the strictest policy, usable, in light and dark, on desktop and phone.

``ROBUST_EMAIL_PICTURES=docs/images`` keeps the pictures; they are in the documentation.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from robust_email.outbox.models import OutboxMessage, OutboxRelay
from tests import services
from tests.outbox.admin import scenery
from tests.outbox.admin.conftest import DASHBOARD, list_url, mail_url, new_user
from tests.policy import POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page
    from pytest_django import Settings
    from pytest_django.live_server_helper import LiveServer

    from robust_email.testing import ScriptedServer

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZES = {"desktop": {"width": 1280, "height": 860}, "phone": {"width": 390, "height": 844}}
REPORT_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, sourceFile, lineNumber }) =>
  violations.push(`${violatedDirective} ${sourceFile}:${lineNumber}`));
"""


@pytest.fixture
def browser(live_server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    """Give a headless Chromium."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as exc:
        services.unavailable("Playwright", str(exc))
    program = services.require_program("Chromium", "chromium", "chromium-browser", "google-chrome")
    # Playwright has an event loop in this thread, which waits in a greenlet of its own while Django is at work.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def shop(
    transactional_db: None, live_server: LiveServer, settings: Settings, smtp_server: ScriptedServer
) -> OutboxMessage:
    """Write a shop's outbox, and let its mail go to a scripted server."""
    settings.EMAIL_BACKEND = "robust_email.outbox.backend.OutboxEmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = smtp_server.host, smtp_server.port
    settings.DEFAULT_FROM_EMAIL = "Shop <orders@shop.example>"
    return scenery.paint()


def opened(browser: Browser, live_server: LiveServer, *, size: str = "desktop", scheme: str = "light") -> Page:
    """Open a window whose user is a superuser."""
    user = new_user("operator", is_staff=True, is_superuser=True)
    user.save()
    client = Client()
    client.force_login(user)
    phone = size == "phone"
    context = browser.new_context(
        viewport=SIZES[size],  # type: ignore[arg-type]  # a dictionary with its keys
        color_scheme="dark" if scheme == "dark" else "light",
        device_scale_factor=2 if phone else 1,
        has_touch=phone,
        locale="en-GB",
    )
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    context.add_init_script(REPORT_VIOLATIONS)
    return context.new_page()


def test_every_page_keeps_the_strictest_policy(browser: Browser, live_server: LiveServer, shop: OutboxMessage) -> None:
    """No page of ours runs or styles anything inline, or fetches from elsewhere; no script of it fails."""
    page = opened(browser, live_server)
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    for path in (list_url(), list_url("?state=dead"), mail_url(shop.pk), DASHBOARD, DASHBOARD + "doctor/"):
        answer = page.goto(live_server.url + path)
        assert answer is not None
        assert (answer.status, answer.headers["content-security-policy"]) == (200, POLICY)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("violations") == []
    assert failures == []


def test_the_policy_is_enforced(browser: Browser, live_server: LiveServer, shop: OutboxMessage) -> None:
    """An inline style would be noticed by the test above."""
    page = opened(browser, live_server)
    page.goto(live_server.url + DASHBOARD)
    page.evaluate("document.body.setAttribute('style', 'color: red')")
    page.wait_for_function("violations.length > 0")


def test_the_charts_are_drawn_and_renewed(browser: Browser, live_server: LiveServer, shop: OutboxMessage) -> None:
    """Four charts are drawn, with words for those who don't see them, and drawn again when the page is renewed."""
    page = opened(browser, live_server)
    page.clock.install()
    page.goto(live_server.url + DASHBOARD)
    page.wait_for_selector(".outbox-canvas canvas")
    assert page.locator(".outbox-canvas canvas").count() == 4
    assert page.locator(".outbox-canvas").first.get_attribute("aria-label", timeout=1000)
    OutboxRelay.objects.filter(name="mailer:newsletter").update(trouble="misconfigured")
    page.clock.run_for(16_000)
    page.wait_for_selector(".outbox-problems")
    assert page.locator(".outbox-canvas canvas").count() == 4
    page.clock.run_for(1_000)
    assert page.evaluate("violations") == []


def test_an_operator_resolves_a_doubt_and_pauses_a_relay(
    browser: Browser, live_server: LiveServer, shop: OutboxMessage
) -> None:
    """By clicking through: from the dashboard to the mail, deciding it, and back to pause a relay."""
    page = opened(browser, live_server)
    page.goto(live_server.url + DASHBOARD)
    page.click("text=wait for a person")
    page.click(f"a[href*='{shop.pk}'] >> nth=0")
    page.click("text=The relay has it")
    page.wait_for_selector("text=Resolved: the relay has it")
    shop.refresh_from_db()
    assert shop.state == "accepted"
    page.goto(live_server.url + DASHBOARD)
    page.locator(".outbox-relay", has_text="ref:tenant-7").get_by_text("Pause", exact=True).click()
    page.wait_for_selector("text=is paused until somebody resumes it")
    assert OutboxRelay.objects.get(name="ref:tenant-7").trouble == "paused"


@pytest.mark.parametrize("look", [(size, scheme) for size in SIZES for scheme in ("light", "dark")], ids="-".join)
def test_pictures(
    look: tuple[str, str], browser: Browser, live_server: LiveServer, shop: OutboxMessage, tmp_path: Path
) -> None:
    """Nothing is wider than its window, in either colour scheme; and the documentation gets its pictures."""
    size, scheme = look
    folder = Path(os.environ.get("ROBUST_EMAIL_PICTURES", tmp_path))
    page = opened(browser, live_server, size=size, scheme=scheme)
    pages = {"dashboard": DASHBOARD, "mail": mail_url(shop.pk), "mails": list_url(), "doctor": DASHBOARD + "doctor/"}
    for name, path in pages.items():
        page.goto(live_server.url + path)
        if name == "doctor":
            page.click("text=Examine >> nth=-1")
        page.wait_for_load_state("networkidle")
        if name != "mails":  # Django's own list scrolls sideways on a phone
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name
        page.screenshot(path=folder / f"outbox-{name}-{size}-{scheme}.png", full_page=name != "mails")
    assert len(list(folder.glob(f"outbox-*-{size}-{scheme}.png"))) == len(pages)
