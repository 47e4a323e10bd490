"""Options are held against the documentation before a provider swallows them."""

import pytest

from edgeprof.errors import UnknownName, UsageError
from edgeprof.providers.options import check, siblings
from edgeprof.providers.table import PROVIDERS, find


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_what_a_row_sets_itself_is_documented(row: object) -> None:
    check(row, {**row.device, **row.options, **row.emulator})  # type: ignore[attr-defined,arg-type]


def test_an_unknown_option_is_offered_the_nearest() -> None:
    with pytest.raises(UnknownName) as refusal:
        check(find("qnn"), {"htp_performence_mode": "burst"})
    assert refusal.value.what == "There is no option of qnn called 'htp_performence_mode'."
    assert refusal.value.next_step.startswith("Did you mean htp_performance_mode")
    assert refusal.value.next_step.endswith(f"See {find('qnn').docs}")


@pytest.mark.parametrize(
    ("provider", "option", "value", "what"),
    [
        ("webgpu", "enableInt64", "yes", "webgpu does not accept enableInt64=yes: it accepts 0, 1."),
        ("webgpu", "preferredLayout", "nhwc", "webgpu does not accept preferredLayout=nhwc: it accepts NCHW, NHWC."),
        ("cuda", "device_id", "first", "cuda does not accept device_id=first: it is not a whole number."),
        ("tensorrt", "trt_engine_cache_path", "", "tensorrt does not accept trt_engine_cache_path=: it is empty."),
        (
            "openvino-cpu",
            "load_config",
            "config.json",
            "openvino-cpu does not accept load_config=config.json: pass JSON itself, not the name of a file.",
        ),
        ("openvino-cpu", "load_config", "[1]", "openvino-cpu does not accept load_config=[1]: pass a JSON object."),
    ],
)
def test_a_wrong_value_is_answered_with_the_right_ones(provider: str, option: str, value: str, what: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check(find(provider), {option: value})
    assert refusal.value.what == what
    assert refusal.value.next_step == f"See {find(provider).docs}"


@pytest.mark.parametrize(
    ("provider", "option", "value"),
    [
        ("cuda", "device_id", "-1"),
        ("openvino-cpu", "load_config", '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'),
        ("coreml-npu", "ModelCacheDirectory", "/tmp/models"),
        ("qnn", "backend_type", "htp"),
    ],
)
def test_documented_values_are_accepted(provider: str, option: str, value: str) -> None:
    check(find(provider), {option: value})


def test_the_device_is_chosen_by_the_name_of_the_provider() -> None:
    with pytest.raises(UsageError, match=r"qnn means backend_type=htp, not gpu\. Choose another provider: qnn-gpu"):
        check(find("qnn"), {"backend_type": "gpu"})
    assert siblings(find("openvino-npu")) == ["openvino-cpu", "openvino-gpu"]
