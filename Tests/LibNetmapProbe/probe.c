#define _GNU_SOURCE
#include <libnetmap_probe.h>

#include <libnetmap.h>
#define NETMAP_WITH_LIBS
#include <net/netmap_user.h>

#define STRING(x) #x
#define LINE(x) STRING(x)
#define EXPECT(condition)                                                                                      \
    do {                                                                                                       \
        if (!(condition))                                                                                      \
            return "line " LINE(__LINE__) ": " #condition;                                                     \
    } while (0)

static void silent(struct nmctx *ctx, const char *text) {
    (void)ctx;
    (void)text;
}

// A context of the test's own, with the standard allocator and lock, that says nothing.
static struct nmctx quiet_context(void) {
    struct nmctx ctx = *nmctx_get();
    ctx.error = silent;
    ctx.mem_descs = NULL;
    return ctx;
}

// ---- Specifications

void probe_decode(const char *spec, char *result, size_t size) {
    struct nmctx ctx = quiet_context();
    struct nmreq_header header, header_before;
    struct nmreq_register reg, reg_before;
    memset(&reg, 0, sizeof(reg));
    nmreq_header_init(&header, NETMAP_REQ_REGISTER, &reg);
    header_before = header;
    reg_before = reg;
    const char *at = spec;
    if (nmreq_header_decode(&at, &header, &ctx)) {
        int untouched = at == spec && memcmp(&header, &header_before, sizeof(header)) == 0;
        snprintf(result, size, "no name: %s%s", strerror(errno), untouched ? "" : ", but something was changed");
        return;
    }
    const char *rest = at;
    if (nmreq_register_decode(&at, &reg, &ctx)) {
        int untouched = at == rest && memcmp(&reg, &reg_before, sizeof(reg)) == 0;
        snprintf(result, size, "%s, rest %s: %s%s", header.nr_name, rest, strerror(errno),
            untouched ? "" : ", but something was changed");
        return;
    }
    snprintf(result, size, "%s, rest %s: mode %u ring %u flags %#llx memory %u", header.nr_name, at, reg.nr_mode,
        reg.nr_ringid, (unsigned long long)reg.nr_flags, reg.nr_mem_id);
}

void probe_prepare(const char *spec, int with_offset_option, char *result, size_t size) {
    struct nmctx ctx = quiet_context();
    struct nmctx *before = nmctx_set_default(&ctx);
    if (with_offset_option)
        nmport_enable_option("offset");
    struct nmport_d *port = nmport_prepare(spec);
    int failure = errno;
    if (with_offset_option)
        nmport_disable_option("offset");
    nmctx_set_default(before);
    if (!port) {
        snprintf(result, size, "%s", strerror(failure));
        return;
    }
    struct nmreq_register *reg = &port->reg;
    int used = snprintf(result, size, "rings %u/%u host %u/%u slots %u/%u memory %u", reg->nr_tx_rings,
        reg->nr_rx_rings, reg->nr_host_tx_rings, reg->nr_host_rx_rings, reg->nr_tx_slots, reg->nr_rx_slots,
        reg->nr_mem_id);
    struct nmreq_pools_info *info = nmport_extmem_getinfo(port);
    if (info)
        used += snprintf(result + used, size - (size_t)used, " extmem %llu: %ux%u %ux%u %ux%u",
            (unsigned long long)info->nr_memsize, info->nr_if_pool_objtotal, info->nr_if_pool_objsize,
            info->nr_ring_pool_objtotal, info->nr_ring_pool_objsize, info->nr_buf_pool_objtotal,
            info->nr_buf_pool_objsize);
    struct nmreq_option *option = nmreq_find_option(&port->hdr, NETMAP_REQ_OPT_OFFSETS);
    if (option) {
        struct nmreq_opt_offsets *offsets = (struct nmreq_opt_offsets *)option;
        snprintf(result + used, size - (size_t)used, " offset %llu of %llu in %u bits",
            (unsigned long long)offsets->nro_initial_offset, (unsigned long long)offsets->nro_max_offset,
            offsets->nro_offset_bits);
    }
    nmport_undo_prepare(port);
}

