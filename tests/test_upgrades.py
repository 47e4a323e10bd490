"""Records that edgeprof wrote before: what version 1 said in words is told apart into fields."""

import json
from pathlib import Path

import pytest

from edgeprof.errors import RunError
from edgeprof.schema import SCHEMA_VERSION, Artifact, Precision, Settings, WeightsSource, decode, encode

ARTIFACTS = Path(__file__).with_name("data") / "artifacts_v1"
RANDOM = WeightsSource(kind="random", seed=0)
PRETRAINED = WeightsSource(kind="pretrained", origin="tiny-gpt2")
FILE = WeightsSource(kind="file")
INT4 = Precision(recipe="int4", settings=Settings(block_size=64, symmetric=False))


def written(folder: str) -> bytes:
    return (ARTIFACTS / folder / "artifact.json").read_bytes()


@pytest.mark.parametrize(
    ("folder", "precision", "weights"),
    [
        ("tiny-bert/fp32", Precision(recipe="fp32"), RANDOM),
        ("tiny-bert/int8", Precision(recipe="int8"), RANDOM),
        ("tiny-bert/int4-block64-asymmetric", INT4, RANDOM),
        ("tiny-gpt2/fp32", Precision(recipe="fp32"), PRETRAINED),
        ("tiny-gpt2/int8", Precision(recipe="int8"), PRETRAINED),
        ("from-a-file/int8", Precision(recipe="int8"), FILE),
    ],
)
def test_an_artifact_of_version_1(folder: str, precision: Precision, weights: WeightsSource) -> None:
    read, before = decode(written(folder), Artifact, folder), json.loads(written(folder))
    assert (read.precision, read.weights, read.schema_version) == (precision, weights, SCHEMA_VERSION)
    assert (str(read.precision), str(read.weights)) == (before["precision"], before["weights"])
    after = json.loads(encode(read))
    (graph,) = after["graphs"]
    assert (graph["role"], after["data_files"]) == ("model", ["model.onnx.data"])
    changed = {"schema_version", "precision", "weights"}
    for check in before["checks"]:
        check["case"] |= {"source_tokens": 0, "image": 0}  # which version 1 does not have
        check["host"] = ""
    for count in (before["count"], *(stage[side] for stage in before["stages"] for side in ("before", "after"))):
        count["structure"] = ""
    assert {name: {**after, **graph}[name] for name in before if name not in changed} == {
        name: value for name, value in before.items() if name not in changed
    }


@pytest.mark.parametrize(
    ("old", "damaged"),
    [
        (b'"weights": "random (seed 0)"', b'"weights": "by hand"'),
        (b'"weights": "random (seed 0)"', b'"weights": 3'),
        (b'"precision": "fp32"', b'"precision": null'),
        (b'"precision": "fp32",', b""),
        (b'"params": ', b'"params": -'),
        (b'"params": ', b'"params": NaN, "other": '),
        (b'"params": ', b'"params": 1' + b"0" * 40),
    ],
)
def test_a_damaged_one_is_refused(old: bytes, damaged: bytes) -> None:
    data = written("tiny-bert/fp32")
    assert old in data
    with pytest.raises(RunError, match=r"^here does not hold a valid Artifact record"):
        decode(data.replace(old, damaged, 1), Artifact, "here")
