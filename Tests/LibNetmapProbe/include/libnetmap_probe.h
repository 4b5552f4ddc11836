// What the tests of the C libraries call: macros, inline functions and ioctl structures as C programs
// use them, with results as text that a test can compare.
#ifndef LIBNETMAP_PROBE_H
#define LIBNETMAP_PROBE_H

#include <stddef.h>

// The name and the rings of a specification (nmreq_header_decode, nmreq_register_decode).
void probe_decode(const char *spec, char *result, size_t size);
// The same with what follows, up to an unopened port (nmport_prepare).
void probe_prepare(const char *spec, int with_offset_option, char *result, size_t size);
// What nm_parse makes of a name.
void probe_nm_parse(const char *name, char *result, size_t size);
// errno of nm_open on a name, where no device answers.
int probe_nm_open(const char *name);

// One behaviour each; NULL, or what went wrong.
const char *probe_injects(void);
const char *probe_injects_inline(void);
const char *probe_dispatches(void);
const char *probe_next_packet(void);
const char *probe_finds_rings(void);
const char *probe_shares_mappings(void);
const char *probe_clones(void);
const char *probe_lists_options(void);
const char *probe_external_memory(void);
const char *probe_keeps_offsets(void);

#endif