void probe_nm_parse(const char *name, char *result, size_t size) {
    struct nm_desc d;
    char error[MAXERRMSG] = "";
    memset(&d, 0, sizeof(d));
    errno = 0;
    if (nm_parse(name, &d, error))
        snprintf(result, size, "%s", errno == EINVAL && error[0] ? "refused" : "refused without a reason");
    else
        snprintf(result, size, "%s: mode %u ring %u flags %#x memory %u", d.req.nr_name,
            d.req.nr_flags & NR_REG_MASK, d.req.nr_ringid, d.req.nr_flags & ~(uint32_t)NR_REG_MASK, d.req.nr_arg2);
}

int probe_nm_open(const char *name) {
    errno = -1;
    struct nm_desc *d = nm_open(name, NULL, 0, NULL);
    int failure = errno;
    nm_close(d);
    return failure;
}

// ---- A region, as the engine would lay it out

enum {
    RINGS = 2, // of the NIC, each direction; one host ring each comes on top
    SLOTS = 8,
    BUFFER = 256,
    OFFSETS = 2 * (RINGS + 1),
    RING_BYTES = 256 + 16 * SLOTS,
    RINGS_AT = 256,
    BUFFERS_AT = 4096,
    REGION = BUFFERS_AT + BUFFER * (2 + OFFSETS * SLOTS),
};

// Writes it, host rings unbound; returns its netmap_if. The header's const members are set through copies.
static struct netmap_if *lay_out(char *region) {
    memset(region, 0, REGION);
    struct netmap_if *nifp = (struct netmap_if *)region;
    uint32_t counts[2] = { RINGS, RINGS }, hosts[2] = { 1, 1 };
    memcpy(region + NM_IF_TX_RINGS, counts, sizeof(counts));
    memcpy(region + NM_IF_HOST_TX_RINGS, hosts, sizeof(hosts));
    uint32_t buffer = 2;
    for (int i = 0; i < OFFSETS; i++) {
        int transmit = i <= RINGS, number = transmit ? i : i - RINGS - 1;
        if (number == RINGS)
            continue;
        int64_t at = RINGS_AT + i * RING_BYTES;
        memcpy(region + NM_IF_RING_OFS + 8 * i, &at, 8);
        char *base = region + at;
        int64_t buf_ofs = BUFFERS_AT - at;
        uint32_t slots = SLOTS, size = BUFFER;
        uint16_t id = (uint16_t)number, dir = (uint16_t)transmit;
        memcpy(base + NM_RING_BUF_OFS, &buf_ofs, 8);
        memcpy(base + NM_RING_NUM_SLOTS, &slots, 4);
        memcpy(base + NM_RING_BUF_SIZE, &size, 4);
        memcpy(base + NM_RING_RINGID, &id, 2);
        memcpy(base + NM_RING_DIR, &dir, 2);
        struct netmap_ring *ring = (struct netmap_ring *)base;
        ring->tail = transmit ? SLOTS - 1 : 0;
        for (int s = 0; s < SLOTS; s++)
            ring->slot[s].buf_idx = buffer++;
    }
    return nifp;
}

_Static_assert(RINGS_AT + OFFSETS * RING_BYTES <= BUFFERS_AT, "the buffers follow the rings");

static _Alignas(128) char memory[REGION];

// Puts a frame of `length` bytes, each `fill`, into a receive ring, as the engine does.
static void receive(struct netmap_if *nifp, int number, size_t length, char fill) {
    struct netmap_ring *ring = NETMAP_RXRING(nifp, number);
    do {
        struct netmap_slot *slot = &ring->slot[ring->tail];
        size_t part = length < BUFFER ? length : BUFFER;
        memset(NETMAP_BUF(ring, slot->buf_idx), fill, part);
        slot->len = (uint16_t)part;
        length -= part;
        slot->flags = length > 0 ? NS_MOREFRAG : 0;
        ring->tail = nm_ring_next(ring, ring->tail);
    } while (length > 0);
}

static struct nm_desc descriptor(struct netmap_if *nifp) {
    struct nm_desc d = { .fd = -1, .nifp = nifp, .last_tx_ring = RINGS - 1, .last_rx_ring = RINGS - 1 };
    d.self = &d;
    return d;
}

