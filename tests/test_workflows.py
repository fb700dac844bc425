"""Workflows, hooks and the citation parse, and what they name exists: targets of make, scripts, extras, versions."""

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.paths import ROOT

WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.yml"))
FORMS = sorted(path for path in ROOT.glob(".github/ISSUE_TEMPLATE/*.yml") if path.name != "config.yml")
MAKE = re.compile(r"(?:^|[;&|] *)make ([\w -]+)", re.MULTILINE)
SCRIPT = re.compile(r"(?<![\w/.])((?:scripts|benchmarks)/[\w./-]+)")
PYTHONS = re.compile(r"Programming Language :: Python :: (3\.\d+)")


@cache
def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read(path)["jobs"]
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in jobs(path).values() for step in job["steps"]]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def pyproject() -> dict[str, Any]:
    if sys.version_info < (3, 11):
        pytest.skip("tomllib is in the standard library from Python 3.11 on")
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pins() -> dict[str, str]:
    """Package -> version in constraints.txt; the first, where markers choose among several."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [re.match(r"([\w.-]+)==([^;\s]+)", line) for line in lines]
    return {match[1].lower(): match[2] for match in reversed(found) if match}


def matrix() -> dict[str, Any]:
    found: dict[str, Any] = jobs(ROOT / ".github/workflows/tests.yml")["tests"]["strategy"]["matrix"]
    return found


def test_the_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["docs", "release", "tests"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_what_a_step_runs_exists(path: Path) -> None:
    commands = [step["run"] for step in steps(path) if "run" in step]
    assert commands
    for command in commands:
        for targets in MAKE.findall(command):
            assert set(targets.split()) <= make_targets(), command
        for script in SCRIPT.findall(command):
            assert (ROOT / script).is_file(), command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_do_little_and_ends(path: Path) -> None:
    """Read-only by default, a time limit for every job, one run of a kind at a time, actions of a fixed version."""
    assert read(path)["permissions"] == {"contents": "read"}
    assert "group" in read(path)["concurrency"]
    assert all(0 < job["timeout-minutes"] <= 60 for job in jobs(path).values())
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert all(re.search(r"@(v\d+|release/v\d+|[0-9a-f]{40})$", action) for action in used), used
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", [*WORKFLOWS, ROOT / ".pre-commit-config.yaml"], ids=lambda path: path.name)
def test_no_other_host_is_named(path: Path) -> None:
    assert "://" not in path.read_text(encoding="utf-8")


def test_only_the_jobs_that_publish_may_identify_themselves() -> None:
    named = {
        f"{path.stem}/{name}"
        for path in WORKFLOWS
        for name, job in jobs(path).items()
        if "id-token" in job.get("permissions", {})
    }
    assert named == {"docs/publish", "release/publish"}


def test_the_matrix_has_the_systems_the_pythons_and_the_flavours() -> None:
    assert matrix()["os"] == ["ubuntu-latest", "macos-latest", "windows-latest"]
    classifiers = PYTHONS.findall("\n".join(pyproject()["project"]["classifiers"]))
    assert matrix()["python"] == classifiers
    assert pyproject()["project"]["requires-python"] == f">={classifiers[0]}"
    flavours = {"core", "torch", "jax", "onnx", "all"}
    assert {row["flavour"] for row in matrix()["include"]} == set(matrix()["flavour"]) == flavours


def test_a_flavour_installs_no_other_runtime() -> None:
    """Neither by its own extras nor by what these ask for."""
    project = pyproject()["project"]
    runtimes = {
        "core": set(),
        "torch": {"torch"},
        "jax": {"jax", "flax", "optax", "orbax-checkpoint"},
        "onnx": {"onnx", "onnxruntime"},
    }
    for row in matrix()["include"]:
        extras = row["extras"].split(",")
        assert set(extras) <= set(project["optional-dependencies"]), row
        if row["flavour"] == "all":
            continue
        requirements = [name for extra in extras for name in project["optional-dependencies"][extra]]
        names = {re.split(r"[\[<>=; ]", requirement)[0] for requirement in (*requirements, *project["dependencies"])}
        assert names & set().union(*runtimes.values()) == runtimes[row["flavour"]], row


def test_hooks_run_the_pinned_versions() -> None:
    hooks = [hook for repo in read(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in read(ROOT / ".pre-commit-config.yaml")["repos"]} == {"local"}
    assert {hook["id"] for hook in hooks} == {"ruff-check", "ruff-format", "mypy"}
    for hook in hooks:
        for requirement in hook.get("additional_dependencies", []):
            name, _, version = requirement.partition("==")
            assert version == pins()[name], requirement


def test_every_tool_of_a_contributor_is_pinned() -> None:
    assert {"pytest", "pytest-cov", "coverage", "pre-commit", "ruff", "mypy"} <= set(pins())


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_an_issue_form_can_be_filled_in(path: Path) -> None:
    form = read(path)
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names) > 0
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_the_citation_is_that_of_this_version() -> None:
    import rmvpe

    citation = read(ROOT / "CITATION.cff")
    assert citation["version"] == rmvpe.__version__
    assert citation["license"] == pyproject()["project"]["license"]
    (paper,) = citation["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Wei", "Cao", "Dan", "Chen"]
    assert paper["doi"].startswith("10.21437/")
