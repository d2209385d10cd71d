# Builds, installs and checks libsbx.
#
#   make             build/libsbx.so.*, build/libsbx.a, build/sbx-init, build/sbx.pc, build/man
#   make install     into $(DESTDIR)$(PREFIX); make uninstall takes it out again
#   make run         sets up what is missing, builds, and judges the sample submissions
#   make check       everything there is to check
#   make bench       the library against a minimal floor
#   make header      writes include/sbx.h anew from the Rust sources
#   make clean       removes build/ and what cargo built
#
# Cargo compiles; what happens to its static library afterwards, and why, is in docs/packaging.md.

.DELETE_ON_ERROR:
.SUFFIXES:

# Where things go.
PREFIX      ?= /usr/local
LIBDIR      ?= $(PREFIX)/lib
INCLUDEDIR  ?= $(PREFIX)/include
LIBEXECDIR  ?= $(PREFIX)/libexec
MANDIR      ?= $(PREFIX)/share/man
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig

# Tools. CARGOFLAGS goes to every cargo command; FEATURES names cargo features of the library.
CARGO      ?= cargo
CARGOFLAGS ?= --locked
FEATURES   ?=
OBJCOPY    ?= objcopy
STRIP      ?= strip
PKG_CONFIG ?= pkg-config
INSTALL    ?= install

BUILD ?= build
export CARGO_TARGET_DIR ?= target
# The library knows where its embedded program is installed. (/usr/local/libexec is what the build
# script takes by itself: not setting it then spares a rebuild between make and a bare cargo.)
ifneq ($(LIBEXECDIR),/usr/local/libexec)
export SBX_LIBEXECDIR := $(LIBEXECDIR)
endif

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)
SONAME  := libsbx.so.$(firstword $(subst ., ,$(VERSION)))
SHARED  := libsbx.so.$(VERSION)

# What cargo leaves, and what this file makes of it.
RUST_LIB := $(CARGO_TARGET_DIR)/release/libsbx.a
NAMES    := $(BUILD)/sbx.names
UNSTRIPPED := $(BUILD)/libsbx.so.unstripped
PRODUCTS := $(BUILD)/$(SHARED) $(BUILD)/libsbx.a $(BUILD)/sbx-init $(BUILD)/sbx.pc $(BUILD)/man/stamp

# The staged install that examples, tests and the bench are built against. It is always one for
# /usr/local: pkg-config would leave out /usr/include and /usr/lib, stage or no stage.
STAGE := $(BUILD)/stage
STAGE_PREFIX := /usr/local
STAGE_LIBDIR := $(abspath $(STAGE))$(STAGE_PREFIX)/lib
stage_pkg_config = PKG_CONFIG_PATH=$(abspath $(1))$(STAGE_PREFIX)/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$(abspath $(1))
STAGE_PKG_CONFIG := $(call stage_pkg_config,$(STAGE)) $(PKG_CONFIG)
STAGE_ENV := $(call stage_pkg_config,$(STAGE)) LD_LIBRARY_PATH=$(STAGE_LIBDIR)

CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wpedantic

.PHONY: all
all: $(PRODUCTS)

include mk/library.mk
include mk/install.mk
include mk/consumers.mk
include mk/tests.mk

.PHONY: header
header:
	$(CARGO) run $(CARGOFLAGS) -q -p sbx-header

.PHONY: clean
clean:
	rm -rf $(BUILD)
	$(CARGO) clean

# Prints a variable, for the scripts: make print-STAGE_LIBDIR
print-%:
	@echo '$($*)'

.PHONY: FORCE
FORCE:
