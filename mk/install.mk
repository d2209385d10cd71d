# make install, make uninstall, and the staged install.

# The manual is made from the header (scripts/man-pages says how): man3/*.3 and man7/*.7.
MAN := $(BUILD)/man

$(MAN)/stamp: include/sbx.h scripts/man-pages $(wildcard docs/man/*)
	rm -rf $(MAN)
	scripts/man-pages $(MAN)
	@touch $@

# Builds only where nothing was built: `sudo make install` shall not run cargo as another user.
.PHONY: install
install: $(if $(wildcard $(BUILD)/$(SHARED)),,all) $(BUILD)/sbx.pc
	$(INSTALL) -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(INCLUDEDIR) $(DESTDIR)$(LIBEXECDIR) $(DESTDIR)$(PKGCONFIGDIR)
	$(INSTALL) -m 644 include/sbx.h $(DESTDIR)$(INCLUDEDIR)/sbx.h
	$(INSTALL) -m 755 $(BUILD)/$(SHARED) $(DESTDIR)$(LIBDIR)/$(SHARED)
	ln -sf $(SHARED) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libsbx.so
	$(INSTALL) -m 644 $(BUILD)/libsbx.a $(DESTDIR)$(LIBDIR)/libsbx.a
	$(INSTALL) -m 755 $(BUILD)/sbx-init $(DESTDIR)$(LIBEXECDIR)/sbx-init
	$(INSTALL) -m 644 $(BUILD)/sbx.pc $(DESTDIR)$(PKGCONFIGDIR)/sbx.pc
	for page in $(MAN)/man*/*; do \
	    $(INSTALL) -D -m 644 $$page $(DESTDIR)$(MANDIR)/$${page#$(MAN)/} || exit 1; done

.PHONY: uninstall
uninstall: $(MAN)/stamp
	rm -f $(DESTDIR)$(INCLUDEDIR)/sbx.h $(DESTDIR)$(PKGCONFIGDIR)/sbx.pc $(DESTDIR)$(LIBEXECDIR)/sbx-init
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,$(SHARED) $(SONAME) libsbx.so libsbx.a)
	for page in $(MAN)/man*/*; do rm -f $(DESTDIR)$(MANDIR)/$${page#$(MAN)/}; done

.PHONY: stage
stage: $(STAGE)/stamp

# Made from nothing, so that no file of an earlier build can help a later one.
$(STAGE)/stamp: $(filter-out %.pc,$(PRODUCTS)) sbx.pc.in include/sbx.h
	rm -rf $(STAGE)
	@$(MAKE) --no-print-directory -s install DESTDIR=$(abspath $(STAGE)) PREFIX=$(STAGE_PREFIX) \
	    LIBDIR=$(STAGE_PREFIX)/lib INCLUDEDIR=$(STAGE_PREFIX)/include LIBEXECDIR=$(STAGE_PREFIX)/libexec \
	    MANDIR=$(STAGE_PREFIX)/share/man PKGCONFIGDIR=$(STAGE_PREFIX)/lib/pkgconfig
	@touch $@
