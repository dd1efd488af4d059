"""The shape of the house: modules import downwards only, nothing heavy is imported early, no device is named."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import neurometa

ROOT = Path(neurometa.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

#: Floor of every module or folder directly under the package; a new one has to be given its floor here.
FLOORS = {
    "errors": -1,  # what everybody may raise
    **dict.fromkeys(
        ("algebra", "callable_module", "discover", "expression", "files", "provenance", "tree", "streams"), 0
    ),
    **dict.fromkeys(("spec", "trajectory"), 1),
    **dict.fromkeys(("rules", "networks", "tasks", "data", "_download", "_mnist", "_npz", "_omniglot"), 2),
    **dict.fromkeys(("torch_engine", "brian2_engine", "recording", "outer"), 3),
    **dict.fromkeys(("learners", "analysis"), 4),
    "meta": 5,
    **dict.fromkeys(("bridge", "compare", "crosscheck", "verify", "record", "distil", "perturb", "report"), 6),
    "cli": 7,
}
#: Modules that count as one folder: data and its private helpers.
ONE = dict.fromkeys(("_download", "_mnist", "_npz", "_omniglot"), "data")
#: Imports along one floor, besides those within a folder; the last two are not in contracts.md.
ALONG = {
    ("tasks", "data"),
    ("networks", "rules"),
    ("verify", "crosscheck"),
    ("algebra", "expression"),
    ("distil", "record"),
    ("compare", "perturb"),
}


def module_name(path: Path) -> list[str]:
    parts = ["neurometa", *path.relative_to(ROOT).with_suffix("").parts]
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(path: Path) -> list[tuple[str, int]]:
    """Return every module of this package that a file imports, wherever in the file, with the line."""
    own = module_name(path)
    package = own if path.name == "__init__.py" else own[:-1]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                deeper = ROOT.joinpath(*base[1:], alias.name)
                is_module = base[:1] == ["neurometa"] and (deeper.is_dir() or deeper.with_suffix(".py").is_file())
                whole = is_module or (base == ["neurometa"] and alias.name.startswith("__"))
                found.append((".".join([*base, alias.name] if whole else base), node.lineno))
    return [(name, line) for name, line in found if name.split(".")[0] == "neurometa"]


def wrong(own: str, other: str) -> bool:
    """Whether a module under ``own`` may not import one under ``other``."""
    own, other = ONE.get(own, own), ONE.get(other, other)
    if own == other:
        return False
    return FLOORS[other] > FLOORS[own] or (FLOORS[other] == FLOORS[own] and (own, other) not in ALONG)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downwards_only(path):
    name = module_name(path)
    if len(name) == 1:
        return  # the package itself gathers names from every floor, on first use
    assert name[1] in FLOORS, f"{name[1]} has no floor: give it one in tests/test_floors.py and in contracts.md"
    for target, line in imported(path):
        if target == "neurometa.__version__":
            continue
        assert target != "neurometa", f"{path.name}:{line} imports the package itself; import the module that is meant"
        other = target.split(".")[1]
        message = f"{'.'.join(name)}:{line} (floor {FLOORS[name[1]]}) imports {target} (floor {FLOORS.get(other)})"
        assert not wrong(name[1], other), message


def test_strategies_import_their_base_and_not_each_other():
    for folder in ("learners", "outer", "tasks", "rules"):
        files = [path for path in FILES if module_name(path)[1:2] == [folder] and path.name != "__init__.py"]
        strategies = {path.stem for path in files if path.stem != "base" and not path.stem.startswith("_")}
        for path in files:
            near = [t.split(".")[2] for t, _ in imported(path) if t.startswith(f"neurometa.{folder}.")]
            assert not strategies & set(near) - {path.stem}, f"{path.name} imports {near}"


def test_the_test_sees_what_it_should(tmp_path, monkeypatch):
    for own, other, expected in (
        ("spec", "expression", False),
        ("expression", "spec", True),
        ("torch_engine", "learners", True),
        ("networks", "rules", False),
        ("rules", "networks", True),
        ("tasks", "data", False),
        ("data", "tasks", True),
        ("outer", "torch_engine", True),
        ("cli", "meta", False),
        ("meta", "cli", True),
    ):
        assert wrong(own, other) is expected
    found = [name for name, _ in imported(ROOT / "learners" / "base.py")]
    assert {"neurometa.spec", "neurometa.tasks.base", "neurometa.torch_engine.params", "neurometa.tree"} <= set(found)
    assert ("neurometa.discover") in [name for name, _ in imported(ROOT / "rules" / "__init__.py")]


def run(code: str) -> str:
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_nothing_heavy_is_imported_early():
    """In one process, from the lightest to the heaviest; what torch itself brings along does not count."""
    modules = ["", *(f".{name}" for name in ("spec", "tasks", "networks", "torch_engine", "outer", "learners", "meta"))]
    code = (
        "import importlib, sys, torch\n"
        "before = set(sys.modules)\n"
        f"for module in {modules}:\n"
        "    importlib.import_module('neurometa' + module)\n"
        "    print(module or '.', *sorted(set(sys.modules) - before))"
    )
    for line in run(code).splitlines():
        module, *loaded = line.split()
        assert not {"brian2", "matplotlib", "scipy.stats", "h5py", "sympy", "pandas", "torch._dynamo"} & {*loaded}, (
            module
        )
    assert "neurometa.meta.train" in loaded


def test_importing_the_package_is_quick():
    code = "import torch, time; t = time.perf_counter(); import neurometa; print(time.perf_counter() - t)"
    assert min(float(run(code)) for _ in range(2)) < 0.5


def test_every_public_name_can_be_had():
    for name in neurometa.__all__:
        assert getattr(neurometa, name) is not None
    assert set(neurometa.__all__) <= set(dir(neurometa))
    with pytest.raises(AttributeError, match="module 'neurometa' has no attribute 'plastik'"):
        _ = neurometa.plastik


#: Where a precision is chosen on purpose. Nobody else names one: it comes with the parameters and inputs.
FORMATS = {
    "torch_engine/trunk.py": {"bfloat16"},  # the user asks for it by ConvTrunk(precision=)
    "torch_engine/masks.py": {"float64"},  # a draw on the CPU
    "torch_engine/exact.py": {"float64", "double"},  # constants of the exact method, whatever the activity has
    "tasks/sinusoid.py": {"double"},  # a draw on the CPU
    "meta/evaluate.py": {"double"},  # statistics of scores, in numpy
    "crosscheck.py": {"double"},  # Brian2 computes in float64
    **{f"verify/{name}.py": {"double"} for name in ("long", "networks", "rates", "spikes")},
    **{f"analysis/{name}.py": {"double"} for name in ("rule_card", "timing")},  # dw is a difference of weights
    **{f"compare/{name}.py": {"double"} for name in ("episodes", "training")},  # draws on the CPU
    "compare/conditions.py": {"double"},  # a draw on the CPU, and statistics of scores, in numpy
    "compare/comparison.py": {"double"},  # the fingerprint of parameters
    "record/content.py": {"half"},  # the user asks for it by float16
    "cli/export.py": {"double"},  # the script is compared with float64
    "cli/crosscheck.py": {"double", "float"},  # compares the two
    "cli/train.py": {"double"},  # the user asks for it by --float64
}
PRECISIONS = re.compile(r"(float|double|half|bfloat|cfloat|cdouble|complex)\d*(_e\w+)?")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_device_and_no_precision_is_named(path):
    where = path.relative_to(ROOT).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        line = f"{where}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
            named = PRECISIONS.fullmatch(node.attr) and node.attr not in FORMATS.get(where, ())
            assert not named, f"{line} names torch.{node.attr}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            changed = node.func.attr in ("cuda", "half", "float", "double", "bfloat16")
            assert not changed or node.func.attr in FORMATS.get(where, ()), f"{line} calls .{node.func.attr}()"
            for given in node.args if node.func.attr in ("to", "device") else ():
                assert not _text(given), f"{line} names a device"
        if isinstance(node, ast.keyword) and node.arg == "device":
            assert not _text(node.value), f"{line} names a device"


def _text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
