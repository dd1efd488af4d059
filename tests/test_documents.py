"""Every Python example in the documents runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{i}")
    for page in PAGES
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize("block", BLOCKS)
def test_python_block_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "document", "exec"), {"__name__": "document"})


def test_there_are_examples():
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_contributing_rule_is_a_rule(tmp_path):
    """The rule that CONTRIBUTING shows works from a user's own file."""
    from neurometa.cli.choose import choose_rule

    block = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    path = tmp_path / "instar.py"
    path.write_text(block[1].replace("from ..spec", "from neurometa.spec"))
    assert choose_rule(f"{path}:instar").locality == "two-factor"


def results(*arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "results.py"), *map(str, arguments)], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_the_page_of_results_is_what_its_records_give():
    assert results("--check") == (0, "", "")


def test_results_are_taken_over_from_run_folders(tmp_path):
    docs, run = tmp_path / "docs", tmp_path / "run"
    (docs / "images").mkdir(parents=True)
    run.mkdir()
    record = {"title": "T", "name": "mine", "question": "Q.", "columns": ["c"], "rows": [["r", [[0.5, 0.4, 0.6]]]]}
    record |= {"findings": [], "published": "", "figure": "f.png", "digits": 2, "preset": "default", "seeds": 3}
    record |= {"command": "python simulations/mine.py --preset default --lr 0.1", "seconds": 60.0, "torch": "2"}
    (run / "result.json").write_text(json.dumps({**record, "commit": "abc", "over": "seeds"}))
    (run / "f.png").write_bytes(b"picture")
    assert results(run, "--docs", docs)[0] == 0
    page = (docs / "results.md").read_text()
    assert "| r | .50 [.40, .60] |" in page and "![T](images/mine-lr-0.1.png)" in page
    assert (docs / "images" / "mine-lr-0.1.png").read_bytes() == b"picture"
    assert results("--docs", docs, "--check") == (0, "", "")
    (docs / "results.md").write_text(page.replace(".50", ".51"))
    status, _, errors = results("--docs", docs, "--check")
    assert status == 1 and errors.count("\n") == 1 and "type: python docs/results.py" in errors
    status, _, errors = results(tmp_path, "--docs", docs)
    assert status == 1 and errors.count("\n") == 1 and "result.json cannot be read" in errors
