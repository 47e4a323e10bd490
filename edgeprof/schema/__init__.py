"""The records that cross every boundary: between rooms, between processes, and to disk.

    base      Record
    codec     encode, decode; `upgrades` converts what an older edgeprof wrote
    identity  PointKey: subject, load, place
    models    Variant, Artifact and the receipts of what was made of it
    costs     Ledger, Explanation: what is counted
    placement Target, Device, Placement: where it can run, and where it did
    runs      Request, Reading, Measurement, Machine: what is measured
    buckets   Buckets: static lengths that were chosen
    derived   Point, Findings, Why, CheckedClaim: what follows from records

All are frozen, all carry their units in their names. Raw values are stored; statistics are derived
(`edgeprof.analysis`). SCHEMA_VERSION grows whenever a reader of old files would misread a new one.
"""

from edgeprof.schema.base import SCHEMA_VERSION, Record
from edgeprof.schema.buckets import Bucket, Buckets
from edgeprof.schema.codec import decode, encode, encode_pretty
from edgeprof.schema.costs import QUANTITIES, Cost, Crossover, Explanation, Ledger, Uncounted
from edgeprof.schema.derived import (
    CheckedClaim,
    ClassTime,
    ComparedLength,
    Curve,
    Findings,
    MeasuredGrowth,
    PlacedPoint,
    Point,
    Side,
    Turn,
    Verdict,
    Why,
)
from edgeprof.schema.identity import (
    FP32,
    Load,
    Method,
    Phase,
    Place,
    PointKey,
    Precision,
    Settings,
    Subject,
    WeightsSource,
)
from edgeprof.schema.models import (
    Accuracy,
    Artifact,
    Calibration,
    Case,
    Check,
    Fusion,
    FusionReceipt,
    GraphCount,
    Left,
    Limits,
    Logits,
    ModelSummary,
    QuantReceipt,
    RecipeSummary,
    StageReceipt,
    StaticGraph,
    TensorSpec,
    Variant,
)
from edgeprof.schema.placement import CPU, Agreement, Device, Kind, LeftOperator, Placed, Placement, Target
from edgeprof.schema.runs import (
    FileState,
    Fill,
    InputValue,
    KernelTime,
    Machine,
    MatrixTime,
    Measurement,
    OperatorPass,
    OperatorReading,
    OperatorTime,
    Reading,
    Request,
    Status,
    StoppingRule,
    Workload,
)

__all__ = [
    "CPU",
    "FP32",
    "QUANTITIES",
    "SCHEMA_VERSION",
    "Accuracy",
    "Agreement",
    "Artifact",
    "Bucket",
    "Buckets",
    "Calibration",
    "Case",
    "Check",
    "CheckedClaim",
    "ClassTime",
    "ComparedLength",
    "Cost",
    "Crossover",
    "Curve",
    "Device",
    "Explanation",
    "FileState",
    "Fill",
    "Findings",
    "Fusion",
    "FusionReceipt",
    "GraphCount",
    "InputValue",
    "KernelTime",
    "Kind",
    "Ledger",
    "Left",
    "LeftOperator",
    "Limits",
    "Load",
    "Logits",
    "Machine",
    "MatrixTime",
    "MeasuredGrowth",
    "Measurement",
    "Method",
    "ModelSummary",
    "OperatorPass",
    "OperatorReading",
    "OperatorTime",
    "Phase",
    "Place",
    "Placed",
    "PlacedPoint",
    "Placement",
    "Point",
    "PointKey",
    "Precision",
    "QuantReceipt",
    "Reading",
    "RecipeSummary",
    "Record",
    "Request",
    "Settings",
    "Side",
    "StageReceipt",
    "StaticGraph",
    "Status",
    "StoppingRule",
    "Subject",
    "Target",
    "TensorSpec",
    "Turn",
    "Uncounted",
    "Variant",
    "Verdict",
    "WeightsSource",
    "Why",
    "Workload",
    "decode",
    "encode",
    "encode_pretty",
]
