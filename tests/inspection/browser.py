"""A real browser without a screen: Chromium, as the system has it or as Playwright has installed it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SYSTEM_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Else it asks the network for updates, and looks at a GPU that tests do without.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def opened_browser() -> Iterator[object]:
    """Chromium; the test is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    system = next((path for path in map(shutil.which, SYSTEM_BROWSERS) if path), None)
    with playwright.sync_playwright() as driver:
        if system is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("there is no Chromium: install Debian's `chromium`, or run `playwright install chromium`")
        browser = driver.chromium.launch(executable_path=system, args=list(OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


class Page:
    """A page that is open, and what went wrong on it.

    Attributes:
        tab: Playwright's page.
        wrong: errors and warnings of its console, and errors of its scripts.
        asked: the addresses that it asked for.
    """

    def __init__(self, browser, path: Path, **look: object) -> None:
        self.tab = browser.new_page(**look)
        self.wrong: list[str] = []
        self.asked: list[str] = []
        self.tab.on("console", lambda line: self.wrong.append(line.text) if line.type in ("error", "warning") else None)
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(path.as_uri())
