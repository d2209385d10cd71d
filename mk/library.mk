# From cargo's static library to the two libraries that are installed. See docs/packaging.md.

# Cargo knows best what is out of date, so it is always asked; it leaves the file's time alone when
# nothing changed, and then nothing below is made again. The crate type is named because cargo does
# no link-time optimisation where an rlib is made along with it.
$(RUST_LIB): FORCE
	@mkdir -p $(BUILD)
	$(CARGO) rustc $(CARGOFLAGS) --release --lib --crate-type staticlib $(addprefix --features ,$(FEATURES)) \
	    --message-format=json-render-diagnostics >$(BUILD)/cargo.json

# The embedded program, as the library's build script left it: cargo says where.
$(BUILD)/sbx-init: $(RUST_LIB) scripts/build-output.sh
	scripts/build-output.sh sbx-init <$(BUILD)/cargo.json >$@
	chmod 755 $@

# The C interface is what the header declares: one name per line. The linkers get it as options.
$(NAMES): include/sbx.h scripts/exports.sh
	@mkdir -p $(BUILD)
	CC='$(CC)' scripts/exports.sh $< >$@

$(BUILD)/sbx.map: $(NAMES)
	{ echo 'SBX_0 {' && echo 'global:' && sed 's/$$/;/' $< && echo 'local: *;' && echo '};'; } >$@

# A name that the header declares and the library lacks ends the link.
$(BUILD)/sbx.require: $(NAMES)
	sed 's/^/--require-defined=/' $< >$@

# --as-needed: of the system's libraries only those that are really used are recorded.
$(UNSTRIPPED): $(RUST_LIB) $(BUILD)/sbx.map $(BUILD)/sbx.require
	$(CC) -shared $(LDFLAGS) -o $@ -Wl,-soname,$(SONAME) \
	    -Wl,@$(BUILD)/sbx.require -Wl,--version-script=$(BUILD)/sbx.map -Wl,--gc-sections \
	    -Wl,-z,relro,-z,now,-z,noexecstack,-z,defs,-z,text -Wl,--build-id=sha1 \
	    $(RUST_LIB) -Wl,--as-needed -lgcc_s -lpthread -ldl -lm

$(BUILD)/$(SHARED): $(UNSTRIPPED)
	$(STRIP) --strip-unneeded -o $@ $<
	ln -sf $(SHARED) $(BUILD)/$(SONAME)
	ln -sf $(SONAME) $(BUILD)/libsbx.so

# One object with everything the interface reaches, and nothing else of it visible: the Rust
# runtime inside must not meet that of another Rust library in the same program. The standard
# library's embedded LLVM bitcode goes: 7 MB, and it upsets an `ar` that has LLVM's plugin.
$(BUILD)/libsbx.a: $(RUST_LIB) $(NAMES) $(BUILD)/sbx.require
	$(LD) -r --gc-sections @$(BUILD)/sbx.require -o $(BUILD)/sbx.o $(RUST_LIB)
	$(OBJCOPY) --strip-unneeded --remove-section=.llvmbc --remove-section=.llvmcmd \
	    --keep-global-symbols=$(NAMES) $(BUILD)/sbx.o
	rm -f $@
	$(AR) rcsD $@ $(BUILD)/sbx.o

# Paths below the prefix are written relative to it, so that --define-prefix can move them all.
$(BUILD)/sbx.pc: sbx.pc.in FORCE
	@mkdir -p $(BUILD)
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' \
	    -e 's|@LIBDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))|' \
	    -e 's|@INCLUDEDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(INCLUDEDIR))|' $< >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
