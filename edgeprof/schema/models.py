"""Models and their artifacts."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgeprof.errors import RunError
from edgeprof.schema.base import SCHEMA_VERSION, Count, Record, Seconds
from edgeprof.schema.identity import Phase, Precision, Settings, Subject, WeightsSource

Logits = Literal["all", "last"]


class Variant(Record, frozen=True, kw_only=True):
    """One transformer: a row of a family's table, or a checkpoint.

    `config` has the values that its family needs: for most, keyword arguments of a `transformers` configuration, nested
    as there.
    """

    name: str
    family: str
    task: str
    config: dict[str, Any]
    max_tokens: Count | None  # None: any number (position embedding is interpolated)
    source: str | None = None  # hub repository or checkpoint folder of the weights


PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len", "weightedmean", "lasttoken"]


class SentenceModule(Record, frozen=True, kw_only=True):
    """What sentence-transformers computes after the transformer."""

    kind: Literal["pooling", "dense", "normalize"]
    modes: tuple[PoolingMode, ...] = ()  # of pooling, concatenated
    in_width: Count = 0  # of a dense layer
    out_width: Count = 0
    bias: bool = False
    activation: str = ""  # a class of `torch.nn` without weights


class Architecture(Record, frozen=True, kw_only=True):
    """A model by its configuration: what a config.json says, without names of code, files and other repositories.

    `config` holds JSON values, nested as in the file; without `model_type` and `architectures`.
    """

    class_name: str  # in `transformers`: "LlamaForCausalLM"
    model_type: str  # as in config.json: "llama"
    config: dict[str, Any]  # msgspec knows no recursive types
    modules: tuple[SentenceModule, ...] = ()  # after the model: they make one vector of its tokens
    max_tokens: Count | None = None  # None: any number, or unknown
    source: str | None = None  # hub repository or checkpoint folder of the weights


class ModelSummary(Record, frozen=True, kw_only=True):
    """A variant and its sizes, as `edgeprof models` lists them; None for sizes that it does not have."""

    name: str
    family: str
    params: Count
    layers: Count
    width: Count
    heads: Count | None
    vocabulary: Count | None
    patch: Count | None  # pixels on each side of an image patch
    max_tokens: Count | None  # None: any number


class TensorSpec(Record, frozen=True, kw_only=True):
    """An input or output of a graph; `dtype` and `dims` of a sequence, optional or map are of its elements."""

    name: str
    dtype: str  # numpy's or ml_dtypes' name: "int64", "float32", "bfloat16", "int4"; "string"
    dims: tuple[Count | str, ...]  # a fixed size, or the symbol of a dynamic one; "" for an unnamed one
    kind: Literal["tensor", "sequence", "optional", "map"] = "tensor"


class Case(Record, frozen=True, kw_only=True):
    """One shape at which outputs are compared."""

    batch: Count
    tokens: Count
    past_tokens: Count = 0
    source_tokens: Count = 0  # that a decoder attends to, in the encoder's output
    image: Count = 0  # side of images in pixels, where `tokens` does not tell


class Check(Record, frozen=True, kw_only=True):
    """The difference of an ONNX file's outputs from those of the PyTorch model, at one shape."""

    case: Case
    max_abs_error: float
    cosine: float  # the smallest over the outputs
    notes: tuple[str, ...] = ()  # outputs that were not compared, and why; labels that differ
    against: str = "PyTorch"  # source of the reference values
    host: str = ""  # name of the device that computed them; "": this machine


class GraphCount(Record, frozen=True, kw_only=True):
    nodes: dict[str, Count]  # operator type -> count
    weights_bytes: Count
    structure: str = ""  # digest of the graph without the values of its weights: models that share it cost the same

    @property
    def node_total(self) -> int:
        return sum(self.nodes.values())


class StageReceipt(Record, frozen=True, kw_only=True):
    """The effect of one stage, or why its result was discarded."""

    stage: str
    kept: bool
    before: GraphCount
    after: GraphCount
    reason: str = ""  # why the result was discarded
    seconds: Seconds = 0.0


class Left(Record, frozen=True, kw_only=True):
    """A matmul or convolution whose weight a recipe did not quantize."""

    weight: str  # name of the initializer
    bytes: Count  # of the weight in the source
    reason: str


class Calibration(Record, frozen=True, kw_only=True):
    """The data that the ranges of activations come from."""

    data: str  # as text: "text that edgeprof ships, tokenized by minilm"
    samples: Count
    lengths: tuple[Count, ...] = ()  # token lengths of the samples; empty for images
    method: str = ""  # "min-max" | "entropy" | "percentile"; "" where the recipe has no choice
    random: bool = False  # random values: the ranges are not valid for real inputs


