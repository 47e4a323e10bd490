"""MACs in closed form against those counted, node by node, in the graphs of tiny models: exactly, at any shape."""

import pytest
import tiny_models
from counted_graphs import counted_at, exported

from edgeprof.families import family_of
from edgeprof.schema import Case, Role, Variant

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, about its exporter

TOKENS = (Case(batch=2, tokens=5), Case(batch=1, tokens=7))
STEP = Case(batch=2, tokens=1, past_tokens=6)
IMAGES = (Case(batch=2, tokens=1 + 4 * 4), Case(batch=1, tokens=1 + 3 * 4))


@pytest.mark.parametrize(
    ("family", "task", "config", "cases"),
    [
        ("qwen3_moe", "causal-lm", {"num_hidden_layers": 1}, (*TOKENS, STEP)),  # grouped queries, experts
        ("distilbert", "base", {}, TOKENS),
        ("modernbert", "masked-lm", {}, TOKENS),
        ("dinov2", "base", {}, IMAGES),
    ],
)
def test_one_graph(family: str, task: str, config: dict[str, int], cases: tuple[Case, ...]) -> None:
    variant = tiny_models.variant(family, task, **config)
    graphs = exported(variant)
    assert list(graphs) == ["model"]
    for case in cases:
        assert counted_at(graphs["model"], variant, case).macs == family_of(variant).macs(variant, case), case


def require_runs(variant: Variant, runs: dict[Role, Case]) -> None:
    graphs = exported(variant)
    for role, case in runs.items():
        assert counted_at(graphs[role], variant, case).macs == family_of(variant).macs(variant, case), role


def test_t5() -> None:
    step = Case(batch=2, tokens=1, past_tokens=5, source_tokens=6)
    variant = tiny_models.variant("t5", "seq2seq-lm", num_layers=1, num_decoder_layers=2)
    require_runs(variant, {"encoder": Case(batch=2, tokens=5), "decoder": step})


def test_whisper() -> None:
    step = Case(batch=2, tokens=1, past_tokens=5, source_tokens=20)
    variant = tiny_models.variant("whisper", "speech-seq2seq", encoder_layers=1, decoder_layers=2)
    require_runs(variant, {"encoder": Case(batch=2, tokens=20), "decoder": step})


def test_two_towers_and_what_compares_them() -> None:
    """The towers alone lack the product of 2 texts and 2 images, 20 wide: 80 MACs."""
    variant, case = tiny_models.variant("clip", "dual-encoder", vision_num_hidden_layers=1), TOKENS[0]
    macs = {role: counted_at(graph, variant, case).macs for role, graph in exported(variant).items()}
    assert macs["model"] == family_of(variant).macs(variant, case) == macs["text"] + macs["vision"] + 80
