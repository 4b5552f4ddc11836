// libnetmap: ports for C programs. Open one by name, find its rings, send and receive, close it:
//
//   struct nmport_d *port = nmport_open("vale0:a");
//   struct pollfd news = { .fd = port->fd, .events = POLLIN };
//   while (poll(&news, 1, -1) > 0) {
//       for (int i = port->first_rx_ring; i <= port->last_rx_ring; i++) {
//           struct netmap_ring *ring = NETMAP_RXRING(port->nifp, i);
//           for (; !nm_ring_empty(ring); ring->head = ring->cur = nm_ring_next(ring, ring->head))
//               use(NETMAP_BUF(ring, ring->slot[ring->head].buf_idx), ring->slot[ring->head].len);
//       }
//   }
//   nmport_close(port);
//
// Functions return a pointer or NULL, 0 or -1; on failure errno is set and the context's error function
// has been told why.
#ifndef LIBNETMAP_H_
#define LIBNETMAP_H_

#include <net/netmap.h>
#include <net/netmap_user.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct nmctx;
struct nmem_d;
struct nmport_cleanup_d;
struct nmreq_parse_ctx;

// ---- Ports

struct nmport_d {
    struct nmreq_header hdr;   // what is asked for: name and options,
    struct nmreq_register reg; // rings, slots, memory; after registration what was given
    struct nmem_d *mem;
    struct nmctx *ctx;
    int register_done;
    int mmap_done;
    struct nmreq_opt_extmem *extmem; // NULL without that option
    int fd;                          // -1 before registration
    struct netmap_if *nifp;
    // The rings that may be used. Where there is none, last is one less than first (modulo 65536).
    uint16_t first_tx_ring;
    uint16_t last_tx_ring;
    uint16_t first_rx_ring;
    uint16_t last_rx_ring;
    uint16_t cur_tx_ring; // where nmport_inject begins
    uint16_t cur_rx_ring;
    struct nmport_cleanup_d *clist;
};

// A port by its specification:
//
//   netmap:NAME or valeID:PORT, then one of     then, in any order
//     (nothing)  all rings of the NIC             /x exclusive /z /t /r monitor /R /T only that direction
//     ^          the host rings; ^N only one      @N the memory with this id
//     *          both                           then options: @name, @name=value, @name:key=value,key=value
//     -N         ring N
//
// A pipe's end is part of NAME or PORT: "netmap:eth0{5", "vale0:a}video". Options and their keys:
//
//   share   port*                 use the memory of another port
//   conf    rings, slots, host-rings, and the same with tx-, rx-, host-tx- and host-rx- in front
//   extmem  file*, and if-, ring-, buf- with -num and -size: the memory is a file
//   offset  initial*, bits: room in front of each frame; off unless nmport_enable_option("offset")
//
// A star marks what @name=value sets, and must be set. '-' and '_' are the same in keys.
struct nmport_d *nmport_open(const char *portspec);
void nmport_close(struct nmport_d *);

// Puts a frame into the first ring with room; it is sent at the next sync. Returns its size, or 0.
int nmport_inject(struct nmport_d *, const void *frame, size_t size);

// nmport_open in steps, so that hdr and reg can be changed in between, and each step's undoing.
// nmport_prepare is nmport_new and nmport_parse, nmport_open_desc is nmport_register and nmport_mmap.
struct nmport_d *nmport_prepare(const char *portspec);
void nmport_undo_prepare(struct nmport_d *);
int nmport_open_desc(struct nmport_d *);
void nmport_undo_open_desc(struct nmport_d *);

struct nmport_d *nmport_new(void);
void nmport_delete(struct nmport_d *);
int nmport_parse(struct nmport_d *, const char *portspec);
void nmport_undo_parse(struct nmport_d *);
int nmport_register(struct nmport_d *);
void nmport_undo_register(struct nmport_d *);
int nmport_mmap(struct nmport_d *);
void nmport_undo_mmap(struct nmport_d *);

// Another descriptor of the same port, not open yet, without options: for one thread a ring.
struct nmport_d *nmport_clone(struct nmport_d *);

// Before registration: the port's memory is at `base`, which is page aligned, or is a file.
int nmport_extmem(struct nmport_d *, void *base, size_t size);
int nmport_extmem_from_file(struct nmport_d *, const char *file);
struct nmreq_pools_info *nmport_extmem_getinfo(struct nmport_d *); // NULL without extmem

// Before registration: frames start `initial` bytes in their buffers, at most `maximum` ever; `bits` of
// slot.ptr say so (0: all); `min_gap` bytes stay free where several slots share a buffer.
int nmport_offset(struct nmport_d *, uint64_t initial, uint64_t maximum, uint64_t bits, uint64_t min_gap);

// Whether port specifications may carry an option. Unknown names give ENOENT.
int nmport_enable_option(const char *name);
int nmport_disable_option(const char *name);

// ---- Requests

void nmreq_header_init(struct nmreq_header *, uint16_t reqtype, void *body);

// Take apart what `*at` points to and leave in it what follows; nothing is changed if they fail.
int nmreq_header_decode(const char **at, struct nmreq_header *, struct nmctx *);     // name
int nmreq_register_decode(const char **at, struct nmreq_register *, struct nmctx *); // rings, flags, memory id
int32_t nmreq_get_mem_id(const char **at, struct nmctx *); // of the named port, which is asked for it; or -1

