"""What is fuzzed: for each kind of input, the undamaged files, how they are damaged, and what reads them.

A case is fine if it ends in a result or in a `UserError` (with FileNotFoundError for what is missing). For command
lines it is an exit code of 0, 1 or 2 without a traceback.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmvpe.checkpoint.architecture import expected_tensors
from rmvpe.checkpoint.store import Checkpoint, save
from rmvpe.config import ModelConfig, TrainConfig
from rmvpe.config_check import to_json
from rmvpe.errors import UserError
from tests.fuzz import mutations
from tests.fuzz.notes import read_note_file, write_note_files

TINY = ModelConfig(
    name="tiny", levels=2, blocks=1, inter_layers=1, channels=2, head_channels=1, gru_hidden=4, dropout=0.0
)
Mutate = Callable[[np.random.Generator, bytes], bytes]


@dataclass
class Target:
    """One kind of input. `write` makes the undamaged files in a folder; `read` takes a damaged one."""

    write: Callable[[Path], None]
    read: Callable[[Path], object]
    mutate: Callable[[str], Mutate]
    allowed: tuple[type[BaseException], ...] = (UserError, FileNotFoundError)
    watched: Sequence[str] = ()  # modules whose functions must stay as they are
    originals: dict[str, bytes] = field(default_factory=dict)
    folder: Path | None = None

    def prepare(self, folder: Path) -> None:
        """Make the undamaged files, and read each once, so that imports are done."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.write(folder)
        self.originals = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
        for path in sorted(folder.iterdir()):
            self.read(path)

    def make(self, rng: np.random.Generator, folder: Path) -> Path:
        """Write a damaged file; its name may belong to another kind."""
        names = sorted(self.originals)
        name = names[int(rng.integers(len(names)))]
        data = self.mutate(name)(rng, self.originals[name])
        other = names[int(rng.integers(len(names)))] if rng.random() < 0.05 else name
        path = folder / other
        path.write_bytes(data)
        return path

    def run(self, case: Path) -> str:
        """Read it."""
        self.read(case)
        return ""

    def fingerprint(self) -> object:
        """The state of the functions of the watched modules."""
        found = []
        for module in self.watched:
            for name, value in sorted(vars(sys.modules[module]).items()):
                if isinstance(value, types.FunctionType):
                    found.append((name, id(value.__code__), repr(value.__defaults__), repr(value.__kwdefaults__)))
                    found.append((name, 0, repr(sorted(vars(value))), ""))
                elif isinstance(value, type) and value.__module__ == module:
                    found.append((name, 0, repr(sorted(vars(value))), ""))
        return found


