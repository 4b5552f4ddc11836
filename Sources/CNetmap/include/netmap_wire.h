// How a program's process and the engine deal with netmap descriptors: what they say to each other,
// and the memory in which they meet. Shared by the engine (Swift) and the preload library (C).
//
// The engine listens on `netmap.sock` (SOCK_SEQPACKET) in its runtime directory.
//
//  * A *channel* is a connection that a process makes for itself. On it go requests (nm_call) and their
//    answers (nm_answer), one for one, in order.
//  * A *descriptor* is what open("/dev/netmap") returns: the program's end of another connection to the
//    same socket, which the engine makes and passes over a channel (NM_CALL_OPEN). So it is a socket
//    whose peer is called like the engine's, in whatever process it turns up; its last close is seen by
//    the engine; poll, epoll and io_uring wait on it. Its bytes say nothing but "look": from the engine
//    "there is news", to the engine "you slept, and there is work".
//  * Requests about a descriptor pass it along; the engine knows it again by its SO_COOKIE.
//
// A bound descriptor has two memory files (NM_CALL_ATTACH): the region, which is what the program maps
// (rings and buffers, net/netmap.h), and the control file, which only syncs touch:
//
//   0      nm_control_file
//   128    nm_kring[...]     one for each ring of the port: TX, host TX, RX, host RX
//                            (a pipe has one file for both ends; tx_base and rx_base tell them apart)
//
// Nobody believes the other: the engine has its own copy of all that it writes here, and checks what
// it reads; programs that share a port can confuse each other, as they can through the rings.
#ifndef WIREVALE_NETMAP_WIRE_H
#define WIREVALE_NETMAP_WIRE_H

#include <stdint.h>

enum {
    NM_WIRE_VERSION = 1,
    NM_WIRE_MAX = 16384, // bytes of a message, at most
};

// Requests. Each passes the descriptor that it is about, but for NM_CALL_OPEN.
enum {
    NM_CALL_OPEN = 1,    // -> a new descriptor (passed)
    NM_CALL_ATTACH = 2,  // -> nm_attachment; bound: the region's and the control file are passed
    NM_CALL_CONTROL = 3, // NIOCCTRL: nm_control_call + body + options, and back
    NM_CALL_REGIF = 4,   // NIOCREGIF: struct nmreq, and back
    NM_CALL_GINFO = 5,   // NIOCGINFO: struct nmreq, and back
    NM_CALL_CONFIG = 6,  // NIOCCONFIG: struct nm_ifreq, and back
    NM_CALL_LOOP_ENDED = 7, // the loop that a SYNC_KLOOP_START began has ended (see NM_LOOP_*)
};

struct nm_call {
    uint16_t version; // NM_WIRE_VERSION
    uint16_t op;      // NM_CALL_*
    uint32_t length;  // bytes that follow
};

struct nm_answer {
    int32_t error;   // 0 or an errno; the answer's payload is there in either case
    uint32_t length; // bytes that follow
};

// NIOCCTRL with its pointers taken out. (Those in the options EXTMEM and CSB and the numbers in EVENTFDS
// are sent along; they mean something to the program's process only.)
//
// A struct nmreq_header (88 bytes, as the program gave it: of its pointers the engine looks at nothing but
// whether they are 0) is followed by this, then by the body, then by the options, each with all its
// bytes and padded to a multiple of 8: as many as its type says, nro_size for EVENTFDS, the header alone
// for an unknown type. An option counts 8 bytes more than it has towards `is_too_long`.
//
// The answer is the same with results in it. The caller copies them back: the header always; the body if
// there was no error; each option's header always, with its nro_next untouched (not if `is_too_long`);
// an option's payload if there was no error and its nro_status is 0 (netmap-spec 2.4).
//
// EXTMEM: after success the library maps the region's file over the program's pages at nro_usrptr (what
// was in them is lost, as the pools begin there). Who brings the same pages again gets the same region.
struct nm_control_call {
    uint32_t body_length;
    uint32_t option_count;
    uint32_t is_too_long; // body and options exceed NETMAP_REQ_MAXSIZE; those that did are left out
    int32_t csb_error;    // errno that touching the arrays of a CSB option gave, or 0
};

// What a descriptor has bound.
struct nm_attachment {
    uint64_t number;        // the descriptor's, never used twice by one engine
    uint64_t region_size;   // 0: not bound, and no files are passed
    uint64_t nifp_offset;   // of the netmap_if in the region
    uint64_t control_size;
    uint64_t buffer_offset; // of buffer 0 in the region
    uint32_t buffer_size;
    uint32_t buffer_count;
    uint32_t mem_id;
    uint32_t tx_base; // number of the port's TX ring 0 in the control file
    uint32_t rx_base;
    uint32_t tx_first, tx_end; // bound TX rings first ..< end, counted from tx_base (host rings behind the NIC's)
    uint32_t rx_first, rx_end;
    uint32_t flags; // NR_* as it was registered
    uint32_t is_csb; // CSB mode: syncs by ioctl give EBUSY, poll gives POLLERR
    uint32_t reserved;
    char name[64];
};

