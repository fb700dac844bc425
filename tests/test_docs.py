"""What README, docs and run cards name exists: links, files, commands, flags, messages; no private words return."""

import argparse
import pkgutil
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from rmvpe.backends import MODULES, PACKAGES, is_installed
from rmvpe.cli.main import PROGRAM
from rmvpe.program import whole_parser
from tests.helpers.messages import occurs, pattern_of, user_messages
from tests.helpers.paths import DEMO_RECORDING, ROOT

PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("*/README.md"))]
PAGES.append(ROOT / "rmvpe" / "weights" / "README.md")
PAGES += [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
CARDS = sorted(ROOT.glob("configs/*.py"))
FOLDERS = (
    "rmvpe",
    "rmvpe_torch",
    "rmvpe_jax",
    "rmvpe_ort",
    "convert",
    "scripts",
    "benchmarks",
    "configs",
    "tests",
    "docs",
    "examples",
)

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```[a-z]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
COMMAND = re.compile(
    r"^(?:python (?:-m )?|torchrun .*?(?=scripts/))?(rmvpe|convert|(?:scripts|benchmarks)/\w+\.py)((?: [^\n#&|]*)?)",
    re.MULTILINE,
)
SCRIPT_FLAG = re.compile(r"(?<!\S)(--?[A-Za-z][\w-]*)")


def pieces_of_code(text: str) -> list[str]:
    """The code blocks and the inline code of a page; lines that a backslash continues are joined."""
    return [(block or inline).replace("\\\\\n", " ").replace("\\\n", " ") for block, inline in CODE.findall(text)]


def anchor(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The anchors of all headings of a page."""
    return {anchor(text) for text in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)}


def commands(path: Path) -> set[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(program, words before the first flag, flags) of each command line that a page or a run card shows."""
    text = path.read_text(encoding="utf-8")
    texts = (
        pieces_of_code(text) if path.suffix == ".md" else [re.sub(r"^ +", "", text.replace("\\\\\n", " "), flags=re.M)]
    )
    found = set()
    for piece in texts:
        for program, rest in COMMAND.findall(piece):
            flags = tuple(sorted({flag for flag in SCRIPT_FLAG.findall(re.sub(r"'[^']*'|\"[^\"]*\"", "", rest))}))
            words = tuple(re.split(r" -|$", rest, maxsplit=1)[0].split())
            found.add((program, words, flags))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"https?://", link):
            continue
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if heading:
            assert heading in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_files_are_in_the_repository(page: Path) -> None:
    path = re.compile(rf"(?<![\w/.:-])((?:{'|'.join(FOLDERS)})/[\w./-]*\w)(#[\w-]+)?")
    for name, heading in path.findall(page.read_text(encoding="utf-8")):
        assert name == "examples/s" or (ROOT / name).exists(), name  # examples/s is a unit
        assert not heading or heading[1:] in anchors(ROOT / name), name + heading


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_modules_and_functions_exist(page: Path) -> None:
    dotted = re.compile(r"`(rmvpe(?:_torch|_jax|_ort)?(?:\.[A-Za-z_]\w*)+)")
    for name in dotted.findall(page.read_text(encoding="utf-8")):
        backend = next((key for key, package in PACKAGES.items() if package == name.partition(".")[0]), None)
        if backend and not is_installed(MODULES[backend]):
            continue
        if not name.endswith((".pt", ".zip", ".onnx")):  # files of other projects
            pkgutil.resolve_name(name)


def test_scripts_that_the_code_names_exist() -> None:
    script = re.compile(r"(?<![\w/.])((?:scripts|benchmarks)/\w+\.py)")
    for path in text_files():
        for name in script.findall(path.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{path.relative_to(ROOT)}: {name}"


def rmvpe_flags(words: tuple[str, ...]) -> set[str]:
    """The flags of the command that `rmvpe` and these words name."""
    parser: argparse.ArgumentParser = whole_parser("rmvpe", PROGRAM)
    for word in words:
        groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        if not groups:
            break
        assert word in groups[0].choices, f"{parser.prog} {word}"
        parser = groups[0].choices[word]
    return set(parser._option_string_actions)


@cache
def script_help(program: str) -> str:
    """What a script prints for --help."""
    done = subprocess.run([sys.executable, ROOT / program, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_and_their_flags_exist() -> None:
    shown = [(page, *command) for page in (*PAGES, *CARDS) for command in commands(page)]
    assert len(shown) > 40  # the pattern finds command lines at all
    for page, program, words, flags in shown:
        if program.endswith(".py"):
            known = set(SCRIPT_FLAG.findall(re.sub(r"[\[\],|]", " ", script_help(program))))
        else:
            known = rmvpe_flags(("convert", *words) if program == "convert" else words)
        missing = set(flags) - known
        assert not missing, f"{page.relative_to(ROOT)} shows {program} {' '.join((*words, *missing))}"


def test_quoted_messages_are_raised_by_the_code() -> None:
    page = ROOT / "docs" / "troubleshooting.md"
    quoted = re.findall(r"^- `(.*)`$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(quoted) > 80  # the pattern finds the messages at all
    assert [message for message in quoted if not occurs(message)] == []
    assert not occurs("… cannot be read as music")


def test_every_message_of_a_users_mistake_is_answered() -> None:
    page = ROOT / "docs" / "troubleshooting.md"
    quoted = re.findall(r"^- `(.*)`$", page.read_text(encoding="utf-8"), re.MULTILINE)
    patterns = [pattern_of(quote) for quote in quoted]
    assert all(len(re.findall("[A-Za-z]{2,}", quote)) >= 2 for quote in quoted)  # a single word would answer anything
    messages = user_messages()
    assert len(messages) > 250
    missing = {place: text for text, place in messages.items() if not any(found.search(text) for found in patterns)}
    assert missing == {}


@pytest.mark.skipif(not is_installed("torch"), reason="torch is not installed")  # one of the pages asks for it
@pytest.mark.parametrize("name", ["notebook", "embed"])
def test_python_of_the_first_pages_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "start" / f"{name}.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) > 2
    shutil.copy(DEMO_RECORDING, tmp_path / "song.wav")  # libsndfile recognises a file by its content
    monkeypatch.chdir(tmp_path)
    samples, sample_rate = soundfile.read("song.wav")
    names = {"samples": samples, "sample_rate": sample_rate}
    names |= {"reference_time_s": np.arange(900) * 0.01, "reference_f0_hz": np.full(900, 400.0)}
    for block in blocks:
        # What only a notebook has: it shows a picture and plays a sound
        lines = [line for line in block.splitlines() if not re.match(r"from IPython|Image\(|Audio\(", line)]
        exec("\n".join(lines), names)


ONNX_PAGE = ROOT / "docs" / "onnx-files.md"


def test_the_flags_for_other_programs_exist() -> None:
    page = ONNX_PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\|[^|]+\| `(r\S+\.onnx[^`|]*)` \|", page, re.MULTILINE | re.IGNORECASE)
    assert len(rows) > 6
    parser = whole_parser("rmvpe", PROGRAM)
    for row in rows:
        arguments = parser.parse_args(["export", "onnx", "-o", *row.split()])
        if is_installed("onnx") and is_installed("onnxruntime"):
            export_settings(arguments)


def export_settings(arguments: argparse.Namespace) -> Any:
    """What the flags mean; raises UserError if they do not go together."""
    from rmvpe_ort.export import ExportSettings

    threshold_for = None if arguments.threshold_for == "own" else float(arguments.threshold_for)
    return ExportSettings(
        kind=arguments.kind,
        threshold_for=threshold_for,
        salience_for=arguments.salience_for,
        input_name=arguments.input_name,
        output_name=arguments.output_name,
    )


def test_python_of_the_page_of_onnx_files_runs_and_its_thresholds_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from rmvpe.checkpoint.store import load
    from rmvpe_ort.export import build, logit, threshold_shift

    monkeypatch.chdir(tmp_path)
    checkpoint = load("small")
    Path("rmvpe.onnx").write_bytes(build(checkpoint).SerializeToString())
    names = {"samples": np.zeros(1600, np.float32)}
    page = ONNX_PAGE.read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert names["uv"].all()

    shift = threshold_shift(checkpoint, 0.03)
    shown = re.findall(r"(\d\.\d+)\s(?:means|to\smean)\s(\d\.\d+)", page)
    assert len(shown) == 4
    for number, confidence in shown:
        assert 1 / (1 + np.exp(-(logit(float(number)) + shift))) == pytest.approx(float(confidence), abs=0.005)


def text_files() -> list[Path]:
    """Every source and page of the checkout but this file."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md", ".cpp")]
    return [path for path in (*files, ROOT / "README.md", ROOT / "Makefile") if path != Path(__file__).resolve()]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (r"pip install ['\"]?rmvpe\b", "the package is on no index: name the missing library"),
        (r"\.\./shared|FACTS\.md|HOSTS\.md|ARCHITECTURE\.md", "a clone has no such folder"),
        (
            r"\broll_call\b|\bMadeFolder\b|\bTOLD_LINES\b|\bobey_launcher\b|\blast_words\b|\bnothing_yet\b"
            r"|\bSTRANGER_S\b|\bTakeExcerpt\b|\bStretches\b|\bone_copy\b|\bculprit\b",
            "a private word where the field has a term",
        ),
    ],
)
def test_no_such_words(words: str, why: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in text_files()
        for match in re.finditer(words, path.read_text(encoding="utf-8"))
    ]
    assert not found, why
