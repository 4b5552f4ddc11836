// The netmap ABI (NETMAP_API 14): what a program and the switch share, in memory and in ioctl arguments.
// Written from its published layout; names and numbers are those that netmap programs use.
//
// A region is one piece of memory that a port's owner and the switch both map, from offset 0:
//
//   region  +----------------+  0
//           | netmap_if      |  one a bound descriptor, at nr_offset: where its rings are
//           | ring_ofs[]     |  NIC tx, host tx, NIC rx, host rx; relative to this netmap_if; 0: not bound
//           +----------------+
//           | netmap_ring    |  256-byte header, then num_slots slots of 16 bytes
//           | slot[0..n)     |  each slot names a buffer by index
//           +----------------+
//           | ...            |
//           +----------------+  buf_ofs (relative to a ring)
//           | buffers        |  nr_buf_size apart; buffers 0 and 1 are never handed out
//           +----------------+
//
// In a ring the slots head .. tail-1 (modulo num_slots) belong to the port's owner, the others to
// the switch. One slot always stays empty, so head == tail says that the owner has none.
//
// A request is a header that points to its body and to a list of options:
//
//   nmreq_header --nr_body----> nmreq_register, ...           one kind a request type
//                --nr_options-> nmreq_option --nro_next-> nmreq_option ...   each followed by its payload
#ifndef _NET_NETMAP_H_
#define _NET_NETMAP_H_

#include <linux/ioctl.h>
#include <stddef.h>
#include <stdint.h>
#ifndef __swift__
#include <sys/time.h>
#include <sys/types.h>
#endif

#ifdef __cplusplus
#define NM_ASSERT(condition, what) static_assert(condition, what)
#else
#define NM_ASSERT(condition, what) _Static_assert(condition, what)
#endif
#define NM_ASSERT_SIZE(type, size) NM_ASSERT(sizeof(struct type) == (size), "size of " #type)
#define NM_ASSERT_AT(type, field, at) NM_ASSERT(offsetof(struct type, field) == (at), #type "." #field)

#define NETMAP_API 14
#define NETMAP_MIN_API 14
#define NETMAP_MAX_API 15

#define NM_CACHE_ALIGN 128

#ifdef __swift__
// Swift has the C library's types from a module of its own; here they would be defined a second time.
struct nm_timeval {
    int64_t tv_sec;
    int64_t tv_usec;
};
#else
#define nm_timeval timeval
#endif

// ---- Shared memory

struct netmap_slot {
    uint32_t buf_idx; // which buffer
    uint16_t len;     // bytes of it in use
    uint16_t flags;   // NS_*
    uint64_t ptr;     // NS_INDIRECT: where the data is; under offset_mask: where in the buffer it starts
};

#define NS_BUF_CHANGED 0x0001 // buf_idx was changed by the owner
#define NS_REPORT 0x0002      // tell when this slot was sent
#define NS_FORWARD 0x0004     // pass to the host stack
#define NS_NO_LEARN 0x0008    // do not learn this frame's source
#define NS_INDIRECT 0x0010    // data lies at ptr
#define NS_MOREFRAG 0x0020    // the frame goes on in the next slot
#define NS_TXMON 0x0040       // a monitor saw it leave, not arrive
// Sent, beside NS_NO_LEARN: the port of the switch that the frame is for, by its number in VALE_LIST (0: by its addresses)
#define NS_PORT_SHIFT 8
#define NS_PORT_MASK (0xff << NS_PORT_SHIFT)
#define NS_RFRAGS(slot) (((slot)->flags >> 8) & 0xff) // received: slots of this frame
#define NETMAP_MAX_FRAGS 64

struct netmap_ring {
    const int64_t buf_ofs;       // from this ring to buffer 0
    const uint32_t num_slots;
    const uint32_t nr_buf_size;  // bytes a buffer, and the stride between buffers
    const uint16_t ringid;
    const uint16_t dir;          // 0 receive, 1 transmit
    uint32_t head;               // first slot of the owner
    uint32_t cur;                // where the owner wants to be woken
    uint32_t tail;               // first slot of the switch
    uint32_t flags;              // NR_TIMESTAMP, NR_FORWARD
    uint32_t nm_padding;
    struct nm_timeval ts;        // when the last receive sync was
    const uint64_t offset_mask;  // bits of slot.ptr that are an offset; 0: offsets are not in use
    const uint64_t buf_align;    // what an offset must be a multiple of; 0: anything
    uint8_t nm_reserved[56];
    uint8_t sem[128] __attribute__((aligned(NM_CACHE_ALIGN))); // the owner's: never touched by the switch
    struct netmap_slot slot[];
};

