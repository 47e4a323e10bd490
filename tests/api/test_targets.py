"""What models are called: by what tells a person which one it is."""

from pathlib import Path

import pytest

from edgeprof.api.targets import name_of, renamed
from edgeprof.schema import Artifact, Graph, GraphCount, Precision, WeightsSource

HASH = "c0ffee" * 6 + "c0ff"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("/data/bert.onnx", "bert"),
        ("/data/bert_model.onnx", "bert_model"),
        ("/data/encoder.onnx", "encoder"),
        ("/data/a/model.onnx", "a"),
        ("/data/minilm/onnx/model.onnx", "minilm"),
        ("/data/minilm/onnx/model_quantized.onnx", "minilm-quantized"),
        ("/data/whisper/decoder_model_merged.onnx", "whisper-decoder_merged"),
        ("/data/models/gpt2/int8/model.onnx", "gpt2"),
        (f"/hub/models--acme--mini-lm/snapshots/{HASH}/onnx/model.onnx", "mini-lm"),
        (f"/hub/models--acme--mini-lm/snapshots/{HASH}/model_fp16.onnx", "mini-lm-fp16"),
        ("/hub/models--acme--mini-lm/snapshots/main/onnx/model.onnx", "mini-lm"),
        ("/data/.hidden/model.onnx", "hidden"),
        ("/model.onnx", "model"),
    ],
)
def test_a_file_is_called_by_the_nearest_part_of_its_path_that_says_which_model(file: str, name: str) -> None:
    assert name_of(Path(file)) == name


def test_links_of_a_hub_cache_are_not_followed(tmp_path: Path) -> None:
    blob = tmp_path / "models--acme--mini-lm" / "blobs" / ("ab" * 32)
    blob.parent.mkdir(parents=True)
    blob.touch()
    link = tmp_path / "models--acme--mini-lm" / "snapshots" / HASH / "model.onnx"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    assert name_of(link) == "mini-lm"


def artifact(path: str, precision: str = "fp32") -> Artifact:
    return Artifact(
        name=name_of(Path(path)),
        precision=Precision.parse(precision),
        params=1,
        weights=WeightsSource(kind="file"),
        graphs=(Graph(path=path, opset=17, inputs=(), outputs=(), count=GraphCount(nodes={}, weights_bytes=4)),),
    )


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/dup/a/model.onnx", "/dup/b/model.onnx"], ["a", "b"]),
        (["/dup/a/net.onnx", "/dup/b/net.onnx"], ["a-net", "b-net"]),
        (["/x/a/net.onnx", "/y/a/net.onnx"], ["x-net", "y-net"]),
        (["/x/a/model.onnx", "/y/a/model.onnx"], ["x-a", "y-a"]),
        (["/x/a/net.onnx", "/x/b/net.onnx", "/y/a/net.onnx"], ["x-a-net", "x-b-net", "y-a-net"]),
        (["/x/net.onnx", "/x/y/net.onnx"], ["x-net", "y-net"]),
        (["/a/net.onnx", "/b/net.onnx", "/c/a-net.onnx"], ["a-net", "b-net", "a-net-2"]),
        (["/a/net.onnx", "/b/other.onnx"], ["net", "other"]),
    ],
)
def test_files_of_one_name_are_distinguished_by_folder(paths: list[str], names: list[str]) -> None:
    assert [one.name for one in renamed(list(map(artifact, paths)))] == names


def test_precisions_of_one_model_keep_its_name() -> None:
    both = [artifact("/gpt2/fp32/model.onnx", "fp32"), artifact("/gpt2/int8/model.onnx", "int8")]
    assert [one.name for one in renamed(both)] == ["gpt2", "gpt2"]
