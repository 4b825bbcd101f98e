"""Memory and descriptors of processes over time, and whether they are flat."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import attrs

MIB: Final = 2**20
MOST_MIB: Final = 4.0  # that a process may have more in the end than a quarter into the run, its caches being filled
MOST_DESCRIPTORS: Final = 8  # that a process may have more in the calm after the faults than in the calm before


@attrs.frozen
class Sample:
    """One look at one process.

    Attributes:
        at: seconds from the beginning.
        name: which process.
        memory: MiB that nobody else has (USS).
        descriptors: how many are open.
        age: seconds since the process was started.
    """

    at: float
    name: str
    memory: float
    descriptors: int
    age: float


def look_at(pid: int, name: str, at: float, age: float) -> Sample | None:
    """Returns what the process takes now, None if it is gone."""
    import psutil  # the soak has it, the tests of the verdict do without

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return Sample(at, name, process.memory_full_info().uss / MIB, process.num_fds(), age)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return None


@attrs.frozen
class Growth:
    """What became of one process's memory and descriptors.

    Attributes:
        memory: MiB a quarter into the run, and in the end.
        slope: MiB an hour, over the last three quarters.
        descriptors: how many in the calm before the faults, at most, and in the calm after them.
    """

    name: str
    memory: tuple[float, float]
    slope: float
    descriptors: tuple[float, int, float]

    @property
    def complaints(self) -> list[str]:
        """What is not flat."""
        more, open_ = self.memory[1] - self.memory[0], self.descriptors[2] - self.descriptors[0]
        said = []
        if more > MOST_MIB:
            said.append(f"{self.name}: {more:.1f} MiB more in the end, {MOST_MIB:g} allowed")
        if open_ > MOST_DESCRIPTORS:
            said.append(f"{self.name}: {open_:g} descriptors more in the end, {MOST_DESCRIPTORS} allowed")
        return said


def growth(samples: Iterable[Sample], name: str, *, calm: float) -> Growth:
    """Returns how a process grew that lived from the beginning to the end.

    Args:
        samples: of any processes.
        name: which one.
        calm: seconds without faults, in the beginning and in the end.
    """
    own = [sample for sample in samples if sample.name == name]
    begin, end = own[0].at, own[-1].at
    span = end - begin
    early = [one.memory for one in own if 0.25 * span <= one.at - begin <= 0.35 * span]
    late = [one.memory for one in own if one.at >= end - 0.1 * span]
    settled = [one for one in own if one.at - begin >= 0.25 * span]
    before = [one.descriptors for one in own if one.at - begin <= calm]
    after = [one.descriptors for one in own if one.at >= end - calm / 2]
    return Growth(
        name,
        (statistics.median(early), statistics.median(late)),
        _slope([one.at for one in settled], [one.memory for one in settled]) * 3600,
        (statistics.median(before), max(one.descriptors for one in own), statistics.median(after)),
    )


def _slope(times: Sequence[float], values: Sequence[float]) -> float:
    return statistics.linear_regression(times, values).slope
