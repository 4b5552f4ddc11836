// The forwarding table of one switch in a file of the runtime directory, so that an engine that was
// killed finds its stations again.
//
//   0       nm_fdb_header
//   4096    entries: two words each, see ForwardingTable
//
// VLANs came without a new version: an engine that knows none finds entries without one where they
// always were, and drops the others, whose keys it holds for damaged.
//
// Only the engine that holds the runtime directory's lock maps it; it is checked before it is used.
#ifndef WIREVALE_FDB_H
#define WIREVALE_FDB_H

#include <stdint.h>

#define NM_FDB_MAGIC 0x3142444656455257ull // "WREVFDB1"

struct nm_fdb_header {
    uint64_t magic;
    uint32_t version;
    uint32_t capacity;      // entries
    uint64_t multiplier;    // of the hash
    uint8_t boot_id[40];    // text; the times of entries mean nothing on another boot
    uint64_t statistics[8]; // moves, evictions
};

enum {
    NM_FDB_ENTRIES = 4096,
    NM_FDB_ENTRY_SIZE = 16,
};

_Static_assert(sizeof(struct nm_fdb_header) == 128, "two cache lines");
_Static_assert(sizeof(struct nm_fdb_header) <= NM_FDB_ENTRIES, "the entries follow the header");

#endif
