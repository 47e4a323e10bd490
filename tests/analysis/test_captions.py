"""Sentences as a reader gets them: right numbers, good English, and silence where there is nothing to say."""

from factories import MB, point
from msgspec.structs import replace

from edgeprof.analysis.captions import sentences
from edgeprof.schema import Point


def line(*lengths_and_seconds: tuple[int, float], **fields: object) -> list[Point]:
    return [point(seconds, tokens=tokens, **fields) for tokens, seconds in lengths_and_seconds]


def cache(*lengths_and_seconds: tuple[int, float], **fields: object) -> list[Point]:
    plain = {"phase": "decode", "tokens": 1, "variant": "gpt2", "family": "gpt2"}
    return [point(seconds, past_tokens=past, **{**plain, **fields}) for past, seconds in lengths_and_seconds]


def test_growth_with_length() -> None:
    summary = sentences(line((128, 0.106), (512, 0.436)))
    assert summary.captions["prefill-latency"] == (
        "From 128 to 512 tokens bert-base takes 4.1x as long (106 ms to 436 ms) for 4x the tokens; "
        "its parameters do not change."
    )
    assert summary.captions["prefill-latency"] in summary.headlines


def test_growth_with_length_names_the_work_and_the_range_of_all_lines() -> None:
    points = [
        *[point(t, tokens=n, macs=m) for n, t, m in ((128, 0.1, 11 * 10**9), (512, 0.4, 48 * 10**9))],
        *line((128, 0.05), (512, 0.1), precision="int8"),
    ]
    caption = sentences(points).captions["prefill-latency"]
    assert caption == (
        "From 128 to 512 tokens bert-base fp32 takes 4x as long (100 ms to 400 ms) for 4x the tokens and 4.4x the "
        "MACs; its parameters do not change. Over the 2 lines latency grows with the token length to the power of "
        "0.50 (bert-base int8) to 1.00 (bert-base fp32); 1 is proportional."
    )


def test_a_single_length_is_named_as_such() -> None:
    summary = sentences([point(0.1)])
    assert summary.captions["prefill-latency"] == (
        "bert-base takes 100 ms at 128 tokens; only one length was measured, so growth with length is not shown."
    )
    assert summary.headlines[0] == summary.captions["prefill-latency"]
    assert "prefill-latency-by-size" not in summary.captions
    assert not any(name.startswith("decode") for name in summary.captions)


def test_one_size_of_each_family_is_no_growth() -> None:
    summary = sentences([point(0.1), point(0.2, variant="gpt2", family="gpt2", params=124 * MB)])
    assert summary.captions["prefill-latency-by-size"] == (
        "Every family was measured in one size only, so growth of latency with the parameters is not shown."
    )


def test_overlapping_intervals_are_no_difference() -> None:
    summary = sentences(cache((16, 0.020), (512, 0.0201)))
    assert summary.captions["decode-latency"] == (
        "From 16 to 512 cached tokens, the time per output token of gpt2 does not clearly change: "
        "the intervals overlap."
    )


def test_decode_cost_of_the_cache() -> None:
    summary = sentences(cache((100, 0.020), (900, 0.028)))
    assert summary.captions["decode-latency"] == (
        "From 100 to 900 cached tokens, an output token of gpt2 takes 1.4x as long (20 ms to 28 ms): "
        "10 µs more for every cached token."
    )


def test_precisions_against_fp32() -> None:
    points = [
        *line((64, 0.1), (128, 0.2), (512, 0.8)),
        *line((64, 0.05), (128, 0.201), (512, 1.6), precision="int8"),
    ]
    assert (
        "Prefill in int8 against fp32: faster at 1 of 3 points (median 2x, up to 2x: bert-base at 64 tokens), "
        "slower at 1 of 3 points (down to 0.5x: bert-base at 512 tokens) and "
        "without a clear difference at 1 of 3 points."
    ) in sentences(points).headlines


def test_a_single_comparison_has_its_interval() -> None:
    # 198..202 ms against 99..101 ms: 198 / 101 = 1.96, 202 / 99 = 2.04.
    summary = sentences([point(0.2), point(0.1, precision="int8")])
    assert (
        "Prefill of bert-base at 128 tokens is 2x as fast in int8 as in fp32 (95 % interval 1.96 to 2.04)."
        in summary.headlines
    )
    summary = sentences([point(0.2), point(0.2, precision="int8")])
    assert (
        "No clear difference between int8 and fp32 in the prefill of bert-base at 128 tokens: "
        "the interval of their ratio includes 1."
    ) in summary.headlines


def test_law_over_sizes() -> None:
    sizes = [point(n / 1e9, variant=f"bert-{n}", params=n) for n in (10 * MB, 100 * MB, 1000 * MB)]
    assert sentences(sizes).captions["prefill-latency-by-size"] == (
        "Over 3 sizes of bert (10M to 1B parameters, 128 tokens) latency grows with the parameters to the power of "
        "1.00: ten times the parameters, 10x the latency."
    )


