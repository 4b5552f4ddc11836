// What netmap costs a program: a plain C client of the netmap API (our headers), to be run on the engine by
// the preload library, and beside it the bare loops that nothing can beat. One line of numbers per call.
//
//   netmap_bench loop A B SIZE SECONDS CPU        frames from port A to port B, both ours, one thread:
//                                                 writes and reads whole frames. Mpps, one line every window
//   netmap_bench copy SIZE SECONDS CPU CPU        the same source and sink, and a second thread that copies
//                                                 each frame from A's buffers to B's: no switch, no system call
//   netmap_bench pipe A B SECONDS CPU CPU         slots through a pipe, a thread for each end; payload untouched
//   netmap_bench slots SECONDS CPU CPU            the bare loop: 16-byte slots from one ring to another by one thread,
//                                                 and back by another; with the same CPU twice, both by one thread
//   netmap_bench ping A B COUNT CPU busy|asleep   one frame in flight, A to B and back, by one thread or by
//                                                 two that sleep in poll: p50, p99, p99.9 and the rate
//   netmap_bench sync A COUNT CPU busy|asleep     nanoseconds of NIOCTXSYNC with one frame
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#define NETMAP_WITH_LIBS
#include <net/netmap_user.h>
#include "shm.h"

enum { SLOTS = 1024, STRIDE = 2048, WINDOW_MS = 200 };

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (cpu >= 0) (void)sched_setaffinity(0, sizeof set, &set);
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static struct nm_desc *open_port(const char *name) {
    struct nm_desc *d = nm_open(name, NULL, 0, NULL);
    if (!d) die(name);
    return d;
}

static uint64_t sink;

// A frame is written whole: addresses that the switch learns, then words that nobody can guess away.
static inline void write_frame(char *buffer, unsigned size, uint64_t salt, int to, int from) {
    uint64_t *words = (uint64_t *)buffer;
    for (unsigned i = 0; i < size / 8; i++) words[i] = salt + i;
    for (unsigned i = size & ~7u; i < size; i++) buffer[i] = (char)salt;
    const unsigned char addresses[14] = {2, 0, 0, 0, 0, (unsigned char)to, 2, 0, 0, 0, 0, (unsigned char)from, 8, 0};
    memcpy(buffer, addresses, sizeof addresses);
}

static inline void read_frame(const char *buffer, unsigned size) {
    const uint64_t *words = (const uint64_t *)buffer;
    uint64_t sum = 0;
    for (unsigned i = 0; i < size / 8; i++) sum += words[i];
    sink += sum;
}

static unsigned fill(struct netmap_ring *ring, unsigned most, unsigned size, int to, int from) {
    unsigned head = ring->head, n = nm_ring_space(ring);
    if (n > most) n = most;
    for (unsigned i = 0; i < n; i++) {
        struct netmap_slot *slot = &ring->slot[head];
        write_frame(NETMAP_BUF(ring, slot->buf_idx), size, head + i, to, from);
        slot->len = (uint16_t)size;
        slot->flags = 0;
        head = nm_ring_next(ring, head);
    }
    ring->head = ring->cur = head;
    return n;
}

static unsigned drain(struct netmap_ring *ring) {
    unsigned head = ring->head, n = nm_ring_space(ring);
    for (unsigned i = 0; i < n; i++) {
        struct netmap_slot *slot = &ring->slot[head];
        read_frame(NETMAP_BUF(ring, slot->buf_idx), slot->len);
        head = nm_ring_next(ring, head);
    }
    ring->head = ring->cur = head;
    return n;
}

// Each window's rate; the first is for the caches.
static void rate(uint64_t frames, uint64_t since, int index) {
    if (index == 0) return;
    printf("%.4f\n", (double)frames * 1e3 / (double)(now() - since));
    fflush(stdout);
}

static int windows(double seconds) { return 1 + (int)(seconds * 1000 / WINDOW_MS); }