// Who moves a ring's slots.
enum {
    NM_KRING_NONE = 0,   // no such ring, or nobody has bound it
    NM_KRING_ENGINE = 1, // the engine: a sync publishes and looks
    NM_KRING_DUMMY = 2,  // nobody: null ports (syncs succeed and do nothing)
    NM_KRING_DEAD = 3,   // a monitor whose parent has left, TX of a monitor: syncs fail, ioctl returns 0
    NM_KRING_PIPE = 4,   // the two ends of a pipe themselves, by `peer`
    NM_KRING_STOPPED = 5 // the engine let the ring go: EIO
};

// When the engine is to send a byte to those who have the ring bound.
//
// A process that attaches sets ALWAYS: the program may wait where the library does not see it (io_uring, a
// system call of its own). The first poll or select lowers it to ONCE, from then on set before each
// sleep; epoll keeps ALWAYS. A poller that never sleeps gets one byte, and never takes it. Where nobody is
// seen waiting, an ioctl sync after 100 us without one takes the byte, if it leaves no frames behind.
//
// NM_KRING_PIPE: a sync that brings news to the other end whose `want` is set sets `kicked` on its own ring
// and sends a byte to the engine, which clears `kicked` and tells those who have the `peer` bound.
enum {
    NM_WANT_NOTHING = 0,
    NM_WANT_ONCE = 1,  // at the next news; the engine sets it back to NM_WANT_NOTHING
    NM_WANT_ALWAYS = 2 // whenever there is news and `notified` is 0
};

// A descriptor in CSB mode (netmap-spec 2.19) is synced by a loop in the program's process.
//
//  * The CSB option of REGISTER, or CSB_ENABLE: the library tries to read and write the arrays, says in
//    nm_control_call.csb_error what came of it, and, when the answer is 0, writes the first values of all
//    entries (head, cur, hwcur and hwtail are in the krings). nm_attachment.is_csb is 1 from then on.
//  * SYNC_KLOOP_START, sent as it is: the engine checks it and answers EINVAL, ENXIO or EBUSY, or 0.
//    After 0 the library loops inside the ioctl. It looks at `loop` of the first bound ring once a turn, and
//    after each sleep; when that is NM_LOOP_STOP (it may be at once), it ends, sends NM_CALL_LOOP_ENDED
//    with the descriptor, and the ioctl returns 0. The engine sends the same itself for a channel that
//    goes away with a loop running.
//  * SYNC_KLOOP_STOP, sent as it is, by any process: the answer comes at once. After 0 the library waits
//    as long as `loop` of the first bound ring is NM_LOOP_STOP. (There is nothing to wait for if no loop
//    runs: `loop` is NM_LOOP_STOP_NEXT then, and the next START ends at once.)
//  * The loop sleeps at most 100 ms at a time, or the sleep_us it was told if that is more.
enum {
    NM_LOOP_NONE = 0,
    NM_LOOP_RUN = 1,
    NM_LOOP_STOP = 2,     // a loop runs, and is to end
    NM_LOOP_STOP_NEXT = 3 // none runs, and the next one is to end at once
};

enum { NM_CSB_SIZE = 64 }; // bytes of an nm_csb_atok or nm_csb_ktoa, and what their arrays are aligned to

// Why a sync was rejected (netmap-spec 2.6); `port stat` shows it.
enum {
    NM_FAULT_NONE = 0,
    NM_FAULT_HEAD = 1, // head outside of what was the program's
    NM_FAULT_CUR = 2,  // cur not between head and tail
    NM_FAULT_TAIL = 3, // only with values >= num_slots
};

// One ring between syncs. A sync by the program: the lock; head and cur of the netmap_ring, once each;
// this `head` <= head <= cur <= limit in ring order, where the limit is `tail` (TX) or `hwtail` (RX), and
// the ring's own tail below num_slots; NS_BUF_CHANGED off the slots given away, the data of NS_INDIRECT
// ones into their buffers (the flag stays, and means nothing to the engine); `cur`, `head`, the fence, the
// byte if it sleeps; `hwtail` to `tail` and to the ring. If it is not so, the slots are checked, and the
// ring's head and cur become this `head`, its tail `hwtail`. A holder of `lock` that is no more (kill says
// ESRCH after 10 ms) loses it.
//
// The first line is written by programs (inside `lock`), the second by the
// engine; for NM_KRING_PIPE, the sender's syncs write hwcur of the TX ring and hwtail of the RX ring, the
// receiver's hwcur of the RX ring and hwtail of the TX ring.
struct nm_kring {
    // (A sync reads `mode` after it has taken the lock: the engine changes the mode, then waits for it.)
    uint32_t lock;    // thread that is inside a sync, 0 for none; who finds it taken does nothing
    uint32_t head;    // the program's slots before it are given away
    uint32_t cur;     // rcur: what wake-ups are about
    uint32_t tail;    // rtail: what the program was shown last
    uint32_t want;    // NM_WANT_*
    uint32_t kicked;  // a byte may be on its way to the engine
    uint32_t rejects; // syncs that were rejected
    uint32_t fault;   // why the last of them was: NM_FAULT_*
    uint32_t fault_value, fault_low, fault_high; // the index, and the range in which it had to be
    uint32_t reserved0[5];

