"""The page of `semc view` in a real browser: what is on it, that all parts of a call are linked, that texts stay texts.

The tests need Debian's chromium and chromium-driver; without them they are skipped.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement
from semlang.cli.main import main

PROGRAMS = Path(__file__).parents[2] / "programs"
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--force-prefers-reduced-motion", "--window-size=1280,900")
HOSTILE = '</script><script>document.title = "owned"</script><img src=x onerror="document.title=1">&lt;b&gt;{{ 7 * 7 }}'

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    options = ChromeOptions()
    options.binary_location = str(BROWSER)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    # A page without a window has the focus only after it was clicked, and no event tells of one that it has not.
    driver.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for name in ("snake_game", "map_reduce_summary", "multi_agent_coding", "react"):
        found[name] = folder / f"{name}.html"
        assert main(["view", str(PROGRAMS / f"{name}.sem"), "--engine", "reference", "-o", str(found[name])]) == 0
    return found


def log(browser: Chrome, kind: str) -> list[dict[str, Any]]:
    """What the browser wrote down since the last call."""
    untyped: Any = browser
    entries: list[dict[str, Any]] = untyped.get_log(kind)
    return entries


def show(browser: Chrome, page: Path) -> Any:
    """Open a page; what its JSON says."""
    log(browser, "browser")
    log(browser, "performance")
    browser.get(page.as_uri())
    data = browser.find_element("id", "data").get_attribute("textContent")
    assert data is not None
    return json.loads(data)


def all_of(browser: Chrome, selector: str) -> list[WebElement]:
    """The elements that a CSS selector finds."""
    return browser.find_elements("css selector", selector)


def is_lit(browser: Chrome, call: str) -> bool:
    """Whether everything that belongs to a call is lit, and nothing else."""
    lit = all_of(browser, ".hot")
    return bool(lit) and lit == all_of(browser, f'[data-call~="{call}"]')


@pytest.mark.parametrize("name", ["snake_game", "map_reduce_summary", "multi_agent_coding", "react"])
def test_every_panel_shows_what_the_data_say(browser: Chrome, pages: dict[str, Path], name: str) -> None:
    data = show(browser, pages[name])
    for panel in ("program", "run", "memory", "prefixes", "groups", "calls", "passes", "source"):
        assert all_of(browser, f"#{panel}"), panel
    assert browser.find_element("tag name", "h1").text == data["program"]
    calls = [call["id"] for call in data["calls"]]
    assert [row.get_attribute("data-call") for row in all_of(browser, "table.calls tbody tr")] == calls
    for graph in ("#graph-before", "#graph-after"):
        assert [node.get_attribute("data-call") for node in all_of(browser, f"{graph} .node.call")] == calls
    assert len(all_of(browser, ".bar.call")) == data["measured"]["calls"]
    assert len(all_of(browser, ".step")) == data["measured"]["engine_steps"]
    assert len(all_of(browser, "[data-group]")) == len(data["groups"])
    assert len(all_of(browser, "details[data-pass]")) == len(data["passes"]) + 1
    sites = {call for mark in all_of(browser, ".site") for call in (mark.get_attribute("data-call") or "").split()}
    assert sites == set(calls)
    facts = [fact.text for fact in all_of(browser, ".facts .value")]
    assert facts[:3] == [str(data["measured"][key]) for key in ("calls", "filled_tokens", "generated_tokens")]


@pytest.mark.parametrize("name", ["snake_game", "multi_agent_coding"])
def test_nothing_is_fetched_and_nothing_is_wrong(browser: Chrome, pages: dict[str, Path], name: str) -> None:
    show(browser, pages[name])
    assert log(browser, "browser") == []
    requests = [message["params"]["request"]["url"] for entry in log(browser, "performance")
                if (message := json.loads(entry["message"])["message"])["method"] == "Network.requestWillBeSent"]
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert requests.count(pages[name].as_uri()) == 1
    assert pages[name].stat().st_size < 2_000_000
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_pointing_at_a_call_lights_it_up_everywhere(browser: Chrome, pages: dict[str, Path]) -> None:
    show(browser, pages["map_reduce_summary"])
    ActionChains(browser).move_to_element(all_of(browser, "#graph-after .node.call")[0]).perform()
    assert is_lit(browser, "c1")
    for part in ("#graph-before", "#graph-after", "#run .bar", "#calls", "#prefixes", "#source .site"):
        selector = f"{part}.hot" if part.endswith((".bar", ".site")) else f"{part} .hot"
        assert all_of(browser, selector), part
    assert "SummarizePart.summary" in browser.find_element("id", "tip").text
    ActionChains(browser).move_to_element(browser.find_element("tag name", "h1")).perform()
    assert not all_of(browser, ".hot")
    assert not browser.find_element("id", "tip").is_displayed()


def test_a_click_keeps_a_call_and_shows_its_source(browser: Chrome, pages: dict[str, Path]) -> None:
    show(browser, pages["multi_agent_coding"])
    bar = all_of(browser, '.bar[data-call="c4"]')[0]
    bar.click()
    ActionChains(browser).move_to_element(browser.find_element("tag name", "h1")).perform()
    assert is_lit(browser, "c4")
    assert bar.get_attribute("aria-pressed") == "true"
    assert "Revise.code" in (browser.find_element("id", "status").get_attribute("textContent") or "")
    assert browser.execute_script("""
        const files = document.querySelector('.files').getBoundingClientRect();
        const mark = document.querySelector('.site.call.hot').getBoundingClientRect();
        return mark.top >= files.top && mark.bottom <= files.bottom;""")
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not all_of(browser, ".hot")
    assert bar.get_attribute("aria-pressed") == "false"


def test_the_keyboard_does_what_the_mouse_does(browser: Chrome, pages: dict[str, Path]) -> None:
    show(browser, pages["snake_game"])
    node = all_of(browser, "#graph-after .node.call")[1]
    assert node.get_attribute("role") == "button" and node.get_attribute("aria-label")
    browser.execute_script("arguments[0].focus({focusVisible: true})", node)
    assert is_lit(browser, "c2")
    assert "WriteTestCode.test" in browser.find_element("id", "tip").text
    ActionChains(browser).send_keys(Keys.ENTER).perform()
    assert node.get_attribute("aria-pressed") == "true"
    ActionChains(browser).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
    assert is_lit(browser, "c1")  # what has the focus comes before what is kept
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not all_of(browser, '[aria-pressed="true"]')


def test_everything_that_acts_has_a_name(browser: Chrome, pages: dict[str, Path]) -> None:
    show(browser, pages["react"])
    for element in all_of(browser, '[role="button"], [role="img"], nav, aside, section, [role="group"]'):
        name = (element.get_attribute("aria-label") or element.get_attribute("aria-labelledby") or
                element.get_attribute("textContent") or "")
        assert name.strip(), element.get_attribute("outerHTML")
    assert browser.find_element("tag name", "html").get_attribute("lang") == "en"
    assert len(all_of(browser, "h1")) == 1


def test_the_difference_that_a_pass_made_can_be_opened(browser: Chrome, pages: dict[str, Path]) -> None:
    show(browser, pages["snake_game"])
    lowering = browser.find_element("css selector", '[data-pass="lower-engine"]')
    difference = lowering.find_element("css selector", ".diff")
    assert not difference.is_displayed()
    lowering.find_element("tag name", "summary").click()
    assert difference.is_displayed()
    assert "engine.generate" in difference.find_element("css selector", ".add").text + difference.text
    assert difference.find_elements("css selector", ".remove")


@pytest.mark.parametrize("width", [700, 380])
def test_narrow_windows_need_no_sideways_scrolling(browser: Chrome, pages: dict[str, Path], width: int) -> None:
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    try:
        show(browser, pages["multi_agent_coding"])
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_hostile_texts_stay_texts(browser: Chrome, tmp_path: Path) -> None:
    quoted = json.dumps(HOSTILE)
    path = tmp_path / 'x"><script>document.title="path"</script>.sem'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'''# {HOSTILE}
enum E {{ a = {quoted} }}
host look(x: text) -> text from "nowhere:look"
semantic Ask(q: text, e: E) -> a: text {{
  """
  </script></title></style><script>document.title = "prompt"</script>  {{{{input:q}}}} {{{{input:e}}}}
  {{{{output:a max_tokens=4}}}}
  """
}}
program Main(q: text = {quoted}) -> (a: text, b: text) {{ return Ask(q, E.a), look({quoted}) }}
''', encoding="utf-8")
    page = tmp_path / "page.html"
    assert main(["view", str(path), "--engine", "reference", "-o", str(page)]) == 1
    data = show(browser, page)
    assert browser.title == "Main – Semlang report"
    assert log(browser, "browser") == []
    assert len(all_of(browser, "script")) == 2
    assert len(all_of(browser, "img")) == 0
    assert HOSTILE in browser.find_element("css selector", ".code").text
    assert data["calls"][0]["site"].startswith(str(path))
    assert "49" not in browser.find_element("css selector", ".code").text
    prefixes = browser.find_element("id", "prefixes").text
    assert "</script></title></style>" in prefixes


def test_a_page_without_a_run_shows_what_is_known(browser: Chrome, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert main(["view", str(PROGRAMS / "copilot.sem"), "--engine", "reference", "--no-run", "-o", str(page)]) == 0
    data = show(browser, page)
    assert data["measured"] is None
    assert not all_of(browser, "#run") and all_of(browser, "#graph-after .node.call")
    assert "It was not run" in browser.find_element("css selector", ".lede").text
    assert log(browser, "browser") == []


def test_a_report_is_the_page_of_a_run(browser: Chrome, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.html"
    assert main(["run", str(PROGRAMS / "chain_summary.sem"), "--engine", "reference", "--json",
                 "--report", str(page)]) == 0
    stats = json.loads(capsys.readouterr().out)["stats"]
    data = show(browser, page)
    assert data["measured"]["calls"] == stats["calls"] == len(all_of(browser, ".bar.call"))
    assert log(browser, "browser") == []


def test_many_calls_are_cut_with_a_count(browser: Chrome, tmp_path: Path) -> None:
    calls = "\n".join(f'  let a{n} = Ask("{n}")' for n in range(600))
    path = tmp_path / "many.sem"
    path.write_text('semantic Ask(q: text) -> a: text { """Question {{input:q}}: {{output:a max_tokens=2}}""" }\n'
                    f"program Main() -> xs: list[text] {{\n{calls}\n  return "
                    f"[{', '.join(f'a{n}' for n in range(600))}]\n}}\n", encoding="utf-8")
    page = tmp_path / "page.html"
    assert main(["view", str(path), "--engine", "reference", "-o", str(page)]) == 0
    data = show(browser, page)
    assert len(data["calls"]) == 600
    assert page.stat().st_size < 5_000_000
    assert "200 more call sites are not listed" in browser.find_element("id", "calls").text
    assert "more call sites are not drawn" in browser.find_element("id", "program").text
