"""What a recording holds, that it can be run again, and that other programs read it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import neurometa as nm
from neurometa.errors import EngineError, RecordingError, RunError
from neurometa.record import RecordPlan, repack
from neurometa.streams import generator


def test_every_number_is_that_of_the_run(runs, recordings, kind):
    """The trajectory is simulated here by other means than those of the recording."""
    run = runs[kind]
    network, hold = run.learner.network, run.learner.hold
    with nm.open_recording(recordings[kind]) as rec:
        episode = rec.episode()
        support = episode.support
        assert rec.network == network and rec.seed == run.seed and rec.n_episodes == 4
        assert all(torch.equal(leaf, run.params[name]) for name, leaf in rec.params().items())
        assert rec.params().keys() == run.params.keys()
        inputs = {name: value.repeat_interleave(hold, 0) for name, value in support.inputs.items()}
        reset = support.reset.repeat_interleave(hold)
        reset[torch.arange(len(reset)) % hold != 0] = False
        learn = support.learn.repeat_interleave(hold)
        with torch.no_grad():
            found = nm.simulate(network, run.params, inputs, learn=learn, reset=reset, save=nm.Save())
        for projection in network.plastic:
            label = projection.label
            assert np.array_equal(rec.w[label][()], found[f"w.{label}"].numpy())
            for trace in projection.rule.traces:
                there = rec.traces[f"{label}.{trace}"]
                assert np.array_equal(
                    there[()].reshape(found[f"traces.{label}.{trace}"].shape), found[f"traces.{label}.{trace}"]
                )
            w = rec.w[label][()]
            assert np.allclose(rec.summary[f"{label}.w.mean"][()], w.mean((2, 3)), atol=1e-6)
            assert np.allclose(rec.summary[f"{label}.w.norm"][()], np.linalg.norm(w.reshape(*w.shape[:2], -1), axis=-1))
            change = np.diff(w, axis=0, prepend=w[:1]).mean((2, 3))
            assert np.allclose(rec.summary[f"{label}.dw.mean"][1:], change[1:], atol=1e-6)
            middle = np.quantile(w.reshape(*w.shape[:2], -1), 0.5, axis=-1, method="nearest")
            assert np.allclose(rec.summary[f"{label}.w.quantiles"][:, :, 2], middle)
        for population in network.populations:
            x = found[f"x.{population.name}"].numpy()
            if population.spikes:
                assert population.name not in rec.x
                spikes = rec.spikes(population.name)
                dense = np.zeros_like(x)
                dense[(spikes.time / rec.dt).round().astype(int), spikes.episode, spikes.neuron] = 1
                assert x.sum() > 0 and np.array_equal(dense, x)
            else:
                assert np.array_equal(rec.x[population.name][()], x)
        assert rec.time.tolist() == [step * network.dt for step in range(len(inputs["stimulus"]))]
        loss, score = (rec.variable(name)[()] for name in ("loss", "score"))
        output = torch.from_numpy(rec.variable("output")[()])
        assert np.array_equal(loss, run.task.loss(output, episode.scored).numpy())
        assert np.array_equal(score, run.task.score(output, episode.scored).numpy())
        assert kind != "modulated" or "dopamine" in rec.modulators


def test_a_replay_needs_nothing_but_the_file_and_is_the_same_bit_for_bit(recordings, kind):
    with nm.open_recording(recordings[kind]) as rec:
        found = rec.replay()
        assert found.largest == 0.0 and found.allowed == 0.0 and found.agrees and not found.reasons
        assert {name.partition(".")[0] for name in found.differences} >= {"output", "x", "w"}
        assert str(found).endswith("bit for bit the recording; promised: bit for bit: agrees")


def test_a_replay_sees_a_parameter_that_was_changed(runs, tmp_path):
    run = runs["modulated"]
    nm.record(tmp_path / "a.h5", run)
    with nm.open_recording(tmp_path / "a.h5") as rec:
        params = rec.params()
        params["plastic.rule.eta"] += 1e-3
        rec.params = lambda iteration: params
        found = rec.replay()
        assert not found.agrees and found.differences["w.plastic"] > 1e-6 and "DISAGREES" in str(found)


def test_elsewhere_a_replay_promises_less_and_says_why(recordings):
    with nm.open_recording(recordings["modulated"]) as rec:
        rec.__dict__["environment"] = {**rec.environment, "torch": "2.0"}
        found = rec.replay()
        assert found.allowed == 1e-5 and found.agrees
        assert str(found).endswith(f"promised: 1e-05 (torch 2.0 there, {torch.__version__} here): agrees")


@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_xarray_reads_names_and_coordinates(recordings, kind, engine):
    xarray = pytest.importorskip("xarray")
    with nm.open_recording(recordings[kind]) as rec, warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "numpy.ndarray size changed")
        tree = xarray.open_datatree(recordings[kind], engine=engine)
        (label,) = rec.w
        w = tree[f"w/{label}"]
        assert w.dims == ("time", "episode", f"{label}_post", f"{label}_pre")
        assert np.array_equal(w.values, rec.w[label][()])
        assert w.time.attrs["units"] == "ms" and w.time.values.tolist() == rec.time.tolist()
        assert w.sel(time=rec.time[2], episode=2).shape == rec.w[label].shape[2:]
        for node in tree.subtree:
            for variable in node.data_vars.values():
                assert not [name for name in variable.dims if name.startswith("phony")]
        for population in rec.spiking:
            stamps = tree[f"spikes/{population}/timestamps"]
            assert stamps.dims == (f"spike_{population}",) and stamps.attrs["units"] == "milliseconds"
        tree.close()


def test_to_xarray(recordings):
    pytest.importorskip("xarray")
    with nm.open_recording(recordings["modulated"]) as rec:
        tree = rec.to_xarray()
        assert np.array_equal(tree["x/hidden"].values, rec.x["hidden"][()])
        tree.close()


def test_pynapple(recordings, kind):
    nap = pytest.importorskip("pynapple")
    with nm.open_recording(recordings[kind]) as rec:
        found = rec.to_pynapple(episode=1)
        (label,) = rec.w
        w = found[f"w.{label}"]
        assert isinstance(w, nap.TsdTensor) and np.array_equal(w.values, rec.w[label][:, 1])
        assert np.allclose(w.times() * 1000, rec.time)
        assert isinstance(found["x.stimulus"], nap.TsdFrame)
        for population in rec.spiking:
            spikes = rec.spikes(population)
            group = found[f"spikes.{population}"]
            assert isinstance(group, nap.TsGroup) and len(group) == rec.network[population].size
            counted = {n: int(((spikes.neuron == n) & (spikes.episode == 1)).sum()) for n in group}
            assert {n: len(group[n]) for n in group} == counted and sum(counted.values()) > 0
        with pytest.raises(RecordingError, match=r"episode is 4; the recording has 0 to 3"):
            rec.to_pynapple(4)


def test_nwb(recordings, tmp_path):
    pynwb = pytest.importorskip("pynwb")
    with nm.open_recording(recordings["spiking"]) as rec:
        path = rec.to_nwb(tmp_path / "a.nwb", episode=2)
        with pynwb.NWBHDF5IO(str(path), "r") as io:
            file = io.read()
            (label,) = rec.w
            w = rec.w[label][:, 2]
            assert np.array_equal(file.acquisition[f"w.{label}"].data[:], w.reshape(len(w), -1))
            times = np.concatenate([np.ravel(file.units["spike_times"][i]) for i in range(len(file.units))])
        mine = sum(int((rec.spikes(p).episode == 2).sum()) for p in rec.spiking)
        assert len(times) == mine > 0
        with pytest.raises(RecordingError, match=r"must end in .nwb"):
            rec.to_nwb(tmp_path / "a.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nwb"]


def test_spikes_follow_sonata(recordings):
    import h5py

    with h5py.File(recordings["spiking"]) as file:
        assert file.attrs["magic"] == 0x0A7A and file.attrs["version"].tolist() == [0, 1]
        group = file["spikes/hidden"]
        assert group.attrs["sorting"] == "by_time"
        assert (np.diff(group["timestamps"][()]) >= 0).all()
        assert group["timestamps"].dtype == np.float64 and group["node_ids"].dtype == np.uint64


def test_what_people_see(recordings):
    with nm.open_recording(recordings["modulated"]) as rec:
        text = str(rec)
    wanted = """recording |4 episodes of 1 meta-iterations|seed 0, dt 1.0 ms|learner: plastic|task: gaussian_clusters
    |network 'modulated': stimulus 16|dw/dt = eta*m*elig - decay*w|delig/dt = -elig/tau + pre*post
    |w/plastic (time 3, episode 4, plastic_post 3, plastic_pre 6) float32, 864 bytes|torch """
    for part in wanted.replace("\n    ", "").split("|"):
        assert part in text


def test_a_plan_chooses(runs, tmp_path):
    run = runs["spiking"]
    nm.record(tmp_path / "a.h5", run, save=nm.Save(("x.*", "v.hidden"), every=4))
    plan = RecordPlan(("w.*",), episodes=2, float16=True, compress=True)
    nm.record(tmp_path / "b.h5", run, plan=plan, split="validation", seed=3)
    with nm.open_recording(tmp_path / "a.h5") as a, nm.open_recording(tmp_path / "b.h5") as b:
        assert not a.w and set(a.variables) == {"v.hidden"} and a.time.tolist() == list(range(0, 30, 4))
        assert {*a.summary} >= {"hidden__out.w.mean"} and len(set(a.spikes("hidden").time % 4)) > 1
        assert a.replay().largest == 0.0
        assert not b.x and b.w["hidden__out"].dtype == np.float16 and b.n_episodes == 2 and b.seed == 3
        found = b.replay()
        assert found.agrees and found.allowed == 2**-10 and found.reasons == ("kept in half precision",)
        stream = generator(3, "recorded tasks")
        again = run.task.sample(stream, 2, "validation")
        assert torch.equal(b.episode().support.inputs["stimulus"], again.support.inputs["stimulus"])


def test_latent_variables_are_kept(recordings):
    with nm.open_recording(recordings["modulated"]) as rec:
        info = rec.episode().info
        assert info["centre"].shape == (4, 3, 16) and info["cluster"].shape[1] == 4
        assert rec.variable("episode_data/info/centre").dims[0] == "episode"


def test_a_learner_without_trajectory_keeps_what_it_changed(tmp_path, train):
    task = nm.tasks.get("gaussian_clusters")(n_way=3, n_shot=1, n_query=2)
    network = nm.networks.mlp(task.n_in, task.n_out)
    run = nm.meta_train(nm.GradientLearner(network), task, n_iterations=1, n_tasks=3)
    nm.record(tmp_path / "a.h5", run)
    with nm.open_recording(tmp_path / "a.h5") as rec:
        with torch.no_grad():
            wanted = run.learner.adapt(run.params, rec.episode().support, task)
        assert rec.adapted.keys() == wanted.keys() and not rec.w
        for name, value in wanted.items():
            assert np.allclose(rec.adapted[name][()], value.detach().numpy(), atol=1e-6)
        with pytest.raises(RecordingError, match=r"GradientLearner has no trajectory to replay"):
            rec.replay()
        assert "learner: gradient" in str(rec)
    with pytest.raises(
        RecordingError, match=r"GradientLearner has no trajectory to choose from \(w\.\*\); leave 'what' out"
    ):
        nm.record(tmp_path / "b.h5", run, plan=RecordPlan(("w.*",)))


def test_one_batch_of_ones_own(runs, tmp_path):
    run = runs["modulated"]
    episode = run.task.sample(generator(9, "mine"), 6, "test")
    nm.record(tmp_path / "a.h5", run, episode)
    with nm.open_recording(tmp_path / "a.h5") as rec:
        assert rec.n_episodes == 6
        assert torch.equal(rec.episode().support.inputs["stimulus"], episode.support.inputs["stimulus"])


def test_refusals(runs, recordings, tmp_path):
    run = runs["modulated"]
    path = nm.record(tmp_path / "a.h5", run)
    before = path.read_bytes()
    with pytest.raises(RecordingError, match=r"a.h5 is there already; choose another name, or replace it"):
        nm.record(path, run)
    with pytest.raises(EngineError, match=r"'w.nothing' matches nothing"):
        nm.record(path, run, save=nm.Save(("w.nothing",)), overwrite=True)
    with pytest.raises(RecordingError, match=r"would have .* kB, and the cap is 10 kB; record fewer episodes"):
        nm.record(path, run, plan=RecordPlan(cap=10_000), overwrite=True)
    assert path.read_bytes() == before
    assert nm.record(path, run, overwrite=True).read_bytes() == before  # the same bytes, from the same seed
    with pytest.raises(RecordingError, match=r"is no file that can be replaced"):
        nm.record(tmp_path, run, overwrite=True)
    with nm.open_recording(path) as rec:
        with pytest.raises(RecordingError, match=r"unknown w 'plastik' \(did you mean 'plastic'\?\); allowed: plastic"):
            rec.w["plastik"]
        with pytest.raises(RecordingError, match=r"no spikes of 'hidden' are kept; there are those of nobody"):
            rec.spikes("hidden")
        with pytest.raises(RecordingError, match=r"iteration 3 is not recorded; recorded: 8"):
            rec.params(3)
        with pytest.raises(RecordingError, match=r"has no 'y'; it has "):
            rec.variable("y")
    with pytest.raises(RecordingError, match=r"no recording at .*; make one with 'neurometa record RUN'"):
        nm.open_recording(tmp_path / "none.h5")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match=r"empty holds no recording; make one with"):
        nm.open_recording(tmp_path / "empty")


def test_nothing_that_is_stored_is_executed(runs, tmp_path):
    """A user's own learner has to be given again."""
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Mine(nm.PlasticLearner):
        pass

    run = runs["modulated"]
    own = nm.Run(Mine(run.learner.network), run.task, run.outer, run.params)
    nm.record(tmp_path / "a.h5", own)
    with nm.open_recording(tmp_path / "a.h5") as rec:
        with pytest.raises(RunError, match=r"the run's learner is 'custom Mine', which is not part of neurometa"):
            rec.replay()
        assert rec.replay(learner=Mine).largest == 0.0


def test_repacked_files_are_the_same_recording(recordings, tmp_path):
    path = repack(recordings["spiking"], tmp_path / "b.h5", compress=True)
    with nm.open_recording(recordings["spiking"]) as a, nm.open_recording(path) as b:
        assert a.source.names == b.source.names and a.attributes.keys() == b.attributes.keys()
        for name in (*a.source.names, *a.source.dims):
            one, other = a.variable(name), b.variable(name)
            assert one.dims == other.dims and np.array_equal(one[...], other[...])
        assert b.replay().largest == 0.0
    with pytest.raises(RecordingError, match=r"b.h5 is there already"):
        repack(recordings["spiking"], path)
    with pytest.raises(RecordingError, match=r"names that are numbers"):
        repack(recordings["spiking"], tmp_path / "0.h5")
