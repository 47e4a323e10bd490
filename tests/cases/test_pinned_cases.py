"""Graphs of one shape made from files as people have them: what they give is what the file itself gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from edgeprof.api.targets import foreign
from edgeprof.inputs.run_inputs import of_file, signature_of_artifact
from edgeprof.inputs.sizes import LoadRequest
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.output_tolerance import difference
from edgeprof.measure.placement_worker import padded
from edgeprof.providers.session import open_session
from edgeprof.schema import CPU, InputValue, Target
from edgeprof.stages.provider_graph import prepare_for_provider

NPU = Target(provider="npu", kind="NPU", static=True, lacks=("Attention",))
AS_IT_IS, AT_32, STEP = LoadRequest(), LoadRequest(length=32), LoadRequest(phase="decode", length=8)

CASES: dict[str, tuple[LoadRequest, ...]] = {
    **dict.fromkeys(("enc_s", "enc_NM", "enc_unk", "enc_unnamed", "ids_named", "ids_none", "minus1_ids"), (AT_32,)),
    **dict.fromkeys(("ids_b4", "minus1", "torch_static", "tf_op11", "whisper_fixed"), (AS_IT_IS,)),
    **dict.fromkeys(("pos64", "length_floor", "baked_batch"), (AT_32,)),
    **dict.fromkeys(("dec_torch_s", "past_seq", "packedpast", "merged", "gqa", "gqa_nbits"), (AT_32, STEP)),
    **dict.fromkeys(("dec_nested", "with_past"), (STEP,)),
    "static_past": (LoadRequest(phase="decode"),),
    **dict.fromkeys(("constants", "qdq_int8", "dq_int4_axis0", "localfn", "einsum", "moe3d"), (AT_32,)),
    **dict.fromkeys(("weights_as_inputs", "via_reshape", "zero_of_zero", "cnn", "aionnx", "gn18", "gn21"), (AS_IT_IS,)),
    **dict.fromkeys(("ort_opt_ln", "fp16_attention", "pooler", "last_token", "mask_zeros"), (AT_32,)),
    **dict.fromkeys(("bf16_input", "fp8_input", "int4_input", "string_input", "zipmap"), (AS_IT_IS,)),
    **dict.fromkeys(("string_in", "seq_out"), (AT_32,)),
}
RUNS = [(name, load) for name, loads in CASES.items() for load in loads]
DIMS = {"enc_unk": {"unk__12": 1, "unk__13": 32}, "tf_op11": {"unk__1": 1}}


@pytest.mark.parametrize(("name", "load"), RUNS, ids=[f"{name} {load.phase}" for name, load in RUNS])
def test_it_gives_what_the_file_gives(name: str, load: LoadRequest, cases: Path, tmp_path: Path) -> None:
    artifact = foreign(cases / f"{name}.onnx")
    load = LoadRequest(phase=load.phase) if name in DIMS else load
    inputs = of_file(signature_of_artifact(artifact, artifact.graph()), load, dims=DIMS.get(name))
    shapes = {value.name: value.shape for value in inputs.values}
    built = prepare_for_provider(artifact.graph(), NPU, shapes, tmp_path, inputs.flags)
    sizes = {spec.name: tuple(int(dim) for dim in spec.dims) for spec in built.inputs}
    fixed = [replace(value, shape=sizes[value.name]) for value in inputs.values if value.name in sizes]
    result, expected = run(built.path, fixed, padded(fixed, inputs.values)), run(artifact.location, inputs.values)
    assert list(result) == list(expected)
    for output, values in expected.items():
        _, relative, _ = difference(result[output], values)
        assert relative < (2e-3 if name == "fp16_attention" else 1e-5), output


def run(file: str, values: Sequence[InputValue], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    binding = Binding(open_session(file, threads=1), CPU, values, given)
    binding.run()
    return binding.outputs()
