// The shared-memory part of the netmap ABI (NETMAP_API 14), written from its published layout.
//
// A region is one piece of memory that a port's owner and the switch both map:
//
//   region  +----------------+  0
//           | netmap_ring    |  256-byte header, then num_slots slots of 16 bytes
//           | slot[0..n)     |  each slot names a buffer by index
//           +----------------+
//           | ...            |
//           +----------------+  buf_ofs (from a ring)
//           | buffers        |  nr_buf_size apart; buffers 0 and 1 are never handed out
//           +----------------+
//
// In a ring the slots head .. tail-1 (modulo num_slots) belong to the port's owner, the others to
// the switch. One slot always stays empty, so head == tail says that the owner has none.
#ifndef _NET_NETMAP_H_
#define _NET_NETMAP_H_

#include <stdint.h>

#define NETMAP_API 14
#define NETMAP_MIN_API 14
#define NETMAP_MAX_API 15

struct netmap_slot {
    uint32_t buf_idx; // which buffer
    uint16_t len;     // bytes of it in use
    uint16_t flags;   // NS_*
    uint64_t ptr;     // NS_INDIRECT: where the data is; otherwise the user's own
};

#define NS_BUF_CHANGED 0x0001 // buf_idx was changed by the owner
#define NS_REPORT 0x0002      // tell when this slot was sent
#define NS_FORWARD 0x0004     // pass to the host stack
#define NS_NO_LEARN 0x0008    // do not learn this frame's source
#define NS_INDIRECT 0x0010    // data lies at ptr
#define NS_MOREFRAG 0x0020    // the frame goes on in the next slot
#define NS_TXMON 0x0040
#define NS_PORT_SHIFT 8
#define NS_PORT_MASK (0xff << NS_PORT_SHIFT)

struct netmap_ring {
    const int64_t buf_ofs;      // from this ring to buffer 0
    const uint32_t num_slots;
    const uint32_t nr_buf_size; // bytes a buffer, and the stride between buffers
    const uint16_t ringid;
    const uint16_t dir;         // 0 receive, 1 transmit
    uint32_t head;              // first slot of the owner
    uint32_t cur;               // where the owner wants to be woken
    uint32_t tail;              // first slot of the switch
    uint32_t flags;
    uint32_t nm_padding;
    int64_t ts_sec;             // when the last receive sync was (a timeval)
    int64_t ts_usec;
    const uint64_t offset_mask;
    const uint64_t buf_align;
    uint8_t nm_reserved[56];
    uint8_t sem[128];           // the owner's own: never read or written by the switch
    struct netmap_slot slot[];
};

// Offsets for code that reads these fields with atomic loads instead of through the structure.
enum {
    NM_RING_HEAD = 20,
    NM_RING_CUR = 24,
    NM_RING_TAIL = 28,
    NM_RING_SLOTS = 256,
    NM_SLOT_SIZE = 16,
};

_Static_assert(sizeof(struct netmap_slot) == NM_SLOT_SIZE, "a slot is 16 bytes");
_Static_assert(__builtin_offsetof(struct netmap_ring, head) == NM_RING_HEAD, "head");
_Static_assert(__builtin_offsetof(struct netmap_ring, cur) == NM_RING_CUR, "cur");
_Static_assert(__builtin_offsetof(struct netmap_ring, tail) == NM_RING_TAIL, "tail");
_Static_assert(__builtin_offsetof(struct netmap_ring, slot) == NM_RING_SLOTS, "slots");

#endif
