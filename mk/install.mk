# make install, make uninstall, and the staged install.

MAN_PAGES = $(wildcard docs/man/*.[1-8])
# docs/man/sbx_start.3 -> $(MANDIR)/man3/sbx_start.3
man_dir = $(MANDIR)/man$(patsubst .%,%,$(suffix $(1)))

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
	$(foreach page,$(MAN_PAGES),$(INSTALL) -D -m 644 $(page) $(DESTDIR)$(call man_dir,$(page))/$(notdir $(page)) &&) :

.PHONY: uninstall
uninstall:
	rm -f $(DESTDIR)$(INCLUDEDIR)/sbx.h $(DESTDIR)$(PKGCONFIGDIR)/sbx.pc $(DESTDIR)$(LIBEXECDIR)/sbx-init
	rm -f $(addprefix $(DESTDIR)$(LIBDIR)/,$(SHARED) $(SONAME) libsbx.so libsbx.a)
	rm -f $(foreach page,$(MAN_PAGES),$(DESTDIR)$(call man_dir,$(page))/$(notdir $(page)))

.PHONY: stage
stage: $(STAGE)/stamp

# Made from nothing, so that no file of an earlier build can help a later one.
$(STAGE)/stamp: $(filter-out %.pc,$(PRODUCTS)) sbx.pc.in include/sbx.h $(MAN_PAGES)
	rm -rf $(STAGE)
	@$(MAKE) --no-print-directory -s install DESTDIR=$(abspath $(STAGE)) PREFIX=$(STAGE_PREFIX) \
	    LIBDIR=$(STAGE_PREFIX)/lib INCLUDEDIR=$(STAGE_PREFIX)/include LIBEXECDIR=$(STAGE_PREFIX)/libexec \
	    MANDIR=$(STAGE_PREFIX)/share/man PKGCONFIGDIR=$(STAGE_PREFIX)/lib/pkgconfig
	@touch $@
