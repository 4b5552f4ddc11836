// The virtqueue layout that guests and switch share (virtio 1.2, section 2.7), as offsets.
//
// Everything in it may change between two reads, so it is read through shm.h at these offsets
// and never through a structure. Offsets are enums: Swift imports them as constants.
#ifndef WIREVALE_VIRTIO_ABI_H
#define WIREVALE_VIRTIO_ABI_H

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

enum {
    NM_VRING_DESC_SIZE = 16, // u64 address, u32 length, u16 flags, u16 next
    NM_VRING_AVAIL_FLAGS = 0,
    NM_VRING_AVAIL_IDX = 2,
    NM_VRING_AVAIL_RING = 4,
    NM_VRING_USED_FLAGS = 0,
    NM_VRING_USED_IDX = 2,
    NM_VRING_USED_RING = 4,
    NM_VRING_USED_ELEM_SIZE = 8, // u32 head, u32 length
};

// Where it is noted how far a packed ring came, for the engine after one that died: in the engine's own
// file, or in that of GET_INFLIGHT_FD, whose beginning (u64 features, u16 version) this keeps.
enum {
    NM_RECORD_VERSION = 8,    // u16
    NM_RECORD_SIZE = 10,      // u16 entries of the ring; 0 while it does not run
    NM_RECORD_COUNT = 12,     // u16 chains noted below that may not have been returned
    NM_RECORD_POSITION = 16,  // u32 slot, and the wrap counter in bit 16: the first of them
    NM_RECORD_OWNER = 20,     // u32 process of the front-end
    NM_RECORD_CHAINS = 64,    // u64 each: 15 bits slot, wrap counter, u16 id, 17 bits length, 15 bits slots
    NM_RECORD_CAPACITY = 128, // chains
    NM_RECORD_STRIDE = 64 + 128 * 8,
    NM_RECORD_VERSION_PACKED = 0x5750,
};

_Static_assert(sizeof(struct vring_desc) == NM_VRING_DESC_SIZE, "a descriptor is 16 bytes");
_Static_assert(sizeof(struct vring_used_elem) == NM_VRING_USED_ELEM_SIZE, "a used element is 8 bytes");
_Static_assert(__builtin_offsetof(struct vring_avail, ring) == NM_VRING_AVAIL_RING, "avail ring");
_Static_assert(__builtin_offsetof(struct vring_used, ring) == NM_VRING_USED_RING, "used ring");
_Static_assert(sizeof(struct virtio_net_hdr) == 10, "a virtio-net header is 10 bytes");
_Static_assert(sizeof(struct virtio_net_hdr_mrg_rxbuf) == 12, "and 12 with num_buffers");

#endif
