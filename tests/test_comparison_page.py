"""The page of `roadseg report` in a real browser. Skipped where there is none."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from test_compare import NASTY, compared, document, random_counts
from test_comparison_pictures import NASTY as NASTY_FILE
from test_comparison_pictures import flat, keep, two

from roadseg.report.present import to_html

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: needs chromium and chromedriver (Debian: chromium-driver)"
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--hide-scrollbars",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs over forty pictures, one of them with a name that is HTML."""
    folder = tmp_path_factory.mktemp("page")
    first = random_counts(1, 40, 2)
    counts = [first, *(random_counts(seed, 40, 2, truth=first.sum(2)) for seed in (2, 3))]
    names = [NASTY, *(f"a city with a long name/frame_{i:06d}_leftImg8bit" for i in range(39))]
    documents = [
        document(
            dict(zip(names, np.asarray(c).tolist(), strict=True)), weights=f"runs/train/{'x' * 80}/{i}.pt"
        )
        for i, c in enumerate(counts)
    ]
    (folder / "page.html").write_text(to_html(compared(folder, *documents)), encoding="utf-8")
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, page: Path) -> Iterator["webdriver.Chrome"]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    driver.get("about:blank")
    driver.get_log("performance")  # the browser's own first page is none of ours
    driver.get(page.as_uri())
    yield driver
    driver.quit()


def test_it_asks_for_nothing_and_runs_nothing(browser: "webdriver.Chrome", page: Path) -> None:
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert page.as_uri() in asked
    assert all(url == page.as_uri() or url.startswith("data:") for url in asked), asked
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.images.length") == 0
    assert NASTY in browser.execute_script("return document.documentElement.textContent")
    assert browser.execute_script("return document.querySelectorAll('circle').length") == 2 * 40


def test_where_they_disagree_most_sorts(browser: "webdriver.Chrome") -> None:
    read = (
        "return [...document.querySelectorAll('table.sortable tbody tr')].map(r => r.cells[1].dataset.value)"
    )
    click = "document.querySelectorAll('table.sortable th button')[1].click()"
    browser.execute_script(click)
    values = [float(value.rstrip(" %")) for value in browser.execute_script(read)]
    assert len(set(values)) > 2
    assert values == sorted(values)
    browser.execute_script(click)
    assert [float(value.rstrip(" %")) for value in browser.execute_script(read)] == sorted(values)[::-1]


@pytest.mark.parametrize("width", [360, 1280])
def test_light_and_dark_and_no_sideways_scrolling(browser: "webdriver.Chrome", width: int) -> None:
    papers = []
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        papers.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert papers[0] == "rgb(255, 255, 255)"
    assert papers[1] != papers[0]


def test_kept_pictures_are_enlarged(browser: "webdriver.Chrome", tmp_path: Path) -> None:
    """The last test: it opens a page of its own, of runs that kept pictures."""
    comparison = two(tmp_path)
    keep(tmp_path / "A", {NASTY_FILE: flat(1), "b": flat(2)})
    keep(tmp_path / "B", {NASTY_FILE: flat(3)})
    page = tmp_path / "pictures.html"
    page.write_text(to_html(comparison), encoding="utf-8")
    browser.get_log("performance")
    browser.get(page.as_uri())
    state = (
        "const v = document.getElementById('viewer');"
        "return [v.open, v.querySelector('b').textContent, v.querySelector('span').textContent, "
        "v.querySelector('img').src]"
    )
    browser.execute_script("document.querySelector('.shot').click()")
    assert browser.execute_script(state) == [True, NASTY_FILE, "A: road IoU 50.00 %", flat(1)]
    browser.execute_script("document.querySelector('#viewer .next').click()")
    assert browser.execute_script(state) == [True, NASTY_FILE, "B: road IoU 100.00 %", flat(3)]
    browser.execute_script("document.querySelector('#viewer .close').click()")
    assert browser.execute_script(state)[0] is False
    for width in (360, 1280):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert all(url == page.as_uri() or url.startswith("data:") for url in asked), asked
    assert browser.get_log("browser") == []