// ---- Behaviours

// A frame of 600 bytes in three slots; what does not fit goes to the next ring; then there is no room.
static const char *check_injected(
    struct netmap_if *nifp, int (*inject)(void *, const void *, size_t), void *port) {
    char frame[600];
    for (size_t i = 0; i < sizeof(frame); i++)
        frame[i] = (char)i;
    struct netmap_ring *first = NETMAP_TXRING(nifp, 0), *second = NETMAP_TXRING(nifp, 1);
    EXPECT(inject(port, frame, sizeof(frame)) == 600);
    EXPECT(first->head == 3 && first->cur == 3 && first->tail == SLOTS - 1);
    EXPECT(first->slot[0].len == 256 && first->slot[0].flags == NS_MOREFRAG);
    EXPECT(first->slot[1].len == 256 && first->slot[1].flags == NS_MOREFRAG);
    EXPECT(first->slot[2].len == 88 && first->slot[2].flags == 0);
    for (uint32_t i = 0; i < sizeof(frame); i++)
        EXPECT(NETMAP_BUF(first, first->slot[i / BUFFER].buf_idx)[i % BUFFER] == frame[i]);
    EXPECT(nm_ring_space(first) == 4 && nm_tx_pending(first));
    EXPECT(inject(port, frame, 600) == 600 && nm_ring_space(first) == 1);
    EXPECT(inject(port, frame, 257) == 257);
    EXPECT(nm_ring_space(first) == 1 && second->head == 2);
    EXPECT(inject(port, frame, 600) == 600 && second->head == 5);
    EXPECT(inject(port, frame, 600) == 0);
    EXPECT(inject(port, frame, 256) == 256 && second->head == 6);
    EXPECT(inject(port, frame, 256) == 256 && second->head == 7 && nm_ring_empty(second));
    EXPECT(inject(port, frame, 1) == 1 && nm_ring_empty(first));
    EXPECT(inject(port, frame, 1) == 0);
    first->tail = 2; // the engine sent some: the frame wraps
    EXPECT(inject(port, frame, 512) == 512 && first->head == 1);
    EXPECT(first->slot[7].flags == NS_MOREFRAG && first->slot[0].flags == 0);
    return NULL;
}

static int inject_port(void *port, const void *frame, size_t size) { return nmport_inject(port, frame, size); }
static int inject_descriptor(void *d, const void *frame, size_t size) { return nm_inject(d, frame, size); }

const char *probe_injects(void) {
    struct nmport_d port = { .nifp = lay_out(memory), .last_tx_ring = RINGS - 1 };
    return check_injected(port.nifp, inject_port, &port);
}

const char *probe_injects_inline(void) {
    struct nm_desc d = descriptor(lay_out(memory));
    return check_injected(d.nifp, inject_descriptor, &d);
}

struct seen {
    int count;
    uint32_t length[8];
    uint32_t contiguous[8];
    char fill[8];
    uint64_t flags[8];
};

static void see(u_char *arg, const struct nm_pkthdr *header, const u_char *data) {
    struct seen *seen = (struct seen *)arg;
    int i = seen->count++;
    seen->length[i] = header->len;
    seen->contiguous[i] = header->caplen;
    seen->fill[i] = (char)data[header->caplen - 1];
    seen->flags[i] = header->flags;
}

