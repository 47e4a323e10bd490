"""Every row is walked: what it is called, how it is installed, where it is documented."""

import re
from pathlib import Path

import pytest

from edgeprof.errors import UnknownName
from edgeprof.providers.exercised import exercised_on
from edgeprof.providers.table import PROVIDERS, Provider, find, here, target
from edgeprof.recipe_table import NAMES
from edgeprof.schema import CPU

PAGE = (Path(__file__).parents[2] / "docs" / "providers.md").read_text()
names = [row.name for row in PROVIDERS]


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_every_row_says_what_it_is_and_how_to_get_it(row: Provider) -> None:
    assert find(row.name) is row
    assert names.count(row.name) == 1
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", row.name)
    assert row.kind in ("CPU", "GPU", "NPU")
    assert row.docs.startswith("https://")
    assert (f"pip install {row.package}" in row.install.replace("'", "")) == bool(row.package)
    assert bool(row.plugin) == bool(row.library)
    assert set(row.precisions) <= set(NAMES)
    assert row.precisions
    assert row.platforms
    assert set(row.device) | set(row.options) | set(row.emulator) <= set(row.known)


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_every_row_has_a_target(row: Provider) -> None:
    opened = target(row.name)
    assert (opened.provider, opened.runtime_name, opened.kind) == (row.name, row.runtime_name, row.kind)
    assert (opened.static, opened.lacks, opened.asynchronous) == (row.static, row.lacks, row.asynchronous)
    assert {**row.device, **row.options}.items() <= opened.options.items()
    assert opened.defaults == opened.options
    assert opened.host_memory == (row.kind == "CPU" or opened.emulated)
    assert opened.ep_options == {}
    assert opened == CPU or (opened.precisions, opened.plugin) == (row.precisions, row.plugin)


def test_a_library_that_a_user_names_is_not_that_of_the_installed_plugin() -> None:
    assert target("webgpu").custom_library == target("cuda").custom_library == ""
    own = target("webgpu", "/opt/libmine.so")
    assert (own.library, own.plugin, own.custom_library) == ("/opt/libmine.so", "", "/opt/libmine.so")


def test_the_names_are_those_that_are_documented() -> None:
    assert names == [
        *("cpu", "xnnpack", "webgpu", "cuda", "tensorrt", "tensorrt-rtx"),
        *("openvino-cpu", "openvino-gpu", "openvino-npu", "qnn", "qnn-gpu", "coreml", "coreml-npu"),
        *("directml", "migraphx", "vitisai", "cann", "mlx", "ggml", "ggml-cpu"),
    ]


@pytest.mark.parametrize("row", PROVIDERS, ids=lambda row: row.name)
def test_the_page_on_providers_says_the_same(row: Provider) -> None:
    (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| [`{row.name}`]"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[0] == f"[`{row.name}`]({row.docs})"
    assert cells[1:3] == [row.kind, row.vendor]
    assert row.package in cells[3]
    assert row.runtime in cells[4]
    assert ("static shapes" in cells[4]) == row.static
    assert cells[6] == (exercised_on(row.name) or "not exercised on hardware")


def test_no_two_rows_open_the_same_device() -> None:
    assert len({(row.runtime_name, *row.device.items()) for row in PROVIDERS}) == len(PROVIDERS)


def test_a_misspelt_name_is_offered_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"no execution provider called 'openvino'\. Did you mean openvino-"):
        find("openvino")
    with pytest.raises(UnknownName, match=r"Did you mean cpu"):
        find("cpi")


def test_an_emulator_stands_for_the_npu_on_x86_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    assert target("qnn").options.items() >= {"backend_type": "htp", "soc_model": "60"}.items()
    assert target("qnn").emulated
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert "soc_model" not in target("qnn").options
    assert not target("qnn").emulated
    assert here().endswith("-aarch64")