class QuantReceipt(Record, frozen=True, kw_only=True):
    """How much a recipe quantized: matmuls with constant weights, and their bytes."""

    matmuls: Count
    matmuls_quantized: Count
    weight_bytes: Count  # of all weight matmuls, in the source
    weight_bytes_quantized: Count
    convolutions: Count = 0  # with constant kernels; counted by recipes that do not compute them in fp32
    convolutions_quantized: Count = 0
    left: tuple[Left, ...] = ()
    kept_fp32: dict[str, Count] = {}  # fp16 and bf16: operator type -> nodes that still compute in fp32
    shared: Count = 0  # embeddings that read the quantized matrix of their tied LM head
    tables: Count = 0  # lookup tables stored in 8 bits with a scale per block or row
    kernels: Count = 0  # of convolutions: stored in 8 bits, computed in fp32
    calibration: Calibration | None = None


class Limits(Record, frozen=True, kw_only=True):
    """The loss of accuracy above which `export` warns."""

    cosine: float  # minimum mean cosine to the fp32 output
    top1: float  # minimum share of equal first choices
    kl: float  # maximum nats per prediction
    perplexity: float  # maximum ratio to that of fp32


class RecipeSummary(Record, frozen=True, kw_only=True):
    """A quantization recipe, as `edgeprof recipes` lists it."""

    name: str
    title: str
    calibrated: bool  # needs calibration data
    settings: Settings
    limits: Limits


class Accuracy(Record, frozen=True, kw_only=True):
    """The difference of a file from the fp32 one on real data; None for metrics of other tasks."""

    task: Literal["embedding", "next token", "classification"]
    data: str  # as in Calibration
    samples: Count  # sequences or images
    predictions: Count  # compared vectors: sentences, tokens, images
    cosine_mean: float
    cosine_min: float
    max_rel_error: float  # largest difference over the largest value of the same vector
    kl: float | None = None  # Kullback-Leibler divergence from fp32, nats per prediction
    top1: float | None = None  # share of predictions with the same first choice
    perplexity_fp32: float | None = None
    perplexity: float | None = None
    beyond: tuple[str, ...] = ()  # exceeded limits, as text


class Fusion(Record, frozen=True, kw_only=True):
    """One kind of fused operator: the expected number for its family, and the actual number."""

    operator: str
    expected: Count
    found: Count


class FusionReceipt(Record, frozen=True, kw_only=True):
    """The graph that onnxruntime runs after its optimizations at load."""

    runtime: str  # "onnxruntime 1.32.0"
    nodes: dict[str, Count]  # operator type -> count
    fusions: tuple[Fusion, ...] = ()
    note: str = ""  # why fewer are expected than there are blocks


class StaticGraph(Record, frozen=True, kw_only=True):
    """A graph of one shape, in the folder of the artifact whose weights it reads; for static-only providers."""

    file: str  # its name
    case: Case  # in decode, the cache has one slot more than `past_tokens`, for the new token
    max_abs_error: float  # against the artifact's own graph at this shape
    sha256: str
    key: str  # content key of its inputs


Role = Literal["model", "encoder", "decoder", "prefill", "decode", "vision", "text", "embedding"]
"""The role of a graph in its artifact; "model" for the only graph."""

OF_PHASE: dict[Phase, tuple[Role, ...]] = {
    "prefill": ("model", "prefill", "encoder", "decoder"),
    "decode": ("model", "decode", "decoder"),
}
"""Phase -> roles that can run it; the first one that an artifact has is used."""


class Graph(Record, frozen=True, kw_only=True):
    """One ONNX file of an artifact, and the receipts of its stages."""

    role: Role = "model"
    path: str  # a bare file name on disk, absolute once loaded
    sha256: str = ""  # of this file; the weights have their own digest
    opset: Count
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    count: GraphCount
    checks: tuple[Check, ...] = ()
    stages: tuple[StageReceipt, ...] = ()
    quantization: QuantReceipt | None = None
    fusion: FusionReceipt | None = None
    shared_cache: bool = False  # one buffer may be past and present of its KV cache: a step then copies nothing
    note: str = ""  # what is not as one would expect, such as attention that could not be fused
    fills: dict[str, str] = {}  # for a user's file: the values of its inputs in the comparison, as text


