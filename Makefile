# A thin shell: CMake's presets do the work (CMakePresets.json). Every target first installs the packages that it lacks.
# All output goes to build/.
.DEFAULT_GOAL := help
.PHONY: help deps build run python test test-asan test-tsan test-threads soak bench fuzz lint lint-changed format format-check install clean

JOBS ?= $(shell nproc)
PREFIX ?= /usr/local

# The compiler cache identifies a source by its path in the checkout, so it also serves a fresh clone elsewhere.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
export CCACHE_SLOPPINESS := pch_defines,time_macros

install_dependencies := scripts/install_dependencies.sh
sources = $(shell git ls-files 'include/*.h' 'src/*.h' 'src/*.cpp' 'tests/*.h' 'tests/*.cpp' 'examples/*.h' \
	'examples/*.cpp' 'bench/*.h' 'bench/*.cpp' 'fuzz/*.h' 'fuzz/*.cpp' 'bindings/*.h' 'bindings/*.cpp')

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z][a-z -]*:.*## / {printf "  make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install every package that any target needs (apt-get)
	@$(install_dependencies) build python test sanitize lint bench

build: ## Build the Release program build/release/cairn and the examples
	@$(install_dependencies) build
	@[ -e build/release/build.ninja ] || cmake --preset program
	@cmake --build --preset program --parallel $(JOBS)

run: build ## Run a pipeline of agents, kill it, let it go on; then compare both services
	@scripts/run_example.sh

python: ## Build the Python package; build/python is what to put on PYTHONPATH
	@$(install_dependencies) build python
	@cmake --preset python
	@cmake --build --preset python --parallel $(JOBS)

test: ## Build, run all tests, and end with "N passed, N failed, N skipped"
	@$(install_dependencies) build python test
	@cmake --preset release
	@cmake --build --preset release --parallel $(JOBS)
	@scripts/run_tests.sh release

test-asan test-tsan: test-%: ## The same tests under AddressSanitizer + UBSan, or ThreadSanitizer
	@$(install_dependencies) build python test sanitize
	@cmake --preset $*
	@cmake --build --preset $* --parallel $(JOBS)
	@scripts/run_tests.sh $*

test-threads: ## The tests that use threads, under ThreadSanitizer: a part of test-tsan
	@$(install_dependencies) build test sanitize
	@cmake --preset tsan
	@cmake --build --preset tsan --parallel $(JOBS) --target thread_tests
	@scripts/run_tests.sh tsan --label-regex '^threads$$'

soak: ## Kill, stop, cut the power, fail I/O and memory, two minutes each (SOAK_SECONDS=… SOAK=many)
	@$(install_dependencies) build python test
	@cmake --preset release
	@cmake --build --preset release --parallel $(JOBS)
	@CAIRN_SOAK_SECONDS=$(or $(SOAK_SECONDS),120) scripts/run_soak.sh $(SOAK)

bench: ## Run the benchmarks; their JSON stays at build/bench.json (BENCH_ARGUMENTS=--benchmark_filter=…)
	@$(install_dependencies) build bench
	@cmake --preset bench
	@cmake --build --preset bench --parallel $(JOBS)
	@scripts/run_benchmarks.sh $(BENCH_ARGUMENTS)

fuzz: ## Let libFuzzer at every reader of stored and imported bytes, a minute each (FUZZ_SECONDS=…)
	@$(install_dependencies) build sanitize
	@cmake --preset fuzz
	@cmake --build --preset fuzz --parallel $(JOBS)
	@SECONDS_EACH=$(or $(FUZZ_SECONDS),60) fuzz/run.sh

lint lint-changed: ## clang-tidy over src/, include/, bindings/ and examples/, or over what the newest commit or merge changed
	@$(install_dependencies) build python test lint
	@cmake --preset release >/dev/null
	@JOBS=$(JOBS) scripts/lint.sh $(if $(filter %-changed,$@),--changed)

format: ## clang-format all sources in place
	@$(install_dependencies) lint
	@clang-format-19 -i $(sources)

format-check: ## Fail if a source is not formatted
	@$(install_dependencies) lint
	@clang-format-19 --dry-run -Werror $(sources)

install: build ## Install library, headers and program under PREFIX (default /usr/local)
	@cmake --install build/release --prefix "$(PREFIX)"

clean: ## Remove build/
	@rm -rf build