static inline int nm_ring_empty(struct netmap_ring *ring) { return ring->head == ring->tail; }

#define NR_TIMESTAMP 0x0002 // set ts at every receive sync
#define NR_FORWARD 0x0004   // released slots with NS_FORWARD go to the other side

struct netmap_if {
    char ni_name[16];
    const uint32_t ni_version;
    const uint32_t ni_flags;         // NI_*
    const uint32_t ni_tx_rings;      // of the port, whatever this descriptor bound
    const uint32_t ni_rx_rings;
    uint32_t ni_bufs_head;           // first extra buffer; its first word is the next one; 0 ends the list
    const uint32_t ni_host_tx_rings; // at least 1, even without host rings
    const uint32_t ni_host_rx_rings;
    uint32_t ni_spare1[3];
    const ptrdiff_t ring_ofs[];
};

#define NI_PRIV_MEM 0x1 // the region is not shared with other ports

// Offsets for code that reads these fields with atomic loads instead of through the structures.
enum {
    NM_SLOT_BUF_IDX = 0,
    NM_SLOT_LEN = 4,
    NM_SLOT_FLAGS = 6,
    NM_SLOT_PTR = 8,
    NM_SLOT_SIZE = 16,
    NM_RING_BUF_OFS = 0,
    NM_RING_NUM_SLOTS = 8,
    NM_RING_BUF_SIZE = 12,
    NM_RING_RINGID = 16,
    NM_RING_DIR = 18,
    NM_RING_HEAD = 20,
    NM_RING_CUR = 24,
    NM_RING_TAIL = 28,
    NM_RING_FLAGS = 32,
    NM_RING_PADDING = 36,
    NM_RING_TS = 40, // seconds, then microseconds, 8 bytes each
    NM_RING_OFFSET_MASK = 56,
    NM_RING_BUF_ALIGN = 64,
    NM_RING_SEM = 128,
    NM_RING_SLOTS = 256,
    NM_IF_NAME = 0,
    NM_IF_VERSION = 16,
    NM_IF_FLAGS = 20,
    NM_IF_TX_RINGS = 24,
    NM_IF_RX_RINGS = 28,
    NM_IF_BUFS_HEAD = 32,
    NM_IF_HOST_TX_RINGS = 36,
    NM_IF_HOST_RX_RINGS = 40,
    NM_IF_RING_OFS = 56, // 8 bytes each
};