class Artifact(Record, frozen=True, kw_only=True):
    """A model as ONNX files: one graph, or several with roles, and the weights that they share.

    `artifact.json` beside the files.
    """

    schema_version: int = SCHEMA_VERSION
    name: str  # the folder below models/
    precision: Precision
    weights: WeightsSource
    graphs: Annotated[tuple[Graph, ...], msgspec.Meta(min_length=1)]
    data_files: tuple[str, ...] = ()  # of weights, shared by all graphs; names as in `Graph.path`
    data_sha256: str = ""  # of those files
    data_bytes: Count = 0
    key: str = ""  # content key of all inputs of the export
    variant: Variant | None = None  # None: no family describes it
    architecture: Architecture | None = None  # of a model of `transformers` that no family describes
    source: str = ""  # the user's file that it was quantized from
    logits: Logits = "all"
    params: Count  # counted in PyTorch at export, tied tensors once; from the initializers of foreign files
    accuracy: Accuracy | None = None
    accuracy_note: str = ""  # why accuracy was not evaluated, or what it does not cover
    static: tuple[StaticGraph, ...] = ()
    versions: dict[str, str] = {}

    def __post_init__(self) -> None:
        if len({graph.role for graph in self.graphs}) < len(self.graphs):
            raise ValueError("two graphs have the same role")

    def graph(self, role: Role | None = None) -> Graph:
        """The graph of a role; without one, the only graph, or that of the whole model.

        Raises:
            RunError: the artifact has none.
        """
        if role is None and len(self.graphs) == 1:
            return self.graphs[0]
        for graph in self.graphs:
            if graph.role == (role or "model"):
                return graph
        raise self._lacks(f"graph '{role or 'model'}'")

    def only(self, role: Role) -> "Artifact":
        """The artifact with one of its graphs, as "clip/vision"; itself where it has no other.

        Raises:
            RunError: it has no such graph.
        """
        one = self.graph(role)
        if len(self.graphs) == 1:
            return self
        return msgspec.structs.replace(self, name=f"{self.name}/{role}", graphs=(one,))

    def graph_for(self, phase: Phase) -> Graph:
        """The graph that runs in a phase; the only graph runs in both.

        Raises:
            RunError: the artifact has none.
        """
        if len(self.graphs) == 1:
            return self.graphs[0]
        roles = [graph.role for graph in self.graphs]
        for role in OF_PHASE[phase]:
            if role in roles:
                return self.graph(role)
        raise self._lacks(f"graph for {phase}")

    def with_graphs(self, graphs: Iterable[Graph]) -> "Artifact":
        """The artifact with some graphs replaced, by role."""
        changed = {graph.role: graph for graph in graphs}
        return msgspec.structs.replace(self, graphs=tuple(changed.get(graph.role, graph) for graph in self.graphs))

    @property
    def exported(self) -> bool:
        """Whether edgeprof exported it, or its source, from PyTorch; otherwise it is a user's file."""
        return self.variant is not None or self.architecture is not None

    @property
    def max_tokens(self) -> int | None:
        """The most tokens that it processes; None: any number, or unknown."""
        known = self.variant or self.architecture
        return known.max_tokens if known else None

    @property
    def checkpoint(self) -> str | None:
        """The hub repository or checkpoint folder of its weights; None: there is none, or it is unknown."""
        known = self.variant or self.architecture
        return known.source if known else None

    @property
    def is_part(self) -> bool:
        """Whether it is one graph of an artifact of several, as "clip/vision"."""
        return "/" in self.name

    @property
    def sha256(self) -> str:
        """The digest of the graph file; of several files, one of their roles and digests."""
        import hashlib  # which loads OpenSSL: 3 MB, and most records need no digest

        if len(self.graphs) == 1:
            return self.graphs[0].sha256
        return hashlib.sha256(" ".join(f"{graph.role}:{graph.sha256}" for graph in self.graphs).encode()).hexdigest()

    @property
    def structure(self) -> str:
        """Equal for models that cost the same: of one graph or more with equal roles, operators, shapes and types.

        A fine-tuned model has that of its base. Empty where a record does not tell.
        """
        if not all(graph.count.structure for graph in self.graphs):
            return ""
        return " ".join(f"{graph.role}:{graph.count.structure}" for graph in self.graphs)

    @property
    def subject(self) -> Subject:
        """The subject of its points."""
        return Subject(
            model=self.name,
            precision=self.precision,
            weights=self.weights,
            digest=self.sha256,
            structure=self.structure,
        )

    @property
    def location(self) -> str:
        """The path of the graph file; of several, of their folder."""
        first = self.graphs[0].path
        return first if len(self.graphs) == 1 else str(Path(first).parent)

    @property
    def folder(self) -> Path:
        return Path(self.graphs[0].path).parent

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that a run reads: graphs, then weights."""
        return tuple(map(Path, (*(graph.path for graph in self.graphs), *self.data_files)))

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks of all graphs."""
        return tuple(check for graph in self.graphs for check in graph.checks)

    def _lacks(self, what: str) -> RunError:
        roles = ", ".join(graph.role for graph in self.graphs)
        return RunError(f"{self.name} has no {what}; its graphs are: {roles}.", "Choose a model that has one.")
