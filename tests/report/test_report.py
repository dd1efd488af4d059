"""The report says what the record says, whatever is missing or badly named."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from neurometa.cli.main import run as command
from neurometa.errors import RunError
from neurometa.report import report
from neurometa.report.blocks import show


class Tags(HTMLParser):
    """Collects tags and text, and fails where they do not close."""

    VOID = ("meta", "br", "img", "link", "use", "path", "rect", "image")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_everything_is_there(folder):
    record = json.loads((folder / "result.json").read_text())
    paths = report(folder)
    text = paths.html.read_text()
    page = Tags(text)
    said = " ".join("".join(page.text).split())
    for expected in (record["title"], record["question"], record["verdict"], *record["findings"], record["command"]):
        assert " ".join(expected.split()) in said
    for arm in record["arms"]:
        assert arm["name"] in said and show(arm["score"]) in said
    for word in ("3, 4", "preset smoke", "m*pre*error_post", "plasticity off", "Locality: three-factor", "as trained"):
        assert word in said, word
    headings = [tag for tag, _ in page.tags]
    assert headings.count("h1") == 1 and headings.count("svg") == 6
    assert all(a.get("aria-label") for tag, a in page.tags if tag == "svg")
    assert all(a.get("scope") in ("col", "row") for tag, a in page.tags if tag == "th")
    assert dict(page.tags[1][1] if page.tags[0][0] == "html" else page.tags[0][1]) is not None
    assert page.tags[0] == ("html", {"lang": "en"})


def test_the_page_needs_nothing_else(folder):
    page = Tags(report(folder).html.read_text())
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "img")]
    text = re.sub(r'xmlns(:\w+)?="[^"]*"', "", report(folder).html.read_text())
    assert not re.search(r"""(src|href|url\()\s*=?\s*["'(]?\s*(https?:)?//""", text) and "@import" not in text


def test_ids_are_unique_and_references_resolve(folder):
    text = report(folder).html.read_text()
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert {*re.findall(r'xlink:href="#([^"]+)"', text), *re.findall(r"url\(#([^)]+)\)", text)} <= set(ids)


def test_names_are_not_markup(folder):
    paths = report(folder)
    text, plain = paths.html.read_text(), paths.markdown.read_text()
    assert "<b>" not in text and "&lt;b&gt; &amp;" in text
    assert r"GRU \<b\> & " in plain
    for table in re.findall(r"(?:^\|.*\n)+", plain, re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table


def test_tables_equal_the_record(folder):
    record, paths = json.loads((folder / "result.json").read_text()), report(folder)
    with open(paths.tables / "scores.csv") as file:
        rows = {row["learner"].removesuffix(" (control)"): row for row in csv.DictReader(file)}
    for arm in record["arms"]:
        name = "squared error (lower is better)"
        found = [rows[arm["name"]][key] for key in (name, f"{name}, low", f"{name}, high")]
        assert [float(value) for value in found] == arm["score"]
        if arm["difference"]:
            assert float(rows[arm["name"]]["minus rule"]) == arm["difference"]["mean"]
    with open(paths.tables / "curves.csv") as file:
        points = list(csv.DictReader(file))
    assert len(points) == sum(len(c["x"]) for found in record["curves"].values() for c in found.values())
    assert {p.stem for p in paths.tables.glob("*.csv")} >= {"scores", "cost", "lesions", "generalisation", "search"}


def test_figures_of_the_markdown_are_there(folder):
    text = report(folder).markdown.read_text()
    names = re.findall(r"\]\((figures/[^)]+)\)", text)
    assert len(names) == 6 and all((folder / name).read_bytes().startswith(b"\x89PNG") for name in names)


def test_twice_the_same_bytes(folder):
    first = report(folder).html.read_bytes()
    assert report(folder).html.read_bytes() == first


def test_what_is_missing_is_left_out(spoil):
    def less(record):
        for name in ("curves", "lesions", "generalisation", "tables"):
            record.pop(name)
        record["score"]["ceiling"] = None
        for arm in record["arms"]:
            arm["runs"] = "nowhere"
            arm["score"] = [arm["score"][0], None, None]
            arm["shuffled"] = None

    text = report(spoil(less)).html.read_text()
    assert "Elsewhere" not in text and "What it needs" not in text and "The rule" not in text
    assert text.count("<svg") == 1


def test_a_path_out_of_the_folder_is_not_followed(spoil, compared):
    def away(record):
        record["arms"][0]["runs"] = str(compared / "runs" / "rule")

    assert "The rule" not in report(spoil(away)).html.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no comparison"),
        ("{", "cannot be read"),
        ("[]", "is not the record"),
        ('{"format": 99}', "has format 99, this version reads up to 1"),
        ('{"format": 1}', "is incomplete"),
    ],
)
def test_damaged(folder, text, message, capsys):
    path = folder / "result.json"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(RunError, match=message):
        report(folder)
    assert command(["report", str(folder)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_command(folder, tmp_path, capsys):
    assert command(["report", str(folder), "--out", str(tmp_path / "there"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["html"] == str(tmp_path / "there" / "report.html") and not (folder / "report.html").exists()
    (tmp_path / "file").write_text("")
    assert command(["report", str(folder), "--out", str(tmp_path / "file")]) == 1
    assert "cannot write to" in capsys.readouterr().err


def test_numbers():
    assert show(0.03579) == ".0358" and show(1234.5) == "1,234" and show(-0.2, True) == "-.200"
    assert show([0.31, 0.29, 0.33]) == ".310 [.290, .330]" and show(2e-6) == "2.0e-06" and show(float("nan")) == ""


def test_a_comparison_is_taken_over_into_the_documents(compared, tmp_path):
    script = Path(__file__).parents[2] / "docs" / "results.py"
    for arguments in ([compared, "--docs", tmp_path], ["--docs", tmp_path, "--check"]):
        done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == ""
    page, record = (tmp_path / "results.md").read_text(), json.loads((compared / "result.json").read_text())
    joined = " ".join(page.split())
    for text in (record["verdict"], *record["findings"], "`neurometa compare tiny.py:plan` (2 seeds, "):
        assert text in joined
    for target in re.findall(r"\]\(([^)]+)\)", page):
        assert (tmp_path / target).is_file()
    assert "](reports/tiny/report.md)" in page and "](reports/tiny/figures/scores.png)" in page
