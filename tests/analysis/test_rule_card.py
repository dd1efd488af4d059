"""The phenomenology of a rule: closed forms of dw, what weights do under random input, and the figure."""

from __future__ import annotations

import numpy as np
import pytest

from neurometa import rules
from neurometa.analysis.figures import empty_figure
from neurometa.analysis.rule_card import LIMIT, Course, dw_surface, verdict, weight_course
from neurometa.analysis.rule_figure import plot_lengths, plot_surface, plot_weights, rule_figure, stability
from neurometa.cli.choose import choose_rule
from neurometa.errors import EngineError, SpecificationError
from neurometa.spec import MLP, Normal, Param, PlasticityRule, Sum, Trace

OWN = """
from neurometa.spec import Param, PlasticityRule

mine = PlasticityRule(
    "mine", dw="rate*m_ach*pre*theta_post - 0.5*w*post**2", params={"rate": Param(0.25)}, bounds=(0, 4)
)
"""


def axes_of(found):
    """Return level, w, post and pre, each to be broadcast to the shape of dw."""
    return np.meshgrid(found.levels, found.w, found.post, found.pre, indexing="ij")


def test_hebb_and_oja_are_their_closed_forms():
    found = dw_surface(rules.get("hebb"), n=5)  # eta 0.1, decay 0.01
    assert found.dw.shape == (1, 3, 5, 5) and found.factor == "" and found.w.tolist() == [-1, 0, 1]
    assert found.dw[0, 1, 4, 3] == pytest.approx(0.1 * 1 * 0.5, abs=1e-15)  # w = 0, post = 1, pre = 1/2
    assert found.dw[0, 2, 0, 3] == pytest.approx(-0.1 * 0.5 - 0.01, abs=1e-15)  # w = 1, post = -1
    assert found.dw[0, 0, 2, 2] == pytest.approx(0.01, abs=1e-15)  # w = -1, both silent
    found = dw_surface(rules.get("oja"))
    _, w, post, pre = axes_of(found)
    np.testing.assert_allclose(found.dw, 0.1 * post * (pre - post * w), atol=1e-15)


def test_a_modulator_has_three_levels_and_the_trace_is_held_for_five_steps():
    found = dw_surface(rules.get("gated_hebb"))
    assert found.factor == "m" and found.levels.tolist() == [-1, 0, 1] and found.dw.shape[0] == 3
    m, w, post, pre = axes_of(found)
    elig = 2 * (1 - 0.5**5) * pre * post  # tau 2
    np.testing.assert_allclose(found.dw, 0.5 * m * elig - 0.01 * w, atol=1e-14)


def test_variables_have_levels_and_further_factors_are_held():
    found = dw_surface(rules.get("delta"), n=3)
    m, _, _, pre = axes_of(found)
    assert found.factor == "error_post" and found.held == {}
    np.testing.assert_allclose(found.dw, 0.1 * pre * m, atol=1e-15)
    rule = PlasticityRule("many", dw="m_a*m_b*pre + theta_post*x_post + error_pre*drive_post")
    found = dw_surface(rule, n=3)
    m, _, post, pre = axes_of(found)
    assert found.factor == "m_a" and found.held == {"m_b": 1, "theta_post": 0.5, "error_pre": 1, "drive_post": 1}
    np.testing.assert_allclose(found.dw, m * pre + 0.5 * post + 1, atol=1e-15)
    assert dw_surface(PlasticityRule("slow", dw="theta_post*pre")).levels.tolist() == [0, 0.5, 1]


def test_a_step_rule_gives_its_change_in_one_step():
    rule = PlasticityRule("discrete", step="new = 0.9*w + 0.2*pre*post\nw = clip(new, -0.95, 0.95)")
    found = dw_surface(rule)
    _, w, post, pre = axes_of(found)
    np.testing.assert_allclose(found.dw, np.clip(0.9 * w + 0.2 * pre * post, -0.95, 0.95) - w, atol=1e-15)
    late = dw_surface(rules.get("retroactive"), n=3)  # reads its trace before this step's coincidence
    m, _, post, pre = axes_of(late)
    np.testing.assert_allclose(late.dw, m * (1 - 0.7**4) * pre * post, atol=1e-14)


