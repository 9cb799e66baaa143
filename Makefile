# Two commands do everything: `make image` builds a golden image, `make test` proves the tool.
# Both install what they need (see setup.sh).

OS ?=
# Builds and boots need root; an ordinary user is asked for it by sudo.
AS_ROOT := $(shell [ "$$(id -u)" -eq 0 ] || echo sudo)
# What takes minutes for a rare case, or gigabytes, is left to `make test-all`.
USUAL := not exhaustive and not gpu_stack and not workloads
UNIT := .venv/bin/pytest --numprocesses auto -m "not integration and $(USUAL)"
# Two files at a time: most wait for a machine. One process makes the build that all share.
INTEGRATION := .venv/bin/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "integration and $(USUAL)"
.DEFAULT_GOAL := help
.PHONY: help setup image verify doctor lint test test-all test-unit test-integration test-gpu-stack test-workloads bench bench-chain bench-hosts bench-seal bench-speed lock lock-bench clean

help: ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 26

setup: ## Install Debian packages and the Python environment (.venv)
	@./setup.sh

image: setup ## Build, prove and seal a golden image (OS=ubuntu-24.04 for another one)
	@$(AS_ROOT) .venv/bin/cube build $(OS)

verify: setup ## Run the pre-build gate alone
	@$(AS_ROOT) .venv/bin/cube verify $(OS)

doctor: setup ## Say what this machine lacks
	@$(AS_ROOT) .venv/bin/cube doctor

lint: setup ## Style and types
	@.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy

test: lint ## Style, units, real builds and boots (root; up to an hour without KVM)
	@$(AS_ROOT) $(UNIT)
	@$(AS_ROOT) $(INTEGRATION)

test-all: lint ## Every test: also LVM, a kill of QEMU in a layer, further boots, the GPU stack
	@$(AS_ROOT) .venv/bin/pytest -m ""

test-unit: lint ## The tests that take seconds
	@$(UNIT)

test-integration: setup ## The tests that build and boot (root)
	@$(AS_ROOT) $(INTEGRATION)

test-gpu-stack: setup ## The whole GPU stack from real packages: driver, CUDA, frameworks (root, 40 GB)
	@$(AS_ROOT) .venv/bin/pytest -m gpu_stack

test-workloads: setup ## The suites at full size: training, inference, containers (root, 10 GB)
	@$(AS_ROOT) .venv/bin/pytest tests/integration/test_workloads.py tests/integration/test_workloads_box.py -m ""

bench: bench-speed bench-hosts bench-seal ## All but the chain, one after the other, into docs/bench.md (root, 1.7 h)

# What goes on from a build makes it first. A part of the cases is printed, and the page stays.
bench-speed: $(if $(BUILD),setup,image) ## Our site against Ansible, side by side (root; CASES=noop, BUILD=dir, FAST=1)
	@$(AS_ROOT) .venv/bin/python -m bench speed --build $(or $(BUILD),build) \
	    $(if $(CASES),--cases $(CASES)) $(if $(FAST),--quick) $(if $(CASES)$(FAST),,--page docs/bench.md) $(ARGS)

bench-chain: setup ## What the layer chain saves, by real builds in a copy (root; CASES=full,layer5 selects)
	@$(AS_ROOT) .venv/bin/python -m bench chain $(OS) $(if $(CASES),--cases $(CASES),--page docs/bench.md) $(ARGS)

bench-hosts: setup ## What 1, 10 and 50 hosts cost with nothing to change, ours and Ansible's (root)
	@$(AS_ROOT) .venv/bin/python -m bench hosts --page docs/bench.md $(ARGS)

bench-seal: $(if $(DISK),setup,image) ## Our seal against the specification's, on one disk (root; DISK=file, default the sealed image)
	@$(AS_ROOT) .venv/bin/python -m bench seal $(if $(DISK),--disk $(DISK)) --page docs/bench.md $(ARGS)

lock: setup ## Refresh requirements.lock from pyproject.toml
	@.venv/bin/uv pip compile -q --universal --generate-hashes --no-annotate --upgrade \
	    --custom-compile-command "make lock" --extra dev pyproject.toml build-requirements.txt -o requirements.lock

lock-bench: setup ## Refresh the lock of the peers that are measured (bench/ansible/requirements.txt)
	@.venv/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
	    --custom-compile-command "make lock-bench" bench/ansible/requirements.in -o bench/ansible/requirements.txt

clean: ## Remove build results and caches
	@rm -rf build .mypy_cache .ruff_cache .pytest_cache
