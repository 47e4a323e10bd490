"""Run folders: machine.json, and records that are appended a line at a time and survive a killed process.

A run over several devices has machines.json in place of machine.json: each record says by its `place.host` of which
device it is.

reports/<run>/   machine.json (or machines.json), measurements.jsonl, measurements.csv, index.html, report.md, figures/;
                 operators.jsonl and kernels.jsonl where operators were profiled
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from edgeprof.errors import RunError
from edgeprof.schema import (
    GenerationPass,
    Host,
    KernelTime,
    Laws,
    Machine,
    Machines,
    Measurement,
    MemoryPass,
    OperatorPass,
    PairVisit,
    Record,
    SustainedPass,
    decode,
    encode,
    encode_pretty,
)
from edgeprof.store.files import exists, read_bytes, require_name, write_atomic, writing
from edgeprof.store.folders import sweep
from edgeprof.store.locks import sole_writer

REPORTS = Path("reports")

MEASUREMENTS_FILE = "measurements.jsonl"
OPERATORS_FILE = "operators.jsonl"
SUSTAINED_FILE = "sustained.jsonl"
MEMORY_FILE = "memory.jsonl"
GENERATION_FILE = "generation.jsonl"
KERNELS_FILE = "kernels.jsonl"
MACHINE_FILE = "machine.json"
PAIRS_FILE = "pairs.jsonl"
MACHINES_FILE = "machines.json"
LAWS_FILE = "laws.json"

Line = TypeVar("Line", Measurement, OperatorPass, KernelTime, SustainedPass, GenerationPass, MemoryPass, PairVisit)


def run_folder(root: Path, name: str) -> Path:
    """The folder of a run.

    Raises:
        UsageError: the name cannot be that of a folder.
    """
    require_name(name, "a run")
    return root / name


def run_names(root: Path) -> list[str]:
    """Runs below `root`, the most recently measured last."""
    files = sorted(root.glob(f"*/{MEASUREMENTS_FILE}"), key=lambda file: file.stat().st_mtime)
    return [file.parent.name for file in files]


@contextlib.contextmanager
def run_in_progress(folder: Path, machine: Machine) -> Iterator[list[Measurement]]:
    """Start or resume a run as its only writer; yields the measurements it already holds.

    Raises:
        RunError: another process is writing it, or `open_run` refuses it.
        StorageError: the disk refused.
    """
    with contextlib.ExitStack() as stack:
        with writing(folder):
            stack.enter_context(sole_writer(folder))
        yield open_run(folder, machine)


def open_run(folder: Path, machine: Machine) -> list[Measurement]:
    """The measurements a run already holds; everything is checked before anything is written.

    Raises:
        RunError: the run, or a line of it, was made on another machine, or its records are damaged.
    """
    next_step = "Records of different machines are not mixed: choose another --name."
    if exists(folder / MACHINES_FILE):
        raise RunError(
            f"Run '{folder.name}' is over several devices: {', '.join(host.name for host in load_hosts(folder))}.",
            "Name them with --on, or choose another --name.",
        )
    known = load_machine(folder) if exists(folder / MACHINE_FILE) else None
    if known and known.machine_id != machine.machine_id:
        what = f"Run '{folder.name}' was measured on another machine ({known.cpu}, {known.os}) or other versions."
        raise RunError(what, next_step)
    records = load_records(folder)
    if records.machine_ids - {machine.machine_id}:
        raise RunError(f"Run '{folder.name}' was measured on another machine, which is not recorded.", next_step)
    _begin(folder)
    if not known:
        write_atomic(folder / MACHINE_FILE, encode_pretty(machine))
    return list(records.measurements)


@contextlib.contextmanager
def run_over_hosts(folder: Path, hosts: Sequence[Host]) -> Iterator[list[Measurement]]:
    """As `run_in_progress`, for a run over several devices; those that it had before, and are not named, stay.

    Raises:
        RunError: another process is writing it, it is a run on one machine, or one of the devices is another machine
            now.
        StorageError: the disk refused.
    """
    with contextlib.ExitStack() as stack:
        with writing(folder):
            stack.enter_context(sole_writer(folder))
        records = load_records(folder)
        if records.machine or (records.measurements and not records.hosts):
            what = f"Run '{folder.name}' was measured on one machine, without --on."
            raise RunError(what, "Omit --on, or choose another --name.")
        known = {host.name: host for host in records.hosts}
        for host in hosts:
            if (before := known.get(host.name, host)).machine.machine_id != host.machine.machine_id:
                raise RunError(
                    f"In run '{folder.name}' {host.name} was another machine ({before.machine.cpu}, "
                    f"{before.machine.os}) or had other versions.",
                    "Records of different machines are not mixed: choose another --name.",
                )
        _begin(folder)
        every = tuple({**known, **{host.name: host for host in hosts}}.values())
        write_atomic(folder / MACHINES_FILE, encode_pretty(Machines(hosts=every)))
        yield list(records.measurements)


def _begin(folder: Path) -> None:
    """Make the folder of a run ready for further records."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder, ".")
    for name in (MEASUREMENTS_FILE, OPERATORS_FILE, KERNELS_FILE, SUSTAINED_FILE, GENERATION_FILE, MEMORY_FILE):
        _mend_tail(folder / name)


def _mend_tail(file: Path) -> None:
    """Drop the partial last line that a killed process may have left, so that the next record starts a new one."""
    if not file.exists():
        return
    data = read_bytes(file, RunError)
    if data and not data.endswith(b"\n"):
        write_atomic(file, data[: data.rfind(b"\n") + 1])


