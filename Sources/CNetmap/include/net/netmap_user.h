// What a C program uses to find its way in a mapped netmap region.
//
// With NETMAP_WITH_LIBS defined before the #include also a library that needs no linking: nm_open binds
// a port by name, nm_dispatch and nm_nextpkt receive, nm_inject sends. New programs are better served by
// libnetmap.h, which knows options, several host rings and names of 64 bytes.
#ifndef _NET_NETMAP_USER_H_
#define _NET_NETMAP_USER_H_

#define NETMAP_DEVICE_NAME "/dev/netmap"
// What to tell whoever has no such device.
#define NM_NO_DEVICE(error) ((error) == ENOENT ? " (run the program under: wirevale shim PROGRAM ...)" : "")

#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <net/netmap.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif

#define _NETMAP_OFFSET(type, base, offset) ((type)(void *)((char *)(base) + (offset)))

// base: where the region is mapped; ofs: nr_offset.
#define NETMAP_IF(base, ofs) _NETMAP_OFFSET(struct netmap_if *, base, ofs)

// Host rings follow the rings of the NIC. Equal to nifp itself if the ring is not bound.
#define NETMAP_TXRING(nifp, index) _NETMAP_OFFSET(struct netmap_ring *, nifp, (nifp)->ring_ofs[index])
#define NETMAP_RXRING(nifp, index)                                                                             \
    _NETMAP_OFFSET(struct netmap_ring *, nifp,                                                                 \
                   (nifp)->ring_ofs[(index) + (nifp)->ni_tx_rings + (nifp)->ni_host_tx_rings])

#define NETMAP_BUF(ring, index) ((char *)(ring) + (ring)->buf_ofs + ((size_t)(index) * (ring)->nr_buf_size))
#define NETMAP_BUF_IDX(ring, buf) (((char *)(buf) - ((char *)(ring) + (ring)->buf_ofs)) / (ring)->nr_buf_size)

// Where a frame starts in its buffer; 0 unless the port was opened with offsets. Writing one keeps the
// other bits of ptr.
#define NETMAP_ROFFSET(ring, slot) ((slot)->ptr & (ring)->offset_mask)
#define NETMAP_WOFFSET(ring, slot, offset)                                                                     \
    do {                                                                                                       \
        (slot)->ptr = ((slot)->ptr & ~(ring)->offset_mask) | ((offset) & (ring)->offset_mask);                 \
    } while (0)
#define NETMAP_BUF_OFFSET(ring, slot) (NETMAP_BUF(ring, (slot)->buf_idx) + NETMAP_ROFFSET(ring, slot))

static inline uint32_t nm_ring_next(struct netmap_ring *ring, uint32_t i) {
    return unlikely(i + 1 == ring->num_slots) ? 0 : i + 1;
}

// Slots that the program owns: free ones to send from, or received ones.
static inline uint32_t nm_ring_space(struct netmap_ring *ring) {
    int64_t space = (int64_t)ring->tail - ring->head;
    return (uint32_t)(space < 0 ? space + ring->num_slots : space);
}

// Whether slots that were handed over have not come back yet.
static inline int nm_tx_pending(struct netmap_ring *ring) { return nm_ring_next(ring, ring->tail) != ring->head; }

// Copies a frame. Most are short and a multiple of a cache line; those take no call.
static inline void nm_pkt_copy(const void *from, void *to, int length) {
    if (unlikely(length >= 1024 || length % 64 != 0)) {
        memcpy(to, from, (size_t)length);
        return;
    }
    for (int i = 0; i < length; i += 64)
        __builtin_memcpy((char *)to + i, (const char *)from + i, 64);
}

// A line to stderr with the time and its place: always, never, at most `lps` times a second.
#ifndef ND
#define ND(...)                                                                                                \
    do {                                                                                                       \
    } while (0)