def test_sums_are_over_silent_neurons_and_equal_weights():
    rule = PlasticityRule(
        "sums",
        dw="0.1*post*(pre - recon) + total + 10*all",
        sums={"recon": Sum("w*post", "post"), "total": Sum("w", "pre"), "all": Sum("pre*post", "both")},
    )
    found = dw_surface(rule, n=5)
    _, w, post, pre = axes_of(found)
    np.testing.assert_allclose(found.dw, 0.1 * post * (pre - w * post) + 5 * w + 10 * pre * post, atol=1e-14)


def test_weights_lie_within_the_bounds_but_dw_is_the_text_itself():
    found = dw_surface(PlasticityRule("narrow", dw="pre", bounds=("low", 0.5), params={"low": Param(-0.25)}), n=3)
    assert found.w == pytest.approx([-0.25, 0.125, 0.5]) and found.dw[0, 2, 1].tolist() == [-1, 0, 1]
    assert dw_surface(PlasticityRule("far", dw="pre", bounds=(3, 5)), n=3).w.tolist() == [3, 4, 5]


def test_a_learned_function_and_drawn_parameters_are_the_same_every_time():
    rule = PlasticityRule(
        "mlp", dw="a*f(pre, post, w)", functions={"f": MLP(3)}, params={"a": Param(Normal(0, 1), per="synapse")}
    )
    first, second = dw_surface(rule, n=5), dw_surface(rule, n=5)
    assert np.array_equal(first.dw, second.dw) and first.dw.std() > 0
    assert np.array_equal(weight_course(rule, 20).w, weight_course(rule, 20).w)


def test_a_rule_from_a_users_file(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    rule = choose_rule(f"{tmp_path}/own.py:mine")
    found = dw_surface(rule, n=3)
    m, w, post, pre = axes_of(found)
    assert found.w.tolist() == [0, 0.5, 1]
    np.testing.assert_allclose(found.dw, 0.25 * m * pre * 0.5 - 0.5 * w * post**2, atol=1e-15)
    course = weight_course(rule, 100)
    assert course.bounds == (0, 4) and course.w.min() >= 0 and course.w.max() <= 4


def test_a_course_is_the_rule_in_a_linear_network():
    """Delta learns the random map that the error is measured against, whatever the scale of the input."""
    course = weight_course(rules.get("delta"))
    assert course.w.shape == (4001, 3, 4, 5) and course.scales.tolist() == [0.5, 1, 2]
    assert np.array_equal(course.w[0, 0], course.w[0, 2]) and np.ptp(course.w[0, 0]) > 0.5
    np.testing.assert_allclose(course.w[-1, 1], course.w[-1, 2], atol=1e-6)
    still = weight_course(PlasticityRule("still", dw="0*w"), 30)
    assert np.array_equal(still.w[0], still.w[-1]) and still.verdicts == ["settles"] * 3
    decay = weight_course(PlasticityRule("decay", dw="-0.1*w*m", bounds=(-1, 1)), 50)  # the modulator is on
    np.testing.assert_allclose(decay.w[-1], decay.w[0] * 0.9**50, atol=1e-15)


def test_stability():
    oja = weight_course(rules.get("oja"))
    assert stability(oja) == "|w| settles" and oja.length[-1, 0] == pytest.approx(1, abs=0.02)
    hebb = weight_course(PlasticityRule("plain", dw="eta*pre*post", params={"eta": Param(0.1)}))
    assert stability(hebb) == "|w| diverges" and not hebb.length[-1, 1] <= LIMIT
    assert stability(weight_course(PlasticityRule("away", dw="0.01"))) == "|w| drifts"
    bound = weight_course(PlasticityRule("bound", dw="eta*pre*post", params={"eta": Param(0.1)}, bounds=(-1, 1)))
    assert bound.verdicts[1] == "settles at its bounds"


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (np.ones(100), "settles"),
        (np.zeros(100), "settles"),
        (1 - np.exp(-np.arange(400) / 40), "settles"),
        (2 + np.sin(np.arange(400.0)), "settles"),
        (np.arange(400.0), "drifts"),
        (np.sqrt(np.arange(400.0)), "drifts"),
        (np.linspace(1, 0.5, 400), "drifts"),
        (np.array([1.0, 2e6, 1.0, 1.0]), "diverges"),
        (np.array([1.0, np.nan, 1.0, 1.0]), "diverges"),
        (np.array([1.0, 1.0, 1.0, np.inf]), "diverges"),
    ],
)
def test_verdict(length, expected):
    assert verdict(length) == expected