NM_ASSERT_SIZE(netmap_slot, NM_SLOT_SIZE);
NM_ASSERT_AT(netmap_slot, buf_idx, NM_SLOT_BUF_IDX);
NM_ASSERT_AT(netmap_slot, len, NM_SLOT_LEN);
NM_ASSERT_AT(netmap_slot, flags, NM_SLOT_FLAGS);
NM_ASSERT_AT(netmap_slot, ptr, NM_SLOT_PTR);
NM_ASSERT(sizeof(struct nm_timeval) == 16, "a timeval is two words");
NM_ASSERT_SIZE(netmap_ring, 256);
NM_ASSERT_AT(netmap_ring, buf_ofs, NM_RING_BUF_OFS);
NM_ASSERT_AT(netmap_ring, num_slots, NM_RING_NUM_SLOTS);
NM_ASSERT_AT(netmap_ring, nr_buf_size, NM_RING_BUF_SIZE);
NM_ASSERT_AT(netmap_ring, ringid, NM_RING_RINGID);
NM_ASSERT_AT(netmap_ring, dir, NM_RING_DIR);
NM_ASSERT_AT(netmap_ring, head, NM_RING_HEAD);
NM_ASSERT_AT(netmap_ring, cur, NM_RING_CUR);
NM_ASSERT_AT(netmap_ring, tail, NM_RING_TAIL);
NM_ASSERT_AT(netmap_ring, flags, NM_RING_FLAGS);
NM_ASSERT_AT(netmap_ring, ts, NM_RING_TS);
NM_ASSERT_AT(netmap_ring, offset_mask, NM_RING_OFFSET_MASK);
NM_ASSERT_AT(netmap_ring, buf_align, NM_RING_BUF_ALIGN);
NM_ASSERT_AT(netmap_ring, sem, NM_RING_SEM);
NM_ASSERT_AT(netmap_ring, slot, NM_RING_SLOTS);
NM_ASSERT_SIZE(netmap_if, 56);
NM_ASSERT_AT(netmap_if, ni_name, NM_IF_NAME);
NM_ASSERT_AT(netmap_if, ni_version, NM_IF_VERSION);
NM_ASSERT_AT(netmap_if, ni_flags, NM_IF_FLAGS);
NM_ASSERT_AT(netmap_if, ni_tx_rings, NM_IF_TX_RINGS);
NM_ASSERT_AT(netmap_if, ni_rx_rings, NM_IF_RX_RINGS);
NM_ASSERT_AT(netmap_if, ni_bufs_head, NM_IF_BUFS_HEAD);
NM_ASSERT_AT(netmap_if, ni_host_tx_rings, NM_IF_HOST_TX_RINGS);
NM_ASSERT_AT(netmap_if, ni_host_rx_rings, NM_IF_HOST_RX_RINGS);
NM_ASSERT_AT(netmap_if, ni_spare1, 44);
NM_ASSERT_AT(netmap_if, ring_ofs, NM_IF_RING_OFS);
NM_ASSERT(sizeof(ptrdiff_t) == 8, "ring_ofs holds 8-byte offsets");

// ---- Requests (NIOCCTRL)

#define NETMAP_REQ_IFNAMSIZ 64
#define NETMAP_REQ_MAXSIZE 4096 // a body and its options together

struct nmreq_header {
    uint16_t nr_version;  // NETMAP_API
    uint16_t nr_reqtype;  // NETMAP_REQ_*
    uint32_t nr_reserved; // 0
    char nr_name[NETMAP_REQ_IFNAMSIZ];
    uint64_t nr_options;  // address of the first option, 0: none
    uint64_t nr_body;     // address of the body, 0: none
};

enum {
    NETMAP_REQ_REGISTER = 1,
    NETMAP_REQ_PORT_INFO_GET = 2,
    NETMAP_REQ_VALE_ATTACH = 3,
    NETMAP_REQ_VALE_DETACH = 4,
    NETMAP_REQ_VALE_LIST = 5,
    NETMAP_REQ_PORT_HDR_SET = 6,
    NETMAP_REQ_PORT_HDR_GET = 7,
    NETMAP_REQ_VALE_NEWIF = 8,
    NETMAP_REQ_VALE_DELIF = 9, // no body
    NETMAP_REQ_VALE_POLLING_ENABLE = 10,
    NETMAP_REQ_VALE_POLLING_DISABLE = 11,
    NETMAP_REQ_POOLS_INFO_GET = 12,
    NETMAP_REQ_SYNC_KLOOP_START = 13,
    NETMAP_REQ_SYNC_KLOOP_STOP = 14, // no body
    NETMAP_REQ_CSB_ENABLE = 15,      // no body
};

struct nmreq_option {
    uint64_t nro_next;    // address of the next option, 0: the last
    uint32_t nro_reqtype; // NETMAP_REQ_OPT_*
    uint32_t nro_status;  // out: 0 or an errno; EOPNOTSUPP if nobody knew the option
    uint64_t nro_size;    // bytes with this header; only where the size varies
};

enum {
    NETMAP_REQ_OPT_EXTMEM = 1,
    NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS = 2,
    NETMAP_REQ_OPT_CSB = 3,
    NETMAP_REQ_OPT_SYNC_KLOOP_MODE = 4,
    NETMAP_REQ_OPT_OFFSETS = 5,
    NETMAP_REQ_OPT_MAX = 6,
};

