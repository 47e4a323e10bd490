"""What fits a memory limit."""

from edgeprof import units
from edgeprof.schema.base import SCHEMA_VERSION, Count, Record
from edgeprof.schema.identity import Phase, Subject
from edgeprof.schema.memory import MemoryLimit


class Fit(Record, frozen=True, kw_only=True):
    """The most of one file that fits a memory limit: predicted, and proven by running it and a little more."""

    schema_version: int = SCHEMA_VERSION
    subject: Subject
    phase: Phase
    batch: Count | None  # None: it is what was looked for
    unit: str  # "token", or "image" (of a batch)
    limit: MemoryLimit
    predicted: Count  # 0: nothing
    proven: Count  # the largest that ran; 0: nothing did
    exceeded: Count | None  # the smallest that ran out of memory; None: none did
    most: Count  # that the model takes, or that is tried
    peak_bytes: Count | None  # resident, at `proven`
    address_peak_bytes: Count | None  # address space, at `proven`
    runs: Count
    notes: tuple[str, ...] = ()  # what may have disturbed it

    @property
    def uncounted(self) -> str:
        """Why the peak is above the limit, in a sentence; "" if it is not, or address space is limited."""
        beyond = (self.peak_bytes or 0) - self.limit.bytes
        if beyond <= 0 or self.limit.kind != "cgroup":
            return ""
        return (
            f"{self.subject.model} {self.subject.precision}, {self.phase}: the peak is {units.size(beyond)} above the "
            "limit, as it counts pages of files that were in memory already, of libraries above all; a control group "
            "does not."
        )

    @property
    def sentence(self) -> str:
        name = f"{self.subject.model} {self.subject.precision}, {self.phase}"
        if not self.proven:
            return f"{name}: nothing fits {self.limit.text}; not even 1 {self.unit} does."
        proven = units.counted(self.proven, self.unit)
        if self.exceeded is None:
            every = "all that the model takes" if self.proven == self.most else "and more was not tried"
            return f"{name}: {proven} fit {self.limit.text}, {every}."
        return f"{name}: {proven} fit {self.limit.text}, and {self.exceeded:,} do not."
