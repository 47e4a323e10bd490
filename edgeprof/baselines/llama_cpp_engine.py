"""llama.cpp, with the weights of a GGUF file, through the C interface of llama-cpp-python.

Run as a module, this file is the process that reads what a GGUF file holds.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, ClassVar

from msgspec.structs import replace

from edgeprof import kv_cache, process
from edgeprof.baselines.engine import Engine
from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.inputs import tensors
from edgeprof.schema import InputValue, Record
from edgeprof.store import load_artifact

COMPARED_TOKENS = 8
"""Of a first run, in which results are compared: the past of a timed step is not onnxruntime's, which is random."""

FORMATS = {"all F32": "fp32", "F16": "fp16", "BF16": "bf16"}
"""llama.cpp's names of number formats that have one here; the others keep theirs, in lower case: "q8_0"."""

MICROBATCH = 512
"""Tokens that llama.cpp computes at once, by default."""


class GgufRequest(Record, frozen=True, kw_only=True):
    file: str


class GgufFile(Record, frozen=True, kw_only=True):
    """What a GGUF file holds."""

    precision: str


class LlamaCpp(Engine):
    """One sequence: every run computes the same tokens after the same past."""

    silent: ClassVar[Any]  # what takes its log: it must live as long as the process

    @classmethod
    def start(cls) -> None:
        import llama_cpp

        cls.silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(cls.silent, ctypes.c_void_p())
        llama_cpp.llama_backend_init()

    @classmethod
    def compared(cls, inputs: tuple[InputValue, ...]) -> tuple[InputValue, ...]:
        """A first run of a few tokens."""
        return tuple(_shortened(value) for value in inputs)

    def load(self) -> None:
        self.logits = load_artifact(Path(self.request.weights_folder)).logits
        self.model = _opened(self.request.model)

    def feed(self) -> None:
        import llama_cpp
        import numpy as np

        values = {value.name: value for value in self.request.inputs}
        ids = tensors.make(values["input_ids"])
        if ids.shape[0] != 1:
            raise EdgeprofError("llama.cpp is measured with one sequence.", "Use --batch 1.")
        caches = [value for name, value in values.items() if kv_cache.is_past(name)]
        self.past, self.tokens = caches[0].shape[kv_cache.TOKENS] if caches else 0, ids.shape[1]
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = self.past + self.tokens
        options.n_batch = max(self.past, self.tokens, MICROBATCH)
        options.n_ubatch = MICROBATCH
        options.n_threads = options.n_threads_batch = self.request.threads
        options.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        if not self.context:
            raise EdgeprofError(f"llama.cpp cannot take {options.n_ctx:,} tokens of {self.request.model}.")
        self.memory = llama_cpp.llama_get_memory(self.context)
        if self.past:
            before = np.random.default_rng(0).integers(0, values["input_ids"].high, self.past)
            self._decode(self._batch(before, 0, last_only=True))
        self.batch = self._batch(ids[0], self.past, last_only=self.logits == "last")

    def _batch(self, ids: Any, start: int, *, last_only: bool) -> Any:
        import llama_cpp

        batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for index, token in enumerate(ids):
            batch.token[index], batch.pos[index] = int(token), start + index
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            batch.logits[index] = not last_only or index == len(ids) - 1
        return batch

    def _decode(self, batch: Any) -> None:
        import llama_cpp

        status = llama_cpp.llama_decode(self.context, batch)
        llama_cpp.llama_synchronize(self.context)
        if status:
            raise EdgeprofError(f"llama.cpp does not run {self.request.model}: status {status}.")

    def run(self) -> None:
        import llama_cpp

        llama_cpp.llama_memory_seq_rm(self.memory, 0, self.past, -1)
        self._decode(self.batch)

    def outputs(self) -> dict[str, Any]:
        import llama_cpp
        import numpy as np

        self.run()
        rows = 1 if self.logits == "last" else self.tokens
        columns = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(self.context), (rows, columns))
        return {"logits": logits[None].copy()}


def _opened(file: str) -> Any:
    import llama_cpp

    options = llama_cpp.llama_model_default_params()
    options.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(file.encode(), options)
    if not model:
        raise ModelFileError(f"llama.cpp cannot load {file}.", "Check that it is a GGUF file of a model that it knows.")
    return model


def _shortened(value: InputValue) -> InputValue:
    """An input of a first run: no past, and new tokens in its place."""
    shape = list(value.shape)
    if kv_cache.is_past(value.name):
        shape[kv_cache.TOKENS] = 0
    elif len(shape) == 2:
        shape[1] = COMPARED_TOKENS
    return replace(value, shape=tuple(shape), start=0)


# --- what a file holds ----------------------------------------------------------------------------------


def describe(file: Path) -> GgufFile:
    """What a GGUF file holds, as llama.cpp reads it.

    Raises:
        ModelFileError: it does not load the file.
    """
    return process.call("edgeprof.baselines.llama_cpp_engine", GgufRequest(file=str(file)), GgufFile)


def _describe(request: GgufRequest, _progress: process.Progress) -> GgufFile:
    import llama_cpp

    LlamaCpp.start()
    text = ctypes.create_string_buffer(256)
    llama_cpp.llama_model_desc(_opened(request.file), text, len(text))
    _, _, kind = text.value.decode().split(" ", 2)  # "llama 1B Q8_0", "qwen2 ?B all F32 (guessed)"
    kind = kind.removesuffix(" (guessed)").removeprefix("(guessed) ")
    return GgufFile(precision=FORMATS.get(kind, kind.lower().replace(" - ", "-").replace(" ", "-")))


if __name__ == "__main__":
    process.serve(_describe, GgufRequest)