// REGISTER: binds the descriptor to a port.
struct nmreq_register {
    uint64_t nr_offset;  // out: of this descriptor's netmap_if in the region
    uint64_t nr_memsize; // out: bytes of the region
    uint32_t nr_tx_slots;
    uint32_t nr_rx_slots;
    uint16_t nr_tx_rings;
    uint16_t nr_rx_rings;
    uint16_t nr_host_tx_rings;
    uint16_t nr_host_rx_rings;
    uint16_t nr_mem_id;  // 0: what is usual for the port
    uint16_t nr_ringid;  // for NR_REG_ONE_NIC, NR_REG_ONE_SW
    uint32_t nr_mode;    // NR_REG_*
    uint32_t nr_extra_bufs;
    uint32_t pad1;
    uint64_t nr_flags;   // NR_*
};

// Which rings: of the NIC, of the host stack ("SW"), or both.
enum {
    NR_REG_DEFAULT = 0, // legacy: nr_ringid says
    NR_REG_ALL_NIC = 1,
    NR_REG_SW = 2,
    NR_REG_NIC_SW = 3,
    NR_REG_ONE_NIC = 4,
    NR_REG_PIPE_MASTER = 5, // legacy; now part of the name
    NR_REG_PIPE_SLAVE = 6,
    NR_REG_NULL = 7,
    NR_REG_ONE_SW = 8,
};

#define NR_MONITOR_TX 0x100
#define NR_MONITOR_RX 0x200
#define NR_ZCOPY_MON 0x400
#define NR_EXCLUSIVE 0x800
#define NR_RX_RINGS_ONLY 0x2000
#define NR_TX_RINGS_ONLY 0x4000
#define NR_ACCEPT_VNET_HDR 0x8000 // the program copes with a virtio-net header
#define NR_DO_RX_POLL 0x10000
#define NR_NO_TX_POLL 0x20000     // poll() sends nothing unless asked for POLLOUT

// PORT_INFO_GET
struct nmreq_port_info_get {
    uint64_t nr_memsize;
    uint32_t nr_tx_slots;
    uint32_t nr_rx_slots;
    uint16_t nr_tx_rings;
    uint16_t nr_rx_rings;
    uint16_t nr_host_tx_rings;
    uint16_t nr_host_rx_rings;
    uint16_t nr_mem_id;
    uint16_t pad[3];
};

#define NM_BDG_NAME "vale" // how a switch's name begins

// VALE_ATTACH and VALE_DETACH: an interface joins or leaves a switch.
struct nmreq_vale_attach {
    struct nmreq_register reg;
    uint32_t port_index; // out
    uint32_t pad1;
};

struct nmreq_vale_detach {
    uint32_t port_index; // out
    uint32_t pad1;
};

// VALE_LIST: where the named port is; without a name, the first port at or after this place.
struct nmreq_vale_list {
    uint16_t nr_bridge_idx;
    uint16_t pad1;
    uint32_t nr_port_idx;
};

// PORT_HDR_SET and PORT_HDR_GET: 0, 10 or 12 bytes of virtio-net header before each frame.
struct nmreq_port_hdr {
    uint32_t nr_hdr_len;
    uint32_t pad1;
};

// VALE_NEWIF: makes a persistent port.
struct nmreq_vale_newif {
    uint32_t nr_tx_slots;
    uint32_t nr_rx_slots;
    uint16_t nr_tx_rings;
    uint16_t nr_rx_rings;
    uint16_t nr_mem_id;
    uint16_t pad1;
};

// VALE_POLLING_ENABLE and VALE_POLLING_DISABLE
struct nmreq_vale_polling {
    uint32_t nr_mode; // NETMAP_POLLING_MODE_*
    uint32_t nr_first_cpu_id;
    uint32_t nr_num_polling_cpus;
    uint32_t pad1;
};

#define NETMAP_POLLING_MODE_SINGLE_CPU 1
#define NETMAP_POLLING_MODE_MULTI_CPU 2

// POOLS_INFO_GET: the three pools of a region.
struct nmreq_pools_info {
    uint64_t nr_memsize;
    uint16_t nr_mem_id;
    uint16_t pad1[3];
    uint64_t nr_if_pool_offset;
    uint32_t nr_if_pool_objtotal;
    uint32_t nr_if_pool_objsize;
    uint64_t nr_ring_pool_offset;
    uint32_t nr_ring_pool_objtotal;
    uint32_t nr_ring_pool_objsize;
    uint64_t nr_buf_pool_offset;
    uint32_t nr_buf_pool_objtotal;
    uint32_t nr_buf_pool_objsize;
};