    uint32_t hwcur;    // slots before it are done with
    uint32_t hwtail;   // slots before it are the program's
    uint32_t sleeping; // a byte is wanted when `head` has moved
    uint32_t notified; // a byte was sent; who drains the descriptor sets it back to 0
    uint32_t mode;     // NM_KRING_*
    uint32_t slots;
    uint32_t peer; // NM_KRING_PIPE: the other end's ring in this file
    uint32_t loop; // NM_LOOP_*, written by the engine only
    uint64_t ring;  // offset of the netmap_ring in the region
    uint64_t drops; // frames that did not fit (VALE's silence, broken)
    uint64_t packets, bytes; // NM_KRING_PIPE: frames sent, as the sender's syncs have counted them
};

#define NM_CONTROL_MAGIC 0x314c5443564e5257ull // "WRNVCTL1"

struct nm_control_file {
    uint64_t magic;
    uint32_t version; // NM_WIRE_VERSION
    uint32_t krings;  // how many follow
    // Syncs of any ring that were rejected: counted up, then a byte to the engine, which says so in its log.
    uint32_t complaints;
    uint8_t reserved[108];
};

// Offsets for code that reads with atomic loads instead of through the structure.
enum {
    NM_CONTROL_COMPLAINTS = 16,
    NM_CONTROL_KRINGS = 128,
    NM_KRING_SIZE = 128,
    NM_KRING_HEAD = 4,
    NM_KRING_CUR = 8,
    NM_KRING_TAIL = 12,
    NM_KRING_WANT = 16,
    NM_KRING_KICKED = 20,
    NM_KRING_HWCUR = 64,
    NM_KRING_HWTAIL = 68,
    NM_KRING_SLEEPING = 72,
    NM_KRING_NOTIFIED = 76,
    NM_KRING_MODE = 80,
    NM_KRING_DROPS = 104,
    NM_KRING_PACKETS = 112,
    NM_KRING_BYTES = 120,
    NM_KRING_SLOTS = 84,
    NM_KRING_PEER = 88,
    NM_KRING_LOOP = 92,
    NM_KRING_RING = 96,
};

_Static_assert(sizeof(struct nm_control_file) == NM_CONTROL_KRINGS, "two cache lines");
_Static_assert(__builtin_offsetof(struct nm_control_file, complaints) == NM_CONTROL_COMPLAINTS, "complaints");
_Static_assert(sizeof(struct nm_kring) == NM_KRING_SIZE, "a line for each side");
_Static_assert(__builtin_offsetof(struct nm_kring, head) == NM_KRING_HEAD, "head");
_Static_assert(__builtin_offsetof(struct nm_kring, cur) == NM_KRING_CUR, "cur");
_Static_assert(__builtin_offsetof(struct nm_kring, tail) == NM_KRING_TAIL, "tail");
_Static_assert(__builtin_offsetof(struct nm_kring, want) == NM_KRING_WANT, "want");
_Static_assert(__builtin_offsetof(struct nm_kring, kicked) == NM_KRING_KICKED, "kicked");
_Static_assert(__builtin_offsetof(struct nm_kring, hwcur) == NM_KRING_HWCUR, "hwcur");
_Static_assert(__builtin_offsetof(struct nm_kring, hwtail) == NM_KRING_HWTAIL, "hwtail");
_Static_assert(__builtin_offsetof(struct nm_kring, sleeping) == NM_KRING_SLEEPING, "sleeping");
_Static_assert(__builtin_offsetof(struct nm_kring, notified) == NM_KRING_NOTIFIED, "notified");
_Static_assert(__builtin_offsetof(struct nm_kring, mode) == NM_KRING_MODE, "mode");
_Static_assert(__builtin_offsetof(struct nm_kring, drops) == NM_KRING_DROPS, "drops");
_Static_assert(__builtin_offsetof(struct nm_kring, packets) == NM_KRING_PACKETS, "packets");
_Static_assert(__builtin_offsetof(struct nm_kring, bytes) == NM_KRING_BYTES, "bytes");
_Static_assert(__builtin_offsetof(struct nm_kring, slots) == NM_KRING_SLOTS, "slots");
_Static_assert(__builtin_offsetof(struct nm_kring, peer) == NM_KRING_PEER, "peer");
_Static_assert(__builtin_offsetof(struct nm_kring, loop) == NM_KRING_LOOP, "loop");
_Static_assert(__builtin_offsetof(struct nm_kring, ring) == NM_KRING_RING, "ring");

#endif
