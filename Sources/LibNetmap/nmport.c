// Ports: from a specification to mapped rings, and back.
//
//   nmport_new   nmport_parse    nmport_register   nmport_mmap
//       |        name, options   the descriptor    the memory, shared by all ports that have its id
//   nmport_delete  undo_parse    undo_register     undo_mmap
#include <errno.h>
#include <fcntl.h>
#include <libnetmap.h>
#include <net/netmap_user.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// What else goes when a port goes, last one first.
struct nmport_cleanup_d {
    struct nmport_cleanup_d *next;
    void (*undo)(struct nmport_cleanup_d *, struct nmport_d *);
    struct nmreq_option *option; // to take out of the request, or NULL
    void *base;                  // to unmap, or NULL
    size_t size;
};

static int fails(int error) {
    errno = error;
    return -1;
}

static void *zeroed(struct nmctx *ctx, size_t size) {
    void *memory = nmctx_malloc(ctx, size);
    if (memory)
        memset(memory, 0, size);
    else
        errno = ENOMEM;
    return memory;
}

static struct nmport_cleanup_d *push_cleanup(
    struct nmport_d *port, void (*undo)(struct nmport_cleanup_d *, struct nmport_d *)) {
    struct nmport_cleanup_d *cleanup = zeroed(port->ctx, sizeof(*cleanup));
    if (!cleanup)
        return NULL;
    cleanup->undo = undo;
    cleanup->next = port->clist;
    port->clist = cleanup;
    return cleanup;
}

static void pop_cleanup(struct nmport_d *port) {
    struct nmport_cleanup_d *cleanup = port->clist;
    port->clist = cleanup->next;
    cleanup->undo(cleanup, port);
    nmctx_free(port->ctx, cleanup);
}

static void forget_option(struct nmport_cleanup_d *cleanup, struct nmport_d *port) {
    nmreq_remove_option(&port->hdr, cleanup->option);
    if ((void *)cleanup->option == (void *)port->extmem)
        port->extmem = NULL;
    nmctx_free(port->ctx, cleanup->option);
}

static void unmap_file(struct nmport_cleanup_d *cleanup, struct nmport_d *port) {
    (void)port;
    munmap(cleanup->base, cleanup->size);
}

// ---- A descriptor without a port

static struct nmport_d *new_in(struct nmctx *ctx) {
    struct nmport_d *port = zeroed(ctx, sizeof(*port));
    if (!port) {
        nmctx_ferror(ctx, "no memory for a port");
        return NULL;
    }
    nmreq_header_init(&port->hdr, NETMAP_REQ_REGISTER, &port->reg);
    port->ctx = ctx;
    port->fd = -1;
    return port;
}

struct nmport_d *nmport_new(void) { return new_in(nmctx_get()); }

void nmport_delete(struct nmport_d *port) {
    while (port->clist)
        pop_cleanup(port);
    nmctx_free(port->ctx, port);
}

// ---- External memory, offsets

// The empty option of `size` bytes in the request, to be filled by the caller.
static void *push_option(struct nmport_d *port, uint32_t reqtype, size_t size) {
    if (port->register_done) {
        nmctx_ferror(port->ctx, "%s: options come before the registration", port->hdr.nr_name);
        errno = EINVAL;
        return NULL;
    }
    if (nmreq_find_option(&port->hdr, reqtype)) {
        nmctx_ferror(port->ctx, "%s: %s is given twice", port->hdr.nr_name, nmreq_option_name(reqtype));
        errno = EINVAL;
        return NULL;
    }
    struct nmreq_option *option = zeroed(port->ctx, size);
    if (!option)
        return NULL;
    struct nmport_cleanup_d *cleanup = push_cleanup(port, forget_option);
    if (!cleanup) {
        nmctx_free(port->ctx, option);
        return NULL;
    }
    cleanup->option = option;
    option->nro_reqtype = reqtype;
    nmreq_push_option(&port->hdr, option);
    return option;
}

