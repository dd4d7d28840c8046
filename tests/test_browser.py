"""The page of a run in a real browser: Chromium without a window. Skipped where there is none."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import street, tiny_checkpoint, write_png
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from test_cli import run

from roadseg.model.checkpoint import save_checkpoint
from roadseg.report.html import album as album_module

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no browser: needs chromium and chromedriver (Debian: chromium-driver)"
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip
EVIL = "<img src=x onerror=\"document.title='taken'\">.png"
PICTURES = 14  # more than the worst, the median and the best


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `segment` with labels, one picture with a name that is HTML, and one that is damaged.

    Two small pictures are in the page, the others linked.
    """
    folder = tmp_path_factory.mktemp("browser") / "a folder with spaces & <brackets>"
    for i in range(PICTURES):
        rgb_HWC, label_HW = street(i)
        name = EVIL if i == 0 else f"{i:02d} #%41 straße.png"
        write_png(folder / "in" / name, rgb_HWC)
        write_png(folder / "labels" / name, (label_HW == 7).astype("uint8") * 255)
    (folder / "in/broken.png").write_bytes(b"no picture")
    save_checkpoint(tiny_checkpoint(), folder / "tiny.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(album_module, "EMBEDDED", 2)
        given = ("--labels", folder / "labels", "--out", folder / "out", "-w", folder / "tiny.pt")
        done = run("segment", folder / "in", *given, "--device", "cpu")
    assert done.exit_code == 3, done.output
    return folder / "out/report.html"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def browser(started: webdriver.Chrome, report: Path) -> Iterator[webdriver.Chrome]:
    """The page, freshly opened, in light colours and a window for a desk; at the end no error was logged."""
    look(started, "light", 1280)
    started.get("about:blank")
    started.get_log("performance")  # what Chromium asked of itself
    started.get(report.as_uri())
    yield started
    assert started.get_log("browser") == []


def look(driver: webdriver.Chrome, scheme: str, width: int) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def every_picture(driver: webdriver.Chrome) -> WebElement:
    """The table of all pictures, unfolded."""
    driver.execute_script("for (const box of document.querySelectorAll('details')) box.open = true")
    return driver.find_elements(By.CSS_SELECTOR, "table.sortable")[-1]


def column(table: WebElement, number: int) -> list[str]:
    return [cell.text for cell in table.find_elements(By.CSS_SELECTOR, f"tbody td:nth-child({number})")]


def is_open(driver: webdriver.Chrome) -> bool:
    return bool(driver.execute_script("return document.getElementById('viewer').open"))


def test_it_opens_from_disk_and_asks_for_nothing_outside(browser: webdriver.Chrome, report: Path) -> None:
    every_picture(browser)
    browser.execute_script("for (const image of document.images) image.loading = 'eager'")
    widths = browser.execute_async_script(
        "const all = [...document.images].filter((image) => image.src);"
        "Promise.all(all.map((image) => image.decode().then(() => image.naturalWidth)))"
        ".then(arguments[0], (error) => arguments[0]([String(error)]))"
    )
    assert len(widths) == 12 + PICTURES  # the gallery, and one a row: all have loaded, linked ones too
    assert all(isinstance(width, int) and width > 0 for width in widths), widths
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert report.as_uri() in asked
    beside = report.parent.as_uri()
    assert all(url.startswith(("data:", beside)) for url in asked), asked


def test_a_name_that_is_html_is_a_name(browser: webdriver.Chrome) -> None:
    table = every_picture(browser)
    assert EVIL in column(table, 2)
    assert browser.title != "taken"
    assert not browser.find_elements(By.CSS_SELECTOR, "img[src=x]")
    shot = next(
        s for s in browser.find_elements(By.CSS_SELECTOR, ".shot") if s.get_attribute("data-name") == EVIL
    )
    browser.execute_script("arguments[0].click()", shot)
    assert browser.find_element(By.CSS_SELECTOR, "dialog b").text == EVIL
    assert browser.title != "taken"


def test_headings_sort(browser: webdriver.Chrome) -> None:
    table = every_picture(browser)
    iou = [float(text) for text in column(table, 3)]
    assert len(iou) == PICTURES
    assert iou == sorted(iou)
    assert iou != iou[::-1]
    name, score = (table.find_elements(By.CSS_SELECTOR, "th button")[i] for i in (0, 1))
    score.send_keys(Keys.ENTER)  # it came sorted upwards, so now downwards
    assert [float(text) for text in column(table, 3)] == iou[::-1]
    score.send_keys(Keys.SPACE)
    assert [float(text) for text in column(table, 3)] == iou
    name.click()
    assert column(table, 2) == [EVIL, *(f"{i:02d} #%41 straße.png" for i in range(1, PICTURES))]
    marked = table.find_elements(By.CSS_SELECTOR, "th[aria-sort]")
    assert [(th.text, th.get_attribute("aria-sort")) for th in marked] == [("Picture", "ascending")]


def test_pictures_enlarge_by_click_and_by_key(browser: webdriver.Chrome) -> None:
    first, second = browser.find_elements(By.CSS_SELECTOR, ".of-gallery .shot")[:2]
    assert not is_open(browser)
    first.click()
    assert is_open(browser)
    name = browser.find_element(By.CSS_SELECTOR, "dialog b")
    image = browser.find_element(By.CSS_SELECTOR, "dialog img")
    assert name.text == first.get_attribute("data-name")
    assert image.size["width"] > first.size["width"]
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert name.text == second.get_attribute("data-name")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not is_open(browser)
    # The dialog is closed at once; its `close` event, which moves the focus on, is a later task of the page.
    WebDriverWait(browser, 10).until(lambda driver: driver.switch_to.active_element == second)
    second.send_keys(Keys.ENTER)
    assert is_open(browser)
    image.click()
    assert not is_open(browser)


def test_a_link_leads_to_the_result(browser: webdriver.Chrome) -> None:
    link = every_picture(browser).find_element(By.CSS_SELECTOR, "tbody a")
    address = browser.execute_script("return arguments[0].href", link)
    browser.get(address)
    assert browser.execute_script("return document.images[0].naturalWidth") == 96


@pytest.mark.parametrize("width", [1280, 390])
def test_light_and_dark_and_no_sideways_scrolling(browser: webdriver.Chrome, width: int) -> None:
    every_picture(browser)
    colors = {}
    for scheme in ("light", "dark"):
        look(browser, scheme, width)
        colors[scheme] = browser.execute_script(
            "const of = (e) => getComputedStyle(e);"
            "const text = document.querySelector('svg text');"
            "return [of(document.body).backgroundColor, of(document.body).color, of(text).fill]"
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert colors["light"][0] == "rgb(255, 255, 255)"
    assert all(light != dark for light, dark in zip(*colors.values(), strict=True))


def test_paper_is_white_and_unfolded(browser: webdriver.Chrome) -> None:
    look(browser, "dark", 1280)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert (
        browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script("return document.querySelector('details').open")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
