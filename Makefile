# The front door. Every target is one line; what it does is in swift, scripts/ or Benchmarks/.

PREFIX ?= /usr/local
SWIFT_BUILD = swift build -c release --static-swift-stdlib --product wirevale

.PHONY: build release test unit sanitize integration bench demo lint fmt install uninstall clean

build: ## debug build of everything
	swift build --build-tests
	scripts/build-shim .build/debug

release: ## the static binary, .build/release/wirevale, and the preload library beside it
	$(SWIFT_BUILD)
	scripts/build-shim

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
	scripts/guest-image .build/guest
	.build/release/wirevale demo --kernel .build/guest/vmlinuz --initrd .build/guest/initramfs $(if $(GUESTS),--guests $(GUESTS))

lint: ## formatting and house rules
	swift format lint --strict --parallel --recursive Package.swift Sources Tests Benchmarks

fmt: ## mend the formatting
	swift format --in-place --parallel --recursive Package.swift Sources Tests Benchmarks

install: release ## the command, the preload library, completions and unit files
	install -D -m 755 .build/release/wirevale $(DESTDIR)$(PREFIX)/bin/wirevale
	install -D -m 755 .build/release/libnetmap-shim.so $(DESTDIR)$(PREFIX)/lib/wirevale/libnetmap-shim.so
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	.build/release/wirevale --generate-completion-script bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/wirevale
	.build/release/wirevale --generate-completion-script zsh > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_wirevale
	.build/release/wirevale --generate-completion-script fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/wirevale.fish

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/wirevale $(DESTDIR)$(PREFIX)/lib/wirevale/libnetmap-shim.so $(DESTDIR)$(PREFIX)/share/bash-completion/completions/wirevale $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_wirevale $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/wirevale.fish

clean:
	rm -rf .build