int nmport_extmem(struct nmport_d *port, void *base, size_t size) {
    struct nmreq_opt_extmem *option = push_option(port, NETMAP_REQ_OPT_EXTMEM, sizeof(*option));
    if (!option)
        return -1;
    option->nro_usrptr = (uintptr_t)base;
    option->nro_info.nr_memsize = size;
    port->extmem = option;
    return 0;
}

int nmport_extmem_from_file(struct nmport_d *port, const char *file) {
    int fd = open(file, O_RDWR);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0) {
        int failure = errno;
        nmctx_ferror(port->ctx, "cannot open %s: %s", file, strerror(failure));
        if (fd >= 0)
            close(fd);
        return fails(failure);
    }
    size_t size = (size_t)status.st_size;
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int failure = errno;
    close(fd);
    if (base == MAP_FAILED) {
        nmctx_ferror(port->ctx, "cannot map %s (%zu bytes): %s", file, size, strerror(failure));
        return fails(failure);
    }
    struct nmport_cleanup_d *cleanup = push_cleanup(port, unmap_file);
    if (!cleanup) {
        munmap(base, size);
        return fails(ENOMEM);
    }
    cleanup->base = base;
    cleanup->size = size;
    if (nmport_extmem(port, base, size)) {
        failure = errno;
        pop_cleanup(port);
        return fails(failure);
    }
    return 0;
}

struct nmreq_pools_info *nmport_extmem_getinfo(struct nmport_d *port) {
    return port->extmem ? &port->extmem->nro_info : NULL;
}

int nmport_offset(struct nmport_d *port, uint64_t initial, uint64_t maximum, uint64_t bits, uint64_t min_gap) {
    struct nmreq_opt_offsets *option = push_option(port, NETMAP_REQ_OPT_OFFSETS, sizeof(*option));
    if (!option)
        return -1;
    option->nro_initial_offset = initial;
    option->nro_max_offset = maximum;
    option->nro_offset_bits = (uint32_t)bits;
    option->nro_min_gap = min_gap;
    return 0;
}

// ---- Options of a specification

// The number of a key that was given, not above `limit`.
static int number(const struct nmreq_parse_ctx *parse, int key, unsigned long limit, unsigned long *value) {
    char *end;
    const char *text = parse->keys[key];
    *value = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || *value > limit) {
        nmctx_ferror(parse->ctx, "'%s' is not a number from 0 to %lu", text, limit);
        return fails(EINVAL);
    }
    return 0;
}

static int number16(const struct nmreq_parse_ctx *parse, int key, uint16_t *to) {
    unsigned long value;
    if (!parse->keys[key])
        return 0;
    if (number(parse, key, UINT16_MAX, &value))
        return -1;
    *to = (uint16_t)value;
    return 0;
}

static int number32(const struct nmreq_parse_ctx *parse, int key, uint32_t *to) {
    unsigned long value;
    if (!parse->keys[key])
        return 0;
    if (number(parse, key, UINT32_MAX, &value))
        return -1;
    *to = (uint32_t)value;
    return 0;
}

enum { SHARE_PORT };

static int parse_share(struct nmreq_parse_ctx *parse) {
    struct nmport_d *port = parse->token;
    const char *spec = parse->keys[SHARE_PORT];
    int32_t mem_id = nmreq_get_mem_id(&spec, parse->ctx);
    if (mem_id < 0)
        return -1;
    if (port->reg.nr_mem_id != 0 && port->reg.nr_mem_id != mem_id) {
        nmctx_ferror(parse->ctx, "memory %d of %s, but also %d", (int)mem_id, parse->keys[SHARE_PORT],
            (int)port->reg.nr_mem_id);
        return fails(EINVAL);
    }
    port->reg.nr_mem_id = (uint16_t)mem_id;
    return 0;
}

enum {
    CONF_RINGS,
    CONF_HOST_RINGS,
    CONF_SLOTS,
    CONF_TX_RINGS,
    CONF_RX_RINGS,
    CONF_HOST_TX_RINGS,
    CONF_HOST_RX_RINGS,
    CONF_TX_SLOTS,
    CONF_RX_SLOTS,
};

static int parse_conf(struct nmreq_parse_ctx *parse) {
    struct nmport_d *port = parse->token;
    struct nmreq_register reg = port->reg;
    // The particular after the general, so that it wins.
    if (number16(parse, CONF_RINGS, &reg.nr_tx_rings) || number16(parse, CONF_RINGS, &reg.nr_rx_rings)
        || number16(parse, CONF_HOST_RINGS, &reg.nr_host_tx_rings)
        || number16(parse, CONF_HOST_RINGS, &reg.nr_host_rx_rings)
        || number32(parse, CONF_SLOTS, &reg.nr_tx_slots) || number32(parse, CONF_SLOTS, &reg.nr_rx_slots)
        || number16(parse, CONF_TX_RINGS, &reg.nr_tx_rings) || number16(parse, CONF_RX_RINGS, &reg.nr_rx_rings)
        || number16(parse, CONF_HOST_TX_RINGS, &reg.nr_host_tx_rings)
        || number16(parse, CONF_HOST_RX_RINGS, &reg.nr_host_rx_rings)
        || number32(parse, CONF_TX_SLOTS, &reg.nr_tx_slots) || number32(parse, CONF_RX_SLOTS, &reg.nr_rx_slots))
        return -1;
    port->reg = reg;
    return 0;
}

enum {
    EXTMEM_FILE,
    EXTMEM_IF_NUM,
    EXTMEM_IF_SIZE,
    EXTMEM_RING_NUM,
    EXTMEM_RING_SIZE,
    EXTMEM_BUF_NUM,
    EXTMEM_BUF_SIZE,
};

static int parse_extmem(struct nmreq_parse_ctx *parse) {
    struct nmport_d *port = parse->token;
    struct nmreq_pools_info info;
    memset(&info, 0, sizeof(info));
    if (number32(parse, EXTMEM_IF_NUM, &info.nr_if_pool_objtotal)
        || number32(parse, EXTMEM_IF_SIZE, &info.nr_if_pool_objsize)
        || number32(parse, EXTMEM_RING_NUM, &info.nr_ring_pool_objtotal)
        || number32(parse, EXTMEM_RING_SIZE, &info.nr_ring_pool_objsize)
        || number32(parse, EXTMEM_BUF_NUM, &info.nr_buf_pool_objtotal)
        || number32(parse, EXTMEM_BUF_SIZE, &info.nr_buf_pool_objsize))
        return -1;
    if (nmport_extmem_from_file(port, parse->keys[EXTMEM_FILE]))
        return -1;
    struct nmreq_pools_info *wanted = nmport_extmem_getinfo(port);
    info.nr_memsize = wanted->nr_memsize;
    *wanted = info;
    return 0;
}

enum { OFFSET_INITIAL, OFFSET_BITS };

static int parse_offset(struct nmreq_parse_ctx *parse) {
    unsigned long initial, bits = 0;
    if (number(parse, OFFSET_INITIAL, UINT32_MAX, &initial))
        return -1;
    if (parse->keys[OFFSET_BITS] && number(parse, OFFSET_BITS, 64, &bits))
        return -1;
    return nmport_offset(parse->token, initial, initial, bits, 0);
}

static struct nmreq_opt_parser offset_option = {
    .prefix = "offset",
    .parse = parse_offset,
    .default_key = OFFSET_INITIAL,
    .nr_keys = 2,
    .flags = NMREQ_OPTF_DISABLED,
    .keys = {
        { "initial", OFFSET_INITIAL, NMREQ_OPTK_DEFAULT | NMREQ_OPTK_MUSTSET },
        { "bits", OFFSET_BITS, 0 },
    },
};

static struct nmreq_opt_parser extmem_option = {
    .prefix = "extmem",
    .parse = parse_extmem,
    .default_key = EXTMEM_FILE,
    .nr_keys = 7,
    .next = &offset_option,
    .keys = {
        { "file", EXTMEM_FILE, NMREQ_OPTK_DEFAULT | NMREQ_OPTK_MUSTSET },
        { "if-num", EXTMEM_IF_NUM, 0 },
        { "if-size", EXTMEM_IF_SIZE, 0 },
        { "ring-num", EXTMEM_RING_NUM, 0 },
        { "ring-size", EXTMEM_RING_SIZE, 0 },
        { "buf-num", EXTMEM_BUF_NUM, 0 },
        { "buf-size", EXTMEM_BUF_SIZE, 0 },
    },
};

static struct nmreq_opt_parser conf_option = {
    .prefix = "conf",
    .parse = parse_conf,
    .default_key = -1,
    .nr_keys = 9,
    .next = &extmem_option,
    .keys = {
        { "rings", CONF_RINGS, 0 },
        { "host-rings", CONF_HOST_RINGS, 0 },
        { "slots", CONF_SLOTS, 0 },
        { "tx-rings", CONF_TX_RINGS, 0 },
        { "rx-rings", CONF_RX_RINGS, 0 },
        { "host-tx-rings", CONF_HOST_TX_RINGS, 0 },
        { "host-rx-rings", CONF_HOST_RX_RINGS, 0 },
        { "tx-slots", CONF_TX_SLOTS, 0 },
        { "rx-slots", CONF_RX_SLOTS, 0 },
    },
};

static struct nmreq_opt_parser share_option = {
    .prefix = "share",
    .parse = parse_share,
    .default_key = SHARE_PORT,
    .nr_keys = 1,
    .next = &conf_option,
    .keys = { { "port", SHARE_PORT, NMREQ_OPTK_DEFAULT | NMREQ_OPTK_MUSTSET } },
};

static struct nmreq_opt_parser *find_parser(const char *name) {
    struct nmreq_opt_parser *parser = &share_option;
    while (parser && strcmp(parser->prefix, name) != 0)
        parser = parser->next;
    return parser;
}

int nmport_enable_option(const char *name) {
    struct nmreq_opt_parser *parser = find_parser(name);
    if (!parser)
        return fails(ENOENT);
    parser->flags &= ~NMREQ_OPTF_DISABLED;
    return 0;
}

int nmport_disable_option(const char *name) {
    struct nmreq_opt_parser *parser = find_parser(name);
    if (!parser)
        return fails(ENOENT);
    parser->flags |= NMREQ_OPTF_DISABLED;
    return 0;
}

// ---- Specification

int nmport_parse(struct nmport_d *port, const char *portspec) {
    const char *rest = portspec;
    if (nmreq_header_decode(&rest, &port->hdr, port->ctx) || nmreq_register_decode(&rest, &port->reg, port->ctx)
        || nmreq_options_decode(rest, &share_option, port, port->ctx)) {
        int failure = errno;
        nmport_undo_parse(port);
        return fails(failure);
    }
    return 0;
}

void nmport_undo_parse(struct nmport_d *port) {
    while (port->clist)
        pop_cleanup(port);
    memset(&port->reg, 0, sizeof(port->reg));
    nmreq_header_init(&port->hdr, NETMAP_REQ_REGISTER, &port->reg);
}

struct nmport_d *nmport_prepare(const char *portspec) {
    struct nmport_d *port = nmport_new();
    if (port && nmport_parse(port, portspec)) {
        int failure = errno;
        nmport_delete(port);
        errno = failure;
        return NULL;
    }
    return port;
}

void nmport_undo_prepare(struct nmport_d *port) {
    nmport_undo_parse(port);
    nmport_delete(port);
}

struct nmport_d *nmport_clone(struct nmport_d *port) {
    if (port->extmem && !port->register_done) {
        nmctx_ferror(port->ctx, "%s: external memory has no id to share before the registration", port->hdr.nr_name);
        errno = EINVAL;
        return NULL;
    }
    struct nmport_d *clone = new_in(port->ctx);
    if (!clone)
        return NULL;
    clone->hdr = port->hdr;
    clone->hdr.nr_options = 0;
    clone->hdr.nr_body = (uintptr_t)&clone->reg;
    clone->reg = port->reg;
    return clone;
}

// ---- Registration