static void loop(const char *a, const char *b, unsigned size, double seconds, int cpu) {
    struct nm_desc *from = open_port(a), *to = open_port(b);
    struct netmap_ring *tx = NETMAP_TXRING(from->nifp, 0), *rx = NETMAP_RXRING(to->nifp, 0);
    // The switch learns where the other port's address is.
    struct netmap_ring *hello = NETMAP_TXRING(to->nifp, 0);
    fill(hello, 1, 64, 1, 2);
    ioctl(to->fd, NIOCTXSYNC, NULL);
    usleep(100000);
    pin(cpu);
    for (int w = 0; w < windows(seconds); w++) {
        uint64_t frames = 0, since = now();
        while (now() - since < WINDOW_MS * 1000000ull) {
            for (int k = 0; k < 16; k++) {
                // No more under way than the receiver has slots for: what VALE would drop is not sent.
                unsigned under_way = (tx->head + SLOTS - 1 - tx->tail) % SLOTS;
                unsigned room = SLOTS - 1 - nm_ring_space(rx);
                unsigned most = room > under_way ? room - under_way : 0;
                fill(tx, most > 256 ? 256 : most, size, 2, 1);
                ioctl(from->fd, NIOCTXSYNC, NULL);
                ioctl(to->fd, NIOCRXSYNC, NULL);
                frames += drain(rx);
            }
        }
        rate(frames, since, w);
    }
    nm_close(from);
    nm_close(to);
}

// ---- The bare copy: the same rings and buffers in plain memory

struct side {
    struct netmap_ring *ring;
    char *buffers;
};

struct bare {
    char *memory;
    struct side a, b;
    uint32_t stop;
    int cpu;
    unsigned size;
};

static struct side make_side(char *at, int transmit) {
    struct netmap_ring *ring = (struct netmap_ring *)at;
    size_t header = (sizeof *ring + SLOTS * sizeof(struct netmap_slot) + 4095) & ~(size_t)4095;
    *(int64_t *)(uintptr_t)&ring->buf_ofs = (int64_t)header;
    *(uint32_t *)(uintptr_t)&ring->num_slots = SLOTS;
    *(uint32_t *)(uintptr_t)&ring->nr_buf_size = STRIDE;
    for (uint32_t i = 0; i < SLOTS; i++) ring->slot[i].buf_idx = i;
    ring->tail = transmit ? SLOTS - 1 : 0;
    return (struct side){ring, at + header};
}

static void *copier(void *argument) {
    struct bare *bare = argument;
    pin(bare->cpu);
    struct netmap_ring *a = bare->a.ring, *b = bare->b.ring;
    uint32_t from = 0, to = 0;
    while (!nm_load32(&bare->stop)) {
        uint32_t head = nm_load32_acquire(&a->head), end = nm_load32_acquire(&b->head);
        unsigned n = (head + SLOTS - from) % SLOTS, room = (end + SLOTS - to - 1) % SLOTS;
        if (n > 64) n = 64;
        if (n > room) n = room;
        if (!n) continue;
        for (unsigned i = 0; i < n; i++) {
            struct netmap_slot *s = &a->slot[from], *d = &b->slot[to];
            nm_copy(bare->b.buffers + (size_t)d->buf_idx * STRIDE, bare->a.buffers + (size_t)s->buf_idx * STRIDE, s->len);
            d->len = s->len;
            from = from + 1 == SLOTS ? 0 : from + 1;
            to = to + 1 == SLOTS ? 0 : to + 1;
        }
        nm_store32_release(&b->tail, to);
        nm_store32_release(&a->tail, from ? from - 1 : SLOTS - 1);
    }
    return NULL;
}

static void copy(unsigned size, double seconds, int cpu, int other) {
    size_t half = 8u << 20;
    struct bare bare = {.cpu = other, .size = size};
    bare.memory = mmap(NULL, 2 * half, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bare.memory == MAP_FAILED) die("mmap");
    bare.a = make_side(bare.memory, 1);
    bare.b = make_side(bare.memory + half, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, copier, &bare);
    pin(cpu);
    for (int w = 0; w < windows(seconds); w++) {
        uint64_t frames = 0, since = now();
        while (now() - since < WINDOW_MS * 1000000ull) {
            for (int k = 0; k < 16; k++) {
                fill(bare.a.ring, 256, size, 2, 1);
                nm_store32_release(&bare.a.ring->head, bare.a.ring->head);
                (void)nm_load32_acquire(&bare.b.ring->tail);
                frames += drain(bare.b.ring);
                nm_store32_release(&bare.b.ring->head, bare.b.ring->head);
            }
        }
        rate(frames, since, w);
    }
    nm_store32(&bare.stop, 1);
    pthread_join(thread, NULL);
}

