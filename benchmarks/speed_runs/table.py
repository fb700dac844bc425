"""What `benchmarks/speed.py` measures: rows, and the lines of each with their goals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.speed_runs.material import Material, seconds_of

GB = 1e9


@dataclass(frozen=True)
class Measurement:
    """One kind of process. who: "ours", "before" (an older checkout), "reference" or "swift-f0".

    task: what `speed_runs.worker` gets, as pairs. audio_s: seconds of sound by which its time is divided; 0: it is not.
    threads: 0 for the default. busy: how many other processes compute beside it.
    """

    who: str
    task: tuple[tuple[str, Any], ...]
    audio_s: float = 0.0
    threads: int = 0
    busy: int = 0


@dataclass(frozen=True)
class Line:
    """A line of the table. base: what its time is divided by. goals: of that ratio, in seconds, in bytes; 0: none."""

    label: str
    measurement: Measurement
    base: Measurement | None = None
    goal: float = 0.0
    goal_s: float = 0.0
    goal_bytes: float = 0.0


@dataclass(frozen=True)
class Table:
    """Makes the lines of a row. jobs: what `rmvpe predict --jobs` gets in the row "folder"; 0: no such flag."""

    material: Material
    checkout: str
    backends: Sequence[str]
    has_before: bool = False
    has_swift_f0: bool = False
    n_clips: int = 20
    n_folder: int = 200
    jobs: int = 0

    def lines(self, row: str) -> list[Line]:
        """The lines of one of `ROWS`."""
        return ROWS[row](self)

    def e2e0(self) -> list[Line]:
        """The long file, E2E0."""
        reference = self.reference("long")
        goals = {"onnx": 0.42, "torch": 0.5, "jax": 0.65}
        lines = [Line("reference, eager torch", reference)]
        return lines + self.each("e2e0", "long", reference, goals, goal_bytes=1.1 * GB)

    def small(self) -> list[Line]:
        """The long file, the bundled weights."""
        goals = {"onnx": 0.12, "torch": 0.16, "jax": 0.18}
        reference = self.reference("long")
        lines = [Line("reference e2e0, eager torch", reference), *self.each("small", "long", reference, goals)]
        if self.has_swift_f0:
            swift = self.files("swift-f0", "swift-f0", "long")
            lines += [Line("SwiftF0", swift, reference)]
            lines += [Line("onnx, against SwiftF0", self.ours("small", "onnx", "long"), swift, goal=2.2)]
        return lines

    def clips(self) -> list[Line]:
        """Short files one by one in one process."""
        reference = self.reference("clips")
        lines = [Line("reference, eager torch", reference)]
        return lines + [line for weights in ("e2e0", "small") for line in self.each(weights, "clips", reference)]

    def folder(self) -> list[Line]:
        """A folder of short files, the whole command."""
        lines, files = [], self.material.clips(self.n_folder)
        for weights, goal in (("small", 0.10), ("e2e0", 0.5)):
            for backend in self.backends:
                for jobs in (0, self.jobs) if self.jobs else (0,):
                    flags = ("--jobs", str(jobs)) if jobs else ()
                    command = self.command("ours", weights, backend, files, flags)
                    label = f"{weights} {backend}" + (f", --jobs {jobs}" if jobs else "")
                    lines.append(Line(label, command, self.reference("clips"), goal if jobs == self.jobs else 0.0))
        return lines

    def cold(self) -> list[Line]:
        """`rmvpe predict` on one short file, from the first import to the end."""
        goals = {"onnx": 0.5, "torch": 0.85} if self.has_before else {}
        file = (self.material.cold,)
        whose = ("before", "ours") if self.has_before else ("ours",)
        base = self.command(whose[0], "small", "torch", file)
        return [
            Line(
                f"{backend}, {who}" if self.has_before else backend,
                self.command(who, "small", backend, file),
                base,
                goal,
            )
            for who in whose
            for backend in self.backends
            for goal in [goals.get(backend, 0.0) if who == "ours" else 0.0]
        ]

    def convert(self) -> list[Line]:
        """Conversion of E2E0, without the imports."""
        goals: dict[str, Any] = {"goal_s": 1.0, "goal_bytes": GB}
        to_jax = ("torch2jax", "small", self.material.weights("reference"), "")
        to_torch = ("jax2torch", self.material.orbax("small"), self.material.orbax("e2e0"), ".pt")
        lines = []
        for direction, imports, weights, ending in (to_jax, to_torch):
            task = self.task("convert", direction=direction, imports=imports, weights=weights, ending=ending)
            lines += [Line(f"{direction}, {who}", Measurement(who, task), **goals) for who in self.whose]
        return lines

    def one_thread(self) -> list[Line]:
        """The long file with one thread of the CPU."""
        reference = self.files("reference", "reference", "long", threads=1, weights=self.material.weights("reference"))
        lines = [Line("reference, eager torch", reference)]
        for weights in ("e2e0", "small"):
            lines += self.each(weights, "long", reference, threads=1)
        return lines

    def busy(self) -> list[Line]:
        """A clip of the long file while two other processes compute: the default against one thread."""
        lines = []
        for backend in self.backends:
            one = self.ours("small", backend, "long", threads=1, busy=2)
            lines += [Line(f"{backend}, 1 thread", one)]
            lines += [Line(f"{backend}, default", self.ours("small", backend, "long", busy=2), one, goal=1.3)]
        return lines

    @property
    def whose(self) -> tuple[str, ...]:
        """Whose checkouts are measured."""
        return ("before", "ours") if self.has_before else ("ours",)

    def each(
        self,
        weights: str,
        sound: str,
        base: Measurement,
        goals: Mapping[str, float] | None = None,
        *,
        threads: int = 0,
        goal_bytes: float = 0.0,
    ) -> list[Line]:
        """A line for each backend, and with an older checkout for its too."""
        lines = []
        for backend in self.backends:
            for who in self.whose:
                label = f"{weights} {backend}" + (", before" if who == "before" else "")
                made = self.ours(weights, backend, sound, who=who, threads=threads)
                goal = (goals or {}).get(backend, 0.0)
                lines.append(
                    Line(label, made, base) if who == "before" else Line(label, made, base, goal, goal_bytes=goal_bytes)
                )
        return lines

    def reference(self, sound: str) -> Measurement:
        """The reference on a sound."""
        return self.files("reference", "reference", sound, weights=self.material.weights("reference"))

    def ours(
        self, weights: str, backend: str, sound: str, *, who: str = "ours", threads: int = 0, busy: int = 0
    ) -> Measurement:
        """This checkout, or an older one, on a sound."""
        file = self.material.weights(weights)
        return self.files(who, "ours", sound, weights=file, backend=backend, threads=threads, busy=busy)

    def files(self, who: str, run: str, sound: str, *, threads: int = 0, busy: int = 0, **settings: str) -> Measurement:
        """Files after each other in a process. JAX, which compiles for each length, warms up with the long file."""
        files = (self.material.long,) if sound == "long" else self.material.clips(self.n_clips)
        first = files[0] if settings.get("backend") == "jax" else self.material.cold
        task = self.task(run, files=files, warm_up=(first,), **settings)
        return Measurement(who, task, seconds_of(files), threads, busy)

    def command(
        self, who: str, weights: str, backend: str, files: Sequence[str], flags: Sequence[str] = ()
    ) -> Measurement:
        """`rmvpe predict` on files."""
        task = self.task(
            "command",
            weights=self.material.weights(weights),
            backend=backend,
            files=tuple(files),
            one_file=len(files) == 1,
            flags=tuple(flags),
        )
        return Measurement(who, task, seconds_of(tuple(files)) if len(files) > 1 else 0.0)

    def task(self, run: str, **settings: Any) -> tuple[tuple[str, Any], ...]:
        """A task of the worker."""
        return (("run", run), ("checkout", self.checkout), *sorted(settings.items()))


ROWS: dict[str, Callable[[Table], list[Line]]] = {
    "e2e0": Table.e2e0,
    "small": Table.small,
    "clips": Table.clips,
    "folder": Table.folder,
    "cold": Table.cold,
    "convert": Table.convert,
    "one-thread": Table.one_thread,
    "busy": Table.busy,
}
