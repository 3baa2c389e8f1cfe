# Fanfare. `make run` runs the main job, `make test` tests it; both install what they need first (deploy/setup).
#
#   make              build bin/feedd bin/fanoutd bin/fanfarectl bin/fanfare-bench
#   make SAN=address  the same with a sanitizer (address, undefined, thread; address,undefined together), into build/<variant>/bin
#   make FAILPOINTS=1 the same with failpoints, for tests, into build/<variant>/bin
#   make unit         unit tests;  make check: the fast subset;  make test: everything;  make lint: the static part;  make bench
#   make fuzz         every parser of outside bytes against mutated input, for long (FUZZ_LENGTH each, FUZZ_SEED)
#
# Each floor of common/ is a static archive; a unit test of a floor links that floor and those below it, nothing else.

CC ?= gcc
SAN ?=
FAILPOINTS ?=
comma := ,
VARIANT := $(if $(SAN),san-$(subst $(comma),-,$(SAN)),release)$(if $(FAILPOINTS),-failpoints)
BUILD := build/$(VARIANT)
BIN := $(if $(filter release,$(VARIANT)),bin,$(BUILD)/bin)

PKGS := libmicrohttpd hiredis libmemcached libpq msgpack libxxhash jansson libsodium inih
CPPFLAGS += -I. -D_GNU_SOURCE $(if $(FAILPOINTS),-DFANFARE_FAILPOINTS)
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wvla -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes -Werror
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu17 -pthread $(WARNINGS) $(CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all -O1) \
             $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS += -pthread $(if $(SAN),-fsanitize=$(SAN))
LDLIBS = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -lz

FLOORS := base domain sys store client service
floor_sources = $(sort $(wildcard common/$(1)/*.c))
object_of = $(patsubst %.c,$(BUILD)/%.o,$(1))
LIBS := $(foreach f,$(FLOORS),$(if $(call floor_sources,$(f)),$(BUILD)/lib$(f).a))
# Link order: a floor before those it stands on.
libs_from = $(foreach f,$(1),$(if $(call floor_sources,$(f)),$(BUILD)/lib$(f).a))
ALL_LIBS := $(call libs_from,service client store sys domain base)

DAEMONS := feedd fanoutd
PROGRAMS := $(DAEMONS) fanfarectl fanfare-bench
DIR_feedd := feedd
DIR_fanoutd := fanoutd
DIR_fanfarectl := ctl
DIR_fanfare-bench := bench
program_sources = $(sort $(wildcard $(DIR_$(1))/*.c))
BUILT := $(foreach p,$(PROGRAMS),$(if $(call program_sources,$(p)),$(BIN)/$(p)))

UNIT_SOURCES := $(sort $(wildcard tests/unit/*/*_test.c))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SOURCES))
FUZZ_SOURCES := $(sort $(wildcard tests/fuzz/*_fuzz.c))

.PHONY: all programs tests unit clean setup run up down reset test check lint bench fuzz
all: programs

setup:
	@deploy/setup

# The main job, in the foreground; up and down: detached. Data, sockets, logs and run/env lie in run/.
run up: setup
	@$(MAKE) --no-print-directory -s -j2 programs
	@deploy/stack.py $@
down reset:
	@deploy/stack.py $@

test: setup
	@tests/run
check: setup
	@tests/run --fast
lint: setup
	@tests/lint
bench: setup
	@$(MAKE) --no-print-directory -s -j2 programs
	@bench/suite.py

programs: $(BUILT)
tests: $(UNIT_TESTS)

define floor_rule
$(BUILD)/lib$(1).a: $(call object_of,$(call floor_sources,$(1)))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(AR) rcs $$@ $$^
endef
$(foreach f,$(FLOORS),$(eval $(call floor_rule,$(f))))

define program_rule
$(BIN)/$(1): $(call object_of,$(call program_sources,$(1))) $(ALL_LIBS)
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS)
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# tests/unit/<floor>/x_test.c sees <floor> and below; tests/unit/<daemon>/x_test.c sees common and the daemon's files but its main.
below_base := base
below_domain := domain base
below_sys := sys base
below_store := store sys domain base
below_client := client sys domain base
below_service := service sys base
# A daemon's or tool's directory.
unit_libs = $(if $(below_$(1)),$(call libs_from,$(below_$(1))),$(call object_of,$(filter-out %/main.c,$(sort $(wildcard $(1)/*.c)))) $(ALL_LIBS))
define unit_rule
$(BUILD)/tests/unit/$(1)/%: $(BUILD)/tests/unit/$(1)/%.o $(call unit_libs,$(1))
	@mkdir -p $$(@D)
	$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(LDLIBS) -lcmocka
endef
$(foreach d,$(sort $(patsubst tests/unit/%/,%,$(dir $(UNIT_SOURCES)))),$(eval $(call unit_rule,$(d))))

# Integration tests speak to real servers (addresses in FANFARE_TEST_*, see tests/run) and may link all of common.
INTEGRATION_SOURCES := $(sort $(wildcard tests/integration/*_test.c))
INTEGRATION_TESTS := $(patsubst tests/integration/%.c,$(BUILD)/tests/integration/%,$(INTEGRATION_SOURCES))
$(BUILD)/tests/integration/%: $(BUILD)/tests/integration/%.o $(ALL_LIBS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka
tests: $(INTEGRATION_TESTS)

# Fuzz targets link all of common and the parsers of the programs; driver.c feeds them the same inputs on every machine.
FUZZ_TESTS := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/fuzz/%,$(FUZZ_SOURCES))
FUZZ_COMMON := $(call object_of,tests/fuzz/driver.c feedd/body.c ctl/edges.c)
FUZZ_LENGTH ?= 60s
FUZZ_SEED ?= $(shell date +%s)
$(BUILD)/tests/fuzz/%_fuzz: $(BUILD)/tests/fuzz/%_fuzz.o $(FUZZ_COMMON) $(ALL_LIBS)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)
tests: $(FUZZ_TESTS)

# A long run, under the sanitizers unless SAN says otherwise. The seed is printed; FUZZ_SEED repeats a run.
ifeq ($(SAN),)
fuzz:
	@$(MAKE) --no-print-directory -s fuzz SAN=address,undefined FAILPOINTS=1
else
fuzz: $(FUZZ_TESTS)
	@for t in $(FUZZ_TESTS); do echo "== $$t $(FUZZ_LENGTH) $(FUZZ_SEED)"; $$t $(FUZZ_LENGTH) $(FUZZ_SEED) || exit 1; done
endif

unit: $(UNIT_TESTS)
	@for t in $(UNIT_TESTS); do echo "== $$t"; $$t || exit 1; done

clean:
	rm -rf build bin

.SECONDARY:
-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