int nmport_register(struct nmport_d *port) {
    if (port->register_done) {
        nmctx_ferror(port->ctx, "%s: already registered", port->hdr.nr_name);
        return fails(EINVAL);
    }
    port->fd = open(NETMAP_DEVICE_NAME, O_RDWR);
    if (port->fd < 0) {
        nmctx_ferror(port->ctx, "%s: cannot open " NETMAP_DEVICE_NAME ": %s%s", port->hdr.nr_name,
            strerror(errno), NM_NO_DEVICE(errno));
        return -1;
    }
    if (ioctl(port->fd, NIOCCTRL, &port->hdr) < 0) {
        int failure = errno, blamed = 0;
        struct nmreq_option *option;
        nmreq_foreach_option(&port->hdr, option) {
            if (option->nro_status == 0)
                continue;
            blamed = 1;
            nmctx_ferror(port->ctx, "%s: option %s: %s", port->hdr.nr_name, nmreq_option_name(option->nro_reqtype),
                strerror((int)option->nro_status));
        }
        if (!blamed)
            nmctx_ferror(port->ctx, "%s: cannot register: %s", port->hdr.nr_name, strerror(failure));
        nmport_undo_register(port);
        return fails(failure);
    }
    port->register_done = 1;
    return 0;
}

void nmport_undo_register(struct nmport_d *port) {
    if (port->fd >= 0)
        close(port->fd);
    port->fd = -1;
    port->register_done = 0;
}

// ---- Memory

// The region with the port's memory id, mapped now if no other port of the context has. Locked.
static struct nmem_d *map_region(struct nmport_d *port) {
    struct nmctx *ctx = port->ctx;
    struct nmem_d *mem = ctx->mem_descs;
    while (mem && mem->mem_id != port->reg.nr_mem_id)
        mem = mem->next;
    if (mem) {
        mem->refcount++;
        return mem;
    }
    mem = zeroed(ctx, sizeof(*mem));
    if (!mem)
        return NULL;
    mem->mem_id = port->reg.nr_mem_id;
    mem->refcount = 1;
    if (port->extmem) {
        mem->mem = (void *)(uintptr_t)port->extmem->nro_usrptr;
        mem->size = port->extmem->nro_info.nr_memsize;
        mem->is_extmem = 1;
    } else {
        mem->size = port->reg.nr_memsize;
        mem->mem = mmap(NULL, mem->size, PROT_READ | PROT_WRITE, MAP_SHARED, port->fd, 0);
        if (mem->mem == MAP_FAILED) {
            int failure = errno;
            nmctx_free(ctx, mem);
            errno = failure;
            return NULL;
        }
    }
    mem->next = ctx->mem_descs;
    if (mem->next)
        mem->next->prev = mem;
    ctx->mem_descs = mem;
    return mem;
}

static void release_region(struct nmctx *ctx, struct nmem_d *mem) {
    if (--mem->refcount > 0)
        return;
    if (!mem->is_extmem)
        munmap(mem->mem, mem->size);
    if (mem->prev)
        mem->prev->next = mem->next;
    else
        ctx->mem_descs = mem->next;
    if (mem->next)
        mem->next->prev = mem->prev;
    nmctx_free(ctx, mem);
}

// The first run of bound rings among `count`.
static void find_rings(const ptrdiff_t *offsets, uint32_t count, uint16_t *first, uint16_t *last) {
    uint32_t i = 0;
    while (i < count && offsets[i] == 0)
        i++;
    *first = (uint16_t)i;
    while (i < count && offsets[i] != 0)
        i++;
    *last = (uint16_t)(i - 1);
}

int nmport_mmap(struct nmport_d *port) {
    if (port->mmap_done) {
        nmctx_ferror(port->ctx, "%s: already mapped", port->hdr.nr_name);
        return fails(EINVAL);
    }
    if (!port->register_done) {
        nmctx_ferror(port->ctx, "%s: not registered, so there is nothing to map", port->hdr.nr_name);
        return fails(EINVAL);
    }
    nmctx_lock(port->ctx);
    port->mem = map_region(port);
    nmctx_unlock(port->ctx);
    if (!port->mem) {
        nmctx_ferror(port->ctx, "%s: cannot map its memory: %s", port->hdr.nr_name, strerror(errno));
        return -1;
    }
    port->mmap_done = 1;
    struct netmap_if *nifp = NETMAP_IF(port->mem->mem, port->reg.nr_offset);
    port->nifp = nifp;
    uint32_t tx = port->reg.nr_tx_rings + nifp->ni_host_tx_rings;
    uint32_t rx = port->reg.nr_rx_rings + nifp->ni_host_rx_rings;
    find_rings(nifp->ring_ofs, tx, &port->first_tx_ring, &port->last_tx_ring);
    find_rings(nifp->ring_ofs + tx, rx, &port->first_rx_ring, &port->last_rx_ring);
    port->cur_tx_ring = port->first_tx_ring;
    port->cur_rx_ring = port->first_rx_ring;
    return 0;
}

