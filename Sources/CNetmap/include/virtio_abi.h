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

_Static_assert(sizeof(struct vring_desc) == NM_VRING_DESC_SIZE, "a descriptor is 16 bytes");
_Static_assert(sizeof(struct vring_used_elem) == NM_VRING_USED_ELEM_SIZE, "a used element is 8 bytes");
_Static_assert(__builtin_offsetof(struct vring_avail, ring) == NM_VRING_AVAIL_RING, "avail ring");
_Static_assert(__builtin_offsetof(struct vring_used, ring) == NM_VRING_USED_RING, "used ring");
_Static_assert(sizeof(struct virtio_net_hdr) == 10, "a virtio-net header is 10 bytes");
_Static_assert(sizeof(struct virtio_net_hdr_mrg_rxbuf) == 12, "and 12 with num_buffers");

#endif