class CommandLines(Target):
    """Random flags and values for every command that does not download, measure or start processes."""

    def prepare(self, folder: Path) -> None:
        """As for files; then one command, so that imports are done."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        write_command_files(folder)
        self.flags = {name: flags_of(name) for name in COMMANDS}
        files = " ".join(sorted(path.name for path in folder.iterdir()))
        assert self.run_command(["predict", "a.wav", "-o", "o.csv", "--weights", "tiny.pt"], folder) == "", files

    def make(self, rng: np.random.Generator, folder: Path) -> Path:
        """A folder to work in, with the command line in it."""
        (folder / "work").mkdir()
        write_command_files(folder / "work")
        command = sorted(COMMANDS)[int(rng.integers(len(COMMANDS)))]
        argv = [*command.split(), *COMMANDS[command]]
        flags = self.flags[command]
        for _ in range(int(rng.integers(0, 6))):
            flag, takes_value = flags[int(rng.integers(len(flags)))]
            argv += [flag, str(rng.choice(VALUES))] if takes_value else [flag]
        if rng.random() < 0.3:
            argv[int(rng.integers(len(argv)))] = str(rng.choice(VALUES))
        (folder / "argv.json").write_text(json.dumps(argv))
        return folder

    def run(self, case: Path) -> str:
        """Run the command."""
        return self.run_command(json.loads((case / "argv.json").read_text()), case / "work")

    def run_command(self, argv: list[str], folder: Path) -> str:
        """What was wrong with a command in `folder`."""
        from rmvpe.cli.main import main

        out, errors, before = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                try:
                    code: object = main(argv)
                except SystemExit as stop:  # --help and --version
                    code = stop.code
        finally:
            os.chdir(before)
        said = errors.getvalue()
        if code not in (0, 1, 2, None) or "Traceback" in said or BUG in said:
            return f"{argv} gave {code}: {said}"
        return f"{argv} gave {code} and said nothing" if code and not said + out.getvalue() else ""


BUG = "--debug"  # what an exception that nobody expected is reported with
COMMANDS = {
    "predict": ["a.wav", "-o", "out.csv", "--weights", "tiny.pt"],
    "predict .": ["-o", "out", "--weights", "tiny.pt"],
    "evaluate": ["--data", "folder:.", "--weights", "tiny.pt"],
    "convert inspect": ["tiny.pt"],
    "convert torch2jax": ["tiny.pt", "-o", "converted"],
    "convert jax2torch": ["tiny.safetensors", "-o", "converted.pt"],
    "convert verify": ["tiny.pt", "tiny.safetensors"],
    "train torch": ["--data", "no-such-folder"],
    "train jax": ["--data", "no-such-folder"],
    "info": [],
}
VALUES = (
    *mutations.TOKENS, "a.wav", "a.csv", "tiny.pt", "tiny.safetensors", ".", "..", "/", "/dev/null",
    "/dev/zero", "fifo", "-", "--", "cpu", "cuda:9", "jax", "torch", "out/", "out.npz", "x" * 300, "mean",
    "0.5", "9999999999999999999999", "broken.wav", "linked.csv", "config.py", "config.json", "folder:.",
    "small", "e2e", "http://localhost:1/x", "~", "$HOME", "*", "a b.wav", "1e-3", "-5", "∞",
)  # fmt: skip


def flags_of(command: str) -> list[tuple[str, bool]]:
    """The flags of a command and whether each takes a value."""
    from rmvpe.cli.main import PROGRAM
    from rmvpe.program import Group, Parser, chosen

    entry: Any = PROGRAM
    for word in command.split():
        if isinstance(entry, Group):
            entry = chosen(entry, word)
    parser = Parser(prog=command)
    entry.add_arguments(parser)
    wrong = {"--nproc_per_node", "-npn", "--processes", "--help", "-h"}  # these start processes
    found: list[tuple[str, bool]] = []
    for action in parser._actions:
        takes = not isinstance(action, argparse._StoreTrueAction | argparse._StoreFalseAction | argparse._CountAction)
        found += [(flag, takes) for flag in action.option_strings if flag not in wrong]
    return found or [("--help", False)]


def tone(seconds: float, rate: int = 16_000) -> np.ndarray:
    """A harmonic tone, float64 [samples]."""
    time_s = np.arange(round(seconds * rate)) / rate
    return np.asarray(sum(0.2 / k * np.sin(2 * np.pi * 220 * k * time_s) for k in range(1, 10)))


def write_sounds(folder: Path) -> None:
    """A third of a second in every format that can be written here."""
    import soundfile

    for suffix, container, subtype in (
        ("wav", "WAV", "PCM_16"), ("24.wav", "WAV", "PCM_24"), ("float.wav", "WAV", "FLOAT"),
        ("gsm.wav", "WAV", "GSM610"), ("ima.wav", "WAV", "IMA_ADPCM"), ("x.wav", "WAVEX", "PCM_16"),
        ("flac", "FLAC", "PCM_16"), ("ogg", "OGG", "VORBIS"), ("opus", "OGG", "OPUS"), ("mp3", "MP3", None),
        ("aiff", "AIFF", "PCM_16"), ("au", "AU", "PCM_16"), ("caf", "CAF", "PCM_16"), ("w64", "W64", "PCM_16"),
        ("rf64", "RF64", "PCM_16"), ("voc", "VOC", "PCM_16"),
    ):  # fmt: skip
        soundfile.write(folder / f"tone.{suffix}", tone(0.35), 16_000, format=container, subtype=subtype)
    write_encoded(folder)


def write_encoded(folder: Path) -> None:
    """The same in formats that PyAV writes, if it is installed."""
    try:
        import av
    except ImportError:
        return
    samples = (32_000 * tone(0.35, 48_000)).astype(np.int16)[None]
    for suffix, codec in (("m4a", "aac"), ("mp4", "aac"), ("webm", "libopus"), ("mkv", "aac"), ("wma", "wmav2")):
        with av.open(str(folder / f"tone.{suffix}"), "w") as out:
            stream = out.add_stream(codec, rate=48_000, layout="mono")
            assert isinstance(stream, av.AudioStream)
            stream.bit_rate = 64_000
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate = 48_000
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                out.mux(packet)


def read_sound(path: Path) -> None:
    """What predict and training do with a recording."""
    from rmvpe import audio
    from rmvpe.data.readers.base import read_audio

    recording = audio.read(path)
    assert recording.samples.dtype == np.float32
    assert np.isfinite(recording.samples).all()
    assert len(recording.samples) < 600 * 16_000
    if path.suffix in (".wav", ".flac"):
        read_audio(path, 0.05, 0.1)


def write_labels(folder: Path) -> None:
    """Annotations of every reader."""
    lines = [f"{0.01 * k:.3f},{0.0 if k % 7 == 0 else 200.0 + k:.2f}" for k in range(60)]
    (folder / "f0.csv").write_text("\n".join(lines) + "\n")
    (folder / "head.csv").write_text("time_s,f0_hz\n" + "\n".join(lines) + "\n")
    (folder / "midi.pv").write_text("".join(f"{0 if k % 7 == 0 else 57 + k / 10:.5f}\n" for k in range(60)))
    notes = [[0.1 * k, 0.1 * k + 0.08, 60.0 + k] for k in range(20)]
    (folder / "notes.json").write_text(json.dumps({"1": notes, "2": notes[:3]}))
    (folder / "notes.txt").write_text("".join(f"{a:.2f} {b:.2f} {c:.0f}\n" for a, b, c in notes))


def read_labels(path: Path) -> None:
    """Every reader for a file's ending; what it gives must be f0 that can be trained with."""
    from rmvpe.data.readers import labels
    from rmvpe.data.readers.folder import read_annotation

    if path.suffix == ".pv":
        check_f0(labels.read_label(path))
    elif path.suffix == ".json":
        for notes in labels.read_notes_json(path).values():
            check_notes(notes)
    elif path.suffix == ".txt":
        check_notes(labels.read_notes_text(path))
    elif path.name == "head.csv":
        time_s, f0_hz = read_annotation(path)
        check_f0(f0_hz, time_s)
    else:
        time_s, f0_hz = labels.read_time_f0(path)
        check_f0(f0_hz, time_s)