const char *probe_dispatches(void) {
    struct nm_desc d = descriptor(lay_out(memory));
    struct netmap_ring *first = NETMAP_RXRING(d.nifp, 0), *second = NETMAP_RXRING(d.nifp, 1);
    struct seen seen = { 0 };
    EXPECT(nm_dispatch(&d, -1, see, (u_char *)&seen) == 0);
    receive(d.nifp, 0, 60, 'a');
    receive(d.nifp, 0, 600, 'b');
    uint32_t moved = first->slot[5].buf_idx; // the second slot of the next frame lies elsewhere
    first->slot[5].buf_idx = first->slot[7].buf_idx;
    first->slot[7].buf_idx = moved;
    receive(d.nifp, 0, 300, 'c');
    receive(d.nifp, 1, 70, 'd');
    EXPECT(nm_dispatch(&d, 2, see, (u_char *)&seen) == 2);
    EXPECT(first->head == 4 && first->cur == 4);
    EXPECT(seen.flags[0] == NM_MORE_PKTS && seen.flags[1] == 0);
    EXPECT(nm_dispatch(&d, -1, see, (u_char *)&seen) == 2);
    EXPECT(nm_ring_empty(first) && nm_ring_empty(second));
    EXPECT(seen.flags[2] == NM_MORE_PKTS && seen.flags[3] == 0);
    EXPECT(seen.length[0] == 60 && seen.contiguous[0] == 60 && seen.fill[0] == 'a');
    EXPECT(seen.length[1] == 600 && seen.contiguous[1] == 600 && seen.fill[1] == 'b');
    EXPECT(seen.length[2] == 300 && seen.contiguous[2] == 256 && seen.fill[2] == 'c');
    EXPECT(seen.length[3] == 70 && seen.fill[3] == 'd');
    EXPECT(nm_dispatch(&d, -1, see, (u_char *)&seen) == 0);
    return NULL;
}

const char *probe_next_packet(void) {
    struct nm_desc d = descriptor(lay_out(memory));
    struct nm_pkthdr header;
    EXPECT(nm_nextpkt(&d, &header) == NULL);
    receive(d.nifp, 1, 60, 'x');
    receive(d.nifp, 0, 61, 'y');
    u_char *data = nm_nextpkt(&d, &header);
    EXPECT(data && *data == 'y' && header.len == 61 && header.caplen == 61 && header.buf == data);
    data = nm_nextpkt(&d, &header);
    EXPECT(data && *data == 'x' && header.len == 60 && d.cur_rx_ring == 1);
    EXPECT(nm_nextpkt(&d, &header) == NULL);
    EXPECT(nm_ring_empty(NETMAP_RXRING(d.nifp, 0)) && nm_ring_empty(NETMAP_RXRING(d.nifp, 1)));
    return NULL;
}

// A registered port on a memory file, instead of on an engine's descriptor.
static struct nmport_d *registered(int fd, uint16_t mem_id) {
    struct nmport_d *port = nmport_new();
    port->fd = dup(fd);
    port->register_done = 1;
    port->reg.nr_memsize = REGION;
    port->reg.nr_mem_id = mem_id;
    port->reg.nr_tx_rings = port->reg.nr_rx_rings = RINGS;
    return port;
}

static int region_file(void) {
    int fd = memfd_create("libnetmap-probe", MFD_CLOEXEC);
    lay_out(memory);
    return fd >= 0 && write(fd, memory, REGION) == REGION ? fd : -1;
}

static const char *check_rings(int fd) {
    int64_t none = 0;
    struct nmport_d *port = registered(fd, 1);
    EXPECT(nmport_mmap(port) == 0);
    EXPECT(port->first_tx_ring == 0 && port->last_tx_ring == 1 && port->cur_tx_ring == 0);
    EXPECT(port->first_rx_ring == 0 && port->last_rx_ring == 1);
    EXPECT(nmport_mmap(port) == -1 && errno == EINVAL);
    EXPECT((char *)NETMAP_RXRING(port->nifp, 1) == (char *)port->mem->mem + RINGS_AT + 4 * RING_BYTES);
    EXPECT(NETMAP_RXRING(port->nifp, 1)->dir == 0 && NETMAP_TXRING(port->nifp, 1)->dir == 1);
    struct netmap_ring *ring = NETMAP_TXRING(port->nifp, 1);
    EXPECT(NETMAP_BUF_IDX(ring, NETMAP_BUF(ring, 13)) == 13);

    // Ring 1 for sending, none for receiving, as "-1/T" binds them.
    memcpy((char *)port->nifp + NM_IF_RING_OFS, &none, 8);
    memcpy((char *)port->nifp + NM_IF_RING_OFS + 8 * 3, &none, 8);
    memcpy((char *)port->nifp + NM_IF_RING_OFS + 8 * 4, &none, 8);
    nmport_undo_mmap(port);
    EXPECT(port->nifp == NULL && port->mem == NULL && !port->mmap_done);
    EXPECT(nmport_mmap(port) == 0);
    EXPECT(port->first_tx_ring == 1 && port->last_tx_ring == 1 && port->cur_tx_ring == 1);
    EXPECT(port->first_rx_ring == 3 && port->last_rx_ring == 2);
    nmport_close(port);

    port = nmport_new();
    EXPECT(nmport_mmap(port) == -1 && errno == EINVAL);
    nmport_close(port);
    return NULL;
}

