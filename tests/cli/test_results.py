"""The record of a simulation: what it prints, what it keeps, and how the documentation shows it."""

from __future__ import annotations

import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from neurometa.cli.results import command_for, save_result, to_markdown


@dataclass(frozen=True)
class Settings:
    seeds: int = 5
    lr: float = 1e-3
    arms: tuple[str, ...] = ("plastic", "lstm")
    together: bool = False
    out: Path = Path("runs/mine")


PRESETS = {"smoke": Settings(seeds=1, lr=0.1, out=Path("runs/mine-smoke")), "default": Settings()}
ROWS = [
    ("floor", [0.5, None]),
    ("plastic", [(0.9312, 0.92, 0.9412), 128_000]),
    ("lstm", [(0.6, math.nan, math.nan), "not reached"]),
    ("oracle", [1.0, math.inf]),
]


def save(folder, **changes):
    given = {
        "script": folder / "mine.py",
        "presets": PRESETS,
        "settings": Settings(),
        "title": "Mine",
        "question": "What is\n    asked?",
        "columns": ["accuracy", "episodes"],
        "rows": ROWS,
        "findings": ["Plastic is better by .33."],
        "seeds": 5,
        "seconds": 90.04,
    }
    return save_result(folder, **{**given, **changes})


def test_what_is_printed_and_kept(tmp_path, capsys):
    record = save(tmp_path, figure="mine.png", published="Others 2020: .95.")
    assert capsys.readouterr().out.splitlines() == [
        "",
        "Mine: 5 seeds, 95 % interval over seeds",
        "         accuracy           episodes",
        "floor    .500",
        "plastic  .931 [.920, .941]  128,000",
        "lstm     .600               not reached",
        "oracle   1.000",
        "Plastic is better by .33.",
    ]
    kept = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert kept == record
    assert kept["name"] == "mine" and kept["question"] == "What is asked?" and kept["commit"] == ""
    assert to_markdown(kept, "images/mine.png") == (
        "## Mine\n\n"
        f"`python simulations/mine.py --preset default` (5 seeds, 1.5 minutes of training, torch {kept['torch']})\n\n"
        "What is asked?\n\n"
        "| | accuracy | episodes |\n|---|---|---|\n"
        "| floor | .500 |  |\n| plastic | .931 [.920, .941] | 128,000 |\n"
        "| lstm | .600 | not reached |\n| oracle | 1.000 |  |\n\n"
        "Published: Others 2020: .95.\n\nPlastic is better by .33.\n\n![Mine](images/mine.png)\n"
    )


def test_differences_have_a_sign(tmp_path, capsys):
    save(tmp_path, columns=["paired difference"], rows=[("a", [(0.03, -0.01, 0.9996)])], findings=[])
    assert capsys.readouterr().out.splitlines()[-1] == "a  +.030 [-.010, +1.000]"


def test_a_row_of_another_length_is_refused(tmp_path):
    with pytest.raises(ValueError, match="2 cells"):
        save(tmp_path, rows=[("floor", [0.5])])


@pytest.mark.parametrize(
    ("settings", "preset", "more"),
    [
        (Settings(), "default", ""),
        (Settings(out=Path("elsewhere")), "default", ""),
        (Settings(seeds=1, lr=0.1), "smoke", ""),
        (Settings(seeds=1, lr=0.1, arms=("lstm",)), "smoke", " --arms lstm"),
        (Settings(lr=0.01, together=True), "default", " --lr 0.01 --together"),
        (Settings(seeds=1), "default", " --seeds 1"),
    ],
)
def test_the_command_is_that_of_the_nearest_preset(settings, preset, more):
    found = command_for("anywhere/mine.py", PRESETS, settings)
    assert found == (preset, f"python simulations/mine.py --preset {preset}{more}")


def test_the_commit_is_that_under_which_the_runs_were_trained(tmp_path):
    def git(*words):
        name = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", str(tmp_path), *name, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "mine.py").write_text("1")
    git("add", "mine.py")
    git("commit", "-m", "first")
    first = save(tmp_path)["commit"]
    assert len(first) == 10
    (tmp_path / "mine.py").write_text("2")
    assert save(tmp_path)["commit"] == first  # the same runs
    assert save(tmp_path, seconds=91.0)["commit"] == first + "+"
