"""The account page in a real Chromium, through the whole flow; the codes are read from what the SMTP server took.

With ``ROBUST_EMAIL_PICTURES`` set to a folder, what a person sees is kept there.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo import RELAY
from demo.catcher import mail_page
from robust_email.testing import At, Close, Extensions, Fault, Script, ScriptedServer
from tests.service.customers import code_sent
from tests.service.running import demo_in
from tests.services import require_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PASSWORD = "correct horse battery staple"
NEW_PASSWORD = "four other words together"


@dataclass(frozen=True, slots=True)
class Shop:
    """The service while it runs, with the mails that its relay took."""

    url: str
    mail_url: str
    relay: ScriptedServer
    zone: Path

    def code_to(self, address: str, number: int = 1, within: float = 40.0) -> str:
        """Wait for so many mails to an address; return the last one's code."""
        self.relay.wait_for(lambda _: len(self._mails(address)) >= number, timeout=within)
        return code_sent(self._mails(address)[number - 1])

    def _mails(self, address: str) -> list[bytes]:
        return [mail.data for mail in self.relay.accepted if address in mail.forward_paths]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Give a Chromium without a window: the one of the system."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package is not installed")
    program = require_program("Chromium", "chromium", "chromium-browser", "google-chrome")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Run web, worker and relay for all tests of this file."""
    folder = tmp_path_factory.mktemp("shop")
    with ScriptedServer(Script(extensions=Extensions(chunking=False), host_name=RELAY)) as relay:
        service = demo_in(folder, relay, DEBUG="True", DEFAULT_FROM_EMAIL="Ada's Shop <no-reply@shop.example>")
        (folder / "zone").write_text(relay.host)
        with service.web(0) as url, service.worker(), mail_page(relay) as mail_url:
            yield Shop(url, mail_url, relay, folder / "zone")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Give a phone's page; anything that its console calls an error fails the test."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(15_000)
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("console", lambda line: trouble.append(line.text) if "Content Security Policy" in line.text else None)
    yield page
    context.close()
    assert trouble == []


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("ROBUST_EMAIL_PICTURES"):
        page.wait_for_timeout(200)  # for the fade-in
        page.screenshot(path=Path(folder) / f"{name}.png")


def register(page: Page, shop: Shop, address: str) -> None:
    page.goto(shop.url)
    page.locator("#register-email").fill(address)
    page.locator("#register-password").fill(PASSWORD)
    picture(page, "account-register")
    page.get_by_role("button", name="Register").click()
    page.get_by_role("heading", name="Look into your mailbox").wait_for()


def test_a_person_registers_and_is_logged_in(page: Page, shop: Shop) -> None:
    """Register, see where the mail goes and when the next may be asked for, enter the code, see the mails."""
    address = "ada@customer.example"
    register(page, shop, address)
    assert page.locator("#verify [data-address]").inner_text() == address
    again = page.get_by_role("button", name="Send another code")
    assert again.get_attribute("aria-disabled") == "true"
    assert re.search(r"\(0:\d\d\)|\(1:00\)", again.inner_text())
    code = shop.code_to(address)
    picture(page, "account-code")
    page.locator("#verify-key").fill("XXXX-XXXX")
    page.get_by_role("button", name="Confirm").click()
    page.get_by_text("Incorrect code.").wait_for()
    assert page.locator("#verify-key").get_attribute("aria-invalid") == "true"
    page.reload()  # the server knows at which step one is
    page.locator("#verify-key").fill(code.lower())
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("heading", name="You are logged in").wait_for()
    page.get_by_text("accepted for delivery").wait_for()
    picture(page, "account-done")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()


def test_a_person_registers_while_dns_fails_and_the_relay_hangs_up(page: Page, shop: Shop) -> None:
    """The page says the same; the mail comes when DNS is back and the relay has stopped hanging up, once."""
    address = "patient@customer.example"
    host = shop.zone.read_text()
    shop.zone.unlink()
    shop.relay.act(Close())
    shop.relay.add_fault(Fault(At.RCPT, Close(), subject=address, times=2))
    register(page, shop, address)
    time.sleep(1)  # an outage lasts a while; nothing is waited for
    shop.zone.write_text(host)
    page.locator("#verify-key").fill(shop.code_to(address))
    page.get_by_role("button", name="Confirm").click()
    page.get_by_role("heading", name="You are logged in").wait_for()
    assert len([mail for mail in shop.relay.accepted if address in mail.forward_paths]) == 1


def test_a_person_chooses_a_new_password(page: Page, shop: Shop) -> None:
    """Ask, enter code and password, log in with the new one; the keyboard is enough for it."""
    address = "forgetful@customer.example"
    register(page, shop, address)
    page.locator("#verify-key").fill(shop.code_to(address))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_role("heading", name="Choose a new password").wait_for()
    page.locator("#reset-email").fill(address)
    page.keyboard.press("Enter")
    page.locator("#choose-key").wait_for()
    page.locator("#choose-key").fill(shop.code_to(address, 2))
    page.locator("#choose-password").fill(NEW_PASSWORD)
    picture(page, "account-reset")
    page.keyboard.press("Enter")
    page.get_by_text("Your password is changed.").wait_for()
    page.locator("#login-email").fill(address)
    page.locator("#login-password").fill(NEW_PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="You are logged in").wait_for()


@pytest.mark.parametrize(
    ("language", "name", "title"), [("de", "Deutsch", "Konto anlegen"), ("ar", "العربية", "أنشئ حسابك")]
)
def test_the_page_in_other_languages(page: Page, shop: Shop, language: str, name: str, title: str) -> None:
    """Chosen by a button, kept, and from right to left where that is so; nothing is wider than the phone."""
    page.goto(shop.url)
    page.get_by_role("button", name=name).click()
    page.get_by_role("heading", name=title).wait_for()
    page.reload()
    page.get_by_role("heading", name=title).wait_for()
    assert page.evaluate("document.dir") == ("rtl" if language == "ar" else "ltr")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(page, f"account-{language}")


def test_errors_stand_beside_their_fields(page: Page, shop: Shop) -> None:
    """What the server says is read out with the field, which gets the focus."""
    page.goto(shop.url)
    page.locator("#register-email").fill("nonsense")
    page.locator("#register-password").fill("12345")
    page.get_by_role("button", name="Register").click()
    page.locator("#register-email-error").get_by_text("valid email").wait_for()
    assert page.locator("#register-password-error").inner_text()
    assert page.evaluate("document.activeElement.id") == "register-email"


def test_the_mails_are_shown_to_developers(page: Page, shop: Shop) -> None:
    """The catcher's page shows what arrived, the preview every mail in every language."""
    register(page, shop, "seen@customer.example")
    shop.code_to("seen@customer.example")
    page.set_viewport_size({"width": 760, "height": 900})
    page.goto(shop.mail_url)
    frame = page.frame_locator("iframe").first
    frame.get_by_text("Welcome to Ada's Shop!").wait_for()
    picture(page, "mail-catcher")
    page.set_viewport_size({"width": 1280, "height": 1100})
    page.goto(f"{shop.url}/mails/?language=ar")
    page.frame_locator("iframe").first.locator("h1").wait_for()
    assert page.locator("iframe").count() == 9
    picture(page, "mails-ar")
    page.emulate_media(color_scheme="dark")
    page.goto(f"{shop.url}/mails/")
    page.frame_locator("iframe").first.locator("h1").wait_for()
    picture(page, "mails-dark")


def test_the_documents_of_the_api_are_readable(page: Page, shop: Shop) -> None:
    """Swagger UI comes from the shop itself, and shows the operations."""
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{shop.url}/api/docs/")
    page.get_by_text("/api/account/emails/").first.wait_for()