static const char *with_region(const char *(*check)(int fd)) {
    struct nmctx ctx = quiet_context();
    struct nmctx *before = nmctx_set_default(&ctx);
    int fd = region_file();
    const char *result = fd < 0 ? "no memory file" : check(fd);
    if (!result && ctx.mem_descs)
        result = "a region is still mapped";
    close(fd);
    nmctx_set_default(before);
    return result;
}

const char *probe_finds_rings(void) { return with_region(check_rings); }

static const char *check_sharing(int fd) {
    struct nmport_d *one = registered(fd, 7), *two = registered(fd, 7), *other = registered(fd, 8);
    EXPECT(nmport_mmap(one) == 0 && nmport_mmap(two) == 0 && nmport_mmap(other) == 0);
    EXPECT(one->mem == two->mem && one->mem->refcount == 2);
    EXPECT(other->mem != one->mem && other->mem->mem != one->mem->mem);
    nmport_close(one); // the one that mapped it
    EXPECT(two->mem->refcount == 1 && NETMAP_TXRING(two->nifp, 0)->num_slots == SLOTS);
    struct nmport_d *late = registered(fd, 7);
    EXPECT(nmport_mmap(late) == 0 && late->mem == two->mem);
    nmport_close(two);
    EXPECT(NETMAP_TXRING(late->nifp, 0)->num_slots == SLOTS);
    nmport_close(other);
    nmport_close(late);
    return NULL;
}

const char *probe_shares_mappings(void) { return with_region(check_sharing); }

static const char *check_clone(int fd) {
    struct nmport_d *port = nmport_prepare("vale0:a-1/x@5");
    EXPECT(port && nmport_offset(port, 64, 128, 32, 0) == 0);
    struct nmport_d *clone = nmport_clone(port);
    EXPECT(clone && strcmp(clone->hdr.nr_name, "vale0:a") == 0);
    EXPECT(clone->hdr.nr_options == 0 && clone->hdr.nr_body == (uintptr_t)&clone->reg);
    EXPECT(clone->reg.nr_mode == NR_REG_ONE_NIC && clone->reg.nr_ringid == 1 && clone->reg.nr_mem_id == 5);
    EXPECT(clone->reg.nr_flags == NR_EXCLUSIVE && clone->fd == -1 && !clone->register_done);
    nmport_close(clone);
    EXPECT(nmport_extmem(port, memory, REGION) == 0);
    EXPECT(nmport_clone(port) == NULL && errno == EINVAL); // its memory has no id yet
    nmport_close(port);
    (void)fd;
    return NULL;
}

const char *probe_clones(void) { return with_region(check_clone); }

const char *probe_lists_options(void) {
    struct nmreq_header header;
    struct nmreq_option a = { .nro_reqtype = 10 }, b = { .nro_reqtype = 11 }, c = { .nro_reqtype = 12 }, *option;
    nmreq_header_init(&header, NETMAP_REQ_PORT_INFO_GET, NULL);
    EXPECT(header.nr_version == NETMAP_API && header.nr_reqtype == NETMAP_REQ_PORT_INFO_GET);
    EXPECT(nmreq_find_option(&header, 10) == NULL);
    nmreq_push_option(&header, &a);
    nmreq_push_option(&header, &b);
    nmreq_push_option(&header, &c);
    uint32_t order = 0;
    nmreq_foreach_option(&header, option) order = order * 100 + option->nro_reqtype;
    EXPECT(order == 121110);
    EXPECT(nmreq_find_option(&header, 11) == &b);
    nmreq_remove_option(&header, &b);
    EXPECT(nmreq_find_option(&header, 11) == NULL && nmreq_find_option(&header, 10) == &a);
    nmreq_remove_option(&header, &c);
    nmreq_remove_option(&header, &c); // not there any more
    nmreq_remove_option(&header, &a);
    EXPECT(header.nr_options == 0);
    EXPECT(strcmp(nmreq_option_name(NETMAP_REQ_OPT_CSB), "csb") == 0);
    EXPECT(strcmp(nmreq_option_name(99), "unknown") == 0);
    return NULL;
}

