# ruff: noqa: E501
"""The page in a real browser: narrow and wide, light and dark, and on paper."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import pytest

from neurometa.report import report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")

#: Runs in the page, and leaves what it found in the outer document.
CHECK = """
const found = {errors: window.found_errors, width: document.documentElement.scrollWidth,
  client: document.documentElement.clientWidth, contrast: [], unnamed: 0, broken: 0, small: [], texts: 0};
const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; };
  return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
const behind = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] > 0) return c; } return [255, 255, 255]; };
document.querySelectorAll("details").forEach((e) => { e.open = true; });
found.width = Math.max(found.width, document.documentElement.scrollWidth);
document.querySelectorAll("body *").forEach((e) => {
  if (e.closest("svg")) return;
  const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  const box = e.getBoundingClientRect();
  if (!own || !box.width || box.width < 2) return;
  found.texts += 1;
  const style = getComputedStyle(e);
  const a = light(parse(style.color)), b = light(behind(e));
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) found.contrast.push([e.tagName, e.className, ratio]);
  if (size < 11) found.small.push([e.tagName, size]);
});
document.querySelectorAll("svg[role=img]").forEach((e) => {
  const box = e.getBoundingClientRect();
  if (!e.getAttribute("aria-label")) found.unnamed += 1;
  if (box.width < 100 || box.height < 40 || !e.querySelector("path")) found.broken += 1;
});
document.querySelectorAll("img").forEach((e) => { if (!e.naturalWidth || !e.alt) found.broken += 1; });
found.dark = getComputedStyle(document.body).backgroundColor;
parent.postMessage(JSON.stringify(found), "*");
"""
OUTER = """<!DOCTYPE html><html><body style="margin:0"><iframe width="{width}" height="900" style="border:0" srcdoc="{page}">
</iframe><pre id="found"></pre><script>addEventListener("message", (e) => {{
document.getElementById("found").textContent = e.data; }});</script></body></html>"""
CATCH = (
    "<script>window.found_errors = []; addEventListener('error', (e) => window.found_errors.push(e.message));</script>"
)


@pytest.fixture(scope="module")
def page(compared, tmp_path_factory):
    return report(compared, tmp_path_factory.mktemp("browser")).html


def chromium(tmp_path, *words):
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run([CHROMIUM, *flags, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_screen(page, tmp_path, width, dark):
    text = page.read_text()
    # The scheme is chosen in the copy: what a browser of today prefers is none of the page's business.
    text = text.replace("(prefers-color-scheme: dark)", "all" if dark else "(max-width: 1px)")
    text = text.replace("<head>", f"<head>{CATCH}", 1)
    text = text.replace("</body>", f"<script>addEventListener('load', () => {{ {CHECK} }});</script></body>")
    (tmp_path / "outer.html").write_text(OUTER.format(width=width, page=html.escape(text)))
    dump = chromium(
        tmp_path, "--window-size=1400,1000", "--virtual-time-budget=8000", "--dump-dom", str(tmp_path / "outer.html")
    )
    found = json.loads(html.unescape(re.search(r'<pre id="found">(.*?)</pre>', dump, re.DOTALL)[1]))
    assert found["errors"] == []
    assert found["width"] <= found["client"] <= width  # nothing to scroll sideways
    assert found["texts"] > 100 and found["contrast"] == []
    assert (found["unnamed"], found["broken"]) == (0, 0)
    assert (found["dark"] == "rgb(20, 22, 26)") == dark


def test_paper(page, tmp_path):
    target = tmp_path / "page.pdf"
    chromium(tmp_path, f"--print-to-pdf={target}", "--no-pdf-header-footer", page.as_uri())
    content = target.read_bytes()
    assert content.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", content)) >= 2
