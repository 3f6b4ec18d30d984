"""Chromium without a network, for pages that must open from disk."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

_SWITCHES = (
    *("headless", "no-sandbox", "disable-quic", "no-first-run", "window-size=1280,900"),
    *("disable-background-networking", "disable-component-update", "disable-sync"),
    *("enable-unsafe-swiftshader", "use-angle=swiftshader", "host-resolver-rules=MAP * ~NOTFOUND"),
)


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """Browser with its profile in a new folder."""
    selenium = pytest.importorskip("selenium.webdriver")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    options.page_load_strategy = "none"
    for switch in (*_SWITCHES, f"user-data-dir={profile}"):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = selenium.ChromeService(shutil.which("chromedriver"))
    with selenium.Chrome(options=options, service=service) as browser:
        browser.command_executor.client_config.timeout = 500  # WebGL without a GPU is slow
        browser.set_script_timeout(300)
        yield browser


def wait_until(browser: Any, script: str, seconds: float = 300) -> None:
    """Wait for a condition in JavaScript."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, seconds).until(lambda b: b.execute_script(f"return {script}"))


def open_page(browser: Any, page: Path) -> None:
    """Open a file, and check that its pictures are there; those below the screen load later."""
    browser.get(page.as_uri())
    wait_until(browser, "document.readyState == 'complete'")
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert browser.execute_script(f"return {broken}") == []


def problems(browser: Any) -> list[str]:
    """Errors of scripts, and requests that failed."""
    return [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]
