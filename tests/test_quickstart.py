"""`neurometa quickstart`, end to end: one command from nothing to a scored, drawn and reusable run."""

from __future__ import annotations

import json

import pytest

from neurometa.cli.main import run

SHORT = ["quickstart", "--iterations", "30", "--episodes", "120"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "quickstart"


def test_quickstart(folder, capsys):
    assert run([*SHORT, "--json"]) == 0
    output, errors = capsys.readouterr()
    assert errors == "" and output.count("\n") == 1
    found = json.loads(output, parse_constant=pytest.fail)
    assert found["score"] == "accuracy" and found["higher_is_better"] is True and found["test_episodes"] == 120
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["learned"]["n"] == 120 and rows["learned"]["low"] < rows["learned"]["mean"] < rows["learned"]["high"]
    assert rows["floor (best without support)"]["mean"] == 0.2
    assert rows["learned"]["low"] > rows["plasticity off (alpha = 0)"]["high"]  # even after so few iterations
    assert rows["pixel nearest neighbour"]["mean"] == pytest.approx(0.538, abs=0.005)
    assert {"plastic.rule.eta", "plastic.rule.decay", "plastic.rule.tau", "plastic.alpha"} == found["rule"].keys()
    assert (folder / "quickstart.png").read_bytes()[:4] == b"\x89PNG"
    assert found["comparison"].startswith("modulated rule scores") and found["crosscheck"]["agrees"]
    assert found["equation"].startswith("dw = ") and "m*elig" in found["equation"]
    page = (folder.parents[1] / found["report"]).read_text()
    for text in ("Quickstart", "MAML", "pixel nearest neighbour", "eta*m*elig - decay*w", "dopamine upside down"):
        assert text in page
    assert (folder / "recording.h5").stat().st_size > 1000
    for name in ("config.json", "last.pt", "best.pt", "metrics.jsonl"):
        assert (folder / name).stat().st_size > 0

    # A second time, for people: nothing is trained again, and the same numbers are in the table.
    before = (folder / "last.pt").stat().st_mtime_ns
    assert run(SHORT) == 0
    output, errors = capsys.readouterr()
    steps = [line for line in errors.splitlines() if "/6] " in line]
    assert len(steps) == 6 and steps[2].startswith("[3/6] comparing both on the same held-out episodes")
    assert (folder / "last.pt").stat().st_mtime_ns == before
    for text in (
        f"{rows['learned']['mean']:.4f}",
        f"[{rows['learned']['low']:.4f}, {rows['learned']['high']:.4f}]",
        "120 episodes",
        "floor (best without support)",
        "dw/dt = eta*m*elig - decay*w",
        f"plastic.rule.tau = {found['rule']['plastic.rule.tau']:.4g}",
        "neurometa evaluate runs/quickstart",
        "modulated rule minus MAML",
        "Brian2 agrees over 10 steps",
        "distilled: dw = ",
        "runs/quickstart-report/report.html",
    ):
        assert text in output

    # With other settings the run in the folder is not overwritten.
    assert run(["quickstart", "--iterations", "29"]) == 1
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 2 and errors.startswith("[1/6] ")
    assert "n_iterations is 30 there, 29 here" in errors and "choose another folder (--run)" in errors
