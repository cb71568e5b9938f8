"""The page in a real browser: tables sort and filter, cells are coloured anew, and nothing fails or asks the network."""

from __future__ import annotations

import os
import shutil
from urllib.parse import unquote

import pytest

from scdrug import get

from .conftest import HOSTILE

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge")
#: Reading the page and drawing, on a machine that does other things too.
_PATIENCE = 60_000


@pytest.fixture(scope="module")
def browser():
    path = os.environ.get("SCDRUG_BROWSER") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium or Chrome on this machine; install one, or name it in SCDRUG_BROWSER")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        started = driver.chromium.launch(executable_path=path, args=arguments)
        yield started
        started.close()


class Visit:
    """An open page, and what went wrong on it."""

    def __init__(self, browser, file, **options) -> None:
        self.page = browser.new_page(**options)
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.trouble.append("alert"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=_PATIENCE)

    def column(self, table: str, name: str) -> list[str]:
        """Texts of a column as they are shown."""
        place = (
            self.page.locator(f"#{table} thead th").evaluate_all("all => all.map(one => one.dataset.name)").index(name)
        )
        return self.page.locator(f"#{table} tbody tr td:nth-child({place + 1})").all_inner_texts()


@pytest.fixture(scope="module")
def visit(browser, page_file):
    """One visit for all tests: each leaves the page as another may find it."""
    opened = Visit(browser, page_file, viewport={"width": 1400, "height": 900})
    yield opened
    opened.page.close()


def _numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts]


def test_tables_sort_by_keyboard_and_say_so_to_screen_readers(visit) -> None:
    head = visit.page.locator("#therapeutic_window thead th[data-name=percentile_normal]")
    for direction in ("ascending", "descending"):
        head.locator("[role=button]").focus()
        visit.page.keyboard.press("Enter")
        playwright.expect(head).to_have_attribute("aria-sort", direction)
        shown = _numbers(visit.column("therapeutic_window", "percentile_normal"))
        assert shown == sorted(shown, reverse=direction == "descending")
        assert len(set(shown)) > 1


def test_tables_filter_by_text(visit, everything) -> None:
    field = visit.page.get_by_label("Filter").first
    field.fill("trametinib")
    assert set(visit.column("ranked_drugs", "name")) == {"Trametinib"}
    field.fill("")
    assert len(set(visit.column("ranked_drugs", "name"))) > 1


def test_groups_are_chosen_from_a_menu_whatever_they_are_called(visit) -> None:
    menu = visit.page.locator("#group-ranked_drugs")
    for group in ("clone-b", HOSTILE):
        menu.select_option(group)
        assert set(visit.column("ranked_drugs", "group")) == {group}
    menu.select_option("")
    assert "410" not in visit.page.locator("#ranked_drugs_info").inner_text()


def test_cells_are_coloured_by_another_drug_by_group_and_by_reliability(visit, everything) -> None:
    menu, caption = visit.page.get_by_label("Colour by"), visit.page.locator("#cells-caption")
    colours = "document.getElementById('cells').data.map(one => Array.from(one.marker.color ?? []).slice(0, 500))"
    seen = []
    means = get.group_response_df(everything, "clone").set_index(["name", "group"])["percentile"]
    for number in ("0", "1"):
        menu.select_option(number)
        drug = menu.locator(f"option[value='{number}']").inner_text()
        assert f"percentile of {drug}" in caption.inner_text()
        assert f"clone-b {means[drug, 'clone-b']:.2f}" in caption.inner_text()
        seen.append(visit.page.evaluate(colours))
        expected = sorted(get.response_df(everything, drugs=drug, use="percentile").iloc[:, 0].round(2))
        assert sorted(value for trace in seen[-1] for value in trace) == pytest.approx(expected, abs=0.011)
    assert seen[0] != seen[1]
    menu.select_option("reliability")
    assert "reliability" in caption.inner_text()
    menu.select_option("group")
    assert len(visit.page.evaluate("document.getElementById('cells').data")) == everything.obs["clone"].nunique()
    assert "clone-b" in visit.page.locator("#cells").inner_text()


def test_tables_are_downloaded_as_csv(visit, everything) -> None:
    link = visit.page.locator("a[download='ranked_drugs.csv']")
    text = unquote(link.get_attribute("href").removeprefix("data:text/csv;charset=utf-8,"))
    assert len(text.strip().split("\n")) == 1 + len(get.rank_drugs_df(everything))


def test_every_field_has_a_label_and_every_table_a_caption(visit) -> None:
    nameless = "all => all.filter(one => !one.labels?.length && !one.ariaLabel && !one.textContent.trim()).length"
    assert visit.page.locator("select, input, main button:not(.modebar-btn)").evaluate_all(nameless) == 0
    assert visit.page.locator("main table").evaluate_all("all => all.filter(one => !one.caption).length") == 0


def test_nothing_failed_and_nothing_was_asked_of_the_network(visit, page_file) -> None:
    assert visit.trouble == []
    elsewhere = [url for url in visit.requests if url != page_file.as_uri() and not url.startswith(("data:", "blob:"))]
    assert elsewhere == []


@pytest.mark.slow
def test_the_page_fits_a_telephone_at_night_and_a_sheet_of_paper(browser, page_file) -> None:
    visit = Visit(browser, page_file, viewport={"width": 400, "height": 800}, color_scheme="dark")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 400
    background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, background.strip("rgb()").split(","))) < 64
    assert visit.trouble == []
    visit.page.wait_for_function("document.getElementById('cells-print').src.startsWith('data:image/png')")
    visit.page.emulate_media(media="print")
    assert not visit.page.get_by_role("navigation", name="Sections").is_visible()
    assert visit.page.locator("#cells-print").is_visible()
    assert not visit.page.locator("#cells").is_visible()
    visit.page.close()


def test_tables_stand_without_javascript(browser, page_file, everything) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(page_file.as_uri())
    assert page.locator("#ranked_drugs tbody tr").count() == len(get.rank_drugs_df(everything))
    page.close()
