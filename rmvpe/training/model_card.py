"""The model card of a run: README.md beside best.safetensors, in the form that the Hugging Face hub reads.

A header in YAML (https://huggingface.co/docs/hub/model-cards), then what the run knows about its weights: nothing is
invented, and no path of this disk is in it, because a card is made to be published. The last line holds a hash of the
text: a card that somebody has edited, or any other README.md, is theirs and stays.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path

from rmvpe.checkpoint.hub import PREFIX, parse_address
from rmvpe.checkpoint.store import Checkpoint, is_name
from rmvpe.config import TrainConfig
from rmvpe.files import write_text
from rmvpe.text import printable

CARD = "README.md"
MAX_BYTES = 1 << 20  # of a file that may be a card of ours
MARK = re.compile(r"(?P<text>.*)<!-- made by rmvpe, (?P<hash>[0-9a-f]{16}) -->\n", re.DOTALL)
UNKNOWN, OTHER = "unknown", "other"  # licences, in the hub's words
# The identifiers of https://huggingface.co/docs/hub/repositories-licenses that people give to weights and recordings
LICENCES = {
    *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "unlicense", "wtfpl", "openrail"),
    *("gpl", "gpl-2.0", "gpl-3.0", "agpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "artistic-2.0", "ms-pl", "zlib"),
    *("cc", "cc0-1.0", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0"),
    *("cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("odbl", "pddl", UNKNOWN, OTHER),
}


def write_card(
    folder: Path,
    file: str,
    checkpoint: Checkpoint,
    config: TrainConfig,
    data: str,
    scores: Mapping[str, Mapping[str, float]],
) -> bool:
    """Write the card of `folder`/`file` unless a README.md of somebody else's is there; returns whether it is written.

    data: the `rmvpe.training.state.fingerprint` of the training split. scores: by voice-to-music ratio, as
    `rmvpe.evaluation.evaluate.Evaluation.pooled`; empty if nothing was validated. Raises UserError if the folder cannot
    be written.
    """
    path = folder / CARD
    if os.path.lexists(path) and not is_own_card(path):
        return False
    text = card(file, checkpoint, config, data, scores)
    write_text(path, f"{text}<!-- made by rmvpe, {_hash(text)} -->\n")
    return True


def is_own_card(path: Path) -> bool:
    """Whether a file is a card that `write_card` has written, and nobody has changed."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            return False
        match = MARK.fullmatch(path.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError):
        return False  # whatever it is, it is not ours
    return match is not None and match["hash"] == _hash(match["text"])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


def card(
    file: str, checkpoint: Checkpoint, config: TrainConfig, data: str, scores: Mapping[str, Mapping[str, float]]
) -> str:
    """The text of the card. Arguments as for `write_card`."""
    about = checkpoint.metadata
    licence, initial = about.get("licence", ""), about.get("initial", "")
    values = sum(tensor.size for tensor in checkpoint.tensors.values())
    lines = [
        *header(licence, initial),
        f"# RMVPE `{_code(checkpoint.config.name)}`, trained on {_code(data_name(config.data))}",
        "",
        "Weights that find the pitch (f0) of a voice, alone or inside music, every "
        f"{1000 * checkpoint.config.mel.hop_s:g} ms. `{file}` holds its network's config, so it needs no other file:",
        "",
        "```python",
        "import rmvpe",
        "",
        'track = rmvpe.load("hf:OWNER/REPO").from_file("song.wav")  # or the path of the file',
        "```",
        "",
        "| | |",
        "|---|---|",
        f"| network | `{_code(checkpoint.config.name)}`, {values / 1e6:.2f} million values |",
        f"| licence | {_cell(licence) if licence else 'not stated by whoever trained it'} |",
        f"| training data | {_cell(data_name(config.data))}, {_cell(data.split(',')[0])} in its training split |",
        f"| started from | {_cell(initial) if initial else 'random weights'} |",
        f"| step | {_cell(about.get('step', 'unknown'))} of {config.iterations} |",
        f"| updates | {config.batch_size} x {config.grad_accumulation} excerpts of {config.excerpt_frames} frames per "
        f"device; {config.optimizer}, learning rate {config.learning_rate:g}, schedule {config.schedule}, "
        f"loss {config.loss} |",
        f"| seed | {_cell(about.get('seed', 'unknown'))} |",
        f"| code | rmvpe, commit {_cell(about.get('git_commit', 'unknown'))} |",
        f"| voicing threshold | {_cell(about.get('threshold', 'none: give --threshold'))} |",
        f"| calibration of the confidence | {_cell(about.get('calibration', 'none: it is the salience'))} |",
        "",
        *score_table(scores),
    ]
    return "\n".join(lines) + "\n\n"


def header(licence: str, initial: str) -> list[str]:
    """The lines of the YAML header. Texts are quoted as in JSON, which YAML reads."""
    lines = ["---", "library_name: rmvpe"]
    known = licence.strip().lower()
    if not known or known in LICENCES - {OTHER}:
        lines.append(f"license: {json.dumps(known or UNKNOWN)}")
    else:
        name = re.sub(r"[^a-z0-9.]+", "-", known).strip("-") or UNKNOWN
        lines += [f"license: {OTHER}", f"license_name: {json.dumps(name)}"]
    if initial.startswith(PREFIX):
        lines.append(f"base_model: {json.dumps(parse_address(initial).repository)}")
    return [*lines, "tags:", *(f"- {tag}" for tag in ("pitch", "f0", "singing", "audio", "rmvpe")), "---", ""]


def score_table(scores: Mapping[str, Mapping[str, float]]) -> list[str]:
    """RPA and RCA by ratio, which do not depend on a threshold."""
    finite = {name: row for name, row in scores.items() if math.isfinite(row["RPA"]) and math.isfinite(row["RCA"])}
    if not finite:
        return ["Not validated: the data had no validation split."]
    return [
        "On files of the validation split, by voice-to-music ratio:",
        "",
        "| | raw pitch accuracy | raw chroma accuracy |",
        "|---|---|---|",
        *(f"| {name} | {100 * row['RPA']:.1f} % | {100 * row['RCA']:.1f} % |" for name, row in finite.items()),
    ]


def data_name(data: str) -> str:
    """The names of the data sets of a run, "KIND:NAME" where a kind is given, without the folders they are in."""
    names = []
    for part in data.split(","):
        kind, found, place = part.partition(":")
        kind = f"{kind}:" if found and re.fullmatch(r"[\w-]{2,}", kind) else ""  # one letter is a drive of Windows
        name = re.split(r"[\\/]", (place if kind else part).strip().rstrip("\\/"))[-1]
        names.append(kind + (name if name not in ("", ".", "..") else "a folder"))
    return ", ".join(names)


def initial_name(weights: str) -> str:
    """How a card calls the weights that training started from: their name, or the file's without its folder."""
    return weights if is_name(weights) else Path(os.path.abspath(weights)).name


def _code(text: str) -> str:
    return printable(text).replace("`", "'")


def _cell(text: str) -> str:
    return _code(text).replace("|", "\\|").replace("<", "&lt;")
