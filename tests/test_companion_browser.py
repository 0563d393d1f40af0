"""The companion in a real browser: asked for by MINIDL_BROWSER=1, as it takes a minute.

Chromium reads every page in a frame, measures it and writes what it found into the frame's
page, which --dump-dom prints. Where it is absent, Debian's package is installed first.
"""

import html
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from minidl.publish.companion.__main__ import write

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.browser

HARNESS = """<!doctype html><meta charset="utf-8"><body><pre id="found"></pre><script>
const pages = PAGES, widths = WIDTHS, found = [], frame = document.createElement("iframe");
frame.style.cssText = "border:0;height:900px";
document.body.append(frame);
const load = (page) => new Promise((done) => {
  frame.onload = done; frame.onerror = done; frame.src = page; });
const box = (element) => { const b = element.getBoundingClientRect();
  return [b.left, b.top, b.right, b.bottom].map(Math.round); };
(async () => {
  for (const page of pages) for (const width of widths) {
    frame.style.width = width + "px";
    await load(page);
    const inside = frame.contentDocument, view = frame.contentWindow;
    const rows = [...inside.querySelectorAll(".row")].map((row) => [
      box(row.querySelector(".prose")), box(row.querySelector(".right, .code"))]);
    const lines = [...inside.querySelectorAll(".code span")].map((s) => s.offsetHeight);
    const style = view.getComputedStyle(inside.body), ground = style.backgroundColor;
    const key = (k) => {
      inside.dispatchEvent(new view.KeyboardEvent("keydown", {key: k}));
      return inside.activeElement; };
    key("t"); const other = view.getComputedStyle(inside.body).backgroundColor; key("t");
    const [first, second, third, back] = ["j", "j", "j", "k"].map(key);
    const remarks = [...inside.querySelectorAll(".eq tr:has(.command) > td")].filter((cell) =>
      cell.textContent.trim() && !cell.querySelector(".command")).map((cell) =>
      box(cell)[0] - box(cell.closest("tr"))[0]);
    const named = [...inside.querySelectorAll("h2[id]")], bar = inside.querySelector(".top");
    const hidden = named.filter((heading, i) => {      // the first, one amid them, the last
      if (i % Math.ceil(named.length / 2) && i < named.length - 1) return false;
      view.location.hash = heading.id;
      const [, top, , bottom] = box(heading), [, , , under] = box(bar);
      return top < Math.max(under, 0) || bottom > 900; }).map((heading) => heading.id);
    found.push({page, width, rows, lines: [Math.min(...lines), Math.max(...lines)],
      overflow: inside.documentElement.scrollWidth - inside.documentElement.clientWidth,
      formulas: [...inside.querySelectorAll("svg.f")].map((s) => [
        s.getBBox().width, s.getBoundingClientRect().height]),
      broken: [...inside.images].filter((i) => i.complete && !i.naturalWidth).length,
      theme: ground !== other, stops: inside.querySelectorAll("[data-stop]").length,
      keys: [first, second, third].map((e) => e.hasAttribute("data-stop")),
      returned: back === second, remarks, hidden});
  }
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script></body>"""


@pytest.fixture(scope="module")
def chromium():
    if os.environ.get("MINIDL_BROWSER") != "1":
        pytest.skip("asked for by MINIDL_BROWSER=1")
    if not shutil.which("chromium"):
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", "chromium"]):
            if not shutil.which("apt-get") or subprocess.run(
                    command, capture_output=True, check=False).returncode:
                pytest.skip("there is no Chromium, and apt-get does not install it")
    return shutil.which("chromium")


@pytest.fixture(scope="module")
def site(chromium, tmp_path_factory):
    """The whole site, and how many seconds of CPU it took."""
    out = tmp_path_factory.mktemp("companion")
    start = time.process_time()
    write(ROOT, Path(os.environ.get("MINIDL_RUNS", ROOT / "outputs")), out)
    return out, time.process_time() - start


def browse(chromium, *arguments, timeout=600):
    return subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--allow-file-access-from-files", "--enable-logging=stderr", *arguments],
        capture_output=True, text=True, timeout=timeout, check=True)


@pytest.fixture(scope="module")
def measured(chromium, site):
    """What Chromium found on each page, on a wide and on a narrow screen; and its messages."""
    out, _ = site
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.html"))
    harness = HARNESS.replace("PAGES", json.dumps(names)).replace("WIDTHS", "[1440, 760, 390]")
    (out / "harness.htm").write_text(harness)
    done = browse(chromium, "--virtual-time-budget=600000", "--window-size=1500,1000",
                  "--dump-dom", (out / "harness.htm").as_uri())
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1]
    return json.loads(html.unescape(text)), done.stderr, names


def test_every_page_loads_without_a_message_on_the_console(measured):
    found, messages, names = measured
    assert {page["page"] for page in found} == set(names) and len(found) == 3 * len(names)
    assert "CONSOLE" not in messages
    assert not [page["page"] for page in found if page["broken"]]


def test_prose_and_code_begin_at_one_height_and_do_not_overlap(measured):
    for page in measured[0]:
        for prose, code in page["rows"]:
            if code[2] - code[0] == 0 or prose[3] - prose[1] == 0:
                continue    # one of them is empty, and not shown on a narrow screen
            if page["width"] == 1440:
                assert prose[2] <= code[0], page["page"]
                assert abs(prose[1] - code[1]) <= 30, page["page"]  # a heading's rule
            else:
                assert prose[3] <= code[1] and abs(code[0]) <= 1, page["page"]


def test_a_line_of_code_is_a_line_and_no_page_is_wider_than_its_screen(measured):
    for page in measured[0]:
        assert page["overflow"] <= 0, (page["page"], page["width"])
        if page["rows"] and page["lines"][1]:
            assert page["lines"][1] <= 22, page["page"]


def test_formulas_are_drawn(measured):
    drawn = [size for page in measured[0] for size in page["formulas"]]
    assert len(drawn) > 1000 and all(width > 0 and height > 4 for width, height in drawn)


def test_keys_go_from_section_to_section_and_the_theme_changes(measured):
    for page in measured[0]:
        assert page["theme"], page["page"]
        if page["stops"] > 1:
            assert all(page["keys"][:2]), page["page"]
        if page["stops"] > 2:       # j, j, j, k: where the second j led
            assert page["returned"], (page["page"], page["width"])


def test_a_link_to_a_section_leads_below_the_header(measured):
    assert not {(page["page"], page["width"]): page["hidden"]
                for page in measured[0] if page["hidden"]}


def test_a_remark_on_a_command_is_no_column_of_cut_words(measured):
    """On a phone it stands below the command, and begins where that does."""
    remarks = [(left, page["page"]) for page in measured[0] if page["width"] == 390
               for left in page["remarks"]]
    assert len(remarks) > 30 and max(remarks)[0] <= 1, max(remarks)


def test_the_site_is_written_in_20_seconds_and_has_at_most_15_mb(site):
    out, seconds = site
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    assert size <= 15e6 and seconds <= 20, (size, seconds)


def test_a_page_can_be_printed(chromium, site, tmp_path):
    out, _ = site
    browse(chromium, "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}",
           (out / "minidl/gaussian.html").as_uri())
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
