"""What is done with a point after its visits: a long run, a generation, trials of memory."""

from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds, Times
from edgeprof.schema.measurement import Keyed, Outcome
from edgeprof.schema.memory import PredictedMemory
from edgeprof.schema.worker import Reading


class Spell(Record, frozen=True, kw_only=True):
    """Some seconds of a long run."""

    end_s: Seconds  # since the first run
    runs: Count
    median_s: Seconds
    temperature_c: float | None = None  # of the hottest sensor, at the end; None: the system does not tell
    clock_mhz: float | None = None  # of the fastest core, at the end; None: as above


class SustainedReading(Record, frozen=True, kw_only=True):
    """A run without a pause, in spells."""

    spells: tuple[Spell, ...]


class SustainedPass(Keyed, frozen=True, kw_only=True):
    """One point run for minutes, separate from the timed visits: a line of sustained.jsonl."""

    schema_version: int = SCHEMA_VERSION
    settings_key: str
    outcome: Outcome[SustainedReading]


class GenerationReading(Record, frozen=True, kw_only=True):
    """Greedy generation after a prompt; `tokens_s` and `runs_s` are of each token after the first."""

    first_token_s: Seconds  # of the prompt and the choice of the first token
    tokens_s: Times  # from token to token: run, choice, and what the loop does besides
    runs_s: Times  # the run alone


class GenerationPass(Keyed, frozen=True, kw_only=True):
    """A generation of some tokens at one depth, separate from the timed visits: a line of generation.jsonl."""

    schema_version: int = SCHEMA_VERSION
    tokens: Count
    settings_key: str
    outcome: Outcome[GenerationReading]


class MemoryReading(Record, frozen=True, kw_only=True):
    """Three processes that load and run a point: as it is, and with one thing switched off."""

    as_it_is: Reading
    without_arena: Reading
    without_prepacking: Reading


class MemoryPass(Keyed, frozen=True, kw_only=True):
    """The memory of one point taken apart by trials, separate from the timed visits: a line of memory.jsonl."""

    schema_version: int = SCHEMA_VERSION
    predicted: PredictedMemory
    settings_key: str
    outcome: Outcome[MemoryReading]