def check_f0(f0_hz: np.ndarray, time_s: np.ndarray | None = None) -> None:
    """f0 is 0 or a pitch; times grow."""
    assert ((f0_hz == 0) | ((f0_hz >= 1) & (f0_hz <= 24_000))).all(), f"f0 of {f0_hz.min()} to {f0_hz.max()} Hz"
    if time_s is not None:
        assert np.isfinite(time_s).all()
        assert (np.diff(time_s) > 0).all()
        assert len(time_s) == len(f0_hz)


def check_notes(notes: np.ndarray) -> None:
    """Notes have finite times and a MIDI pitch."""
    assert np.isfinite(notes).all()
    assert ((notes[:, 2] > 0) & (notes[:, 2] <= 127)).all()
    assert (notes[:, 0] <= notes[:, 1]).all()


def tiny_checkpoint() -> Checkpoint:
    """Random weights of a network that is built in no time."""
    rng = np.random.default_rng(0)
    shapes = expected_tensors(TINY)
    tensors = {name: np.abs(rng.normal(0.1, 0.05, shape)).astype(np.float32) for name, shape in shapes.items()}
    return Checkpoint(TINY, tensors, {"threshold": "0.5"})


def write_checkpoints(folder: Path) -> None:
    """Our safetensors and torch files."""
    import torch

    from rmvpe_torch import checkpoint as torch_files

    checkpoint = tiny_checkpoint()
    save(folder / "tiny.safetensors", checkpoint)
    torch_files.save_torch(folder / "tiny.pt", checkpoint)
    tensors = {name: torch.from_numpy(value).half() for name, value in checkpoint.tensors.items()}
    torch.save({"model": tensors}, folder / "half.pt")


def read_checkpoint(path: Path) -> None:
    """Weights, and what `convert inspect` shows of them."""
    from convert.program import main
    from rmvpe.checkpoint.store import load

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(["inspect", str(path)])
    assert code in (0, 1, 2), said.getvalue()
    assert "Traceback" not in said.getvalue()
    assert BUG not in said.getvalue(), said.getvalue()
    load(path)


def mutate_checkpoint(name: str) -> Mutate:
    """By the file's format."""
    return mutations.mutate_safetensors if name.endswith(".safetensors") else mutations.mutate_zip


def write_states(folder: Path) -> None:
    """A training state."""
    from rmvpe.training.state import RunState
    from rmvpe_torch import state

    tensors = tiny_checkpoint().tensors
    moments = {name: value for name, value in tensors.items() if not name.endswith(("running_mean", "running_var"))}
    state.save(folder, RunState(TrainConfig(model=TINY), 1, 1, tensors, {}, moments, moments, 1))


def read_state(path: Path) -> None:
    """To resume from, and as weights."""
    from rmvpe.checkpoint.store import load
    from rmvpe_torch import state

    state.load(path)
    load(path)


def write_configs(folder: Path) -> None:
    """The configs that are stored with runs and weights."""
    (folder / "config.json").write_text(to_json(TrainConfig(model=TINY)))
    (folder / "model.json").write_text(to_json(TINY))
    log = [json.dumps({"step": k, "loss": 0.5, "loss_net": 0.4}) for k in range(1, 9)]
    (folder / "log.jsonl").write_text("\n".join(log) + "\n")


