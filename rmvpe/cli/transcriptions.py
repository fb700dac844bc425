"""`rmvpe notes --transcriptions`: the notes of all inputs go into DiffSinger's table when the run ends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from rmvpe.audio import AudioFile
from rmvpe.cli.plan import MOST_NAMED, Manner
from rmvpe.errors import UserError
from rmvpe.files import check_replaceable
from rmvpe.notes.notes import Notes
from rmvpe.notes.transcriptions import check_recording, check_transcriptions, update_transcriptions
from rmvpe.results import STREAM, TableRow
from rmvpe.text import printable


@dataclass(frozen=True)
class Transcriptions:
    """The table of a run.

    filled: the name of each input that has a row -> whether it has notes already. absent: names without a row. found:
    the notes so far.
    """

    path: Path
    filled: dict[str, bool]
    absent: tuple[str, ...]
    found: dict[str, Notes] = field(default_factory=dict)

    def row_of(self, source: Path) -> TableRow | None:
        """The row of a source, None if it has none."""
        name = source.stem
        if name not in self.filled:
            return None
        return TableRow(
            self.path, self.filled[name], partial(check_recording, name), partial(self.found.__setitem__, name)
        )

    @contextmanager
    def writing(self, manner: Manner) -> Iterator[None]:
        """Write the table at the end, with what was found until then: also where a signal stops the run."""
        try:
            yield
        finally:
            if self.found:
                update_transcriptions(self.path, self.found)
                if not manner.quiet:
                    rows = f"{len(self.found)} recording{'' if len(self.found) == 1 else 's'}"
                    manner.say(f"{printable(self.path)} has the notes of {rows}")

    def report_absent(self, manner: Manner) -> None:
        """Name the inputs without a row, in one line."""
        if self.absent:
            more = f" and {len(self.absent) - MOST_NAMED} more" if len(self.absent) > MOST_NAMED else ""
            names = ", ".join(map(printable, self.absent[:MOST_NAMED]))
            manner.say(f"{printable(self.path)} has no row for {names}{more}: no row is added")


def open_transcriptions(path: Path, files: Sequence[AudioFile]) -> Transcriptions:
    """The table for the notes of `files`, checked before any work.

    Raises UserError if it cannot be written, is no such table, has impossible rows for these files or none at all, or
    if two files have one name.
    """
    check_replaceable(path)
    sources: dict[str, Path] = {}
    for source in (file.path for file in files):
        if source == STREAM:
            raise UserError("--transcriptions finds rows by names of files, and standard input has none: give a file")
        if source.stem in sources:
            raise UserError(
                f"{source} and {sources[source.stem]} have one row in {path}, because names in it have no ending and "
                "no folder: give one of them"
            )
        sources[source.stem] = source
    filled = check_transcriptions(path, sources.keys())
    if not filled:
        raise UserError(
            f"{path} has a row for none of the inputs, such as {next(iter(sources))}: its column name has the names of "
            "files, without folder and ending"
        )
    return Transcriptions(path, filled, tuple(name for name in sources if name not in filled))
