"""The command line as a process: its streams, its start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def process(*arguments, **options):
    """Run the console script as a user does."""
    script = Path(sys.executable).with_name("neurometa")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "neurometa.cli.main"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    options = {"stdout": subprocess.PIPE, "env": {**environment, "OMP_NUM_THREADS": "1"}, **options}
    done = subprocess.run([*start, *arguments], stderr=subprocess.PIPE, text=True, timeout=100, **options)
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_the_console_script(here):
    status, output, (line,) = process("rules", "show", "ojja")
    assert (status, output) == (1, "") and line.startswith("error: unknown rule 'ojja'")
    status, output, (line,) = process("train", "--rulez")
    assert (status, output) == (2, "") and "--rulez" in line
    status, output, lines = process("rules", "--json")
    assert status == 0 and lines == [] and "oja" in json.loads(output)["rules"]


def test_output_that_cannot_be_written_is_one_line():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with open("/dev/full", "w") as full:
        for arguments in (["rules"], ["--help"]):
            status, _, lines = process(*arguments, stdout=full)
            assert status == 1 and lines == ["error: No space left on device"]


def test_a_reader_that_leaves_early_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        status, _, lines = process("rules", stdout=writing)
    finally:
        os.close(writing)
    assert status == 1 and lines == []


def test_a_terminal_without_our_characters_gets_replacements():
    status, output, lines = process("--help", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert status == 0 and "quickstart" in output and lines == []


@pytest.mark.parametrize("columns", [80, 160])
def test_on_a_terminal_loss_score_rate_and_time_left_are_all_seen(here, columns):
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    command = ["train", "--task", "tracking", "--network", "tracker", "--iterations", "20", "--tasks", "2"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "LINES": "30", "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "neurometa.cli.main", *command, "--validate-every", "5", "--schedule", "constant"]
    done = subprocess.run(start, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=60)
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    assert done.returncode == 0
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode()).split("\r")[-2]
    assert last.startswith("meta-training ") and len(last) <= columns and "\u2026" not in last
    name = "validation squared error" if columns == 160 else "score"
    assert re.search(rf"20/20 +loss \d\.\d+ +{name} \d\.\d+ +[\d,]+ episodes/s +0:00 left", last)


def test_starting_the_command_line_loads_nothing_that_only_some_commands_need():
    heavy = ["matplotlib", "brian2", "scipy", "h5py", "pooch", "sympy", "gymnasium", "PIL"]
    code = f"import neurometa.cli.main, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
