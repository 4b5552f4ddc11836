// Control blocks instead of rings: head and cur come from the program's arrays, hwcur and hwtail go
// there, and a loop in the thread that called SYNC_KLOOP_START does the syncs. When it may begin and is
// to end is the engine's to say (nm_kring.loop), as other processes may ask for it.

#include "shim.h"

#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    PATIENCE_MS = 100,  // of sleep, until it is looked whether the loop is to end
    DRY_TURNS = 2,      // turns without news after which a ring waits for a wake-up
};

static struct nm_csb_atok *atok_of(const struct binding *b, uint32_t i) {
    return (struct nm_csb_atok *)(uintptr_t)b->csb_atok + i;
}

static struct nm_csb_ktoa *ktoa_of(const struct binding *b, uint32_t i) {
    return (struct nm_csb_ktoa *)(uintptr_t)b->csb_ktoa + i;
}

// Touches `count` entries of both arrays without changing them.
int csb_probe(uint64_t atok, uint64_t ktoa, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct nm_csb_atok a;
        struct nm_csb_ktoa k;
        uint64_t at_a = atok + i * sizeof a, at_k = ktoa + i * sizeof k;
        if (user_read(&a, at_a, sizeof a) || user_write(at_a, &a, sizeof a)) return EFAULT;
        if (user_read(&k, at_k, sizeof k) || user_write(at_k, &k, sizeof k)) return EFAULT;
    }
    return 0;
}

int csb_init(struct binding *b, uint64_t atok, uint64_t ktoa) {
    uint32_t count = b->tx_count + b->rx_count;
    int error = csb_probe(atok, ktoa, count);
    if (error) return error;
    b->csb_atok = atok;
    b->csb_ktoa = ktoa;
    b->attachment.is_csb = 1;
    for (uint32_t i = 0; i < count; i++) {
        const struct nm_kring *k = b->refs[i].kring;
        *atok_of(b, i) = (struct nm_csb_atok){
            .head = nm_load32(&k->head), .cur = nm_load32(&k->cur), .appl_need_kick = 1, .sync_flags = 1};
        *ktoa_of(b, i) = (struct nm_csb_ktoa){
            .hwcur = nm_load32(&k->hwcur), .hwtail = nm_load32(&k->hwtail), .kern_need_kick = 1};
    }
    return 0;
}

struct event_pair {
    int32_t kick, interrupt;
};

// One turn over a ring. Returns whether anything moved.
static bool turn(struct binding *b, int fd, uint32_t i, int interrupt) {
    struct nm_csb_atok *atok = atok_of(b, i);
    struct nm_csb_ktoa *ktoa = ktoa_of(b, i);
    // The program writes cur, then head.
    uint32_t head = nm_load32_acquire(&atok->head), cur = nm_load32(&atok->cur);
    uint32_t hwcur = nm_load32(&ktoa->hwcur), hwtail = nm_load32(&ktoa->hwtail);
    uint32_t tail_before = hwtail, cur_before = hwcur, head_before = nm_load32(&b->refs[i].kring->head);
    enum sync_result r = sync_block(b, fd, &b->refs[i], i < b->tx_count, head, cur, &hwcur, &hwtail);
    if (r != SYNC_DONE) return false;
    if (hwcur != cur_before) nm_store32(&ktoa->hwcur, hwcur);
    nm_store32_release(&ktoa->hwtail, hwtail);
    if (hwtail != tail_before && interrupt >= 0) {
        nm_fence();
        if (nm_load32(&atok->appl_need_kick)) eventfd_write(interrupt, 1);
    }
    return hwtail != tail_before || head != head_before;
}

static uint32_t loop_state(const struct binding *b) {
    return b->tx_count + b->rx_count ? nm_load32_acquire(&b->refs[0].kring->loop) : NM_LOOP_STOP;
}

static bool must_stop(const struct binding *b) { return loop_state(b) != NM_LOOP_RUN || b->is_dead; }

static void set_need_kick(struct binding *b, uint32_t value) {
    for (uint32_t i = 0; i < b->tx_count + b->rx_count; i++) nm_store32(&ktoa_of(b, i)->kern_need_kick, value);
    nm_fence();
}

static void loop(struct binding *b, int fd, uint32_t sleep_us, const struct event_pair *pairs, bool is_driven, struct pollfd *fds) {
    uint32_t count = b->tx_count + b->rx_count;
    set_need_kick(b, is_driven);
    int dry = 0;
    while (!must_stop(b)) {
        bool moved = false;
        for (uint32_t i = 0; i < count; i++) moved |= turn(b, fd, i, pairs ? pairs[i].interrupt : -1);
        if (!is_driven) {
            if (sleep_us) nanosleep(&(struct timespec){sleep_us / 1000000, sleep_us % 1000000 * 1000}, NULL);
            else sched_yield();
            continue;
        }
        dry = moved ? 0 : dry + 1;
        if (dry < DRY_TURNS) continue;
        // Both sides are asked to wake us; then one more look, then sleep.
        set_need_kick(b, 1);
        for (uint32_t i = 0; i < count; i++) sync_arm_ring(&b->refs[i]);
        nm_fence();
        for (uint32_t i = 0; i < count; i++) moved |= turn(b, fd, i, pairs[i].interrupt);
        if (moved || must_stop(b)) {
            dry = 0;
            continue;
        }
        for (uint32_t i = 0; i < count; i++) fds[i] = (struct pollfd){pairs[i].kick, POLLIN, 0};
        fds[count] = (struct pollfd){fd, POLLIN, 0};
        real.poll(fds, count + 1, PATIENCE_MS);
        for (uint32_t i = 0; i < count; i++) {
            eventfd_t value;
            if (fds[i].revents & POLLIN) eventfd_read(fds[i].fd, &value);
        }
        if (fds[count].revents) sync_drain(b, fd);
        dry = 0;
    }
    set_need_kick(b, 1);
}

// The modes DIRECT_TX and DIRECT_RX serve a ring in the context of its kick; here that is this thread anyway.
static int run(struct binding *b, int fd, const struct nmreq_sync_kloop_start *start, const void *eventfds, size_t size) {
    uint32_t count = b->tx_count + b->rx_count;
    if (!b->is_attached) return ENXIO;
    if (!b->attachment.is_csb || !b->csb_atok) return EINVAL;
    const struct event_pair *pairs = eventfds;
    if (pairs && size != count * sizeof *pairs) return EINVAL;
    bool is_driven = pairs != NULL;
    for (uint32_t i = 0; pairs && i < count; i++) is_driven &= pairs[i].kick >= 0;
    size_t bytes = (count + 1) * sizeof(struct pollfd);
    struct pollfd *fds = real.mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fds == MAP_FAILED) return ENOMEM;
    loop(b, fd, start->sleep_us, pairs, is_driven, fds);
    real.munmap(fds, bytes);
    return 0;
}

int kloop_run(struct binding *b, int fd, const struct nmreq_sync_kloop_start *start, const void *eventfds, size_t size) {
    int error = run(b, fd, start, eventfds, size);
    // The engine counts it as running, however it went.
    struct exchange exchange = {0};
    channel_call(NM_CALL_LOOP_ENDED, fd, &exchange);
    return error;
}

// The engine keeps a STOP that comes before its START.
int kloop_stop(struct binding *b) {
    while (b->is_attached && !b->is_dead && b->tx_count + b->rx_count && loop_state(b) == NM_LOOP_STOP) usleep(500);
    return 0;
}
