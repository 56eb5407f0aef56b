# Everything a developer or CI runs is one of these targets; `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CACHE := $(or $(STOKER_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/stoker)
UV := $(CACHE)/bootstrap/uv/bin/uv
PYTHON := .venv/bin/python
MEMBERS := contracts operator orchestrator worker-image cli
STAMP := .venv/.installed

export OMP_NUM_THREADS := 1
export PYTHONDONTWRITEBYTECODE := 1

include tools/make/*.mk

.PHONY: help
help: ## List the targets.
	@grep -hE '^[a-z][a-z-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'