// SYNC_KLOOP_START: syncs the descriptor's rings from their control blocks until SYNC_KLOOP_STOP.
struct nmreq_sync_kloop_start {
    uint32_t sleep_us; // between turns, where no eventfd wakes the loop
    uint32_t pad1;
};

// The region lies in memory that the program brings.
struct nmreq_opt_extmem {
    struct nmreq_option nro_opt;
    uint64_t nro_usrptr;              // page aligned
    struct nmreq_pools_info nro_info; // wanted, then given
};

// A pair a bound ring, tx rings first: ioeventfd wakes the loop, irqfd wakes the program.
struct nmreq_opt_sync_kloop_eventfds {
    struct nmreq_option nro_opt;
    struct {
        int32_t ioeventfd;
        int32_t irqfd;
    } eventfds[];
};

struct nmreq_opt_sync_kloop_mode {
    struct nmreq_option nro_opt;
    uint32_t mode;
    uint32_t pad1;
};

#define NM_OPT_SYNC_KLOOP_DIRECT_TX 0x1 // serve a ring in the kick itself
#define NM_OPT_SYNC_KLOOP_DIRECT_RX 0x2

// head, cur and tail live in control blocks instead of in the rings.
struct nmreq_opt_csb {
    struct nmreq_option nro_opt;
    uint64_t csb_atok; // address of one nm_csb_atok a bound ring, tx rings first
    uint64_t csb_ktoa; // the same of nm_csb_ktoa
};

// Frames start at slot.ptr bytes in their buffers.
struct nmreq_opt_offsets {
    struct nmreq_option nro_opt;
    uint64_t nro_max_offset;
    uint64_t nro_initial_offset;
    uint32_t nro_offset_bits; // low bits of slot.ptr; 0: all
    uint32_t nro_tx_align;
    uint64_t nro_min_gap;     // room that is left where several slots share a buffer
};

// A control block from the application to the kernel, and back.
struct nm_csb_atok {
    uint32_t head;
    uint32_t cur;
    uint32_t appl_need_kick;
    uint32_t sync_flags;
    uint32_t pad[12];
} __attribute__((aligned(64)));

struct nm_csb_ktoa {
    uint32_t hwcur;
    uint32_t hwtail;
    uint32_t kern_need_kick;
    uint32_t pad[13];
} __attribute__((aligned(64)));

