# The front door. Every target is one line; what it does is in swift, scripts/ or Benchmarks/.

PREFIX ?= /usr/local
SWIFT_BUILD = swift build -c release --static-swift-stdlib --product wirevale

.PHONY: build schema release library test unit sanitize integration bench demo lint fmt install install-tools uninstall clean

build: ## debug build of everything
	swift build --build-tests
	scripts/build-shim .build/debug

schema: ## share/wirevale.schema.json, after a change of what configuration files may say
	swift build --product wirevale
	.build/debug/wirevale apply --schema > share/wirevale.schema.json

release: ## the static binary, .build/release/wirevale, and the preload library beside it
	$(SWIFT_BUILD)
	scripts/build-shim

library: ## libnetmap for C programs, .build/release/libnetmap.a
	swift build -c release --product netmap

test: ## everything that CI runs; installs what it misses
	scripts/test

unit: ## unit, model and hostile-peer tests
	swift test

sanitize: ## the data path under AddressSanitizer, then ThreadSanitizer; SECONDS=600 for longer
	scripts/sanitize $(SECONDS)

integration: release ## real guests and real clients; FILTER=01 picks some
	scripts/install-packages test
	IntegrationTests/run $(if $(FILTER),--filter $(FILTER))

bench: ## the figures of docs/performance.md, beside peers and raw limits
	scripts/install-packages bench
	$(SWIFT_BUILD)
	Benchmarks/run

demo: ## two stock QEMU guests on one switch; GUESTS=3 for a third
	scripts/install-packages demo
	$(SWIFT_BUILD)
	scripts/build-shim
	scripts/guest-image .build/guest
	.build/release/wirevale demo --kernel .build/guest/vmlinuz --initrd .build/guest/initramfs $(if $(GUESTS),--guests $(GUESTS))

lint: ## formatting and house rules
	swift format lint --strict --parallel --recursive Package.swift Sources Tests Benchmarks Examples
	scripts/lint-headers

fmt: ## mend the formatting
	swift format --in-place --parallel --recursive Package.swift Sources Tests Benchmarks Examples

DATA = $(DESTDIR)$(PREFIX)/share
UNITS = $(DESTDIR)$(PREFIX)/lib/systemd
HEADERS = net/netmap.h net/netmap_user.h net/netmap_virt.h libnetmap.h

install: release library ## the command, the preload library, completions and unit files; headers and library for C
	install -D -m 755 .build/release/wirevale $(DESTDIR)$(PREFIX)/bin/wirevale
	install -D -m 755 .build/release/libnetmap-shim.so $(DESTDIR)$(PREFIX)/lib/wirevale/libnetmap-shim.so
	install -d $(DATA)/bash-completion/completions $(DATA)/zsh/site-functions $(DATA)/fish/vendor_completions.d
	.build/release/wirevale --generate-completion-script bash > $(DATA)/bash-completion/completions/wirevale
	.build/release/wirevale --generate-completion-script zsh > $(DATA)/zsh/site-functions/_wirevale
	.build/release/wirevale --generate-completion-script fish > $(DATA)/fish/vendor_completions.d/wirevale.fish
	install -D -m 644 -t $(DATA)/wirevale share/wirevale.schema.json
	install -D -m 644 -t $(DATA)/doc/wirevale docs/configuration.md
	install -d $(UNITS)/system $(UNITS)/user
	sed 's|@PREFIX@|$(PREFIX)|' packaging/systemd/wirevale.service > $(UNITS)/system/wirevale.service
	sed 's|@PREFIX@|$(PREFIX)|' packaging/systemd/user/wirevale.service > $(UNITS)/user/wirevale.service
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include/net Sources/CNetmap/include/net/*.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include Sources/LibNetmap/include/libnetmap.h
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib .build/release/libnetmap.a
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed 's|@PREFIX@|$(PREFIX)|' Sources/LibNetmap/libnetmap.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/libnetmap.pc

install-tools: install ## the same, and pkt-gen, vale-ctl, lb, nmreplay, tlem and dedup as links to it
	scripts/install-tools $(DESTDIR)$(PREFIX)/bin

uninstall:
	scripts/install-tools $(DESTDIR)$(PREFIX)/bin --remove
	rm -f $(DESTDIR)$(PREFIX)/bin/wirevale $(DESTDIR)$(PREFIX)/lib/wirevale/libnetmap-shim.so $(DATA)/bash-completion/completions/wirevale $(DATA)/zsh/site-functions/_wirevale $(DATA)/fish/vendor_completions.d/wirevale.fish
	rm -rf $(DATA)/wirevale $(DATA)/doc/wirevale $(UNITS)/system/wirevale.service $(UNITS)/user/wirevale.service
	rm -f $(HEADERS:%=$(DESTDIR)$(PREFIX)/include/%) $(DESTDIR)$(PREFIX)/lib/libnetmap.a $(DESTDIR)$(PREFIX)/lib/pkgconfig/libnetmap.pc

clean:
	rm -rf .build