def test_two_sizes_are_compared_without_a_law() -> None:
    pair = [point(0.1), point(0.34, variant="bert-large", params=300 * MB)]
    assert sentences(pair).captions["prefill-latency-by-size"] == (
        "bert-large has 3x the parameters of bert-base and 3.4x its latency at 128 tokens; "
        "two sizes are too few for a power law."
    )


def test_a_cache_that_is_copied_costs() -> None:
    shared = point(0.1, phase="decode", tokens=1, past_tokens=128, memory_working_bytes=20 * MB)
    copied = replace(shared, facts=replace(shared.facts, cache_copied_bytes=9_437_184))
    caption = sentences([copied]).captions["decode-memory"]
    assert caption.endswith(
        "Its KV cache grows: each step after 128 cached tokens copies 9.44 MB, which a decoder with fused attention "
        "writes in place."
    )
    assert "KV cache" not in sentences([shared]).captions["decode-memory"]


def test_memory_split() -> None:
    points = [
        point(0.1, memory_working_bytes=35 * MB, memory_peak_bytes=495 * MB),
        point(0.4, tokens=512, memory_working_bytes=140 * MB),
    ]
    assert sentences(points).captions["prefill-memory"] == (
        "At 512 tokens bert-base peaks at 600 MB: 60 MB runtime, 400 MB weights and 140 MB working memory. "
        "From 128 to 512 tokens its working memory grows from 35 MB to 140 MB."
    )


def test_the_memory_split_names_mapped_weights_that_the_runs_touched() -> None:
    plain = point(0.4, tokens=512)
    assert plain.memory
    split = replace(plain.memory, weights_bytes=300 * MB, weights_touched_bytes=100 * MB)
    seen = replace(plain, memory=split)
    assert (
        sentences([seen])
        .captions["prefill-memory"]
        .startswith(
            "At 512 tokens bert-base peaks at 600 MB: 60 MB runtime, 300 MB weights, "
            "100 MB of mapped weights that the runs touched and 140 MB working memory."
        )
    )


def test_how_far_predictions_are_off() -> None:
    def working(tokens: int, measured: int, predicted: int | None) -> Point:
        sizes = {"memory_working_bytes": measured * MB}
        return point(0.1, tokens=tokens, memory_predicted_bytes=predicted and predicted * MB, **sizes)

    summary = sentences([working(64, 30, 20), working(128, 33, 30), working(256, 90, 30), working(512, 9, None)])
    caption = (
        "Working memory in prefill is 1.5x the prediction, the median of 3 points; "
        "1.1x (bert-base at 128 tokens) to 3x (bert-base at 256 tokens)."
    )
    assert summary.captions["prefill-memory-predicted"] == caption
    with_small = sentences([working(16, 4, 1), working(64, 30, 20), working(128, 33, 30), working(256, 90, 30)])
    assert with_small.captions["prefill-memory-predicted"] == (
        "Working memory in prefill is 1.5x the prediction, the median of 3 points above 10 MB; "
        "1.1x (bert-base at 128 tokens) to 3x (bert-base at 256 tokens). "
        "Below that it is up to 4x (bert-base at 16 tokens)."
    )
    assert sentences([working(64, 30, 20)]).captions["prefill-memory-predicted"] == (
        "The working memory of bert-base at 64 tokens is 1.5x the prediction: 30 MB against 20 MB."
    )
    assert "prefill-memory-predicted" not in sentences([working(64, 30, None)]).captions


def test_cheapest_length_and_throughput() -> None:
    summary = sentences(line((64, 0.128), (128, 0.128), (512, 1.024)))
    assert summary.captions["prefill-time-per-token"] == (
        "bert-base is cheapest per token at 128 tokens: 1 ms, against 2 ms at 64."
    )
    assert summary.captions["prefill-throughput"] == (
        "The highest throughput is 1,000 tokens/s (bert-base at 128 tokens)."
    )


def test_a_flat_time_per_token_is_called_flat() -> None:
    # 1 ms and 1.01 ms a token, each 1 % up and down: the intervals meet.
    assert sentences(line((64, 0.064), (128, 0.12928))).captions["prefill-time-per-token"] == (
        "From 64 to 128 tokens bert-base needs 1 ms to 1.01 ms per token, no clear difference: the intervals overlap."
    )


def test_settings_are_named_only_where_they_differ() -> None:
    points = [*line((128, 0.1), (512, 0.4)), *line((128, 0.4), (512, 1.7), batch=4, threads=4)]
    assert "bert-base at batch 4 with 4 threads" in sentences(points).captions["prefill-latency"]


def test_no_measurements_give_no_sentences() -> None:
    for points in ([], [point()], [point(0.1, emulated=True)]):
        summary = sentences(points)
        assert (summary.headlines, summary.captions, summary.reference) == ((), {}, ())
