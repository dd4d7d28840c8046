# roadseg: `make demo` and `make test` do all the set-up themselves.
VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
DEMO   := demo-out

.DEFAULT_GOAL := help
.PHONY: help demo install test test-slow check audit bench bench-models samples

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 14

# torch and torchvision are installed together, from the ordinary index: a local CPU wheel of torch alone
# would be preferred as "newer", and no torchvision matches it.
$(BIN)/roadseg: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet torch torchvision
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@# the ordinary OpenCV wheel needs libGL, which servers often lack
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { \
		echo 'OpenCV does not load here: taking its build without windows.'; \
		$(BIN)/python -m pip uninstall --quiet --yes opencv-python; \
		$(BIN)/python -m pip install --quiet --force-reinstall --no-deps opencv-python-headless; \
		$(BIN)/python -c 'import cv2'; }
	@touch $(BIN)/roadseg

install: $(BIN)/roadseg  ## Create .venv with roadseg and the tools of development.

demo: install  ## Find the road in the pictures of samples/ and say where to look.
	$(BIN)/roadseg segment samples/frames --out $(DEMO) --overwrite
	@echo
	@echo 'Look at $(DEMO)/overlays (the road in green) and $(DEMO)/masks (255 = road).'

test: install  ## Run the tests (under ten minutes on two cores).
	$(BIN)/python -m pytest -m 'not slow'

test-slow: install  ## Run the slow tests as well.
	$(BIN)/python -m pytest

check: install  ## Lint, formatting, types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

audit: install  ## Look the installed packages up among known security advisories (asks pypi.org).
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable

bench: install  ## Measure the speed of networks, folder, video and training, side by side.
	$(BIN)/python tests/bench.py
	$(BIN)/python tests/bench_engine.py
	$(BIN)/python tests/bench_segment.py
	$(BIN)/python tests/bench_video.py
	$(BIN)/python tests/bench_train.py

bench-models: install  ## Measure every network of the family: size, work, time, memory (ten minutes); TRAIN=DIR: and IoU.
	$(BIN)/python tests/bench_models.py $(if $(TRAIN),--train $(TRAIN) --epochs 2)

samples: install  ## Draw the pictures of samples/ again.
	$(BIN)/python samples/make_samples.py --out samples
	$(BIN)/python samples/make_overview.py
