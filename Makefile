# nvmf-p2pd. One non-recursive makefile; everything built lies under O.
#
#   make                          the daemon, its control program and the unit tests
#   make check-unit               run the unit tests; UNITS="io sgl": these
#   make SAN=address,undefined    a sanitized build (SAN=thread too), in its own folder
#   make lint                     format, static analysis, include order, scripts
#   make install PREFIX= DESTDIR=
#   make V=1 WERROR=1             show commands; warnings are errors (as CI does)

VERSION := 0.1.0

PREFIX     ?= /usr/local
SBINDIR    ?= $(PREFIX)/sbin
SYSCONFDIR ?= /etc
MANDIR     ?= $(PREFIX)/share/man
COMPDIR    ?= $(PREFIX)/share/bash-completion/completions
DOCDIR     ?= $(PREFIX)/share/doc/nvmf-p2pd
LIBDIR     ?= $(PREFIX)/lib
UNITDIR    ?= $(LIBDIR)/systemd/system
INSTALL    ?= install

SAN ?=
comma := ,
O   ?= build/$(if $(SAN),san-$(subst $(comma),-,$(SAN)),out)

ifeq ($(origin CC),default)
CC         := gcc
endif
PKG_CONFIG ?= pkg-config
PKGS       := libibverbs librdmacm libnvme liburing libconfig libbsd-overlay libsystemd libudev json-c libmicrohttpd uuid libcrypto zlib
ifneq ($(filter-out clean distclean lint format unit version,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists --print-errors $(PKGS) check 2>&1 && echo yes),yes)
$(error missing libraries: $(shell $(PKG_CONFIG) --errors-to-stdout --print-errors $(PKGS) check); on Debian: apt install $(shell cat tests/lib/build-packages))
endif
endif

CPPFLAGS += -D_GNU_SOURCE -DNVMF_P2PD_VERSION='"$(VERSION)"' -I. $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
CFLAGS   ?= $(if $(findstring address,$(SAN)),-O1,-O2) -g # AddressSanitizer: half the time to compile, and finds the same
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wswitch-enum \
	    -Wundef -Wformat=2 -Wpointer-arith $(if $(WERROR),-Werror) \
	    $(if $(findstring clang,$(CC)),-Wno-missing-field-initializers,-Wno-format-truncation)
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
ifeq ($(SAN),)
HARDEN   += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$(if $(findstring clang,$(CC)),2,3)
else
HARDEN   += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDFLAGS  += -fsanitize=$(SAN)
endif
ALL_CFLAGS  = -std=gnu17 $(WARN) $(HARDEN) $(CFLAGS) -MMD -MP
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(LDFLAGS)
LIBS       := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null) -lev -pthread

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2))

.SECONDARY:

