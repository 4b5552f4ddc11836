// What a program's rings and the engine tell each other: the program's side of a sync.
//
//   netmap_ring (the program's)      nm_kring (of program and engine)
//   head, cur  --- checked --->      head, cur        what the engine may take
//   tail       <----------------     hwtail           what it has done or brought
//
// Every index is loaded once, checked, and used from the copy. Where a ring lies and how many slots it
// has was settled when the descriptor was bound (ring_ref), so that nothing in shared memory can lead
// out of the ring, whoever wrote it.

#include "shim.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

// How far `index` is behind `from`, both below `slots`.
static inline uint32_t distance(uint32_t from, uint32_t index, uint32_t slots) {
    return index >= from ? index - from : index + slots - from;
}

static inline uint32_t next(uint32_t index, uint32_t slots) { return index + 1 == slots ? 0 : index + 1; }

static inline uint8_t *slot_at(const struct netmap_ring *ring, uint32_t index) {
    return (uint8_t *)ring + NM_RING_SLOTS + (size_t)index * NM_SLOT_SIZE;
}

// ---- The lock of a ring: whoever finds it taken does nothing and is content

static uint32_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)(t.tv_sec * 1000 + t.tv_nsec / 1000000) | 1;
}

// A sync takes microseconds. A lock that one thread has held for longer is only taken away from it if
// that thread is no more: kill -9 can come in the middle of a sync.
static __attribute__((noinline)) bool steal(struct ring_ref *ref, uint32_t holder) {
    uint32_t now = now_ms();
    if (ref->busy_holder != holder || !ref->busy_since) {
        ref->busy_holder = holder;
        ref->busy_since = now;
        return false;
    }
    if (now - ref->busy_since < 10) return false;
    int saved = errno;
    bool is_dead = kill((pid_t)holder, 0) < 0 && errno == ESRCH;
    errno = saved;
    ref->busy_since = 0;
    return is_dead
        && __atomic_compare_exchange_n(&ref->kring->lock, &holder, (uint32_t)thread_id(), false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

static inline bool try_lock(struct ring_ref *ref) {
    uint32_t holder = 0;
    if (LIKELY(__atomic_compare_exchange_n(&ref->kring->lock, &holder, (uint32_t)thread_id(), false, __ATOMIC_ACQUIRE,
                                           __ATOMIC_RELAXED)))
        return true;
    return steal(ref, holder);
}

static inline void unlock(struct ring_ref *ref) { __atomic_store_n(&ref->kring->lock, 0, __ATOMIC_RELEASE); }

// ---- Waking the engine

// One byte on the descriptor. Not on a number that became somebody else's: it would be in his data.
static __attribute__((noinline)) void ring_engine(struct binding *b, int fd) {
    if (!descriptor_is_still(fd, b)) {
        if (b->keeper < 0 || !descriptor_is_still(b->keeper, b)) return;
        fd = b->keeper;
    }
    int saved = errno;
    uint8_t byte = 1;
    if (send(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && (errno == EPIPE || errno == ECONNRESET)) b->is_dead = true;
    errno = saved;
}

static inline void kick(struct binding *b, int fd, struct nm_kring *k) {
    if (nm_load32(&k->kicked)) return; // one is on its way
    nm_store32(&k->kicked, 1);
    ring_engine(b, fd);
}

// After something was published: does the engine sleep?
static inline void kick_if_asleep(struct binding *b, int fd, struct nm_kring *k) {
    nm_fence();
    if (UNLIKELY(nm_load32(&k->sleeping))) kick(b, fd, k);
}

// After slots went to the other end of a pipe: does anybody wait there? The engine knows whom to tell.
static inline void kick_for_peer(struct binding *b, int fd, struct nm_kring *own, struct nm_kring *peer) {
    nm_fence();
    uint32_t want = nm_load32(&peer->want);
    // A byte that nobody has taken yet is as good as another.
    if (UNLIKELY(want != NM_WANT_NOTHING) && !(want == NM_WANT_ALWAYS && nm_load32(&peer->notified))) kick(b, fd, own);
}

// ---- Validation

// The four indices of a sync, as they were found.
struct indices {
    uint32_t head, cur;
    uint32_t base;  // what was given away before
    uint32_t limit; // what may be given away now
};

static uint32_t check(const struct indices *i, uint32_t tail, uint32_t slots, uint32_t *value, uint32_t *low, uint32_t *high) {
    if (i->head >= slots || distance(i->base, i->head, slots) > distance(i->base, i->limit, slots)) {
        *value = i->head;
        *low = i->base;
        *high = i->limit;
        return NM_FAULT_HEAD;
    }
    if (i->cur >= slots || distance(i->base, i->cur, slots) < distance(i->base, i->head, slots)
        || distance(i->base, i->cur, slots) > distance(i->base, i->limit, slots)) {
        *value = i->cur;
        *low = i->head;
        *high = i->limit;
        return NM_FAULT_CUR;
    }
    if (tail >= slots) {
        *value = tail;
        *low = 0;
        *high = slots - 1;
        return NM_FAULT_TAIL;
    }
    return NM_FAULT_NONE;
}

static void reject(struct binding *b, int fd, struct nm_kring *k, uint32_t fault, uint32_t value, uint32_t low, uint32_t high) {
    nm_store32(&k->fault, fault);
    nm_store32(&k->fault_value, value);
    nm_store32(&k->fault_low, low);
    nm_store32(&k->fault_high, high);
    nm_store32(&k->rejects, nm_load32(&k->rejects) + 1);
    // The engine says so in its log.
    __atomic_fetch_add((uint32_t *)(b->control + NM_CONTROL_COMPLAINTS), 1, __ATOMIC_RELEASE);
    kick(b, fd, k);
}

// Sets a ring right whose owner wrote what makes no sense ("ring reinit").
//
// netmap keeps wrong values that are in range and takes them for good at the next sync; here everything
// goes back to what was given away last. Programs that never do it wrong cannot tell.
static __attribute__((noinline)) void set_right(const struct binding *b, struct ring_ref *ref, uint32_t base, uint32_t hwtail) {
    uint32_t buffers = b->attachment.buffer_count, room = b->attachment.buffer_size;
    for (uint32_t i = 0; i < ref->slots; i++) {
        uint8_t *slot = slot_at(ref->ring, i);
        uint32_t buffer = nm_load32(slot + NM_SLOT_BUF_IDX);
        if (buffer < 2 || buffer >= buffers) {
            nm_store32(slot + NM_SLOT_BUF_IDX, 0);
            nm_store16(slot + NM_SLOT_LEN, 0);
        } else if (nm_load16(slot + NM_SLOT_LEN) > room) {
            nm_store16(slot + NM_SLOT_LEN, 0);
        }
    }
    nm_store32(&ref->ring->head, base);
    nm_store32(&ref->ring->cur, base);
    nm_store32(&ref->ring->tail, hwtail);
    nm_store32(&ref->kring->cur, base);
    nm_store32(&ref->kring->tail, hwtail);
}

// ---- Slots that are given away

enum { PIECES = 32 };

// Frames that lie in the program's own memory (NS_INDIRECT) come into their slots' buffers here: nobody
// else can read the program's memory. What cannot be read becomes empty.
struct gather {
    int count;
    struct iovec to[PIECES], from[PIECES];
    uint8_t *slots[PIECES];
};

static void gather_flush(struct gather *g) {
    int saved = errno;
    size_t wanted = 0;
    for (int i = 0; i < g->count; i++) wanted += g->to[i].iov_len;
    if (g->count && user_read_pieces(g->to, g->from, g->count) != (ssize_t)wanted)
        for (int i = 0; i < g->count; i++)
            if (user_read(g->to[i].iov_base, (uintptr_t)g->from[i].iov_base, g->to[i].iov_len))
                nm_store16(g->slots[i] + NM_SLOT_LEN, 0);
    g->count = 0;
    errno = saved;
}

static void gather_add(const struct binding *b, struct gather *g, uint8_t *slot) {
    const struct nm_attachment *a = &b->attachment;
    uint32_t buffer = nm_load32(slot + NM_SLOT_BUF_IDX), length = nm_load16(slot + NM_SLOT_LEN);
    if (buffer < 2 || buffer >= a->buffer_count || length > a->buffer_size) {
        nm_store16(slot + NM_SLOT_LEN, 0);
        return;
    }
    if (length == 0) return;
    if (g->count == PIECES) gather_flush(g);
    int i = g->count++;
    g->to[i] = (struct iovec){b->region->base + a->buffer_offset + (uint64_t)buffer * a->buffer_size, length};
    g->from[i] = (struct iovec){(void *)(uintptr_t)nm_load64(slot + NM_SLOT_PTR), length};
    g->slots[i] = slot;
}

static __attribute__((noinline)) void gather_range(const struct binding *b, const struct ring_ref *ref, uint32_t from, uint32_t to) {
    struct gather g;
    g.count = 0;
    for (uint32_t i = from; i != to; i = next(i, ref->slots)) {
        uint8_t *slot = slot_at(ref->ring, i);
        if (nm_load16(slot + NM_SLOT_FLAGS) & NS_INDIRECT) gather_add(b, &g, slot);
    }
    gather_flush(&g);
}

// Clears NS_BUF_CHANGED, and nothing else; returns the flags that any of the slots had.
static inline uint16_t pass_over(const struct ring_ref *ref, uint32_t from, uint32_t to) {
    uint16_t seen = 0;
    for (uint32_t i = from; i != to; i = next(i, ref->slots)) {
        uint8_t *slot = slot_at(ref->ring, i);
        uint16_t flags = nm_load16(slot + NM_SLOT_FLAGS);
        seen |= flags;
        if (flags & NS_BUF_CHANGED) nm_store16(slot + NM_SLOT_FLAGS, (uint16_t)(flags & ~NS_BUF_CHANGED));
    }
    return seen;
}

// ---- Pipes: the two ends move the slots themselves

// Copies slots in a row as they are; returns the flags that any of them had, and their lengths' sum.
static inline uint16_t copy_run(const uint8_t *from, uint8_t *to, uint32_t count, uint64_t *bytes) {
    uint64_t flags = 0, sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        nm_vector slot = *(const nm_vector *)(from + (size_t)i * NM_SLOT_SIZE);
        *(nm_vector *)(to + (size_t)i * NM_SLOT_SIZE) = slot;
        uint64_t word = (uint64_t)slot[0];
        flags |= word;
        sum += word >> 32 & 0xffff;
    }
    *bytes += sum;
    return (uint16_t)(flags >> 48);
}

// Slots from ..< to go to the same places of the other end's ring; their own lose NS_BUF_CHANGED.
static inline uint16_t hand_over(const struct ring_ref *ref, uint32_t from, uint32_t to, uint64_t *bytes) {
    uint16_t flags = 0;
    for (uint32_t at = from; at != to;) {
        uint32_t run = (to > at ? to : ref->slots) - at;
        flags |= copy_run(slot_at(ref->ring, at), slot_at(ref->peer_ring, at), run, bytes);
        at = at + run == ref->slots ? 0 : at + run;
    }
    if (UNLIKELY(flags & NS_BUF_CHANGED)) (void)pass_over(ref, from, to);
    return flags;
}

// Of the frames in slots from ..< to, whose slots have NS_MOREFRAG here and there: where the last
// complete one ends, and how many are complete. What the slots say was copied already.
static __attribute__((noinline)) uint32_t complete(const struct ring_ref *ref, uint32_t from, uint32_t to, uint32_t limit, uint64_t *packets) {
    *packets = 0;
    for (uint32_t i = from; i != to; i = next(i, ref->slots))
        if (!(nm_load16(slot_at(ref->peer_ring, i) + NM_SLOT_FLAGS) & NS_MOREFRAG)) {
            limit = next(i, ref->slots);
            (*packets)++;
        }
    return limit;
}

// TX: whole slots to the receiver; it is shown them up to the end of the last complete frame.
static void pipe_send(struct binding *b, int fd, struct ring_ref *ref, uint32_t base, uint32_t head) {
    struct nm_kring *k = ref->kring, *peer = ref->peer;
    uint32_t before = nm_load32(&peer->hwtail), limit = head;
    uint64_t packets = distance(base, head, ref->slots), bytes = 0;
    if (UNLIKELY(hand_over(ref, base, head, &bytes) & NS_MOREFRAG)) limit = complete(ref, base, head, before, &packets);
    nm_count(&k->packets, packets);
    nm_count(&k->bytes, bytes);
    nm_store32(&k->hwcur, head);
    nm_store32_release(&k->head, head);
    if (limit == before) return;
    nm_store32_release(&peer->hwtail, limit);
    kick_for_peer(b, fd, k, peer);
}

// RX: released slots go back, with the buffers that the receiver left in them. The sender's new tail is
// the last of them, which holds its returned buffer already.
static void pipe_return(struct binding *b, int fd, struct ring_ref *ref, uint32_t base, uint32_t head) {
    struct nm_kring *k = ref->kring, *peer = ref->peer;
    uint64_t bytes = 0;
    (void)hand_over(ref, base, head, &bytes);
    nm_store32(&k->hwcur, head);
    nm_store32_release(&k->head, head);
    nm_store32_release(&peer->hwtail, head ? head - 1 : ref->slots - 1);
    kick_for_peer(b, fd, k, peer);
}

// ---- One ring

// Gives slots away and returns the new tail; the indices were checked.
static inline uint32_t exchange(struct binding *b, int fd, struct ring_ref *ref, bool transmit, bool is_pipe, uint32_t base,
                                uint32_t head, uint32_t cur) {
    struct nm_kring *k = ref->kring;
    nm_store32(&k->cur, cur);
    if (head != base) {
        if (is_pipe) {
            if (transmit) pipe_send(b, fd, ref, base, head);
            else pipe_return(b, fd, ref, base, head);
        } else {
            uint16_t flags = pass_over(ref, base, head);
            if (UNLIKELY(transmit && (flags & NS_INDIRECT))) gather_range(b, ref, base, head);
            nm_store32_release(&k->head, head);
            kick_if_asleep(b, fd, k);
        }
    }
    return nm_load32_acquire(&k->hwtail);
}

// What a ring's mode says about a sync; SYNC_DONE: go on.
static inline enum sync_result admit(const struct ring_ref *ref, uint32_t mode, bool *is_pipe) {
    *is_pipe = mode == NM_KRING_PIPE;
    if (LIKELY(mode == NM_KRING_ENGINE)) return ref->ring ? SYNC_DONE : SYNC_FAILED;
    if (mode == NM_KRING_PIPE) return ref->ring && ref->peer_ring && ref->peer ? SYNC_DONE : SYNC_FAILED;
    return mode == NM_KRING_STOPPED ? SYNC_STOPPED : SYNC_FAILED;
}

static inline void note_news(struct binding *b, bool transmit) {
    // Written by any thread; a count that is lost among others is still a change.
    uint32_t *news = transmit ? &b->tx_news : &b->rx_news;
    nm_store32(news, nm_load32(news) + 1);
}

static enum sync_result sync_ring(struct binding *b, int fd, struct ring_ref *ref, bool transmit, const struct timeval *stamp) {
    struct nm_kring *k = ref->kring;
    uint32_t mode = nm_load32(&k->mode), n = ref->slots;
    if (mode == NM_KRING_DUMMY || mode == NM_KRING_NONE) return SYNC_DONE;
    bool is_pipe;
    enum sync_result result = admit(ref, mode, &is_pipe);
    if (UNLIKELY(result != SYNC_DONE)) return result;
    if (UNLIKELY(!try_lock(ref))) return SYNC_BUSY;
    if (UNLIKELY(nm_load32(&k->mode) != mode)) { // a monitor came in between
        unlock(ref);
        return sync_ring(b, fd, ref, transmit, stamp);
    }
    struct netmap_ring *ring = ref->ring;
    struct indices i = {.head = nm_load32_acquire(&ring->head), .cur = nm_load32(&ring->cur)};
    uint32_t tail = nm_load32(&ring->tail), shown = nm_load32(&k->tail);
    uint32_t hwtail = nm_load32_acquire(&k->hwtail);
    i.base = nm_load32(&k->head);
    i.limit = transmit ? shown : hwtail;
    // These three are not the program's; if they are wrong, there is nothing to set right.
    if (UNLIKELY(i.base >= n || i.limit >= n || hwtail >= n)) {
        unlock(ref);
        return SYNC_FAILED;
    }
    uint32_t value, low, high, fault = check(&i, tail, n, &value, &low, &high);
    if (UNLIKELY(fault)) {
        reject(b, fd, k, fault, value, low, high);
        set_right(b, ref, i.base, hwtail);
        if (hwtail != shown) note_news(b, transmit);
        if (!transmit && stamp) ring->ts = *stamp;
        unlock(ref);
        return SYNC_FAULT;
    }
    hwtail = exchange(b, fd, ref, transmit, is_pipe, i.base, i.head, i.cur);
    if (LIKELY(hwtail < n)) {
        if (hwtail != shown) {
            nm_store32(&k->tail, hwtail);
            note_news(b, transmit);
        }
        if (tail != hwtail) nm_store32_release(&ring->tail, hwtail);
    }
    if (!transmit && stamp) ring->ts = *stamp;
    unlock(ref);
    return SYNC_DONE;
}

enum sync_result sync_block(struct binding *b, int fd, struct ring_ref *ref, bool transmit, uint32_t head, uint32_t cur,
                            uint32_t *hwcur, uint32_t *hwtail) {
    struct nm_kring *k = ref->kring;
    uint32_t n = ref->slots, mode = nm_load32(&k->mode);
    if (mode == NM_KRING_DUMMY || mode == NM_KRING_NONE) {
        *hwcur = nm_load32(&k->hwcur);
        *hwtail = nm_load32(&k->hwtail);
        return SYNC_DONE;
    }
    bool is_pipe;
    enum sync_result result = admit(ref, mode, &is_pipe);
    if (result != SYNC_DONE) return result;
    if (!try_lock(ref)) return SYNC_BUSY;
    if (UNLIKELY(nm_load32(&k->mode) != mode)) {
        unlock(ref);
        return sync_block(b, fd, ref, transmit, head, cur, hwcur, hwtail);
    }
    uint32_t tail = nm_load32_acquire(&k->hwtail);
    struct indices i = {head, cur, nm_load32(&k->head), transmit ? nm_load32(&k->tail) : tail};
    uint32_t value, low, high, fault;
    if (i.base >= n || i.limit >= n) {
        result = SYNC_FAILED;
    } else if ((fault = check(&i, 0, n, &value, &low, &high))) {
        reject(b, fd, k, fault, value, low, high);
        result = SYNC_FAULT;
    } else {
        tail = exchange(b, fd, ref, transmit, is_pipe, i.base, head, cur);
    }
    if (tail < n) {
        if (tail != nm_load32(&k->tail)) note_news(b, transmit);
        nm_store32(&k->tail, tail);
    }
    *hwcur = nm_load32(&k->hwcur);
    *hwtail = tail;
    unlock(ref);
    return result;
}

// ---- NIOCTXSYNC and NIOCRXSYNC

static bool is_ready(const struct ring_ref *ref) {
    // DUMMY rings without slots are never ready.
    if (!ref->ring) return false;
    return nm_load32(&ref->ring->cur) != nm_load32(&ref->ring->tail);
}

// Whether there is something that the program was woken for and has not dealt with.
static bool has_business(const struct binding *b) {
    for (uint32_t i = 0; i < b->tx_count + b->rx_count; i++) {
        const struct ring_ref *ref = &b->refs[i];
        bool has_news = nm_load32(&ref->kring->hwtail) != nm_load32(&ref->kring->tail);
        if (i < b->tx_count ? has_news && !is_ready(ref) : has_news || is_ready(ref)) return true;
    }
    return false;
}

static bool is_notified(const struct binding *b) {
    for (uint32_t i = 0; i < b->tx_count + b->rx_count; i++)
        if (nm_load32(&b->refs[i].kring->notified)) return true;
    return false;
}

static void want_always(struct binding *b) {
    for (uint32_t i = 0; i < b->tx_count + b->rx_count; i++) {
        uint32_t *want = &b->refs[i].kring->want;
        if (nm_load32(want) != NM_WANT_ALWAYS) nm_store32(want, NM_WANT_ALWAYS);
    }
}

enum { QUIET_NS = 100000 };

// A program whose waiting we do not see (io_uring, a poll system call of its own) wakes up, syncs by
// ioctl, and waits again. It is told from one that loops by the time between its syncs: after a quiet
// time the rings are set to wake always, and the byte that woke the program is taken when nothing is
// left to be done, as a level-triggered descriptor has it. Loopers get one byte in their lives.
static __attribute__((noinline)) bool after_quiet_time(struct binding *b, int fd) {
    if (b->waits == WAIT_EPOLL) return false;
    if (b->waits == WAIT_POLL) {
        b->waits = WAIT_UNSEEN; // wait.c says otherwise if it is there that the program waits
        return false;
    }
    want_always(b);
    if (!is_notified(b) || has_business(b)) return false;
    sync_drain(b, fd);
    return true; // news may have come in between: once more
}

int sync_ioctl(struct binding *b, int fd, bool transmit) {
    if (UNLIKELY(!b->is_attached)) {
        int error = descriptor_attach(b, fd);
        if (error) return error;
        if (!b->is_attached) return ENXIO;
    }
    if (UNLIKELY(b->attachment.is_csb)) return EBUSY;
    if (UNLIKELY(b->is_dead)) return ENXIO;
    struct timeval stamp;
    gettimeofday(&stamp, NULL);
    uint64_t now = (uint64_t)stamp.tv_sec * 1000000000u + (uint64_t)stamp.tv_usec * 1000u;
    bool is_quiet = now - b->last_sync > QUIET_NS;
    b->last_sync = now;
    struct ring_ref *refs = transmit ? b->refs : b->refs + b->tx_count;
    uint32_t count = transmit ? b->tx_count : b->rx_count;
    int error = 0;
    for (int turn = 0; turn < 2; turn++) {
        error = 0;
        for (uint32_t i = 0; i < count; i++) {
            switch (sync_ring(b, fd, &refs[i], transmit, &stamp)) {
            case SYNC_STOPPED: error = EIO; break;
            case SYNC_BUSY: error = 0; break;
            default: break; // ioctl does not tell of the others
            }
        }
        if (LIKELY(!is_quiet) || turn || !after_quiet_time(b, fd)) break;
    }
    return error;
}

// ---- poll

short sync_poll(struct binding *b, int fd, short events, bool *is_busy) {
    const short in = POLLIN | POLLRDNORM, out = POLLOUT | POLLWRNORM;
    if (UNLIKELY(!b->is_attached) && (descriptor_attach(b, fd) || !b->is_attached)) return POLLERR;
    if (UNLIKELY(b->attachment.is_csb || b->is_dead)) return POLLERR;
    short result = 0;
    if ((events & out) || !(b->attachment.flags & NR_NO_TX_POLL)) {
        bool is_wanted = events & out;
        for (uint32_t i = 0; i < b->tx_count; i++) {
            struct ring_ref *ref = &b->refs[i];
            if (!is_wanted && ref->ring && nm_load32(&ref->ring->head) == nm_load32(&ref->kring->head)) continue;
            enum sync_result r = sync_ring(b, fd, ref, true, NULL);
            *is_busy |= r == SYNC_BUSY;
            if (r == SYNC_FAULT || r == SYNC_FAILED || r == SYNC_STOPPED) result |= POLLERR;
            else if (is_wanted && is_ready(ref)) {
                result |= events & out;
                is_wanted = false;
            }
        }
    }
    if (events & in) {
        struct timeval stamp;
        gettimeofday(&stamp, NULL);
        for (uint32_t i = 0; i < b->rx_count; i++) {
            struct ring_ref *ref = &b->refs[b->tx_count + i];
            enum sync_result r = sync_ring(b, fd, ref, false, &stamp);
            *is_busy |= r == SYNC_BUSY;
            if (r == SYNC_FAULT || r == SYNC_FAILED || r == SYNC_STOPPED) result |= POLLERR;
            if (r != SYNC_FAILED && r != SYNC_STOPPED && is_ready(ref)) result |= events & in;
        }
    }
    return result;
}

void sync_arm_ring(struct ring_ref *ref) {
    uint32_t nothing = NM_WANT_NOTHING;
    __atomic_compare_exchange_n(&ref->kring->want, &nothing, NM_WANT_ONCE, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void sync_arm(struct binding *b, short events) {
    if (!b->is_attached) return;
    if (b->waits == WAIT_EPOLL) {
        want_always(b);
        return;
    }
    bool was_unseen = b->waits == WAIT_UNSEEN;
    b->waits = WAIT_POLL;
    for (uint32_t i = 0; i < b->tx_count + b->rx_count; i++) {
        bool is_wanted = events & (i < b->tx_count ? POLLOUT | POLLWRNORM : POLLIN | POLLRDNORM);
        uint32_t *want = &b->refs[i].kring->want;
        // What we set in case the program waits elsewhere is not needed any more. Should another
        // process need it, it gets this one byte too, and asks again.
        if (was_unseen && nm_load32(want) == NM_WANT_ALWAYS) nm_store32(want, NM_WANT_ONCE);
        else if (is_wanted) sync_arm_ring(&b->refs[i]);
    }
}

void sync_drain(struct binding *b, int fd) {
    if (!descriptor_is_still(fd, b)) return;
    int saved = errno;
    uint8_t bytes[16];
    ssize_t count;
    for (int i = 0; i < 256 && (count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT)) >= 0; i++) {
        if (count > 0) continue;
        b->is_dead = true; // the engine closed its end
        break;
    }
    errno = saved;
    for (uint32_t i = 0; i < b->tx_count + b->rx_count; i++)
        if (nm_load32(&b->refs[i].kring->notified)) nm_store32(&b->refs[i].kring->notified, 0);
    nm_fence();
}
