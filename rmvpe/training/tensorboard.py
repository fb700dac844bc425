"""Scalars as TensorBoard events, written in the thread of the caller.

The SummaryWriter of tensorboardX writes in another thread. If the disk is full, that thread ends, and the next values
wait in its queue forever. So its record writer and messages are used directly.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

FLUSH_S = 10.0  # seconds between two flushes, which wait for the disk


class Events:
    """One event file in `folder`. TensorBoard ignores steps after `first_step` in older files there."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        now = time.time_ns()  # in ns: TensorBoard reads files by name, and a run may be resumed at once
        name = f"events.out.tfevents.{now // 10**9}.{socket.gethostname()}.{now}.{os.getpid()}"
        self._writer, self._flushed = RecordWriter(str(folder / name)), 0.0
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=first_step + 1, session_log=start))
        self._flush()

    def add(self, step: int, values: Mapping[str, float], flush: bool = False) -> None:
        """Write scalars by tag. They are on the disk after at most `FLUSH_S` seconds, or at once with `flush`."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=tag, simple_value=float(value)) for tag, value in values.items()]
        self._write(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))
        if flush or time.monotonic() - self._flushed > FLUSH_S:
            self._flush()

    def close(self) -> None:
        """Flush and close the file."""
        try:
            self._flush()
        finally:
            self._writer.close()

    def _write(self, event: object) -> None:
        self._writer.write(event.SerializeToString())  # type: ignore[attr-defined]

    def _flush(self) -> None:
        self._writer.flush()
        self._flushed = time.monotonic()
