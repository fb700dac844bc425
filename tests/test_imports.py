"""Who may import whom, file by file: layers, rooms, no circle; and what `import rmvpe` loads.

Layers: standard library, numpy, host libraries, one runtime, several runtimes. A file imports its own layer or lower
ones. Imports inside functions count as well.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from rmvpe.backends import BACKENDS, MODULES
from rmvpe.backends import PACKAGES as PACKAGE_OF
from tests.helpers.paths import ROOT

STANDARD = set(sys.stdlib_module_names)
PACKAGES = ("rmvpe", "rmvpe_torch", "rmvpe_jax", "rmvpe_ort", "convert")
HOST_LIBRARIES = {
    "absl",
    "av",
    "grain",
    "huggingface_hub",
    "matplotlib",
    "mido",
    "mir_eval",
    "pandas",
    "pyworld",
    "shtab",
    "soundfile",
    "soxr",
    "tensorboardX",
    "tqdm",
}
TORCH = {"torch", "torch_sdaa", "packaging"}
ONNX = {"onnx", "onnxruntime"}
JAX = {"jax", "flax", "optax", "orbax", "tensorstore"}
# Other projects' trackers, for comparison, inside the functions that start them
PEERS = {"torch", "torchfcpe", "swift_f0", "torchcrepe", "pesto", "parselmouth", "librosa"}
TRACKERS = "rmvpe/evaluation/trackers/adapters.py"
# Tensors of torch, for other projects that hand them or must get them
TENSORS = "rmvpe/hosts/tensors.py"

# Folder or file -> what else of this project its files may import; the longest name that fits counts.
# "rmvpe" are the files right under rmvpe/.
ROOMS: dict[str, set[str]] = {
    "rmvpe": {"rmvpe", "rmvpe/checkpoint", "rmvpe/notes", "rmvpe/pictures", "rmvpe/sound"},
    "rmvpe/pictures": {"rmvpe", "rmvpe/notes", "rmvpe/pictures"},
    "rmvpe/sound": {"rmvpe", "rmvpe/sound"},
    "rmvpe/checkpoint": {"rmvpe", "rmvpe/checkpoint"},
    "rmvpe/notes": {"rmvpe", "rmvpe/notes", "rmvpe/pictures"},
    "rmvpe/data": {"rmvpe", "rmvpe/data", "rmvpe/notes", "rmvpe/sound"},
    "rmvpe/evaluation": {
        "rmvpe",
        "rmvpe/checkpoint",
        "rmvpe/data",
        "rmvpe/evaluation",
        "rmvpe/notes",
        "rmvpe/pictures",
    },
    "rmvpe/training": {
        "rmvpe",
        "rmvpe/checkpoint",
        "rmvpe/data",
        "rmvpe/evaluation",
        "rmvpe/pictures",
        "rmvpe/training",
    },
    "rmvpe/hosts": {"rmvpe", "rmvpe/checkpoint", "rmvpe/hosts"},
    "rmvpe/cli": {"*"},
    "rmvpe/__main__.py": {"*"},
    "rmvpe_torch": {"rmvpe", "rmvpe/checkpoint", "rmvpe/data", "rmvpe/evaluation", "rmvpe/training", "rmvpe_torch"},
    "rmvpe_jax": {"rmvpe", "rmvpe/checkpoint", "rmvpe/data", "rmvpe/evaluation", "rmvpe/training", "rmvpe_jax"},
    "rmvpe_ort": {"rmvpe", "rmvpe/checkpoint", "rmvpe/evaluation", "rmvpe_ort"},
    "convert": {
        "rmvpe",
        "rmvpe/checkpoint",
        "rmvpe/evaluation",
        "rmvpe/training",
        "rmvpe_torch",
        "rmvpe_jax",
        "convert",
    },
}
LIBRARIES: dict[str, set[str]] = {
    "rmvpe": HOST_LIBRARIES,
    "rmvpe_torch": TORCH,
    "rmvpe_jax": JAX,
    "rmvpe_ort": ONNX,
    "convert": set(),
}
# These decide what the answer is: numpy is all they need
NUMPY_ONLY = {
    *(
        f"rmvpe/{name}.py"
        for name in ("config", "config_check", "errors", "pitch", "interpolation", "framing", "mel", "decode")
    ),
    *(f"rmvpe/{name}.py" for name in ("backends", "calibration", "chunked_gru", "high_register", "processes")),
    "rmvpe/accelerators.py",
    "rmvpe/arguments.py",
    "rmvpe/arrays.py",
    "rmvpe/salience.py",
    "rmvpe/text.py",
    "rmvpe/track.py",
    "rmvpe/track_files.py",
    "rmvpe/viterbi.py",
    "rmvpe/checkpoint/architecture.py",
    "rmvpe/checkpoint/flops.py",
    "rmvpe/hosts/curves.py",
    *(f"rmvpe/notes/{name}.py" for name in ("find", "loudness", "note", "notes", "settings")),
    *(f"rmvpe/notes/{name}.py" for name in ("check", "display", "files", "options", "tables")),
    *(f"rmvpe/notes/{name}.py" for name in ("audacity", "diffsinger", "praat", "timeline", "transcriptions")),
    "rmvpe_jax/params.py",
}


def source_files() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


FILES = source_files()


def imports(path: str, *, at_import: bool = False) -> set[str]:
    """Dotted names of what a file imports: anywhere, or only what importing it runs (no functions, no types)."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    names: set[str] = set()
    nodes = [node for node in tree.body if not isinstance(node, (ast.If, ast.FunctionDef, ast.ClassDef))]
    for node in nodes if at_import else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the layer"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def file_of(name: str) -> str | None:
    """The file of this project that defines the dotted name, None for a library's."""
    parts = name.split(".")
    if parts[0] not in PACKAGES:
        return None
    for length in range(len(parts), 0, -1):
        stem = "/".join(parts[:length])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in FILES:
                return path
    raise AssertionError(f"{name} is in no file")