NM_ASSERT_SIZE(nmreq_header, 88);
NM_ASSERT_AT(nmreq_header, nr_version, 0);
NM_ASSERT_AT(nmreq_header, nr_reqtype, 2);
NM_ASSERT_AT(nmreq_header, nr_reserved, 4);
NM_ASSERT_AT(nmreq_header, nr_name, 8);
NM_ASSERT_AT(nmreq_header, nr_options, 72);
NM_ASSERT_AT(nmreq_header, nr_body, 80);
NM_ASSERT_SIZE(nmreq_option, 24);
NM_ASSERT_AT(nmreq_option, nro_next, 0);
NM_ASSERT_AT(nmreq_option, nro_reqtype, 8);
NM_ASSERT_AT(nmreq_option, nro_status, 12);
NM_ASSERT_AT(nmreq_option, nro_size, 16);
NM_ASSERT_SIZE(nmreq_register, 56);
NM_ASSERT_AT(nmreq_register, nr_offset, 0);
NM_ASSERT_AT(nmreq_register, nr_memsize, 8);
NM_ASSERT_AT(nmreq_register, nr_tx_slots, 16);
NM_ASSERT_AT(nmreq_register, nr_rx_slots, 20);
NM_ASSERT_AT(nmreq_register, nr_tx_rings, 24);
NM_ASSERT_AT(nmreq_register, nr_rx_rings, 26);
NM_ASSERT_AT(nmreq_register, nr_host_tx_rings, 28);
NM_ASSERT_AT(nmreq_register, nr_host_rx_rings, 30);
NM_ASSERT_AT(nmreq_register, nr_mem_id, 32);
NM_ASSERT_AT(nmreq_register, nr_ringid, 34);
NM_ASSERT_AT(nmreq_register, nr_mode, 36);
NM_ASSERT_AT(nmreq_register, nr_extra_bufs, 40);
NM_ASSERT_AT(nmreq_register, nr_flags, 48);
NM_ASSERT_SIZE(nmreq_port_info_get, 32);
NM_ASSERT_AT(nmreq_port_info_get, nr_memsize, 0);
NM_ASSERT_AT(nmreq_port_info_get, nr_tx_slots, 8);
NM_ASSERT_AT(nmreq_port_info_get, nr_rx_slots, 12);
NM_ASSERT_AT(nmreq_port_info_get, nr_tx_rings, 16);
NM_ASSERT_AT(nmreq_port_info_get, nr_rx_rings, 18);
NM_ASSERT_AT(nmreq_port_info_get, nr_host_tx_rings, 20);
NM_ASSERT_AT(nmreq_port_info_get, nr_host_rx_rings, 22);
NM_ASSERT_AT(nmreq_port_info_get, nr_mem_id, 24);
NM_ASSERT_SIZE(nmreq_vale_attach, 64);
NM_ASSERT_AT(nmreq_vale_attach, reg, 0);
NM_ASSERT_AT(nmreq_vale_attach, port_index, 56);
NM_ASSERT_SIZE(nmreq_vale_detach, 8);
NM_ASSERT_AT(nmreq_vale_detach, port_index, 0);
NM_ASSERT_SIZE(nmreq_vale_list, 8);
NM_ASSERT_AT(nmreq_vale_list, nr_bridge_idx, 0);
NM_ASSERT_AT(nmreq_vale_list, nr_port_idx, 4);
NM_ASSERT_SIZE(nmreq_port_hdr, 8);
NM_ASSERT_AT(nmreq_port_hdr, nr_hdr_len, 0);
NM_ASSERT_SIZE(nmreq_vale_newif, 16);
NM_ASSERT_AT(nmreq_vale_newif, nr_tx_slots, 0);
NM_ASSERT_AT(nmreq_vale_newif, nr_rx_slots, 4);
NM_ASSERT_AT(nmreq_vale_newif, nr_tx_rings, 8);
NM_ASSERT_AT(nmreq_vale_newif, nr_rx_rings, 10);
NM_ASSERT_AT(nmreq_vale_newif, nr_mem_id, 12);
NM_ASSERT_SIZE(nmreq_vale_polling, 16);
NM_ASSERT_AT(nmreq_vale_polling, nr_mode, 0);
NM_ASSERT_AT(nmreq_vale_polling, nr_first_cpu_id, 4);
NM_ASSERT_AT(nmreq_vale_polling, nr_num_polling_cpus, 8);
NM_ASSERT_SIZE(nmreq_pools_info, 64);
NM_ASSERT_AT(nmreq_pools_info, nr_memsize, 0);
NM_ASSERT_AT(nmreq_pools_info, nr_mem_id, 8);
NM_ASSERT_AT(nmreq_pools_info, nr_if_pool_offset, 16);
NM_ASSERT_AT(nmreq_pools_info, nr_if_pool_objtotal, 24);
NM_ASSERT_AT(nmreq_pools_info, nr_if_pool_objsize, 28);
NM_ASSERT_AT(nmreq_pools_info, nr_ring_pool_offset, 32);
NM_ASSERT_AT(nmreq_pools_info, nr_ring_pool_objtotal, 40);
NM_ASSERT_AT(nmreq_pools_info, nr_ring_pool_objsize, 44);
NM_ASSERT_AT(nmreq_pools_info, nr_buf_pool_offset, 48);
NM_ASSERT_AT(nmreq_pools_info, nr_buf_pool_objtotal, 56);
NM_ASSERT_AT(nmreq_pools_info, nr_buf_pool_objsize, 60);
NM_ASSERT_SIZE(nmreq_sync_kloop_start, 8);
NM_ASSERT_AT(nmreq_sync_kloop_start, sleep_us, 0);
NM_ASSERT_SIZE(nmreq_opt_extmem, 96);
NM_ASSERT_AT(nmreq_opt_extmem, nro_usrptr, 24);
NM_ASSERT_AT(nmreq_opt_extmem, nro_info, 32);
NM_ASSERT_SIZE(nmreq_opt_sync_kloop_eventfds, 24);
NM_ASSERT_AT(nmreq_opt_sync_kloop_eventfds, eventfds, 24);
NM_ASSERT(sizeof(((struct nmreq_opt_sync_kloop_eventfds *)0)->eventfds[0]) == 8, "two descriptors a ring");
NM_ASSERT_SIZE(nmreq_opt_sync_kloop_mode, 32);
NM_ASSERT_AT(nmreq_opt_sync_kloop_mode, mode, 24);
NM_ASSERT_SIZE(nmreq_opt_csb, 40);
NM_ASSERT_AT(nmreq_opt_csb, csb_atok, 24);
NM_ASSERT_AT(nmreq_opt_csb, csb_ktoa, 32);
NM_ASSERT_SIZE(nmreq_opt_offsets, 56);
NM_ASSERT_AT(nmreq_opt_offsets, nro_max_offset, 24);
NM_ASSERT_AT(nmreq_opt_offsets, nro_initial_offset, 32);
NM_ASSERT_AT(nmreq_opt_offsets, nro_offset_bits, 40);
NM_ASSERT_AT(nmreq_opt_offsets, nro_tx_align, 44);
NM_ASSERT_AT(nmreq_opt_offsets, nro_min_gap, 48);
NM_ASSERT_SIZE(nm_csb_atok, 64);
NM_ASSERT_AT(nm_csb_atok, head, 0);
NM_ASSERT_AT(nm_csb_atok, cur, 4);
NM_ASSERT_AT(nm_csb_atok, appl_need_kick, 8);
NM_ASSERT_AT(nm_csb_atok, sync_flags, 12);
NM_ASSERT_SIZE(nm_csb_ktoa, 64);
NM_ASSERT_AT(nm_csb_ktoa, hwcur, 0);
NM_ASSERT_AT(nm_csb_ktoa, hwtail, 4);
NM_ASSERT_AT(nm_csb_ktoa, kern_need_kick, 8);