static const char *check_external_memory(const char *file) {
    struct nmport_d *port = nmport_new();
    EXPECT(nmport_extmem_getinfo(port) == NULL);
    EXPECT(nmport_extmem_from_file(port, file) == 0 && port->extmem);
    EXPECT(nmreq_find_option(&port->hdr, NETMAP_REQ_OPT_EXTMEM) == &port->extmem->nro_opt);
    *(char *)(uintptr_t)port->extmem->nro_usrptr = 'w'; // mapped and writable
    EXPECT(nmport_extmem(port, memory, REGION) == -1 && errno == EINVAL); // once
    nmport_undo_parse(port);
    EXPECT(port->extmem == NULL && port->hdr.nr_options == 0);
    EXPECT(nmport_extmem_from_file(port, "/nonexistent") == -1 && errno == ENOENT);
    EXPECT(port->hdr.nr_options == 0);

    // After the registration the memory is used where it is, and is not unmapped with the port.
    lay_out(memory);
    EXPECT(nmport_extmem(port, memory, REGION) == 0);
    port->register_done = 1;
    port->reg.nr_mem_id = 9;
    port->reg.nr_tx_rings = port->reg.nr_rx_rings = RINGS;
    EXPECT(nmport_mmap(port) == 0 && port->mem->mem == memory && port->mem->is_extmem);
    EXPECT((char *)port->nifp == memory && port->last_tx_ring == 1);
    nmport_close(port);
    memory[0] = 1;
    return NULL;
}

const char *probe_external_memory(void) {
    struct nmctx ctx = quiet_context();
    struct nmctx *before = nmctx_set_default(&ctx);
    int fd = region_file();
    char file[64], spec[256], result[512];
    snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
    const char *failure = check_external_memory(file);
    nmctx_set_default(before);
    if (failure)
        return failure;

    EXPECT(ftruncate(fd, 1 << 20) == 0);
    snprintf(spec, sizeof(spec), "vale0:0@extmem:file=%s,if-num=2,if-size=1024,buf-num=9,buf_size=512", file);
    probe_prepare(spec, 0, result, sizeof(result));
    close(fd);
    EXPECT(strcmp(result, "rings 0/0 host 0/0 slots 0/0 memory 0 extmem 1048576: 2x1024 0x0 9x512") == 0);
    return NULL;
}

const char *probe_keeps_offsets(void) {
    struct nmport_d port = { .nifp = lay_out(memory), .last_tx_ring = RINGS - 1 };
    struct netmap_ring *ring = NETMAP_TXRING(port.nifp, 0);
    uint64_t mask = 0xffff;
    memcpy((char *)ring + NM_RING_OFFSET_MASK, &mask, sizeof(mask));
    for (int i = 0; i < SLOTS; i++) {
        ring->slot[i].ptr = 0xabcd0000ffff;
        NETMAP_WOFFSET(ring, &ring->slot[i], 64);
        EXPECT(ring->slot[i].ptr == 0xabcd00000040 && NETMAP_ROFFSET(ring, &ring->slot[i]) == 64);
    }
    char frame[200];
    memset(frame, 'f', sizeof(frame));
    EXPECT(nmport_inject(&port, frame, sizeof(frame)) == 200); // 192 bytes of room a buffer
    EXPECT(ring->head == 2 && ring->slot[0].len == 192 && ring->slot[1].len == 8);
    EXPECT(*NETMAP_BUF(ring, ring->slot[0].buf_idx) == 0 && *NETMAP_BUF_OFFSET(ring, &ring->slot[0]) == 'f');
    return NULL;
}
