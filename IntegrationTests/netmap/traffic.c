// Programs with traffic: those whose frames are counted, those that are killed, and one that scribbles.
//
//   traffic send SPEC TO FROM RATE        numbered frames until SIGTERM; prints how many
//   traffic receive SPEC FROM             takes frames of that number until SIGTERM; prints what it saw
//   traffic answer SPEC N                 a host 10.77.0.N that answers ARP and pings, until SIGTERM
//   traffic use SPEC EXTRA                everything a port can do, as fast as it can, until it is killed
//   traffic loop SPEC                     the same by control blocks
//   traffic scribble SPEC SECONDS SEED    writes random words wherever it can while it syncs

#include "program.h"

#include <net/netmap_virt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

static volatile sig_atomic_t is_over;
static void on_signal(int number) { (void)number, is_over = 1; }

static struct nmport_d *open_with(const char *spec, uint32_t extra) {
    struct nmport_d *port = nmport_prepare(spec);
    if (port) port->reg.nr_extra_bufs = extra;
    if (port && nmport_open_desc(port) == 0) return port;
    fprintf(stderr, "no port %s: %s\n", spec, strerror(errno));
    exit(3);
}

static void ready(void) {
    printf("ready\n");
    fflush(stdout);
}

// With a rate, many a second; else as many as there is room for.
static int send_frames(const char *spec, int to, int from, unsigned rate) {
    struct nmport_d *port = open_port(spec);
    struct netmap_ring *ring = tx_ring(port, 0);
    struct pollfd room = {.fd = port->fd, .events = POLLOUT};
    uint32_t sent = 0;
    ready();
    for (uint64_t began = now_us(); !is_over;) {
        uint64_t due = rate ? (now_us() - began) * rate / 1000000 : UINT32_MAX;
        while (sent < due && put(port, ring, to, from, sent, 60, 0)) sent++;
        if (sent < due) poll(&room, 1, 100);
        else txsync(port), pause_us(1000);
    }
    bool all = flush(port);
    printf("sent %u flushed %d\n", sent, all);
    fflush(stdout);
    pause_us(100000); // whoever else is at the pipe takes the rest
    nmport_close(port);
    return 0;
}

static int receive_frames(const char *spec, int from) {
    struct nmport_d *port = open_port(spec);
    struct pollfd news = {.fd = port->fd, .events = POLLIN};
    uint32_t expected = 0, received = 0, lost = 0, late = 0, damaged = 0, others = 0;
    ready();
    for (bool is_last = false; !is_last;) {
        is_last = is_over;
        poll(&news, 1, is_last ? 0 : 100);
        for (unsigned i = port->first_rx_ring; i <= port->last_rx_ring; i++) {
            struct netmap_ring *ring = rx_ring(port, i);
            while (!nm_ring_empty(ring)) {
                struct netmap_slot *slot = &ring->slot[ring->head];
                const uint8_t *frame = (const uint8_t *)NETMAP_BUF(ring, slot->buf_idx);
                uint32_t number;
                memcpy(&number, frame + 14, 4);
                if (slot->len != 60 || frame[12] != 0x88 || frame[13] != 0xb5 || frame[11] != from || frame[6] != 2) {
                    others++;
                } else {
                    received++;
                    for (uint32_t at = HEADER; at < 60; at++)
                        if (frame[at] != (uint8_t)(number * 31 + at)) {
                            damaged++;
                            break;
                        }
                    if (number < expected) late++;
                    else lost += number - expected, expected = number + 1;
                }
                ring->head = ring->cur = nm_ring_next(ring, ring->head);
            }
        }
    }
    rxsync(port);
    printf("received %u lost %u late %u damaged %u others %u\n", received, lost, late, damaged, others);
    nmport_close(port);
    return 0;
}

