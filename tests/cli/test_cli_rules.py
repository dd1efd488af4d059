"""``neurometa rules show``: the card of a rule as text, as JSON and as a figure."""

from __future__ import annotations

import json

import pytest

EVERYTHING = """
from neurometa.spec import MLP, Normal, Param, PlasticityRule, Sum

full = PlasticityRule(
    "full",
    dw="eta*m*elig*f(pre, post) - decay*w*total/tau + (a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10)*w",
    traces={"elig": "-elig/tau + pre*post", "slow": "0.1*(pre - slow)"},
    params={
        "eta": Param(0.5, "positive"),
        "decay": Param(Normal(0, 0.1), per="synapse", learned=False),
        "tau": Param(5.0, minimum=1.0, unit="ms"),
        **{f"a{i}": Param(0.0) for i in range(1, 11)},
    },
    functions={"f": MLP(2, (4, 3))},
    sums={"total": Sum("w*post", over="post")},
    bounds=(-1, 1),
    reference="mine, doi:10.1/1",
)
bare = PlasticityRule("bare", step="w = 0.9*w")
spiking = PlasticityRule("spiking", dw="0.1*theta_pre", on_pre="w += 0.1")
"""


@pytest.fixture
def files(here):
    (here / "own.py").write_text(EVERYTHING)
    return here


def test_show_prints_every_section(cli, files):
    status, output, lines = cli("rules", "show", "own.py:full")
    assert status == 0 and lines == []
    sections = ["full", "equations:", "LaTeX:", "class: ", "parameters:", "traces:", "sums:", "functions:", "bounds: "]
    places = [output.index(f"\n{section}" if section != "full" else section) for section in [*sections, "reference: "]]
    assert places == sorted(places)
    for text in (
        "  delig/dt = -elig/tau + pre*post",
        "  total = sum of w*post over post",
        "  w between -1 and 1",
        r"  \frac{\mathrm{d}\mathrm{elig}}{\mathrm{d}t} = -\frac{\mathrm{elig}}{\tau} + x_{\mathrm{pre}} \, x_{",
        r"  \mathrm{total} = \sum_{\mathrm{post}} w \, x_{\mathrm{post}}",
        "class: normalising (reads a sum), three-factor, neuromodulator",
        "  eta = 0.5 (positive, per scalar)",
        "(free, per synapse, not learned)",
        "  tau = 5.0 ms (free, per scalar, at least 1.0)",
        "  a1, a2, ..., a10 (10 parameters) = 0.0 (free, per scalar)",
        "  elig: per synapse, starts at 0.0, euler",
        "  slow: per pre neuron, starts at 0.0, euler",
        "  total: over post, one value per presynaptic neuron",
        "  f: 2 inputs, hidden 4, 3 (leaky_relu), out tanh",
        "bounds: -1 to 1",
        "reference: mine, doi:10.1/1",
    ):
        assert text in output
    assert output.count(r" \, ") > 5 and "stability" not in output


def test_what_a_rule_lacks_is_said(cli, files):
    _, output, _ = cli("rules", "show", "own.py:bare")
    for text in ("  step: w = 0.9*w", r"w \leftarrow 0.9 \, w", "parameters: none", "traces: none", "sums: none"):
        assert text in output
    assert "bounds: none\nreference: none\n" in output and "functions" not in output
    assert "on_pre: w = w + (0.1)" in cli("rules", "show", "own.py:spiking")[1]


def test_json_gains_latex(cli, files):
    found = cli.json("rules", "show", "oja", "--json")
    assert found["latex"] == [
        r"\frac{\mathrm{d}w}{\mathrm{d}t} = \eta \, x_{\mathrm{post}} \, "
        r"\left(x_{\mathrm{pre}} - x_{\mathrm{post}} \, w\right)"
    ]
    assert set(found) == {"rule", "locality", "description", "latex"}
    assert json.loads(found["description"])["dw"] == "eta*post*(pre - post*w)"


def test_show_of_every_library_rule(cli, here, library_rule):
    status, output, _ = cli("rules", "show", library_rule)
    assert status == 0 and output.startswith(f"{library_rule}\n\nequations:\n") and "reference: none" not in output


@pytest.mark.parametrize("rule", ["gated_hebb", "own.py:full", "own.py:bare", "dw = eta*pre*error_post - 0.1*w"])
def test_figure_writes_a_png(cli, files, rule):
    status, output, lines = cli("rules", "show", rule, "--figure", "cards/a.png")
    assert status == 0 and lines == [] and "\nstability: |w| " in output and "\nfigure: cards/a.png\n" in output
    assert (files / "cards" / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_figure_with_json(cli, files):
    found = cli.json("rules", "show", "dw = eta*pre*post", "--figure", "a.svg", "--json")
    assert found["figure"] == "a.svg" and found["stability"] == "|w| diverges"
    assert (files / "a.svg").read_bytes().startswith(b"<?xml")


def test_the_card_of_a_spiking_rule(cli, files):
    status, output, lines = cli("rules", "show", "stdp", "--figure", "a.png")
    assert status == 0 and lines == [] and (files / "a.png").read_bytes().startswith(b"\x89PNG")
    assert output.endswith("window: dw +0.0067 at +8 ms, -0.00704 at -8 ms (w = 0.5)\nfigure: a.png\n")


@pytest.mark.parametrize(
    ("command", "words", "status"),
    [
        (["show", "oja", "--figure", "new/a.gif"], "new/a.gif has the ending '.gif'; allowed: .png, .svg, .pdf", 1),
        (["show", "oja", "--figure", "a"], "figure a has no ending; allowed: .png, .svg, .pdf", 1),
        (["show", "oja", "--figure", "own.py/a.png"], "figure own.py/a.png cannot be written (own.py: File exists)", 1),
        (["show", "oja", "--figure", "folder.png"], "cannot be written (folder.png: Is a directory)", 1),
        (["show", "oja", "--figure", "/proc/a.png"], "figure /proc/a.png cannot be written", 1),
        (
            ["show", "own.py:spiking", "--figure", "new/a.png"],
            "rule 'spiking' reads theta_pre; with imposed spikes a source has none; allowed: x_pre",
            1,
        ),
        (["show", "ojja", "--figure", "new/a.png"], "unknown rule 'ojja' (did you mean 'oja'?)", 1),
        (["show", "dw = eta*pree", "--figure", "new/a.png"], "unknown name 'pree' (did you mean 'pre'?)", 1),
        (["show", "--figure", "new/a.png"], "rules show needs a name", 1),
        (["show", "oja", "--figure"], "Missing value for argument '--figure'", 2),
        (["list", "--figure", "a.png"], "type neurometa rules show NAME --figure FILE.png", 2),
    ],
)
def test_errors_are_one_line_and_nothing_is_written(cli, files, command, words, status):
    (files / "folder.png").mkdir()
    assert words in cli.refused("rules", *command, status=status)
    assert sorted(path.name for path in files.rglob("*") if "__pycache__" not in str(path)) == ["folder.png", "own.py"]


def test_a_figure_that_cannot_be_replaced_keeps_what_was_there(cli, files):
    (files / "a.png").write_bytes(b"old")
    cli.refused("rules", "show", "own.py:spiking", "--figure", "a.png")
    assert (files / "a.png").read_bytes() == b"old"
