# Builds the C tests, against the stage, in one of the variants that tests/run.sh runs:
#
#   make tests VARIANT=shared|static|sanitize|valgrind
#
# tests/c/test_NAME.c, each with all of support*.c, is a program of the host's side; inside/NAME.c is
# started in the sandbox, hence static.

VARIANT  ?= shared
TEST_DIR := $(BUILD)/tests/$(VARIANT)
TEST_CC  = $(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -Werror -O1 -g $(TEST_FLAGS_$(VARIANT)) -Itests/c

# (The instrumentation hides from gcc what it knows of ranges, so that it warns of numbers that cannot be.)
TEST_FLAGS_sanitize := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
    -Wno-format-truncation -Wno-maybe-uninitialized
# valgrind needs the library that clones as valgrind can bear it, built and staged apart.
TEST_PKG_CONFIG = $(if $(filter valgrind,$(VARIANT)),$(VALGRIND_PKG_CONFIG),$(STAGE_PKG_CONFIG))
TEST_STAMP = $(if $(filter valgrind,$(VARIANT)),$(BUILD)/valgrind/stage/stamp,$(STAGE)/stamp)
TEST_CFLAGS = $$($(TEST_PKG_CONFIG) --cflags sbx cmocka)
TEST_LIBS = $$($(TEST_PKG_CONFIG) --libs $(if $(filter static,$(VARIANT)),--static) sbx \
    $(if $(filter static,$(VARIANT)),| sed s/-lsbx/-l:libsbx.a/)) -lcmocka -lpthread

TESTS   := $(patsubst tests/c/%.c,$(TEST_DIR)/%,$(wildcard tests/c/test_*.c))
SUPPORT := $(patsubst tests/c/%.c,$(TEST_DIR)/%.o,$(wildcard tests/c/support*.c))
INSIDE  := $(patsubst tests/c/inside/%.c,$(BUILD)/tests/inside/%,$(wildcard tests/c/inside/*.c))
TEST_HEADERS := $(wildcard tests/c/*.h tests/c/inside/*.h)

.PHONY: tests
tests: $(TESTS) $(INSIDE)

$(TEST_DIR)/%.o: tests/c/%.c $(TEST_HEADERS) $(TEST_STAMP)
	@mkdir -p $(@D)
	$(TEST_CC) -c -o $@ $< $(TEST_CFLAGS)

$(TESTS): %: %.o $(SUPPORT) $(TEST_STAMP)
	$(TEST_CC) -o $@ $< $(SUPPORT) $(TEST_LIBS)

$(INSIDE): $(BUILD)/tests/inside/%: tests/c/inside/%.c $(TEST_HEADERS)
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -Werror -static -O2 -o $@ $<

VALGRIND_PKG_CONFIG = $(call stage_pkg_config,$(BUILD)/valgrind/stage) $(PKG_CONFIG)

# The same Makefile with a cargo feature more and every output elsewhere. Cargo leaves nothing to do
# where nothing changed, and the stamp then stays as old as it is.
$(BUILD)/valgrind/stage/stamp: $(RUST_LIB) include/sbx.h
	$(MAKE) --no-print-directory stage BUILD=$(BUILD)/valgrind CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/valgrind FEATURES=valgrind
	@touch $@

.PRECIOUS: $(TEST_DIR)/%.o

# What a developer types: make test-shared ONLY='fds exec' runs test_fds and test_exec.
RUN_TESTS = $(STAGE_ENV) BUILD=$(BUILD) VALGRIND_LIBDIR=$(abspath $(BUILD)/valgrind/stage)$(STAGE_PREFIX)/lib tests/run.sh

.PHONY: test-shared test-static test-sanitize test-valgrind test-unprivileged
test-shared test-static test-sanitize test-valgrind: test-%:
	@$(MAKE) --no-print-directory -s tests VARIANT=$*
	@$(RUN_TESTS) $* $(ONLY)

test-unprivileged:
	@$(MAKE) --no-print-directory -s tests VARIANT=shared
	@$(RUN_TESTS) unprivileged $(ONLY)