def room_of(path: str) -> str:
    return next(room for room in sorted(ROOMS, key=len, reverse=True) if path == room or path.startswith(f"{room}/"))


def edges(path: str) -> set[str]:
    return {found for name in imports(path) if (found := file_of(name)) is not None} - {path}


@pytest.mark.parametrize("path", FILES)
def test_a_file_imports_its_own_room_or_lower_ones(path: str):
    # The table of public names may name any room below the commands: it imports nothing by itself
    allowed = ROOMS[room_of(path)] | ({"rmvpe/hosts"} if path == "rmvpe/__init__.py" else set())
    wrong = [other for other in edges(path) if "*" not in allowed and room_of(other) not in allowed]
    assert not wrong, f"{path} imports {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES)
def test_a_file_imports_the_libraries_of_its_layer(path: str):
    package = path.split("/")[0]
    found = {name.split(".")[0] for name in imports(path)} - STANDARD - {"numpy", *PACKAGES}
    allowed = LIBRARIES[package] | (PEERS if path == TRACKERS else {"torch"} if path == TENSORS else set())
    if room_of(path) == "rmvpe/cli":
        allowed |= TORCH | JAX | ONNX
    assert not found - allowed, f"{path} imports {sorted(found - allowed)}"


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith(("rmvpe/", "convert/"))])
def test_libraries_are_imported_where_they_are_needed(path: str):
    """Inside functions, so that importing a module of the core costs numpy and nothing else."""
    found = {name.split(".")[0] for name in imports(path, at_import=True)} - STANDARD - {"numpy", *PACKAGES}
    assert not found, f"{path} imports {sorted(found)} when it is imported"


@pytest.mark.parametrize("path", sorted(NUMPY_ONLY))
def test_what_decides_the_answer_needs_numpy_alone(path: str):
    assert path in FILES
    assert {name.split(".")[0] for name in imports(path)} - STANDARD <= {"numpy", "rmvpe"}


def test_only_the_commands_import_convert():
    for path in FILES:
        if not path.startswith(("convert/", "rmvpe/cli/")) and path != "rmvpe/__main__.py":
            assert not any(other.startswith("convert/") for other in edges(path)), path


def test_there_is_no_import_circle():
    graph = {path: edges(path) for path in FILES}
    while leaves := [path for path, others in graph.items() if not others]:
        graph = {path: others.difference(leaves) for path, others in graph.items() if path not in leaves}
    assert not graph, f"these files import each other in a circle: {sorted(graph)}"


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return result.stdout.strip()


@pytest.mark.parametrize(("use", "loaded"), [("pass", set()), ("rmvpe.load, rmvpe.audio.read", {"numpy"})])
def test_import_rmvpe_loads_no_library_and_its_names_only_numpy(use: str, loaded: set[str]):
    code = f"import rmvpe, sys; {use}; print(' '.join(sorted({{name.split('.')[0] for name in sys.modules}})))"
    assert (TORCH | JAX | HOST_LIBRARIES | PEERS | {"numpy"}) & set(run(code).split()) == loaded


@pytest.mark.parametrize("name", BACKENDS)
def test_a_runtime_never_loads_another(name: str):
    pytest.importorskip(MODULES[name])
    absent = [MODULES[other] for other in BACKENDS if other != name]
    assert run(f"import {PACKAGE_OF[name]}.infer, sys; print({{*{absent}}} & {{*sys.modules}})") == "set()"


def test_every_package_is_typed():
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file(), package


def test_no_file_lies_outside_a_package():
    """A folder without __init__.py would be left out of the wheel."""
    for path in FILES:
        assert (ROOT / Path(path).parent / "__init__.py").is_file(), path