void nmport_undo_mmap(struct nmport_d *port) {
    if (port->mem) {
        nmctx_lock(port->ctx);
        release_region(port->ctx, port->mem);
        nmctx_unlock(port->ctx);
    }
    port->mem = NULL;
    port->nifp = NULL;
    port->mmap_done = 0;
    port->first_tx_ring = port->last_tx_ring = port->cur_tx_ring = 0;
    port->first_rx_ring = port->last_rx_ring = port->cur_rx_ring = 0;
}

// ---- All of it

int nmport_open_desc(struct nmport_d *port) {
    if (nmport_register(port))
        return -1;
    if (nmport_mmap(port)) {
        int failure = errno;
        nmport_undo_register(port);
        return fails(failure);
    }
    return 0;
}

void nmport_undo_open_desc(struct nmport_d *port) {
    nmport_undo_mmap(port);
    nmport_undo_register(port);
}

struct nmport_d *nmport_open(const char *portspec) {
    struct nmport_d *port = nmport_prepare(portspec);
    if (port && nmport_open_desc(port)) {
        int failure = errno;
        nmport_undo_prepare(port);
        errno = failure;
        return NULL;
    }
    return port;
}

void nmport_close(struct nmport_d *port) {
    if (!port)
        return;
    nmport_undo_open_desc(port);
    nmport_undo_prepare(port);
}

// ---- Sending

// Slots that a frame takes from the ring's head on, or 0 if it has not so many.
static uint32_t slots_for(struct netmap_ring *ring, size_t size) {
    uint32_t space = nm_ring_space(ring), used = 0;
    for (uint32_t i = ring->head; size > 0; i = nm_ring_next(ring, i), used++) {
        if (used == space)
            return 0;
        size_t offset = NETMAP_ROFFSET(ring, &ring->slot[i]);
        size_t room = offset < ring->nr_buf_size ? ring->nr_buf_size - offset : 0;
        size -= size < room ? size : room;
    }
    return used;
}

static void put(struct netmap_ring *ring, uint32_t slots, const char *frame, size_t size) {
    uint32_t i = ring->head;
    for (; slots > 0; i = nm_ring_next(ring, i), slots--) {
        struct netmap_slot *slot = &ring->slot[i];
        size_t offset = NETMAP_ROFFSET(ring, slot);
        size_t room = offset < ring->nr_buf_size ? ring->nr_buf_size - offset : 0;
        size_t part = size < room ? size : room;
        memcpy(NETMAP_BUF_OFFSET(ring, slot), frame, part);
        slot->len = (uint16_t)part;
        slot->flags = slots > 1 ? NS_MOREFRAG : 0;
        frame += part;
        size -= part;
    }
    ring->head = ring->cur = i;
}

int nmport_inject(struct nmport_d *port, const void *frame, size_t size) {
    uint16_t rings = (uint16_t)(port->last_tx_ring - port->first_tx_ring + 1);
    unsigned number = port->cur_tx_ring;
    for (uint16_t tried = 0; tried < rings; tried++, number++) {
        if (number > port->last_tx_ring)
            number = port->first_tx_ring;
        struct netmap_ring *ring = NETMAP_TXRING(port->nifp, number);
        uint32_t slots = slots_for(ring, size);
        if (slots == 0)
            continue;
        put(ring, slots, frame, size);
        port->cur_tx_ring = (uint16_t)number;
        return (int)size;
    }
    return 0;
}
