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
const found = [], frame = document.createElement("iframe");
frame.style.cssText = "border:0;height:900px";
document.body.append(frame);
const load = (page) => new Promise((done) => { frame.onload = done; frame.src = page; });
const box = (element) => element.getBoundingClientRect();
(async () => {
  for (const page of PAGES) for (const width of [1440, 390]) {
    frame.style.width = width + "px";
    await load(page);
    const inside = frame.contentDocument, view = frame.contentWindow;
    const press = (key) => {
      inside.dispatchEvent(new view.KeyboardEvent("keydown", {key}));
      return inside.activeElement; };
    const ground = () => view.getComputedStyle(inside.body).backgroundColor;
    const light = ground(); press("t"); const dark = ground(); press("t");
    const rows = [...inside.querySelectorAll(".row")].map((row) => [
      box(row.querySelector(".prose")), box(row.querySelector(".right, .code"))]);
    const overlap = rows.filter(([prose, code]) => prose.height && code.width && (
      width == 1440 ? prose.right > code.left : prose.bottom > code.top + 1)).length;
    const formulas = [...inside.querySelectorAll("svg.f")].filter((s) => s.getBBox().width);
    const all = [...inside.querySelectorAll("[data-stop]")];
    const [j, jj, k] = ["j", "j", "k"].map(press);
    found.push({page, width, overlap, formulas: formulas.length, theme: light != dark,
      wider: inside.documentElement.scrollWidth > inside.documentElement.clientWidth,
      broken: [...inside.images].filter((i) => i.complete && !i.naturalWidth).length,
      keys: all.length < 2 || (all.includes(j) && all.includes(jj) && j != jj && k == j)});
  }
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script></body>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The whole site, its seconds of CPU, what Chromium found, and its messages."""
    if os.environ.get("MINIDL_BROWSER") != "1":
        pytest.skip("asked for by MINIDL_BROWSER=1")
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "chromium"]):
        if not shutil.which("chromium") and (not shutil.which("apt-get") or subprocess.run(
                command, capture_output=True, check=False).returncode):
            pytest.skip("there is no Chromium, and apt-get does not install it")
    out, start = tmp_path_factory.mktemp("companion"), time.process_time()
    write(ROOT, Path(os.environ.get("MINIDL_RUNS", ROOT / "outputs")), out)
    seconds = time.process_time() - start
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*.html"))
    (out / "harness.htm").write_text(HARNESS.replace("PAGES", json.dumps(names)))
    done = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         "--allow-file-access-from-files", "--enable-logging=stderr", "--dump-dom",
         "--virtual-time-budget=600000", "--window-size=1500,1000",
         (out / "harness.htm").as_uri()],
        capture_output=True, text=True, timeout=1800, check=True)
    found = json.loads(html.unescape(
        re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.S)[1]))
    assert {page["page"] for page in found} == set(names)
    return out, seconds, found, done.stderr


@pytest.mark.parametrize("fault", ["overlap", "wider", "broken"])
def test_no_page_is_wider_than_its_screen_or_has_overlapping_columns(site, fault):
    assert not [(page["page"], page["width"]) for page in site[2] if page[fault]]
    assert "CONSOLE" not in site[3]


@pytest.mark.parametrize("promise", ["theme", "keys"])
def test_keys_go_from_section_to_section_and_change_the_theme(site, promise):
    assert not [(page["page"], page["width"]) for page in site[2] if not page[promise]]


def test_formulas_are_drawn(site):
    assert sum(page["formulas"] for page in site[2]) > 2000


def test_the_site_is_written_in_20_seconds_and_has_at_most_15_mb(site):
    size = sum(path.stat().st_size for path in site[0].rglob("*") if path.is_file())
    assert size <= 15e6 and site[1] <= 20, (size, site[1])