void nmreq_push_option(struct nmreq_header *, struct nmreq_option *);
struct nmreq_option *nmreq_find_option(struct nmreq_header *, uint32_t reqtype);
void nmreq_remove_option(struct nmreq_header *, struct nmreq_option *);
void nmreq_free_options(struct nmreq_header *); // those that came from malloc()
const char *nmreq_option_name(uint32_t reqtype);
#define nmreq_foreach_option(header, option)                                                                   \
    for ((option) = (struct nmreq_option *)(uintptr_t)(header)->nr_options; (option) != NULL;                  \
         (option) = (struct nmreq_option *)(uintptr_t)(option)->nro_next)

// What is behind the first '@' of a specification: a parser an option, in a list.
typedef int (*nmreq_opt_parser_cb)(struct nmreq_parse_ctx *);

#define NMREQ_OPT_MAXKEYS 16

struct nmreq_opt_key {
    const char *key;
    int id;             // where its value is in nmreq_parse_ctx.keys
    unsigned int flags; // NMREQ_OPTK_*
};

#define NMREQ_OPTK_ALLOWEMPTY (1U << 0) // may come without a value
#define NMREQ_OPTK_MUSTSET (1U << 1)
#define NMREQ_OPTK_DEFAULT (1U << 2)

struct nmreq_opt_parser {
    const char *prefix;
    nmreq_opt_parser_cb parse;
    int default_key; // id of the key that @name=value sets, or -1
    int nr_keys;
    unsigned int flags; // NMREQ_OPTF_*
    struct nmreq_opt_parser *next;
    struct nmreq_opt_key keys[NMREQ_OPT_MAXKEYS];
} __attribute__((aligned(16)));

#define NMREQ_OPTF_DISABLED (1U << 0)
#define NMREQ_OPTF_ALLOWEMPTY (1U << 1) // may come without keys

struct nmreq_parse_ctx {
    struct nmctx *ctx;
    void *token; // what was handed to nmreq_options_decode
    const char *keys[NMREQ_OPT_MAXKEYS]; // NULL: not given
};

int nmreq_options_decode(const char *options, struct nmreq_opt_parser *, void *token, struct nmctx *);

// ---- Context: what ports have in common, and how the library talks and allocates

typedef void (*nmctx_error_cb)(struct nmctx *, const char *);
typedef void *(*nmctx_malloc_cb)(struct nmctx *, size_t);
typedef void (*nmctx_free_cb)(struct nmctx *, void *);
typedef void (*nmctx_lock_cb)(struct nmctx *, int); // 1 locks, 0 unlocks

struct nmctx {
    int verbose;          // 0: no errors are told
    nmctx_error_cb error; // to stderr by default
    nmctx_malloc_cb malloc;
    nmctx_free_cb free;
    nmctx_lock_cb lock; // NULL: one thread only
    struct nmem_d *mem_descs;
};

// The default context locks with a mutex; there is no need to ask for it.
struct nmctx *nmctx_get(void);
struct nmctx *nmctx_set_default(struct nmctx *); // returns the one before
void nmctx_set_threadsafe(void);

void nmctx_ferror(struct nmctx *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void *nmctx_malloc(struct nmctx *, size_t);
void nmctx_free(struct nmctx *, void *);
void nmctx_lock(struct nmctx *);
void nmctx_unlock(struct nmctx *);

// A mapped region: one a memory id and context, for all ports that have it.
struct nmem_d {
    uint16_t mem_id;
    int refcount;
    void *mem;
    size_t size;
    int is_extmem; // the program's own memory: not unmapped here
    struct nmem_d *next;
    struct nmem_d *prev;
};

NM_ASSERT_SIZE(nmport_d, 216);
NM_ASSERT_AT(nmport_d, hdr, 0);
NM_ASSERT_AT(nmport_d, reg, 88);
NM_ASSERT_AT(nmport_d, mem, 144);
NM_ASSERT_AT(nmport_d, ctx, 152);
NM_ASSERT_AT(nmport_d, register_done, 160);
NM_ASSERT_AT(nmport_d, mmap_done, 164);
NM_ASSERT_AT(nmport_d, extmem, 168);
NM_ASSERT_AT(nmport_d, fd, 176);
NM_ASSERT_AT(nmport_d, nifp, 184);
NM_ASSERT_AT(nmport_d, first_tx_ring, 192);
NM_ASSERT_AT(nmport_d, last_tx_ring, 194);
NM_ASSERT_AT(nmport_d, first_rx_ring, 196);
NM_ASSERT_AT(nmport_d, last_rx_ring, 198);
NM_ASSERT_AT(nmport_d, cur_tx_ring, 200);
NM_ASSERT_AT(nmport_d, cur_rx_ring, 202);
NM_ASSERT_AT(nmport_d, clist, 208);
NM_ASSERT_SIZE(nmreq_opt_key, 16);
NM_ASSERT_SIZE(nmreq_opt_parser, 304);
NM_ASSERT_AT(nmreq_opt_parser, next, 32);
NM_ASSERT_AT(nmreq_opt_parser, keys, 40);
NM_ASSERT_SIZE(nmreq_parse_ctx, 144);
NM_ASSERT_AT(nmreq_parse_ctx, keys, 16);
NM_ASSERT_SIZE(nmctx, 48);
NM_ASSERT_AT(nmctx, mem_descs, 40);
NM_ASSERT_SIZE(nmem_d, 48);
NM_ASSERT_AT(nmem_d, mem, 8);
NM_ASSERT_AT(nmem_d, next, 32);

#ifdef __cplusplus
}
#endif
#endif
