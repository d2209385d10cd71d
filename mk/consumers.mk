# What is built against the staged install: examples, bench; and the two commands.

.PHONY: deps-run deps-check
deps-run deps-check: deps-%:
	@scripts/deps.sh $*

# Each program is one file NAME.c, with its parts, if any, in NAME_*.c. The examples are built as
# a user would: with what pkg-config says and nothing else.
EXAMPLES := $(patsubst examples-c/%.c,$(BUILD)/examples/%,$(filter-out \
    $(foreach main,$(wildcard examples-c/*.c),$(wildcard $(main:.c=)_*.c)),$(wildcard examples-c/*.c)))

.PHONY: examples
examples: $(EXAMPLES)

$(BUILD)/examples/judge: PACKAGES := libseccomp
$(BUILD)/examples/judge: EXAMPLE_FLAGS := -pthread

.SECONDEXPANSION:
$(EXAMPLES): $(BUILD)/examples/%: examples-c/%.c $$(wildcard examples-c/$$*_*.c) $(wildcard examples-c/*.h) $(STAGE)/stamp
	@mkdir -p $(@D)
	$(CC) -std=c11 $(WARNINGS) -Werror $(CFLAGS) -o $@ $(filter %.c,$^) \
	    $$($(STAGE_PKG_CONFIG) --cflags --libs sbx $(PACKAGES)) $(EXAMPLE_FLAGS)

# Two steps in order, whatever -j says: first what is missing, then the work.
.PHONY: run
run: deps-run
	@$(MAKE) --no-print-directory run-judge

.PHONY: run-judge
run-judge: $(EXAMPLES)
	@$(STAGE_ENV) $(BUILD)/examples/judge examples-c

.PHONY: check
check: deps-check
	@MAKE='$(MAKE)' BUILD='$(BUILD)' CC='$(CC)' CXX='$(CXX)' CARGO='$(CARGO)' CARGOFLAGS='$(CARGOFLAGS)' scripts/check.sh

BENCH := $(BUILD)/bench/bench
BENCH_INSIDE := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/inside/*.c))

$(BENCH): $(wildcard tests/bench/*.c tests/bench/*.h) $(STAGE)/stamp
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -Werror -O2 -g -o $@ $(filter %.c,$^) \
	    $$($(STAGE_PKG_CONFIG) --cflags --libs sbx) -lpthread

$(BENCH_INSIDE): $(BUILD)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -Werror -static -O2 -o $@ $<

# make bench BENCHFLAGS='--row plain --pairs 1000'
.PHONY: bench
bench: $(BENCH) $(BENCH_INSIDE)
	$(STAGE_ENV) $(BENCH) $(BENCHFLAGS)
