// The same forwarding algorithm in C, and the bare copy: what Swift is measured against.
#ifndef FORWARDING_TWIN_H
#define FORWARDING_TWIN_H

#include <stdint.h>

struct twin; // two regions, a table and scratch memory, as the Swift benchmark has

struct twin *twin_create(int source_region, int sink_region, uint64_t region_size, int slots, uint64_t source_mac, uint64_t sink_mac);
// Takes over rings that somebody else has used: both must be empty.
void twin_align(struct twin *t);
// Moves everything that the source has; returns frames moved.
int twin_forward(struct twin *t, uint32_t now);
// Copies the same frames between the same buffers and does nothing else; returns frames copied.
int twin_copy(struct twin *t);
void twin_destroy(struct twin *t);

#endif