// ---- Pipes

struct end {
    struct nm_desc *port;
    int cpu;
    uint32_t *stop;
};

static void *swallow(void *argument) {
    struct end *end = argument;
    pin(end->cpu);
    struct netmap_ring *rx = NETMAP_RXRING(end->port->nifp, 0);
    while (!nm_load32(end->stop)) {
        ioctl(end->port->fd, NIOCRXSYNC, NULL);
        rx->head = rx->cur = rx->tail;
    }
    return NULL;
}

static void run_pipe(const char *a, const char *b, double seconds, int cpu, int other) {
    struct nm_desc *from = open_port(a), *to = open_port(b);
    struct netmap_ring *tx = NETMAP_TXRING(from->nifp, 0);
    uint32_t stop = 0;
    struct end end = {to, other, &stop};
    pthread_t thread;
    pthread_create(&thread, NULL, swallow, &end);
    pin(cpu);
    for (int w = 0; w < windows(seconds); w++) {
        uint64_t slots = 0, since = now();
        while (now() - since < WINDOW_MS * 1000000ull) {
            for (int k = 0; k < 16; k++) {
                slots += nm_ring_space(tx);
                tx->head = tx->cur = tx->tail;
                ioctl(from->fd, NIOCTXSYNC, NULL);
            }
        }
        rate(slots, since, w);
    }
    nm_store32(&stop, 1);
    pthread_join(thread, NULL);
}

struct swap {
    struct netmap_slot a[SLOTS], b[SLOTS];
    uint32_t forth __attribute__((aligned(64))), back __attribute__((aligned(64))), stop __attribute__((aligned(64)));
    int cpu;
};

static uint32_t forward(struct swap *s, uint32_t at, uint32_t end) {
    for (; at != end; at = at + 1 == SLOTS ? 0 : at + 1) s->b[at] = s->a[at];
    nm_store32_release(&s->forth, at);
    return at;
}

static uint32_t backward(struct swap *s, uint32_t at, uint32_t end) {
    for (; at != end; at = at + 1 == SLOTS ? 0 : at + 1) s->a[at] = s->b[at];
    nm_store32_release(&s->back, at);
    return at;
}

static void *bring_back(void *argument) {
    struct swap *s = argument;
    pin(s->cpu);
    uint32_t at = 0;
    while (!nm_load32(&s->stop)) at = backward(s, at, nm_load32_acquire(&s->forth));
    return NULL;
}

static void slots(double seconds, int cpu, int other) {
    struct swap *s = aligned_alloc(64, sizeof *s);
    if (!s) die("memory");
    memset(s, 0, sizeof *s);
    s->cpu = other;
    pthread_t thread;
    if (other != cpu) pthread_create(&thread, NULL, bring_back, s);
    pin(cpu);
    uint32_t at = 0, returned = 0;
    for (int w = 0; w < windows(seconds); w++) {
        uint64_t moved = 0, since = now();
        while (now() - since < WINDOW_MS * 1000000ull) {
            for (int k = 0; k < 64; k++) {
                uint32_t end = (nm_load32_acquire(&s->back) + SLOTS - 1) % SLOTS;
                moved += (end + SLOTS - at) % SLOTS;
                at = forward(s, at, end);
                if (other == cpu) returned = backward(s, returned, at);
            }
        }
        rate(moved, since, w);
    }
    nm_store32(&s->stop, 1);
    if (other != cpu) pthread_join(thread, NULL);
}

// ---- Latency

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void percentiles(uint32_t *ns, int count, uint64_t total) {
    qsort(ns, (size_t)count, sizeof *ns, ascending);
    printf("%u %u %u %.0f\n", ns[count / 2], ns[(int)(count * 0.99)], ns[(int)(count * 0.999)], count * 1e9 / (double)total);
}