def append_measurement(folder: Path, measurement: Measurement) -> None:
    """Append one line; it is on disk when this returns."""
    _append(folder / MEASUREMENTS_FILE, measurement)


def append_operators(folder: Path, record: OperatorPass) -> None:
    _append(folder / OPERATORS_FILE, record)


def append_sustained(folder: Path, record: SustainedPass) -> None:
    _append(folder / SUSTAINED_FILE, record)


def append_memory(folder: Path, record: MemoryPass) -> None:
    _append(folder / MEMORY_FILE, record)


def append_generation(folder: Path, record: GenerationPass) -> None:
    _append(folder / GENERATION_FILE, record)


def append_pair(folder: Path, record: PairVisit) -> None:
    """Append one line to the folder of a comparison."""
    _append(folder / PAIRS_FILE, record)


def append_kernel(folder: Path, record: KernelTime) -> None:
    _append(folder / KERNELS_FILE, record)


def _append(file: Path, record: Record) -> None:
    with writing(file):
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            line = encode(record) + b"\n"
            while line:
                line = line[os.write(handle, line) :]
            os.fsync(handle)
        finally:
            os.close(handle)


class Records(Record, frozen=True, kw_only=True):
    """Everything a run holds: from one machine, or from the devices that are named in it."""

    machine: Machine | None  # None: only its measurements were copied, or there are several
    hosts: tuple[Host, ...]  # of a run over several devices
    measurements: tuple[Measurement, ...]
    operators: tuple[OperatorPass, ...]
    kernels: tuple[KernelTime, ...]
    sustained: tuple[SustainedPass, ...]
    generations: tuple[GenerationPass, ...]
    memory: tuple[MemoryPass, ...]

    @property
    def machine_ids(self) -> set[str]:
        lines = (self.measurements, self.operators, self.kernels, self.sustained, self.generations, self.memory)
        of_lines = {line.machine_id for file in lines for line in file}
        return of_lines | ({self.machine.machine_id} if self.machine else set())


def load_records(folder: Path) -> Records:
    """Read everything a run holds so far.

    Raises:
        RunError: a record is damaged, or they come from several machines.
    """
    records = Records(
        machine=load_machine(folder) if exists(folder / MACHINE_FILE) else None,
        hosts=tuple(load_hosts(folder)),
        measurements=tuple(_load(folder / MEASUREMENTS_FILE, Measurement)),
        operators=tuple(load_operators(folder)),
        kernels=tuple(load_kernels(folder)),
        sustained=tuple(load_sustained(folder)),
        generations=tuple(load_generations(folder)),
        memory=tuple(load_memory(folder)),
    )
    strangers = records.machine_ids - {host.machine.machine_id for host in records.hosts}
    if strangers if records.hosts else len(strangers) > 1:
        raise RunError(f"{folder} mixes records of several machines.", "Keep one folder per machine.")
    return records


def load_measurements(folder: Path) -> list[Measurement]:
    """Read all complete lines of a run; an unfinished last one (of a killed process) is left out.

    Raises:
        RunError: no such file, a damaged line, or lines from several machines that the run does not name.
    """
    file = folder / MEASUREMENTS_FILE
    if not file.exists():
        raise RunError(f"{folder} holds no {MEASUREMENTS_FILE}.", "Run: edgeprof profile --name " + folder.name)
    return _load(file, Measurement)


def load_operators(folder: Path) -> list[OperatorPass]:
    """As `load_measurements`; an empty list where operators were not profiled."""
    return _load(folder / OPERATORS_FILE, OperatorPass)


def load_sustained(folder: Path) -> list[SustainedPass]:
    return _load(folder / SUSTAINED_FILE, SustainedPass)


def load_memory(folder: Path) -> list[MemoryPass]:
    return _load(folder / MEMORY_FILE, MemoryPass)


def load_generations(folder: Path) -> list[GenerationPass]:
    return _load(folder / GENERATION_FILE, GenerationPass)


def load_pairs(folder: Path) -> list[PairVisit]:
    """Visits of a comparison in which A and B ran in turn; an empty list where they did not."""
    return _load(folder / PAIRS_FILE, PairVisit)


def load_kernels(folder: Path) -> list[KernelTime]:
    return _load(folder / KERNELS_FILE, KernelTime)


def _load(file: Path, kind: type[Line]) -> list[Line]:
    data = read_bytes(file, RunError) if exists(file) else b""
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    records = [decode(line, kind, f"{file}, line {number}") for number, line in enumerate(lines, 1)]
    if len({record.machine_id for record in records}) > 1 and not exists(file.parent / MACHINES_FILE):
        raise RunError(f"{file} mixes records of several machines.", "Keep one file per machine.")
    return records


def load_machine(folder: Path) -> Machine:
    """Read the machine a run was measured on.

    Raises:
        RunError: its record is missing or damaged.
    """
    file = folder / MACHINE_FILE
    return decode(read_bytes(file, RunError, "Copy the whole run folder."), Machine, str(file))


def load_hosts(folder: Path) -> list[Host]:
    """Read the devices of a run over several; an empty list for a run on one machine.

    Raises:
        RunError: the file is damaged.
    """
    file = folder / MACHINES_FILE
    return list(decode(read_bytes(file, RunError), Machines, str(file)).hosts) if exists(file) else []


def save_laws(folder: Path, laws: Laws) -> None:
    """Write laws.json.

    Raises:
        StorageError: the disk refused.
    """
    write_atomic(folder / LAWS_FILE, encode_pretty(laws))
