# Two commands do everything: `make image` builds a golden image, `make test` proves the tool.
# Both install what they need (see setup.sh).

OS ?=
.DEFAULT_GOAL := help
.PHONY: help setup image verify doctor lint test test-all test-unit test-integration test-gpu-stack test-workloads bench-chain lock clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 26

setup: ## Install Debian packages and the Python environment (.venv)
	@./setup.sh

image: setup ## Build, prove and seal a golden image (OS=ubuntu-24.04 for another one)
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/cube build $(OS); else sudo .venv/bin/cube build $(OS); fi

verify: setup ## Run the pre-build gate alone
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/cube verify $(OS); else sudo .venv/bin/cube verify $(OS); fi

doctor: setup ## Say what this machine lacks
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/cube doctor; else sudo .venv/bin/cube doctor; fi

lint: setup ## Style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

test: lint ## Style, units, real builds and boots (root; up to an hour without KVM)
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/pytest; else sudo .venv/bin/pytest; fi

test-all: lint ## Every test: also LVM, a kill of QEMU in a layer, further boots, the GPU stack
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/pytest -m ""; else sudo .venv/bin/pytest -m ""; fi

test-unit: lint ## The tests that take seconds
	@.venv/bin/pytest -m "not integration"

test-integration: setup ## The tests that build and boot (root)
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/pytest -m "integration and not exhaustive and not gpu_stack and not workloads"; \
	else sudo .venv/bin/pytest -m "integration and not exhaustive and not gpu_stack and not workloads"; fi

test-gpu-stack: setup ## The whole GPU stack from real packages: driver, CUDA, frameworks (root, 40 GB)
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/pytest -m gpu_stack; else sudo .venv/bin/pytest -m gpu_stack; fi

test-workloads: setup ## The suites at full size: training, inference, containers (root, 10 GB)
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/pytest tests/integration/test_workloads.py -m ""; \
	else sudo .venv/bin/pytest tests/integration/test_workloads.py -m ""; fi

bench-chain: setup ## What the layer chain saves, by real builds in a copy (root; CASES=full,layer5 selects)
	@if [ "$$(id -u)" -eq 0 ]; then .venv/bin/python bench/chain.py $(OS) $(if $(CASES),--cases $(CASES)); \
	else sudo .venv/bin/python bench/chain.py $(OS) $(if $(CASES),--cases $(CASES)); fi

lock: setup ## Refresh requirements.lock from pyproject.toml
	@.venv/bin/uv pip compile -q --universal --generate-hashes --no-annotate --upgrade \
	    --custom-compile-command "make lock" --extra dev pyproject.toml build-requirements.txt -o requirements.lock

clean: ## Remove build results and caches
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache
