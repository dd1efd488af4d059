"""``neurometa record``, ``neurometa recording``, ``train --record``: what they print, exit codes, one-line errors."""

import json

import pytest

import neurometa as nm
from neurometa.cli.main import run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    words = ["train", "--task", "gaussian_clusters", "--network", "modulated", "--set", "network.n_hidden=4"]
    words += ["--iterations", "4", "--tasks", "3", "--validate-every", "0", "--run", str(folder)]
    assert run([*words, "--record", "every=2 episodes=2"]) == 0
    return folder


def test_the_whole_way(trained, tmp_path, capsys):
    single = tmp_path / "one.h5"
    assert run(["record", str(trained), "--out", str(single), "--episodes", "3", "--what", "x.*, w.plastic"]) == 0
    out, errors = capsys.readouterr()
    assert out.startswith(f"recording {single}: ") and out.endswith(f"next: neurometa recording replay {single}\n")
    assert errors.endswith("kB expected ...\n") and "traces" not in out
    assert run(["recording", "replay", str(single)]) == 0
    assert capsys.readouterr().out == "iteration 4: bit for bit the recording; promised: bit for bit: agrees\n"
    assert run(["recording", "replay", str(trained), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["agrees"] and [row["iteration"] for row in found["replays"]] == [0, 2]
    assert run(["recording", "info", str(trained), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"] == 2 and found["episodes"] == 4 and found["variables"]["w/plastic"] == [5, 4, 5, 4]
    assert run(["recording", "info", str(trained)]) == 0
    assert "dw/dt = eta*m*elig - decay*w" in capsys.readouterr().out
    packed = tmp_path / "packed.h5"
    assert run(["recording", "repack", str(trained), "--out", str(packed), "--compress"]) == 0
    assert capsys.readouterr().out.startswith(f"{packed}: ")
    with nm.open_recording(packed) as rec:
        assert rec.n_episodes == 4
    assert run(["recording", "validate", str(packed)]) == 0
    assert capsys.readouterr().out == f"{packed}: whole\n"


def test_nwb(trained, tmp_path, capsys):
    pytest.importorskip("pynwb")
    assert run(["recording", "nwb", str(trained), "--out", str(tmp_path / "a.nwb"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == (tmp_path / "a.nwb").stat().st_size


def test_damage_is_exit_1(trained, tmp_path, capsys):
    path = tmp_path / "a.h5"
    nm.record(path, nm.load_run(trained))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert run(["recording", "validate", str(path)]) == 1
    assert "is damaged: its checksum does not fit" in capsys.readouterr().out
    assert run(["recording", "validate", str(path), "--json"]) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1
    for action in ("info", "replay"):
        assert run(["recording", action, str(path)]) == 1
        out, errors = capsys.readouterr()
        assert out == "" and errors.startswith(f"error: {path} is damaged") and errors.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["record", "RUN", "--episodes", "0"], "plan of a recording: episodes is 0; it must be 1 or more"),
        (["record", "RUN", "--cap", "much"], "'much' is no number of bytes; type one such as 500MB or 2GB"),
        (["record", "RUN", "--cap", "1kB"], "and the cap is 1 kB; record fewer episodes"),
        (["record", "RUN", "--what", "w.hid"], "'w.hid' matches nothing; there are x.stimulus"),
        (["record", "RUN", "--split", "tset"], "unknown split 'tset' (did you mean 'test'?)"),
        (["record", "RUN", "--seed", "-1"], "--seed is -1; it must be 0 or more"),
        (["record", "none"], "none is not a run folder"),
        (["recording", "info", "none.h5"], "no recording at none.h5; make one with 'neurometa record RUN'"),
        (["recording", "validate", "none.h5"], "no recording at none.h5"),
        (["recording", "repack", "RUN"], "repack writes a file; say which: --out PATH"),
        (["train", "--run", "new", "--record", "evry=3"], "unknown option 'evry' (did you mean 'every'?)"),
        (["train", "--run", "new", "--record", "every=often"], "every is 'often'; it must be a whole number"),
        (["train", "--run", "new", "--record", "float16=1"], "float16 is '1'; it must be true or false"),
        (["train", "--run", "new", "--record", "what=w.nothing"], "'w.nothing' matches nothing; there are"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(trained, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert run([str(trained) if word == "RUN" else word for word in words]) == 1
    out, errors = capsys.readouterr()
    *_, line = errors.splitlines()
    assert out == "" and line.startswith("error: ") and message in line
    assert not [*tmp_path.iterdir()] and not (trained / "recording.h5").exists()