static int take(struct nm_desc *d, int sleeps) {
    struct netmap_ring *rx = NETMAP_RXRING(d->nifp, 0);
    uint64_t deadline = now() + 2000000000ull;
    do {
        if (sleeps) {
            struct pollfd p = {.fd = d->fd, .events = POLLIN};
            if (poll(&p, 1, 2000) <= 0) return 0;
        } else {
            ioctl(d->fd, NIOCRXSYNC, NULL);
        }
        if (drain(rx)) return 1;
    } while (now() < deadline);
    return 0;
}

static void give(struct nm_desc *d, int to, int from) {
    struct netmap_ring *tx = NETMAP_TXRING(d->nifp, 0);
    while (!fill(tx, 1, 60, to, from)) ioctl(d->fd, NIOCTXSYNC, NULL);
    ioctl(d->fd, NIOCTXSYNC, NULL);
}

static void *echo(void *argument) {
    struct end *end = argument;
    pin(end->cpu);
    while (!nm_load32(end->stop))
        if (take(end->port, 1)) give(end->port, 1, 2);
    return NULL;
}

static void ping(const char *a, const char *b, int count, int cpu, int sleeps) {
    struct nm_desc *here = open_port(a), *there = open_port(b);
    uint32_t *ns = calloc((size_t)count, sizeof *ns), stop = 0;
    give(there, 1, 2);
    (void)take(here, 1);
    struct end end = {there, -1, &stop};
    pthread_t thread;
    if (sleeps) pthread_create(&thread, NULL, echo, &end);
    else pin(cpu);
    uint64_t began = 0;
    for (int i = -100; i < count; i++) {
        if (i == 0) began = now();
        if (sleeps) usleep(300); // everybody is asleep
        uint64_t since = now();
        give(here, 2, 1);
        if (!sleeps) {
            if (!take(there, 0)) die("a frame was lost");
            give(there, 1, 2);
        }
        if (!take(here, sleeps)) die("a frame was lost");
        if (i >= 0) ns[i] = (uint32_t)(now() - since);
    }
    percentiles(ns, count, now() - began);
    nm_store32(&stop, 1);
    if (sleeps) {
        give(here, 2, 1);
        pthread_join(thread, NULL);
    }
}

static void sync_cost(const char *a, int count, int cpu, int sleeps) {
    struct nm_desc *d = open_port(a);
    struct netmap_ring *tx = NETMAP_TXRING(d->nifp, 0);
    uint32_t *ns = calloc((size_t)count, sizeof *ns);
    pin(cpu);
    uint64_t began = now();
    for (int i = 0; i < count; i++) {
        if (sleeps) usleep(300);
        while (!fill(tx, 1, 60, 9, 1)) ioctl(d->fd, NIOCTXSYNC, NULL);
        uint64_t since = now();
        ioctl(d->fd, NIOCTXSYNC, NULL);
        ns[i] = (uint32_t)(now() - since);
    }
    percentiles(ns, count, now() - began);
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "loop") && argc == 7) loop(argv[2], argv[3], (unsigned)atoi(argv[4]), atof(argv[5]), atoi(argv[6]));
    else if (!strcmp(mode, "copy") && argc == 6) copy((unsigned)atoi(argv[2]), atof(argv[3]), atoi(argv[4]), atoi(argv[5]));
    else if (!strcmp(mode, "pipe") && argc == 7) run_pipe(argv[2], argv[3], atof(argv[4]), atoi(argv[5]), atoi(argv[6]));
    else if (!strcmp(mode, "slots") && argc == 5) slots(atof(argv[2]), atoi(argv[3]), atoi(argv[4]));
    else if (!strcmp(mode, "ping") && argc == 7) ping(argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), !strcmp(argv[6], "asleep"));
    else if (!strcmp(mode, "sync") && argc == 6) sync_cost(argv[2], atoi(argv[3]), atoi(argv[4]), !strcmp(argv[5], "asleep"));
    else return fprintf(stderr, "netmap_bench: see the head of its source for how to call it\n"), 2;
    return 0;
}
