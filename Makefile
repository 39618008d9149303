# SPDX-License-Identifier: Apache-2.0
# The short commands; CMake does the work. `make help` lists them.
BUILD ?= build
PREFIX ?= /usr/local
SOURCES = $(shell git ls-files '*.c' '*.h')

.PHONY: all deps test demo install format lint asan fuzz aarch64 mutants clean help

all: $(BUILD)/build.ninja                  ## build the program: build/opsm
	@cmake --build $(BUILD)

$(BUILD)/build.ninja:
	@cmake -S . -B $(BUILD) -G Ninja

deps:                                      ## install missing packages for everything below (Debian, Ubuntu)
	@scripts/install-deps.sh dev

test:                                      ## the whole suite
	@scripts/install-deps.sh test
	@$(MAKE) --no-print-directory all
	@scripts/test.sh $(BUILD)

demo:                                      ## the laboratory on the embedded tiny model, under 4 minutes
	@scripts/install-deps.sh build
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@cmake --build $(BUILD) --target opsm
	@scripts/demo.sh $(BUILD)

install: all                               ## install to PREFIX, under DESTDIR
	@prefix='$(PREFIX)'; case $$prefix in /*) ;; *) prefix=$$PWD/$$prefix ;; esac; \
	DESTDIR='$(DESTDIR)' cmake --install $(BUILD) --prefix "$$prefix"

format:                                    ## rewrite the sources in the house style
	@clang-format -i $(SOURCES)

lint: all                                  ## clang-format, the order of the house, clang-tidy; no changes
	@clang-format --dry-run -Werror $(SOURCES)
	@scripts/order.sh $(BUILD)
	@scripts/lint.sh $(BUILD)

asan:                                      ## the unit suites under AddressSanitizer and UBSan
	@cmake -S . -B build-asan -G Ninja -DOPSM_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo
	@cmake --build build-asan
	@scripts/test.sh build-asan -L unit

fuzz:                                      ## fuzz readers and verifiers, SECONDS=60 each
	@scripts/fuzz.sh $(or $(SECONDS),60)

aarch64:                                   ## cross build for 64-bit ARM and the unit suites under qemu
	@scripts/install-deps.sh aarch64
	@scripts/aarch64.sh

mutants:                                   ## break code on purpose, list what no unit suite notices: BASE= or FILES=
	@scripts/install-deps.sh test
	@scripts/mutants.py --count $(or $(MUTANTS),40) --seed $(or $(SEED),1) \
	$(if $(FILES),$(FILES),--base $(or $(BASE),HEAD~1))

clean:
	@rm -rf build build-asan build-clang build-fuzz build-aarch64 build-mutants

help:
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12