#define D(format, ...)                                                                                         \
    do {                                                                                                       \
        struct timeval nm_now_;                                                                                \
        gettimeofday(&nm_now_, NULL);                                                                          \
        fprintf(stderr, "%03d.%06d %s [%d] " format "\n", (int)(nm_now_.tv_sec % 1000), (int)nm_now_.tv_usec,  \
                __func__, __LINE__, ##__VA_ARGS__);                                                            \
    } while (0)
#define RD(lps, format, ...)                                                                                   \
    do {                                                                                                       \
        static time_t nm_second_;                                                                              \
        static int nm_lines_;                                                                                  \
        time_t nm_time_ = time(NULL);                                                                          \
        if (nm_time_ != nm_second_) {                                                                          \
            nm_second_ = nm_time_;                                                                             \
            nm_lines_ = 0;                                                                                     \
        }                                                                                                      \
        if (nm_lines_++ < (lps))                                                                               \
            D(format, ##__VA_ARGS__);                                                                          \
    } while (0)
#endif

#endif // _NET_NETMAP_USER_H_

#if defined(NETMAP_WITH_LIBS) && !defined(_NET_NETMAP_USER_LIBS_)
#define _NET_NETMAP_USER_LIBS_

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

struct nm_desc;

struct nm_pkthdr {
    struct timeval ts; // of the ring's last receive sync
    uint32_t caplen;   // bytes at buf; less than len if the frame's buffers are not adjacent
    uint32_t len;      // bytes of the frame
    uint64_t flags;    // NM_MORE_PKTS
    struct nm_desc *d;
    struct netmap_slot *slot; // its first
    uint8_t *buf;
};
#define NM_MORE_PKTS 1 // the callback is called again before nm_dispatch returns

struct nm_stat {
    u_int ps_recv;
    u_int ps_drop;
    u_int ps_ifdrop;
};

#define NM_ERRBUF_SIZE 512

struct nm_desc {
    struct nm_desc *self; // itself, so that a pointer can be told from one to something else
    int fd;
    void *mem;
    size_t memsize;
    int done_mmap;        // this descriptor's own mapping, not one of its parent
    struct netmap_if *nifp;
    uint16_t first_tx_ring, last_tx_ring, cur_tx_ring;
    uint16_t first_rx_ring, last_rx_ring, cur_rx_ring;
    struct nmreq req;
    struct nm_pkthdr hdr;
    struct netmap_ring *some_ring; // any ring: all compute the same buffer addresses
    void *buf_start;
    void *buf_end;
    // For programs that wrap this in something like libpcap; not used here.
    int snaplen;
    int promisc;
    int to_ms;
    char *errbuf;
    uint32_t if_flags;
    uint32_t if_reqcap;
    uint32_t if_curcap;
    struct nm_stat st;
    char msg[NM_ERRBUF_SIZE];
};

NM_ASSERT_SIZE(nm_pkthdr, 56);
NM_ASSERT_AT(nm_pkthdr, caplen, 16);
NM_ASSERT_AT(nm_pkthdr, len, 20);
NM_ASSERT_AT(nm_pkthdr, flags, 24);
NM_ASSERT_AT(nm_pkthdr, d, 32);
NM_ASSERT_AT(nm_pkthdr, slot, 40);
NM_ASSERT_AT(nm_pkthdr, buf, 48);
NM_ASSERT_SIZE(nm_desc, 760);
NM_ASSERT_AT(nm_desc, self, 0);
NM_ASSERT_AT(nm_desc, fd, 8);
NM_ASSERT_AT(nm_desc, mem, 16);
NM_ASSERT_AT(nm_desc, memsize, 24);
NM_ASSERT_AT(nm_desc, done_mmap, 32);
NM_ASSERT_AT(nm_desc, nifp, 40);
NM_ASSERT_AT(nm_desc, first_tx_ring, 48);
NM_ASSERT_AT(nm_desc, last_tx_ring, 50);
NM_ASSERT_AT(nm_desc, cur_tx_ring, 52);
NM_ASSERT_AT(nm_desc, first_rx_ring, 54);
NM_ASSERT_AT(nm_desc, last_rx_ring, 56);
NM_ASSERT_AT(nm_desc, cur_rx_ring, 58);
NM_ASSERT_AT(nm_desc, req, 60);
NM_ASSERT_AT(nm_desc, hdr, 120);
NM_ASSERT_AT(nm_desc, some_ring, 176);
NM_ASSERT_AT(nm_desc, snaplen, 200);
NM_ASSERT_AT(nm_desc, errbuf, 216);
NM_ASSERT_AT(nm_desc, st, 236);
NM_ASSERT_AT(nm_desc, msg, 248);

#define P2NMD(p) ((const struct nm_desc *)(p))
#define IS_NETMAP_DESC(d) ((d) && P2NMD(d)->self == P2NMD(d))
#define NETMAP_FD(d) (P2NMD(d)->fd)

typedef void (*nm_cb_t)(u_char *, const struct nm_pkthdr *, const u_char *);

// Flags of nm_open; NETMAP_NO_TX_POLL and NETMAP_DO_RX_POLL may be added. What is taken from the parent:
enum {
    NM_OPEN_NO_MMAP = 0x040000,  // nothing: map no memory yet
    NM_OPEN_IFNAME = 0x080000,   // nr_name, nr_ringid, nr_flags, instead of from the name
    NM_OPEN_ARG1 = 0x100000,     // nr_arg1
    NM_OPEN_ARG2 = 0x200000,     // nr_arg2, the memory
    NM_OPEN_ARG3 = 0x400000,     // nr_arg3, extra buffers
    NM_OPEN_RING_CFG = 0x800000, // numbers of rings and slots
};

// The text of why nm_parse failed fits in this.
#define MAXERRMSG 80

static inline int nm_parse_fail_(char *error, const char *why) {
    if (error)
        snprintf(error, MAXERRMSG, "%s", why);
    errno = EINVAL;
    return -1;
}

static inline int nm_parse_number_(const char **at, unsigned long limit, unsigned long *number) {
    if (!isdigit((unsigned char)**at))
        return -1;
    char *end;
    *number = strtoul(*at, &end, 10);
    *at = end;
    return *number < limit ? 0 : -1;
}

// Takes a port's name apart into d->req:
//
//   netmap:NAME or valeID:PORT, then one of     then, once each and in any order
//     (nothing)  all rings of the NIC             /x exclusive /z /t /r monitor /R /T only that direction
//     ^          the host rings                   @N the memory with this id
//     *          both
//     -N         ring N
//     {N }N      pipe N, its master or slave end
//
// Returns 0, or -1 with errno EINVAL and a text of at most MAXERRMSG bytes in `error`.
static inline int nm_parse(const char *ifname, struct nm_desc *d, char *error) {
    const char *at = ifname;
    int vale = 0;
    if (strncmp(at, "netmap:", 7) == 0) {
        at += 7;
    } else if (strncmp(at, NM_BDG_NAME, 4) == 0) {
        vale = 1;
    } else {
        return nm_parse_fail_(error, "a port is named netmap:NAME or valeID:PORT");
    }

    size_t length = strcspn(at, "-*^{}/@");
    if (vale) {
        size_t colons = 0;
        for (size_t i = 0; i < length; i++) {
            if (at[i] == ':' && colons == 0)
                colons++;
            else if (!isalnum((unsigned char)at[i]) && at[i] != '_')
                return nm_parse_fail_(error, "switch and port take letters, digits and _ only");
        }
        if (colons == 0)
            return nm_parse_fail_(error, "a switch's port is named valeID:PORT");
    }
    if (length >= sizeof(d->req.nr_name))
        return nm_parse_fail_(error, "the name is longer than 15 characters");
    memcpy(d->req.nr_name, at, length);
    d->req.nr_name[length] = '\0';
    at += length;

    uint32_t flags = NR_REG_ALL_NIC;
    unsigned long ringid = 0, memid = 0;
    switch (*at) {
    case '^':
        flags = NR_REG_SW;
        at++;
        break;
    case '*':
        flags = NR_REG_NIC_SW;
        at++;
        break;
    case '-':
    case '{':
    case '}':
        flags = *at == '-' ? NR_REG_ONE_NIC : *at == '{' ? NR_REG_PIPE_MASTER : NR_REG_PIPE_SLAVE;
        at++;
        if (nm_parse_number_(&at, NETMAP_RING_MASK, &ringid))
            return nm_parse_fail_(error, "-, { and } take a number below 4095");
        break;
    }
    while (*at) {
        if (*at == '@') {
            at++;
            if (memid != 0)
                return nm_parse_fail_(error, "a port has one memory: @ was given twice");
            if (nm_parse_number_(&at, 0x10000, &memid) || memid == 0)
                return nm_parse_fail_(error, "@ takes a memory id, 1 to 65535");
        } else if (*at == '/' && at[1] != '\0') {
            for (at++; *at && *at != '@'; at++) {
                switch (*at) {
                case 'x':
                    flags |= NR_EXCLUSIVE;
                    break;
                case 'z':
                    flags |= NR_ZCOPY_MON;
                    break;
                case 't':
                    flags |= NR_MONITOR_TX;
                    break;
                case 'r':
                    flags |= NR_MONITOR_RX;
                    break;
                case 'R':
                    flags |= NR_RX_RINGS_ONLY;
                    break;
                case 'T':
                    flags |= NR_TX_RINGS_ONLY;
                    break;
                default:
                    return nm_parse_fail_(error, "the flags after / are x, z, t, r, R and T");
                }
            }
        } else {
            return nm_parse_fail_(error, "after the rings only /flags and @memory may follow");
        }
    }
    d->self = d;
    d->req.nr_flags = flags;
    d->req.nr_ringid = (uint16_t)ringid;
    if (memid != 0)
        d->req.nr_arg2 = (uint16_t)memid;
    return 0;
}

// Maps the memory of a bound descriptor, or uses the parent's mapping if it is the same memory.
static inline int nm_mmap(struct nm_desc *d, const struct nm_desc *parent) {
    if (d->done_mmap)
        return 0;
    if (IS_NETMAP_DESC(parent) && parent->mem && parent->req.nr_arg2 == d->req.nr_arg2) {
        d->mem = parent->mem;
        d->memsize = parent->memsize;
    } else {
        void *mem = mmap(NULL, d->req.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd, 0);
        if (mem == MAP_FAILED)
            return -1;
        d->mem = mem;
        d->memsize = d->req.nr_memsize;
        d->done_mmap = 1;
    }
    struct netmap_if *nifp = NETMAP_IF(d->mem, d->req.nr_offset);
    struct netmap_ring *ring = NETMAP_RXRING(nifp, d->first_rx_ring);
    if ((void *)ring == (void *)nifp)
        ring = NETMAP_TXRING(nifp, d->first_tx_ring);
    d->nifp = nifp;
    d->some_ring = ring;
    d->buf_start = NETMAP_BUF(ring, 0);
    d->buf_end = (char *)d->mem + d->memsize;
    return 0;
}

// Unbinds; what was mapped through it goes too. Descriptors that use its mapping must be closed before.
static inline int nm_close(struct nm_desc *d) {
    if (!IS_NETMAP_DESC(d))
        return EINVAL;
    if (d->done_mmap && d->mem)
        munmap(d->mem, d->memsize);
    if (d->fd != -1)
        close(d->fd);
    memset((void *)d, 0, sizeof(*d));
    free(d);
    return 0;
}

// Binds a port. `req` presets what the name does not say, `parent` lends its memory and what `flags` asks
// of it. Returns NULL with errno set; errno is 0 if the name is not a netmap name at all.
static inline struct nm_desc *nm_open(
    const char *ifname, const struct nmreq *req, uint64_t flags, const struct nm_desc *parent) {
    if (strncmp(ifname, "netmap:", 7) != 0 && strncmp(ifname, NM_BDG_NAME, 4) != 0) {
        errno = 0;
        return NULL;
    }
    struct nm_desc *d = (struct nm_desc *)calloc(1, sizeof(*d));
    if (!d) {
        errno = ENOMEM;
        return NULL;
    }
    d->self = d;
    d->fd = -1;
    const char *why = "out of memory";
    char error[MAXERRMSG] = "";
    int failure;
    if (req)
        d->req = *req;
    if (!(flags & NM_OPEN_IFNAME) && nm_parse(ifname, d, error)) {
        why = error;
        goto fail;
    }
    d->req.nr_version = NETMAP_API;
    if (IS_NETMAP_DESC(parent) && flags != 0) {
        d->req.nr_arg1 = flags & NM_OPEN_ARG1 ? parent->req.nr_arg1 : 4;
        if (flags & NM_OPEN_ARG2)
            d->req.nr_arg2 = parent->req.nr_arg2;
        d->req.nr_arg3 = flags & NM_OPEN_ARG3 ? parent->req.nr_arg3 : 0;
        if (flags & NM_OPEN_RING_CFG) {
            d->req.nr_tx_slots = parent->req.nr_tx_slots;
            d->req.nr_rx_slots = parent->req.nr_rx_slots;
            d->req.nr_tx_rings = parent->req.nr_tx_rings;
            d->req.nr_rx_rings = parent->req.nr_rx_rings;
        }
        if (flags & NM_OPEN_IFNAME) {
            memcpy(d->req.nr_name, parent->req.nr_name, sizeof(d->req.nr_name));
            d->req.nr_ringid = parent->req.nr_ringid;
            d->req.nr_flags = parent->req.nr_flags;
        }
    }
    d->req.nr_ringid &= NETMAP_RING_MASK;
    d->req.nr_ringid |= (uint16_t)(flags & (NETMAP_NO_TX_POLL | NETMAP_DO_RX_POLL));

    d->fd = open(NETMAP_DEVICE_NAME, O_RDWR);
    if (d->fd == -1) {
        why = "cannot open " NETMAP_DEVICE_NAME;
        goto fail;
    }
    if (ioctl(d->fd, NIOCREGIF, &d->req) != 0) {
        why = "the port was refused";
        goto fail;
    }

    {
        uint16_t ring = d->req.nr_ringid & NETMAP_RING_MASK;
        uint16_t tx = d->req.nr_tx_rings, rx = d->req.nr_rx_rings;
        switch (d->req.nr_flags & NR_REG_MASK) {
        case NR_REG_SW:
            d->first_tx_ring = d->last_tx_ring = tx;
            d->first_rx_ring = d->last_rx_ring = rx;
            break;
        case NR_REG_ONE_SW:
            d->first_tx_ring = d->last_tx_ring = (uint16_t)(tx + ring);
            d->first_rx_ring = d->last_rx_ring = (uint16_t)(rx + ring);
            break;
        case NR_REG_NIC_SW:
            d->last_tx_ring = tx;
            d->last_rx_ring = rx;
            break;
        case NR_REG_ALL_NIC:
        case NR_REG_NULL:
            d->last_tx_ring = (uint16_t)(tx - 1);
            d->last_rx_ring = (uint16_t)(rx - 1);
            break;
        case NR_REG_ONE_NIC:
            d->first_tx_ring = d->last_tx_ring = d->first_rx_ring = d->last_rx_ring = ring;
            break;
        case NR_REG_PIPE_MASTER:
        case NR_REG_PIPE_SLAVE:
            break; // ring 0 of both
        default:
            errno = EINVAL;
            why = "unknown choice of rings in nr_flags";
            goto fail;
        }
    }
    if (!(flags & NM_OPEN_NO_MMAP) && nm_mmap(d, parent)) {
        why = "cannot map its memory";
        goto fail;
    }
    d->cur_tx_ring = d->first_tx_ring;
    d->cur_rx_ring = d->first_rx_ring;
    return d;

fail:
    failure = errno;
    fprintf(stderr, "nm_open: %s: %s: %s%s\n", ifname, why, strerror(failure),
            d->fd == -1 ? NM_NO_DEVICE(failure) : "");
    nm_close(d);
    errno = failure;
    return NULL;
}

// Puts one frame into the first ring with room, beginning with the current one; it is sent at the next
// sync. Returns its size, or 0 if no ring has room.
static inline int nm_inject(struct nm_desc *d, const void *frame, size_t size) {
    uint16_t rings = (uint16_t)(d->last_tx_ring - d->first_tx_ring + 1);
    unsigned number = d->cur_tx_ring;
    for (unsigned tried = 0; tried < rings; tried++, number++) {
        if (number > d->last_tx_ring)
            number = d->first_tx_ring;
        struct netmap_ring *ring = NETMAP_TXRING(d->nifp, number);
        uint32_t space = nm_ring_space(ring), used = 0, i = ring->head;
        size_t rest = size;
        for (; rest > 0 && used < space; used++, i = nm_ring_next(ring, i)) {
            size_t offset = NETMAP_ROFFSET(ring, &ring->slot[i]);
            size_t room = offset < ring->nr_buf_size ? ring->nr_buf_size - offset : 0;
            rest -= rest < room ? rest : room;
        }
        if (rest > 0 || used == 0)
            continue;

        const char *from = (const char *)frame;
        rest = size;
        i = ring->head;
        for (uint32_t k = 0; k < used; k++, i = nm_ring_next(ring, i)) {
            struct netmap_slot *slot = &ring->slot[i];
            size_t offset = NETMAP_ROFFSET(ring, slot);
            size_t room = offset < ring->nr_buf_size ? ring->nr_buf_size - offset : 0;
            size_t part = rest < room ? rest : room;
            nm_pkt_copy(from, NETMAP_BUF_OFFSET(ring, slot), (int)part);
            slot->len = (uint16_t)part;
            slot->flags = k + 1 < used ? NS_MOREFRAG : 0;
            from += part;
            rest -= part;
        }
        ring->head = ring->cur = i;
        d->cur_tx_ring = (uint16_t)number;
        return (int)size;
    }
    return 0;
}

// Whether anything waits on a ring other than `number`.
static inline int nm_rx_elsewhere_(struct nm_desc *d, unsigned number) {
    for (unsigned i = d->first_rx_ring; i <= d->last_rx_ring; i++)
        if (i != number && !nm_ring_empty(NETMAP_RXRING(d->nifp, i)))
            return 1;
    return 0;
}

// Calls `callback` for at most `count` received frames (any number if negative) and releases each after
// its call. Returns how many there were; does not sync.
static inline int nm_dispatch(struct nm_desc *d, int count, nm_cb_t callback, u_char *arg) {
    uint16_t rings = (uint16_t)(d->last_rx_ring - d->first_rx_ring + 1);
    unsigned number = d->cur_rx_ring;
    int got = 0;
    d->hdr.d = d;
    for (unsigned tried = 0; tried < rings && got != count; tried++, number++) {
        if (number > d->last_rx_ring)
            number = d->first_rx_ring;
        struct netmap_ring *ring = NETMAP_RXRING(d->nifp, number);
        while (!nm_ring_empty(ring) && got != count) {
            uint32_t i = ring->head;
            struct netmap_slot *slot = &ring->slot[i];
            d->hdr.slot = slot;
            d->hdr.buf = (uint8_t *)NETMAP_BUF_OFFSET(ring, slot);
            d->hdr.len = d->hdr.caplen = slot->len;
            d->hdr.ts = ring->ts;
            d->cur_rx_ring = (uint16_t)number;
            i = nm_ring_next(ring, i);
            while (slot->flags & NS_MOREFRAG && i != ring->tail) {
                slot = &ring->slot[i];
                int adjacent = d->hdr.caplen == d->hdr.len
                    && (uint8_t *)NETMAP_BUF_OFFSET(ring, slot) == d->hdr.buf + d->hdr.caplen;
                d->hdr.len += slot->len;
                if (adjacent)
                    d->hdr.caplen += slot->len;
                i = nm_ring_next(ring, i);
            }
            got++;
            int more = got != count && (i != ring->tail || nm_rx_elsewhere_(d, number));
            d->hdr.flags = more ? NM_MORE_PKTS : 0;
            callback(arg, &d->hdr, d->hdr.buf);
            ring->head = ring->cur = i;
        }
    }
    return got;
}

// The next received slot, or NULL. Its buffer stays as it is until the next receive sync.
static inline u_char *nm_nextpkt(struct nm_desc *d, struct nm_pkthdr *hdr) {
    uint16_t rings = (uint16_t)(d->last_rx_ring - d->first_rx_ring + 1);
    unsigned number = d->cur_rx_ring;
    for (unsigned tried = 0; tried < rings; tried++, number++) {
        if (number > d->last_rx_ring)
            number = d->first_rx_ring;
        struct netmap_ring *ring = NETMAP_RXRING(d->nifp, number);
        if (nm_ring_empty(ring))
            continue;
        struct netmap_slot *slot = &ring->slot[ring->head];
        hdr->ts = ring->ts;
        hdr->len = hdr->caplen = slot->len;
        hdr->flags = 0;
        hdr->d = d;
        hdr->slot = slot;
        hdr->buf = (uint8_t *)NETMAP_BUF_OFFSET(ring, slot);
        ring->head = ring->cur = nm_ring_next(ring, ring->head);
        d->cur_rx_ring = (uint16_t)number;
        return hdr->buf;
    }
    return NULL;
}

#endif // NETMAP_WITH_LIBS