// The application's side of a control block. Each pair is read in the opposite order of its writing,
// so that head never runs past cur, nor hwcur past hwtail, in what the other side sees.
static inline void nm_stst_barrier(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
static inline void nm_ldld_barrier(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
static inline void nm_stld_barrier(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

static inline void nm_sync_kloop_appl_write(struct nm_csb_atok *atok, uint32_t cur, uint32_t head) {
    nm_stst_barrier(); // the slots first
    __atomic_store_n(&atok->cur, cur, __ATOMIC_RELAXED);
    nm_stst_barrier();
    __atomic_store_n(&atok->head, head, __ATOMIC_RELAXED);
}

static inline void nm_sync_kloop_appl_read(struct nm_csb_ktoa *ktoa, uint32_t *hwtail, uint32_t *hwcur) {
    *hwtail = __atomic_load_n(&ktoa->hwtail, __ATOMIC_RELAXED);
    nm_ldld_barrier();
    *hwcur = __atomic_load_n(&ktoa->hwcur, __ATOMIC_RELAXED);
    nm_ldld_barrier(); // the slots afterwards
}

// ---- Requests of programs from before NIOCCTRL (NIOCREGIF, NIOCGINFO)

struct nmreq {
    char nr_name[16];
    uint32_t nr_version;
    uint32_t nr_offset;
    uint32_t nr_memsize; // the low 32 bits
    uint32_t nr_tx_slots;
    uint32_t nr_rx_slots;
    uint16_t nr_tx_rings;
    uint16_t nr_rx_rings;
    uint16_t nr_ringid;  // ring number and NETMAP_* bits
    uint16_t nr_cmd;     // NETMAP_BDG_*, 0: bind
    uint16_t nr_arg1;    // header length, NETMAP_BDG_HOST, switch or number of CPUs, as the command has it
    uint16_t nr_arg2;    // memory id, or port
    uint32_t nr_arg3;    // extra buffers
    uint32_t nr_flags;   // NR_REG_* in NR_REG_MASK, NR_* above it
    uint32_t spare2[1];
};

#define NETMAP_HW_RING 0x4000 // only the ring in NETMAP_RING_MASK
#define NETMAP_SW_RING 0x2000 // only the host rings
#define NETMAP_RING_MASK 0x0fff
#define NETMAP_NO_TX_POLL 0x1000
#define NETMAP_DO_RX_POLL 0x8000
#define NR_REG_MASK 0xf

#define NETMAP_BDG_ATTACH 1
#define NETMAP_BDG_DETACH 2
#define NETMAP_BDG_REGOPS 3
#define NETMAP_BDG_LIST 4
#define NETMAP_BDG_VNET_HDR 5
#define NETMAP_BDG_OFFSET NETMAP_BDG_VNET_HDR // its first name
#define NETMAP_BDG_NEWIF 6
#define NETMAP_BDG_DELIF 7
#define NETMAP_PT_HOST_CREATE 8
#define NETMAP_PT_HOST_DELETE 9
#define NETMAP_BDG_POLLING_ON 10
#define NETMAP_BDG_POLLING_OFF 11
#define NETMAP_VNET_HDR_GET 12
#define NETMAP_BDG_HOST 1 // in nr_arg1 of NETMAP_BDG_ATTACH: the host stack too

// NIOCCONFIG: a request that only the switch's own functions understand.
#define NM_IFRDATA_LEN 256
struct nm_ifreq {
    char nifr_name[16];
    char data[NM_IFRDATA_LEN];
};

NM_ASSERT_SIZE(nmreq, 60);
NM_ASSERT_AT(nmreq, nr_name, 0);
NM_ASSERT_AT(nmreq, nr_version, 16);
NM_ASSERT_AT(nmreq, nr_offset, 20);
NM_ASSERT_AT(nmreq, nr_memsize, 24);
NM_ASSERT_AT(nmreq, nr_tx_slots, 28);
NM_ASSERT_AT(nmreq, nr_rx_slots, 32);
NM_ASSERT_AT(nmreq, nr_tx_rings, 36);
NM_ASSERT_AT(nmreq, nr_rx_rings, 38);
NM_ASSERT_AT(nmreq, nr_ringid, 40);
NM_ASSERT_AT(nmreq, nr_cmd, 42);
NM_ASSERT_AT(nmreq, nr_arg1, 44);
NM_ASSERT_AT(nmreq, nr_arg2, 46);
NM_ASSERT_AT(nmreq, nr_arg3, 48);
NM_ASSERT_AT(nmreq, nr_flags, 52);
NM_ASSERT_AT(nmreq, spare2, 56);
NM_ASSERT_SIZE(nm_ifreq, 272);
NM_ASSERT_AT(nm_ifreq, data, 16);

// ---- ioctl numbers

#define NIOCCTRL _IOWR('i', 151, struct nmreq_header)
#define NIOCREGIF _IOWR('i', 146, struct nmreq)
#define NIOCGINFO _IOWR('i', 145, struct nmreq)
#define NIOCTXSYNC _IO('i', 148) // push and reclaim the bound tx rings; no argument
#define NIOCRXSYNC _IO('i', 149) // release and refill the bound rx rings; no argument
#define NIOCCONFIG _IOWR('i', 150, struct nm_ifreq)

// The same for code that cannot expand them (Swift). A program may pass one as a sign-extended int:
// compare 32 bits.
enum {
    NM_NIOCCTRL = 0xC0586997u,
    NM_NIOCREGIF = 0xC03C6992u,
    NM_NIOCGINFO = 0xC03C6991u,
    NM_NIOCTXSYNC = 0x6994u,
    NM_NIOCRXSYNC = 0x6995u,
    NM_NIOCCONFIG = 0xC1106996u,
};

NM_ASSERT(NIOCCTRL == NM_NIOCCTRL, "NIOCCTRL");
NM_ASSERT(NIOCREGIF == NM_NIOCREGIF, "NIOCREGIF");
NM_ASSERT(NIOCGINFO == NM_NIOCGINFO, "NIOCGINFO");
NM_ASSERT(NIOCTXSYNC == NM_NIOCTXSYNC, "NIOCTXSYNC");
NM_ASSERT(NIOCRXSYNC == NM_NIOCRXSYNC, "NIOCRXSYNC");
NM_ASSERT(NIOCCONFIG == NM_NIOCCONFIG, "NIOCCONFIG");

#endif
