"""A data source in memory, for tests."""

import dataclasses

from rmvpe.audio import SAMPLE_RATE_HZ
from rmvpe.data.readers.base import Item


class MemorySource:
    """A `Source` that makes its items on demand: a subclass gives `__len__` and `__getitem__`."""

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> Item:
        raise NotImplementedError

    def name(self, index: int) -> str:
        return str(index)

    def duration_s(self, index: int) -> float:
        return len(self[index].voice) / SAMPLE_RATE_HZ

    def read_excerpt(self, index: int, start_s: float, seconds: float) -> Item:
        item, part = self[index], slice(round(start_s * SAMPLE_RATE_HZ), round((start_s + seconds) * SAMPLE_RATE_HZ))
        return dataclasses.replace(
            item,
            voice=item.voice[part],
            accompaniment=None if item.accompaniment is None else item.accompaniment[part],
            time_s=item.time_s - start_s,
        )

    def check(self) -> None:
        for index in range(len(self)):
            self[index]