def test_scales_that_differ_are_named():
    t = np.linspace(0, 1, 80)
    w = np.stack([t, np.ones(80), t * 1e7], 1)[..., None, None]  # (time, scale, 1, 1)
    said = stability(Course(np.array([0.5, 1.0, 2.0]), w, None))
    assert said == "|w| settles; drifts at input × 0.5; diverges at input × 2"  # noqa: RUF001


def test_spiking_rules_are_refused():
    with pytest.raises(EngineError, match="rule 'spikes' changes w at spikes"):
        dw_surface(PlasticityRule("spikes", traces={"a": Trace("-a/20")}, on_pre="a += 1", on_post="w += a"))


def test_plots_show_the_data():
    figure = empty_figure()
    axes = figure.subplots(3, 3)
    surface, course = dw_surface(rules.get("gated_hebb"), n=5), weight_course(rules.get("abcd_shared"), 500)
    image = plot_surface(axes, surface)
    largest = np.abs(surface.dw).max()
    for i, j in np.ndindex(3, 3):
        assert np.array_equal(axes[i, j].images[0].get_array(), surface.dw[i, j])
        assert axes[i, j].images[0].get_clim() == (-largest, largest) == image.get_clim()
    assert axes[0, 2].get_title() == "w = 1, m = -1"
    assert (axes[2, 0].get_xlabel(), axes[2, 0].get_ylabel()) == ("pre", "post")
    left, right = empty_figure().subplots(1, 2)
    plot_weights(left, course)
    assert len(left.lines) == 20 + 2 and np.array_equal(left.lines[0].get_ydata(), course.w[:401, 1, 0, 0])
    assert [line.get_ydata()[0] for line in left.lines[20:]] == [-1, 1]
    plot_lengths(right, course)
    assert len(right.lines) == 3 and right.get_title() == stability(course)


def test_divergence_is_marked_and_missing_numbers_are_grey():
    figure = empty_figure()
    left, right = figure.subplots(1, 2)
    course = weight_course(PlasticityRule("plain", dw="pre*post"), 500)
    plot_weights(left, course)
    plot_lengths(right, course)
    assert np.nanmax(np.abs(left.lines[0].get_ydata())) <= LIMIT
    crosses = [line for line in right.lines if line.get_marker() == "x"]
    assert len(crosses) == 3 and all(line.get_ydata() == [LIMIT] for line in crosses)
    assert right.get_title() == "|w| diverges" and right.get_yscale() == "log"
    surface = dw_surface(PlasticityRule("half", dw="log(pre)"), n=5)
    maps = empty_figure().subplots(1, 3, squeeze=False)
    plot_surface(maps, surface)
    shown = maps[0, 0].images[0].get_array()
    assert shown.mask[:, :3].all() and not shown.mask[:, 3:].any()


@pytest.mark.parametrize(("ending", "head"), [("png", b"\x89PNG\r\n\x1a\n"), ("svg", b"<?xml"), ("PDF", b"%PDF-")])
def test_the_figure_is_written_in_its_format(tmp_path, ending, head):
    rule = PlasticityRule("zero", dw="0*m_a*m_b")
    path = tmp_path / "deep" / f"card.{ending}"
    assert rule_figure("zero", dw_surface(rule, n=3), weight_course(rule, 10), path) == path
    assert path.read_bytes().startswith(head)


def test_another_ending_is_refused_and_nothing_is_written(tmp_path):
    rule = rules.get("oja")
    with pytest.raises(SpecificationError, match=r"has the ending '.gif'; allowed: .png, .svg, .pdf"):
        rule_figure("oja", dw_surface(rule, n=3), weight_course(rule, 10), tmp_path / "deep" / "card.gif")
    assert not list(tmp_path.iterdir())


def test_every_library_rule_has_a_card(rate_rule, tmp_path):
    rule = rules.get(rate_rule)
    surface, course = dw_surface(rule, n=5), weight_course(rule, 200)
    assert np.isfinite(surface.dw).all()
    assert len(surface.levels) == (3 if surface.factor else 1) and (surface.factor != "") >= bool(rule.modulators)
    if course.bounds is not None:
        assert course.w.min() >= course.bounds[0] and course.w.max() <= course.bounds[1]
    assert rule_figure(rule.name, surface, course, tmp_path / "card.png").stat().st_size > 10_000
