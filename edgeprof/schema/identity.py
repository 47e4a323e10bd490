"""The key of a point: one frozen record, unchanged from a request to a figure.

    PointKey
        subject   what runs: model, precision, weights, digest of its files
        load      the size of one run: phase, batch, new, cached and source tokens
        place     where it runs: machine, provider with its options, threads

Keys are compared and hashed by value, so records are looked up by key, never by a tuple of some of its fields.
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
ONNXRUNTIME = "onnxruntime"

_SUFFIX = re.compile(
    r"(?:-block(?P<block_size>\d+))?(?:-(?P<symmetric>a?symmetric))?(?:-level(?P<accuracy_level>\d))?"
    r"(?:-(?P<method>min-max|entropy|percentile))?$"
)


class Settings(Record, frozen=True, kw_only=True):
    """The settings of a recipe; None where a recipe has no such setting or, in a Precision, its default."""

    block_size: Count | None = None  # weights that share one scale
    symmetric: bool | None = None  # symmetric ranges, without zero points
    accuracy_level: Count | None = None  # of MatMulNBits: 1 fp32, 2 fp16, 3 bf16, 4 int8 activations
    method: Method | None = None  # how ranges of activations follow from calibration data

    def __str__(self) -> str:
        """The end of a precision's name: "-block128-asymmetric"; empty without settings."""
        parts = [
            f"-block{self.block_size}" if self.block_size is not None else "",
            {True: "-symmetric", False: "-asymmetric", None: ""}[self.symmetric],
            f"-level{self.accuracy_level}" if self.accuracy_level is not None else "",
            f"-{self.method}" if self.method else "",
        ]
        return "".join(parts)


class Precision(Record, frozen=True, kw_only=True):
    """The number formats of a model: a recipe, and the settings that differ from its defaults.

    >>> str(Precision.parse("int4-block128-asymmetric"))
    'int4-block128-asymmetric'
    >>> Precision.parse("int4-block128-asymmetric").recipe
    'int4'
    >>> Precision.parse("int8-static-percentile").settings.method
    'percentile'
    """

    recipe: str  # a name of the table of recipes; for a user's file, the format its products multiply
    settings: Settings = Settings()

    def __str__(self) -> str:
        return f"{self.recipe}{self.settings}"

    @classmethod
    def parse(cls, text: str) -> "Precision":
        """The precision of a name, as in folder names and command lines; every text is valid."""
        match = _SUFFIX.search(text)
        assert match is not None  # the pattern matches an empty suffix
        groups = match.groupdict()
        symmetry = groups.pop("symmetric")
        values = {**groups, "symmetric": symmetry == "symmetric" if symmetry else None}
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

    model: str  # the folder below models/, with "/vision" for one graph of several; or the name of a file
    precision: Precision
    weights: WeightsSource
    digest: str = ""  # sha256 of the graph file
    structure: str = ""  # equal for models that cost the same, see `Artifact.structure`; "": unknown

    @property
    def artifact(self) -> str:
        """The artifact that it is, or is a graph of: "clip" of "clip/vision"."""
        return self.model.partition("/")[0]


class Load(Record, frozen=True, kw_only=True):
    """The size of one run."""

    phase: Phase = "prefill"
    batch: Count = 1
    tokens: Count | None  # processed in one run; None: unknown
    past_tokens: Count = 0  # already in the KV cache
    source_tokens: Count | None = None  # on the encoder's side; None: no encoder

    @property
    def length(self) -> int:
        """The token length of figures: processed tokens in prefill, cached tokens in decode; 0: unknown."""
        return self.past_tokens if self.phase == "decode" else self.tokens or 0

    @property
    def label(self) -> str:
        """ "decode at 64 tokens, batch 8"; omits an unknown length, and a batch of one."""
        at = f" at {units.counted(self.length, 'token')}" if self.length else ""
        return f"{self.phase}{at}{f', batch {self.batch:,}' if self.batch > 1 else ''}"


class Place(Record, frozen=True, kw_only=True):
    """Where it runs: machine, provider, threads.

    Equal machines are one machine, unless they are named: two boards of a kind in one run stay apart by their `host`.
    """

    machine_id: str
    host: str = ""  # name of the device of a run over several (--on); "": of a run on one machine
    provider: str  # name for --ep; of a baseline, its name
    runtime: str = ONNXRUNTIME  # that computes; a baseline is another one
    options: tuple[tuple[str, str], ...] = ()  # all options of the provider, by name
    library: str = ""  # shared library that the user named for the provider; of a baseline, its own model file
    device: str = ""  # as the runtime or the driver names it
    emulated: bool = False  # software stands in for the device: it runs, but times are not meaningful
    threads: Count

    @property
    def is_baseline(self) -> bool:
        """Whether another runtime than onnxruntime computes."""
        return self.runtime != ONNXRUNTIME

    @property
    def label(self) -> str:
        """ "webgpu of pi5", "pi5" for its CPU; "" for the CPU of the one machine of a run."""
        if self.provider == "cpu":
            return self.host
        return f"{self.provider} of {self.host}" if self.host else self.provider


class PointKey(Record, frozen=True, kw_only=True):
    """The identity of a point: what runs, at which size, and where."""

    subject: Subject
    load: Load
    place: Place

    @property
    def label(self) -> str:
        """ "gpt2 int8 on webgpu of pi5, decode at 64 tokens"; omits the CPU provider and an unknown length."""
        on = self.place.label
        on = f" on {on}" if on else ""
        return f"{self.subject.model} {self.subject.precision}{on}, {self.load.label}"

    @property
    def series(self) -> "PointKey":
        """The key without its length: equal for the points of one line in a figure."""
        return replace(self.lasting, load=replace(self.load, tokens=None, past_tokens=0, source_tokens=None))

    @property
    def lasting(self) -> "PointKey":
        """The key without parts that may change for one point: a new export, other options of its provider."""
        weights = WeightsSource(kind="file")
        return PointKey(
            subject=replace(self.subject, digest="", structure="", weights=weights),
            load=self.load,
            place=replace(self.place, options=(), library="", device=""),
        )

    @property
    def of_any_model(self) -> "PointKey":
        """The lasting key without the name of the model: equal for models that are measured alike."""
        lasting = self.lasting
        return replace(lasting, subject=replace(lasting.subject, model=""))