def read_config(path: Path) -> None:
    """As resuming and loading do; a network of a config that is accepted must be possible."""
    from rmvpe.config_check import from_json
    from rmvpe.training import jsonl
    from rmvpe.training.loss_curves import read_curve

    if path.suffix == ".jsonl":
        jsonl.read(path)
        read_curve(path)
        return
    data = path.read_bytes()
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    model = from_json(TrainConfig, text).model if path.name == "config.json" else from_json(ModelConfig, text)
    from rmvpe.checkpoint.flops import flops_per_second

    expected_tensors(model)
    flops_per_second(model)


def write_tracks(folder: Path) -> None:
    """Results in every format."""
    from rmvpe.track import WRITERS, F0Track

    time_s = np.arange(50) * 0.01
    voiced = np.arange(50) % 7 > 0
    track = F0Track(time_s, np.where(voiced, 220.0, 0.0), voiced, np.full(50, 0.9))
    for name in WRITERS:
        track.write(folder / f"track.{name}")


def read_track(path: Path) -> None:
    """A result of ours, and what is done with it."""
    from rmvpe.track import F0Track

    track = F0Track.read(path)
    check_f0(track.f0_hz)
    if len(track) <= 1000:
        for note in track.notes():
            assert note.duration_s > 0.0
    assert len(track) < (10**7 if path.suffix == ".pitchtier" else 10**6)  # a pitchtier's length is a number in it


TARGETS: dict[str, Target] = {
    "sounds": Target(write_sounds, read_sound, lambda name: mutations.mutate_bytes),
    "labels": Target(
        write_labels,
        read_labels,
        lambda name: mutations.mutate_json if name.endswith(".json") else mutations.mutate_text,
    ),
    "checkpoints": Target(
        write_checkpoints,
        read_checkpoint,
        mutate_checkpoint,
        watched=("rmvpe.checkpoint.torch_zip", "rmvpe.checkpoint.tensor_file", "rmvpe.checkpoint.store"),
    ),
    "states": Target(write_states, read_state, mutate_checkpoint, watched=("rmvpe_torch.state",)),
    "configs": Target(
        write_configs,
        read_config,
        lambda name: mutations.mutate_text if name.endswith(".jsonl") else mutations.mutate_json,
    ),
    "tracks": Target(
        write_tracks,
        read_track,
        lambda name: {"npz": mutations.mutate_zip, "npy": mutations.mutate_bytes}.get(name[-3:], mutations.mutate_text),
    ),
    "notes": Target(
        write_note_files,
        read_note_file,
        lambda name: {"mid": mutations.mutate_bytes, "son": mutations.mutate_json}.get(
            name[-3:], mutations.mutate_text
        ),
    ),
}


def write_command_files(folder: Path) -> None:
    """A folder to run commands in."""
    import soundfile

    from rmvpe_torch import checkpoint as torch_files

    soundfile.write(folder / "a.wav", tone(0.35), 16_000)
    (folder / "a.csv").write_text("".join(f"{0.01 * k:.2f},220\n" for k in range(36)))
    (folder / "broken.wav").write_bytes(b"RIFF" + bytes(50))
    save(folder / "tiny.safetensors", tiny_checkpoint())
    torch_files.save_torch(folder / "tiny.pt", tiny_checkpoint())
    (folder / "config.json").write_text(to_json(TrainConfig(model=TINY)))
    (folder / "config.py").write_text("CONFIG = 3\n")
    os.mkfifo(folder / "fifo")
    (folder / "linked.csv").symlink_to("a.csv")


TARGETS["commands"] = CommandLines(write_command_files, lambda path: None, lambda name: mutations.mutate_bytes)


class Misbehaving(Target):
    """Does what the fuzz is there to find, in case 1 of 0, 1, 2, ...: it checks the watchdog itself."""

    def __init__(self, fault: Callable[[], object]) -> None:
        super().__init__(lambda folder: None, lambda path: None, lambda name: mutations.mutate_bytes)
        self.fault, self.number, self.watched = fault, -1, (__name__,)

    def make(self, rng: np.random.Generator, folder: Path) -> Path:
        """Nothing."""
        self.number += 1
        return folder

    def run(self, case: Path) -> str:
        """Fail in the second case."""
        if self.number == 1:
            self.fault()
        return ""


def _hang() -> None:
    import time

    time.sleep(60)


def _crash() -> None:
    os.kill(os.getpid(), 11)


def _change() -> None:
    tone.__defaults__ = (8_000,)


TARGETS |= {
    "check-hang": Misbehaving(_hang),
    "check-memory": Misbehaving(lambda: [np.ones(1 << 20) for _ in range(4096)]),
    "check-crash": Misbehaving(_crash),
    "check-raises": Misbehaving(lambda: 1 // 0),
    "check-runs": Misbehaving(lambda: os.system("true")),
    "check-changes": Misbehaving(_change),
}