// A host: turns what it is asked into the answer, in the buffer in which it came, and sends that.
static int answer(const char *spec, int host) {
    struct nmport_d *port = open_port(spec);
    struct netmap_ring *rx = rx_ring(port, 0), *tx = tx_ring(port, 0);
    struct pollfd news = {.fd = port->fd, .events = POLLIN};
    const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)host}, ip[4] = {10, 77, 0, (uint8_t)host};
    uint32_t asked = 0, pinged = 0;
    ready();
    while (!is_over) {
        poll(&news, 1, 100);
        for (; !nm_ring_empty(rx) && !nm_ring_empty(tx); rx->head = rx->cur = nm_ring_next(rx, rx->head)) {
            struct netmap_slot *from = &rx->slot[rx->head], *to = &tx->slot[tx->head];
            uint8_t *f = (uint8_t *)NETMAP_BUF(rx, from->buf_idx), other[4];
            bool is_arp = from->len >= 42 && f[12] == 8 && f[13] == 6 && f[21] == 1 && !memcmp(f + 38, ip, 4);
            bool is_ping = from->len >= 42 && f[12] == 8 && f[13] == 0 && f[14] == 0x45 && f[23] == 1 && f[34] == 8 && !memcmp(f + 30, ip, 4);
            if (!is_arp && !is_ping) continue;
            memcpy(f, f + 6, 6);
            memcpy(f + 6, mac, 6);
            if (is_arp) {
                asked++;
                f[21] = 2;
                memmove(f + 32, f + 22, 10);
                memcpy(f + 22, mac, 6);
                memcpy(f + 28, ip, 4);
            } else {
                pinged++;
                memcpy(other, f + 26, 4);
                memcpy(f + 26, f + 30, 4);
                memcpy(f + 30, other, 4);
                f[34] = 0;
                uint32_t sum = (uint32_t)(f[36] << 8 | f[37]) + 0x800; // the type is 8 less
                sum = (sum & 0xffff) + (sum >> 16);
                f[36] = (uint8_t)(sum >> 8), f[37] = (uint8_t)sum;
            }
            uint32_t own = to->buf_idx;
            to->buf_idx = from->buf_idx, to->len = from->len, to->flags = NS_BUF_CHANGED;
            from->buf_idx = own, from->flags = NS_BUF_CHANGED;
            tx->head = tx->cur = nm_ring_next(tx, tx->head);
        }
        txsync(port);
    }
    printf("asked %u pinged %u\n", asked, pinged);
    nmport_close(port);
    return 0;
}

// Sends to its own address, so that nobody else is in the way; receives; swaps buffers; polls.
static int use(const char *spec, uint32_t extra) {
    struct nmport_d *port = open_with(spec, extra);
    uint32_t number = 0;
    struct pollfd both = {.fd = port->fd, .events = POLLIN | POLLOUT};
    srand((unsigned)getpid());
    ready();
    while (!is_over) {
        bool has_tx = port->first_tx_ring <= port->last_tx_ring && port->last_tx_ring != 0xffff;
        if (has_tx) {
            struct netmap_ring *ring = tx_ring(port, port->first_tx_ring);
            for (int i = rand() % 200; i && put(port, ring, 0x77, 0x77, number++, 60, 0); i--) continue;
            if (extra && port->nifp->ni_bufs_head && !nm_ring_empty(ring)) {
                struct netmap_slot *slot = &ring->slot[ring->head];
                uint32_t taken = port->nifp->ni_bufs_head;
                port->nifp->ni_bufs_head = *(uint32_t *)NETMAP_BUF(ring, taken);
                *(uint32_t *)NETMAP_BUF(ring, slot->buf_idx) = port->nifp->ni_bufs_head;
                port->nifp->ni_bufs_head = slot->buf_idx;
                slot->buf_idx = taken, slot->flags = NS_BUF_CHANGED;
            }
        }
        for (unsigned i = port->first_rx_ring; i <= port->last_rx_ring && port->last_rx_ring != 0xffff; i++) {
            struct netmap_ring *ring = rx_ring(port, i);
            for (int n = rand() % 300; n && !nm_ring_empty(ring); n--) ring->head = ring->cur = nm_ring_next(ring, ring->head);
        }
        switch (rand() % 4) {
        case 0: txsync(port); break;
        case 1: rxsync(port); break;
        default: poll(&both, 1, rand() % 3);
        }
    }
    return 0;
}

