"""What a point is: one frozen key that runs unchanged from a request to a figure.

    PointKey
        subject   what runs: model, precision, weights, digest of its files
        load      what it is given: phase, batch, new, cached and source tokens
        place     where it runs: machine, provider with its options, threads

Keys are compared and hashed by value, so a record is found by its key, never by a tuple of some of its fields.
"""

import re
from typing import Literal

import msgspec
from msgspec.structs import replace

from edgeprof import units
from edgeprof.schema.base import Count, Record

Phase = Literal["prefill", "decode"]
Method = Literal["min-max", "entropy", "percentile"]

FP32 = "fp32"

_SUFFIX = re.compile(
    r"(?:-block(?P<block_size>\d+))?(?:-(?P<symmetric>a?symmetric))?(?:-level(?P<accuracy_level>\d))?"
    r"(?:-(?P<method>min-max|entropy|percentile))?$"
)


class Settings(Record, frozen=True, kw_only=True):
    """The settings of a recipe; None where a recipe has no such setting or, in a Precision, has its usual value."""

    block_size: Count | None = None  # weights that share one scale
    symmetric: bool | None = None  # whether zero is in the middle: no zero points are stored
    accuracy_level: Count | None = None  # of MatMulNBits: 1 fp32, 2 fp16, 3 bf16, 4 int8 activations
    method: Method | None = None  # how ranges of activations are chosen from calibration data

    def __str__(self) -> str:
        """The end of a precision's name: "-block128-asymmetric"; empty where nothing is set."""
        parts = [
            f"-block{self.block_size}" if self.block_size is not None else "",
            {True: "-symmetric", False: "-asymmetric", None: ""}[self.symmetric],
            f"-level{self.accuracy_level}" if self.accuracy_level is not None else "",
            f"-{self.method}" if self.method else "",
        ]
        return "".join(parts)


class Precision(Record, frozen=True, kw_only=True):
    """The numbers a model is stored and computed in: a recipe, and the settings that differ from its usual ones.

    >>> str(Precision.parse("int4-block128-asymmetric"))
    'int4-block128-asymmetric'
    >>> Precision.parse("int4-block128-asymmetric").recipe
    'int4'
    >>> Precision.parse("int8-static-percentile").settings.method
    'percentile'
    """

    recipe: str  # a name of the table of recipes; of a file from elsewhere what its products multiply
    settings: Settings = Settings()

    def __str__(self) -> str:
        return f"{self.recipe}{self.settings}"

    @classmethod
    def parse(cls, text: str) -> "Precision":
        """The precision of a name, as folders and command lines write it: every text names one."""
        match = _SUFFIX.search(text)
        assert match is not None  # of an empty end there is always one
        found = match.groupdict()
        symmetry = found.pop("symmetric")
        values = {**found, "symmetric": symmetry == "symmetric" if symmetry else None}
        return cls(recipe=text[: match.start()], settings=msgspec.convert(values, Settings, strict=False))


class WeightsSource(Record, frozen=True, kw_only=True):
    """Where weights come from.

    >>> str(WeightsSource(kind="pretrained", origin="openai-community/gpt2"))
    'pretrained (openai-community/gpt2)'
    >>> str(WeightsSource(kind="random"))
    'random (seed 0)'
    """

    kind: Literal["pretrained", "random", "file"]
    origin: str = ""  # of pretrained weights: a repository, or the name of a folder
    seed: int = 0  # of random weights

    def __str__(self) -> str:
        texts = {"pretrained": f"pretrained ({self.origin})", "random": f"random (seed {self.seed})", "file": "file"}
        return texts[self.kind]


class Subject(Record, frozen=True, kw_only=True):
    """What runs."""

    model: str  # the folder below models/, or the name of a file
    precision: Precision
    weights: WeightsSource
    digest: str = ""  # sha256 of the graph file


class Load(Record, frozen=True, kw_only=True):
    """What one run is given."""

    phase: Phase = "prefill"
    batch: Count = 1
    tokens: Count | None  # processed in one run; None: not known
    past_tokens: Count = 0  # already in the KV cache
    source_tokens: Count | None = None  # of the encoder's side; None: there is none

    @property
    def length(self) -> int:
        """The token length on every axis: tokens at once in prefill, tokens cached in decode; 0: not known."""
        return self.past_tokens if self.phase == "decode" else self.tokens or 0


class Place(Record, frozen=True, kw_only=True):
    """Where it runs."""

    machine_id: str
    provider: str  # what --ep takes
    options: tuple[tuple[str, str], ...] = ()  # that the provider was given, by name
    library: str = ""  # of a provider that edgeprof does not know by itself
    device: str = ""  # as the runtime or the driver names it
    emulated: bool = False  # software stands for the device: the path is proven, the time means nothing
    threads: Count


class PointKey(Record, frozen=True, kw_only=True):
    """One point: what runs, what it is given, and where."""

    subject: Subject
    load: Load
    place: Place

    @property
    def label(self) -> str:
        """ "gpt2 int8 on webgpu, decode at 64 tokens"; the CPU provider and a length that is not known go unnamed."""
        on = f" on {self.place.provider}" if self.place.provider != "cpu" else ""
        at = f" at {units.counted(self.load.length, 'token')}" if self.load.length else ""
        return f"{self.subject.model} {self.subject.precision}{on}, {self.load.phase}{at}"

    @property
    def series(self) -> "PointKey":
        """What points that differ in their length alone have in common."""
        return replace(self.lasting, load=replace(self.load, tokens=None, past_tokens=0))

    @property
    def lasting(self) -> "PointKey":
        """Without what may change while a point stays the same: a new export, other options of its provider."""
        weights = WeightsSource(kind="file")
        return PointKey(
            subject=replace(self.subject, digest="", weights=weights),
            load=self.load,
            place=replace(self.place, options=(), library="", device=""),
        )