# ---- sources -------------------------------------------------------------------------------
ROOMS      := transport target target/daemon target/ctl p2p config
MAIN       := target/daemon/main.c
CTL_MAIN   := target/ctl/main.c
SRCS       := $(filter-out $(MAIN) $(CTL_MAIN),$(wildcard $(ROOMS:%=%/*.c)))
HDRS       := $(wildcard $(ROOMS:%=%/*.h))
UNIT_SRCS  := $(if $(UNITS),$(UNITS:%=tests/unit/test_%.c),$(wildcard tests/unit/test_*.c))
HOST_SRCS  := $(wildcard tests/host/*.c)
STAMP_SRCS := $(wildcard tests/stamp/*.c)
FUZZ_SRCS  := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ_BINS  := $(FUZZ_SRCS:tests/fuzz/%.c=$(O)/tests/fuzz/%)
OBJS       := $(SRCS:%.c=$(O)/%.o)
UNIT_BINS  := $(UNIT_SRCS:tests/unit/%.c=$(O)/tests/unit/%)
HOST_BIN   := $(if $(HOST_SRCS),$(O)/tests/host/nvmf-test-host)
STAMP_BIN  := $(if $(STAMP_SRCS),$(O)/tests/stamp/nvmf-stamp)
BENCH_SRCS := $(wildcard tests/bench/*.c)
BENCH_BINS := $(BENCH_SRCS:tests/bench/%.c=$(O)/tests/bench/%)
ALL_C      := $(SRCS) $(MAIN) $(CTL_MAIN) $(HDRS) $(wildcard tests/*/*.c tests/*/*.h)

.PHONY: all clean install check-unit lint format fuzz fuzz-targets
all: $(O)/libnvmf-p2pd.a $(O)/nvmf-p2pd $(O)/nvmf-p2pctl $(UNIT_BINS) $(BENCH_BINS) $(HOST_BIN) $(STAMP_BIN) $(O)/tests/headers.ok

# A change of flags rebuilds: the command line is itself an input.
FLAGS_NOW := $(CC) $(ALL_CFLAGS) $(CPPFLAGS) $(ALL_LDFLAGS) $(LIBS)
$(shell mkdir -p $(O); echo '$(subst ','\'',$(FLAGS_NOW))' | cmp -s - $(O)/flags || \
	echo '$(subst ','\'',$(FLAGS_NOW))' > $(O)/flags)

$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -c $< -o $@

$(O)/libnvmf-p2pd.a: $(OBJS)
	$(call say,AR,$@)
	$(Q)rm -f $@; $(AR) rcs $@ $^

$(O)/nvmf-p2pd: $(MAIN:%.c=$(O)/%.o) $(O)/libnvmf-p2pd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

# The daemon's libraries are not the tool's: it takes what it needs.
$(O)/nvmf-p2pctl: $(CTL_MAIN:%.c=$(O)/%.o) $(O)/libnvmf-p2pd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--as-needed $^ $(LIBS) -o $@

$(O)/tests/unit/%: $(O)/tests/unit/%.o $(O)/libnvmf-p2pd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) $$($(PKG_CONFIG) --libs check) -o $@

$(O)/tests/bench/%: $(O)/tests/bench/%.o $(O)/libnvmf-p2pd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

# With libFuzzer where the flags say so (tests/fuzz/run), else with a main() that replays files.
FUZZ_MAIN := $(if $(findstring fuzzer,$(SAN)),-fsanitize=fuzzer,$(O)/tests/fuzz/replay.o)
$(O)/tests/fuzz/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(O)/libnvmf-p2pd.a $(filter %.o,$(FUZZ_MAIN))
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(filter %.o %.a,$^) $(LIBS) $$($(PKG_CONFIG) --libs check) $(filter -%,$(FUZZ_MAIN)) -o $@

$(O)/tests/host/nvmf-test-host: $(HOST_SRCS:%.c=$(O)/%.o)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

$(O)/tests/stamp/nvmf-stamp: $(STAMP_SRCS:%.c=$(O)/%.o)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $^ $(LIBS) -o $@

# Every header compiles alone, and twice.
$(O)/tests/headers.ok: $(HDRS) $(O)/flags
	@mkdir -p $(@D)
	$(call say,HEADERS,$(words $(HDRS)))
	$(Q)for h in $(HDRS); do printf '#include "%s"\n#include "%s"\n' $$h $$h | \
		$(CC) $(ALL_CFLAGS) $(CPPFLAGS) -fsyntax-only -MF /dev/null -x c - || exit 1; done
	@touch $@

-include $(OBJS:.o=.d) $(MAIN:%.c=$(O)/%.d) $(CTL_MAIN:%.c=$(O)/%.d) $(UNIT_BINS:=.d) $(BENCH_BINS:=.d) $(FUZZ_BINS:=.d) $(HOST_SRCS:%.c=$(O)/%.d) $(STAMP_SRCS:%.c=$(O)/%.d)

# ---- checks --------------------------------------------------------------------------------
check-unit: $(if $(SAN),$(UNIT_BINS) $(O)/nvmf-p2pd $(O)/nvmf-p2pctl,all)
	$(Q)tests/unit/run $(UNIT_BINS)

fuzz-targets: $(FUZZ_BINS)

# Goes on until a target fails or you stop it: `make fuzz HOURS=8`, `make fuzz TARGETS=capsule`.
HOURS ?= 1
fuzz:
	$(Q)tests/fuzz/run --seconds $$(($(HOURS) * 3600)) $(TARGETS)

lint:
	$(Q)tests/lint/run

format:
	clang-format-14 -i $(ALL_C) 2>/dev/null || clang-format -i $(ALL_C)

# ---- faults ---------------------------------------------------------------------------------
# Scenarios, and the daemon itself, whose calls that can fail are counted, and made fail: tests/fault/inject.h
FAULT_BINS := $(O)/tests/fault/test_faults $(O)/tests/fault/nvmf-p2pd
FAULT_CALLS := $(shell sed -n 's/^[A-Z_]*CALL.[A-Z]*, \([A-Za-z0-9_]*\).*/\1/p; s/^WRITTEN.\([A-Za-z0-9_]*\).*/\1/p' tests/fault/calls.h)
$(O)/tests/fault/test_faults: $(O)/tests/fault/test_faults.o $(patsubst %.c,$(O)/%.o,$(wildcard tests/fault/scenario_*.c tests/fault/fake_*.c tests/fault/tree.c))
$(O)/tests/fault/nvmf-p2pd: $(MAIN:%.c=$(O)/%.o)
$(FAULT_BINS): $(O)/tests/fault/inject.o $(O)/libnvmf-p2pd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) $(FAULT_CALLS:%=-Wl,--wrap=%) $(filter %.o,$^) $(filter %.a,$^) $(LIBS) -o $@
all: $(FAULT_BINS)
-include $(wildcard $(O)/tests/fault/*.d)

# ---- install -------------------------------------------------------------------------------
MANPAGES   := $(wildcard systemd/*.[58] config/*.[58] target/ctl/*.[58] docs/*.[58])
TOOL_PAGES := $(filter %/nvmf-p2pctl.8,$(MANPAGES))
install-each = $(if $(strip $(2)),$(INSTALL) -D -m 0644 -t $(DESTDIR)$(1) $(2))

.PHONY: programs install-daemon install-tool install-system unit version
programs: $(O)/nvmf-p2pd $(O)/nvmf-p2pctl

# The unit with this make's folders in it; never taken for up to date, for they may be others each time.
unit:
	@mkdir -p $(O)
	$(call say,GEN,$(O)/nvmf-p2pd.service)
	$(Q)sed 's|@SBINDIR@|$(SBINDIR)|g;s|@SYSCONFDIR@|$(SYSCONFDIR)|g' systemd/nvmf-p2pd.service.in > $(O)/nvmf-p2pd.service

install: install-daemon install-tool install-system

install-daemon: $(O)/nvmf-p2pd
	$(INSTALL) -d $(DESTDIR)$(SYSCONFDIR)/nvmf-p2pd/exports.d
	$(INSTALL) -D -m 0755 -t $(DESTDIR)$(SBINDIR) $(O)/nvmf-p2pd
	$(INSTALL) -D -m 0644 -t $(DESTDIR)$(DOCDIR) README.md config/example.conf $(wildcard docs/*.md docs/*.json docs/*.yml)
	$(call install-each,$(LIBDIR)/systemd/catalog,$(wildcard systemd/*.catalog))
	$(call install-each,$(MANDIR)/man5,$(filter %.5,$(MANPAGES)))
	$(call install-each,$(MANDIR)/man8,$(filter-out $(TOOL_PAGES),$(filter %.8,$(MANPAGES))))

install-tool: $(O)/nvmf-p2pctl
	$(INSTALL) -D -m 0755 -t $(DESTDIR)$(SBINDIR) $(O)/nvmf-p2pctl
	$(call install-each,$(MANDIR)/man8,$(TOOL_PAGES))
	$(INSTALL) -D -m 0644 target/ctl/nvmf-p2pctl.bash-completion $(DESTDIR)$(COMPDIR)/nvmf-p2pctl

# What has the system run it: a user, folders, access to drives, the unit. debian/ leaves this to debhelper.
install-system: unit
	$(INSTALL) -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(LIBDIR)/sysusers.d $(DESTDIR)$(LIBDIR)/tmpfiles.d \
		$(DESTDIR)$(LIBDIR)/udev/rules.d
	$(INSTALL) -m 0644 $(O)/nvmf-p2pd.service $(DESTDIR)$(UNITDIR)/nvmf-p2pd.service
	$(INSTALL) -m 0644 systemd/nvmf-p2pd.sysusers $(DESTDIR)$(LIBDIR)/sysusers.d/nvmf-p2pd.conf
	$(INSTALL) -m 0644 systemd/nvmf-p2pd.tmpfiles $(DESTDIR)$(LIBDIR)/tmpfiles.d/nvmf-p2pd.conf
	$(INSTALL) -m 0644 systemd/60-nvmf-p2pd.rules $(DESTDIR)$(LIBDIR)/udev/rules.d/60-nvmf-p2pd.rules
	@[ -n "$(DESTDIR)" ] || echo "now: systemd-sysusers; systemd-tmpfiles --create; udevadm control --reload;" \
		"udevadm trigger --settle --subsystem-match=pci --subsystem-match=nvme --subsystem-match=nvme-generic;" \
		"systemctl daemon-reload"

version:
	@echo $(VERSION)

# Only what the build made; the VM images under build/vm take minutes to make: `make distclean`.
.PHONY: distclean
clean:
	rm -rf build/out build/san-* build/vm/guest*

distclean:
	rm -rf build