static int loop(const char *spec) {
    struct nmport_d *port = nmport_prepare(spec);
    struct nmreq_opt_csb csb = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_CSB}};
    struct nm_csb_atok *atok = aligned_alloc(64, 64 * 64);
    csb.csb_atok = (uintptr_t)atok, csb.csb_ktoa = (uintptr_t)aligned_alloc(64, 64 * 64);
    nmreq_push_option(&port->hdr, &csb.nro_opt);
    port->reg.nr_flags |= NR_EXCLUSIVE;
    if (nmport_open_desc(port)) return 3;
    ready();
    struct nmreq_sync_kloop_start start = {.sleep_us = 100};
    return ctrl(port->fd, NETMAP_REQ_SYNC_KLOOP_START, "", &start, NULL);
}

// ---- Scribbling

static uint64_t seed;
static uint64_t any(void) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed;
}

static struct area {
    uint8_t *from;
    size_t size;
} areas[16];
static int area_count;

// What this process shares with the engine: regions and control files, wherever the library has mapped them.
static void find_areas(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && fgets(line, sizeof line, maps) && area_count < 16) {
        unsigned long from, to;
        char rights[8];
        if (!strstr(line, "memfd:netmap") || sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 || rights[1] != 'w') continue;
        areas[area_count++] = (struct area){(uint8_t *)from, to - from};
    }
    if (maps) fclose(maps);
}

static uint32_t word(uint32_t old) {
    switch (any() % 8) {
    case 0: return (uint32_t)any();
    case 1: return old + 1;
    case 2: return old ^ 1u << any() % 32;
    case 3: return (uint32_t)any() % 1100;
    case 4: return 0;
    case 5: return 0xffffffff;
    case 6: return 1u << any() % 32;
    default: return (uint32_t)any() % 65536;
    }
}

static int scribble(const char *spec, unsigned seconds, uint64_t number) {
    seed = number * 0x9e3779b97f4a7c15 + 1;
    struct nmport_d *port = open_with(spec, 32);
    int fd = port->fd;
    find_areas();
    if (area_count < 2) {
        fprintf(stderr, "found %d shared areas\n", area_count);
        return 3;
    }
    struct pollfd both = {.fd = fd, .events = POLLIN | POLLOUT};
    uint64_t end = now_us() + (uint64_t)seconds * 1000000, turns = 0, words = 0;
    ready();
    while (now_us() < end && !is_over) {
        for (int i = (int)(any() % 64); i >= 0; i--, words++) {
            struct area *area = &areas[any() % (unsigned)area_count];
            // Mostly where interfaces, rings and slots are, and now and then anywhere.
            size_t room = any() % 8 && area->size > 500000 ? 500000 : area->size;
            volatile uint32_t *at = (uint32_t *)(area->from + any() % (room / 4) * 4);
            *at = word(*at);
        }
        switch (any() % 8) {
        case 0: case 1: case 2: ioctl(fd, NIOCTXSYNC, NULL); break;
        case 3: case 4: ioctl(fd, NIOCRXSYNC, NULL); break;
        case 5: ctrl(fd, NETMAP_REQ_PORT_INFO_GET, "vale0:any", &(struct nmreq_port_info_get){0}, NULL); break;
        default: poll(&both, 1, 0);
        }
        if (++turns % 8192) continue;
        // A new life: what was scribbled into is closed, and laid out again.
        nmport_close(port);
        area_count = 0;
        port = open_with(spec, 32);
        fd = both.fd = port->fd;
        find_areas();
    }
    printf("wrote %llu words in %llu turns\n", (unsigned long long)words, (unsigned long long)turns);
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGTERM, on_signal);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const char *what = argc > 2 ? argv[1] : "";
    if (!strcmp(what, "send") && argc == 6) return send_frames(argv[2], atoi(argv[3]), atoi(argv[4]), (unsigned)atoi(argv[5]));
    if (!strcmp(what, "receive") && argc == 4) return receive_frames(argv[2], atoi(argv[3]));
    if (!strcmp(what, "answer") && argc == 4) return answer(argv[2], atoi(argv[3]));
    if (!strcmp(what, "use") && argc == 4) return use(argv[2], (uint32_t)atoi(argv[3]));
    if (!strcmp(what, "loop") && argc == 3) return loop(argv[2]);
    if (!strcmp(what, "scribble") && argc == 5) return scribble(argv[2], (unsigned)atoi(argv[3]), strtoull(argv[4], NULL, 10));
    fprintf(stderr, "usage: see traffic.c\n");
    return 64;
}
