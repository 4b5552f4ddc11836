// epoll with netmap descriptors.
//
// The kernel gets ours as a socket that is to be readable, with a mark of our own as its data: the byte
// from the engine. What the program wants to know of it is kept here and looked at in the rings each
// time the program waits, so that a level stays a level, and an edge is a tail that moved.

#include "shim.h"

#include <string.h>

enum { LIMIT = 1024 };

// A registration of a netmap descriptor.
struct entry {
    struct binding *binding; // NULL: free
    int epoll, fd;
    uint32_t events;
    uint64_t data; // the program's
    bool is_spent; // EPOLLONESHOT, reported
    uint32_t tx_seen, rx_seen; // edges
    bool is_fresh;             // just registered: whatever is ready is news
};

static struct entry entries[LIMIT];
static int used; // entries below it may be in use
int epoll_entries;
static unsigned turn; // who comes first, where there is room for one

static struct entry *entry_of(uint64_t data) {
    uint64_t offset = data - (uint64_t)(uintptr_t)entries;
    if (offset >= sizeof entries || offset % sizeof *entries) return NULL;
    return &entries[offset / sizeof *entries];
}

static struct entry *find(int epoll, const struct binding *b, int fd) {
    for (int i = 0; i < used; i++)
        if (entries[i].binding == b && entries[i].epoll == epoll && entries[i].fd == fd) return &entries[i];
    return NULL;
}

static void drop(struct entry *e) {
    if (!e->binding) return;
    e->binding = NULL;
    epoll_entries--;
}

void epoll_forget(int epoll) {
    for (int i = 0; i < used; i++)
        if (entries[i].binding && entries[i].epoll == epoll) drop(&entries[i]);
}

void epoll_forget_binding(struct binding *b) {
    for (int i = 0; i < used; i++)
        if (entries[i].binding == b) drop(&entries[i]);
}

static struct entry *make(void) {
    for (int i = 0; i < LIMIT; i++) {
        if (entries[i].binding) continue;
        if (i >= used) used = i + 1;
        return &entries[i];
    }
    return NULL;
}

// With the table locked.
static int control(struct binding *b, int epoll, int operation, int fd, struct epoll_event *event) {
    struct entry *e = find(epoll, b, fd);
    if (operation == EPOLL_CTL_DEL || !event) {
        int result = real.epoll_ctl(epoll, operation, fd, event);
        if (result == 0 && operation == EPOLL_CTL_DEL && e) drop(e);
        return result;
    }
    bool is_new = !e;
    if (!e && !(e = make())) {
        errno = ENOSPC;
        return -1;
    }
    struct epoll_event bell = {.events = EPOLLIN | (event->events & EPOLLEXCLUSIVE), .data.u64 = (uintptr_t)e};
    int result = real.epoll_ctl(epoll, operation, fd, &bell);
    if (result < 0) return result;
    e->epoll = epoll;
    e->fd = fd;
    e->events = event->events;
    e->data = event->data.u64;
    e->is_spent = false;
    e->is_fresh = true;
    if (is_new) {
        e->binding = b;
        epoll_entries++;
    }
    b->waits = WAIT_EPOLL;
    sync_arm(b, 0);
    if ((unsigned)epoll < FD_LIMIT && fd_kind(epoll) < FD_OURS) __atomic_store_n(&fd_table[epoll], FD_EPOLL, __ATOMIC_RELEASE);
    return 0;
}

int epoll_control(struct binding *b, int epoll, int operation, int fd, struct epoll_event *event) {
    if (!b->is_attached) descriptor_attach(b, fd); // or it is bound later, and looked at each time
    sigset_t saved;
    table_lock(&saved);
    int result = control(b, epoll, operation, fd, event);
    table_unlock(&saved);
    return result;
}

// What is ready on an entry, as an event, or 0.
static uint32_t look(struct entry *e, bool *is_busy) {
    if (e->is_spent) return 0;
    // Dups and a mapping keep the registration when the number is gone; the kernel keeps its own too.
    struct binding *b = __atomic_load_n(&e->binding, __ATOMIC_RELAXED);
    if (!b) return 0;
    __atomic_fetch_add(&b->pins, 1, __ATOMIC_SEQ_CST);
    uint32_t ready = 0;
    if (e->binding == b && !b->is_dying) {
        sync_arm(b, 0);
        nm_fence();
        const uint32_t known = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;
        int fd = fd_kind(e->fd) == (unsigned)(FD_OURS + (b - bindings)) ? e->fd : b->keeper;
        ready = (uint32_t)(uint16_t)sync_poll(b, fd, (short)(e->events & known), is_busy);
        if (e->events & EPOLLET) {
            uint32_t edges = EPOLLERR;
            if (e->is_fresh || nm_load32(&b->rx_news) != e->rx_seen) edges |= EPOLLIN | EPOLLRDNORM;
            if (e->is_fresh || nm_load32(&b->tx_news) != e->tx_seen) edges |= EPOLLOUT | EPOLLWRNORM;
            // An edge of one direction reports the level of the other as well, as the kernel does.
            if (!(ready & edges) || (!e->is_fresh && ready == EPOLLERR)) ready = 0;
        }
    }
    descriptor_unpin(b);
    return ready;
}

// Another thread may close the descriptor meanwhile; its binding's memory stays.
static bool report(struct entry *e, uint32_t ready, struct epoll_event *event) {
    struct binding *b = __atomic_load_n(&e->binding, __ATOMIC_RELAXED);
    if (!b) return false;
    event->events = ready;
    event->data.u64 = e->data;
    e->is_fresh = false;
    e->rx_seen = nm_load32(&b->rx_news);
    e->tx_seen = nm_load32(&b->tx_news);
    if (e->events & EPOLLONESHOT) e->is_spent = true;
    return true;
}

static int collect(int epoll, struct epoll_event *events, int room, bool *is_busy) {
    int count = 0;
    unsigned start = __atomic_fetch_add(&turn, 1, __ATOMIC_RELAXED);
    int limit = used;
    for (int i = 0; i < limit && count < room; i++) {
        struct entry *e = &entries[(start + (unsigned)i) % (unsigned)limit];
        if (!e->binding || e->epoll != epoll) continue;
        uint32_t ready = look(e, is_busy);
        if (ready && report(e, ready, &events[count])) count++;
    }
    return count;
}

bool epoll_is_ready(int epoll, bool *is_busy) {
    for (int i = 0; i < used; i++)
        if (entries[i].binding && entries[i].epoll == epoll && look(&entries[i], is_busy)) return true;
    return false;
}

// Takes our marks out of what the kernel reports. Returns how many of the program's own are left.
static int filter(struct epoll_event *events, int count, bool is_draining, bool *had_marks) {
    int kept = 0;
    for (int i = 0; i < count; i++) {
        struct entry *e = entry_of(events[i].data.u64);
        if (!e) {
            if (kept != i) events[kept] = events[i];
            kept++;
            continue;
        }
        *had_marks = true;
        struct binding *b = __atomic_load_n(&e->binding, __ATOMIC_RELAXED);
        if (!b || !is_draining) continue;
        __atomic_fetch_add(&b->pins, 1, __ATOMIC_SEQ_CST);
        int fd = fd_kind(e->fd) == (unsigned)(FD_OURS + (b - bindings)) ? e->fd : b->keeper;
        if (fd >= 0 && !b->is_dying) sync_drain(b, fd);
        descriptor_unpin(b);
    }
    return kept;
}

static bool has_entries(int epoll) {
    for (int i = 0; i < used; i++)
        if (entries[i].binding && entries[i].epoll == epoll) return true;
    return false;
}

int epoll_await(int epoll, struct epoll_event *events, int room, const struct timespec *timeout, const sigset_t *mask) {
    const struct timespec none = {0};
    struct deadline deadline = deadline_after(timeout);
    if (room <= 0) return real.epoll_pwait2(epoll, events, room, timeout, mask);
    bool has_ours = has_entries(epoll);
    while (true) {
        bool had_marks = false, is_busy = false;
        // Where there is no room for all, the kernel's come first every other time.
        int place = room == 1 && (turn & 1) ? 0 : room;
        int count = has_ours ? collect(epoll, events, place, &is_busy) : 0;
        if (count == room) return count;
        if (count > 0) {
            int more = real.epoll_pwait2(epoll, events + count, room - count, &none, mask);
            // The bytes stay: a descriptor that is ready stays readable for whoever waits on the epoll.
            return more < 0 ? count : count + filter(events + count, more, false, &had_marks);
        }
        struct timespec left;
        bool has_time = deadline_left(&deadline, &left);
        const struct timespec *limit = place == 0 || !has_time ? &none : deadline_limit(&deadline, &left, is_busy);
        int got = real.epoll_pwait2(epoll, events, room, limit, mask);
        if (got < 0) return got;
        int kept = filter(events, got, true, &had_marks);
        if (kept > 0) {
            if (has_ours && kept < room) kept += collect(epoll, events + kept, room - kept, &is_busy);
            return kept;
        }
        if (place == 0) {
            turn++;
            if ((count = collect(epoll, events, room, &is_busy))) return count;
            if (!has_time) return 0;
            continue;
        }
        // Another thread may have registered the first one while we slept.
        if (had_marks && !has_ours) has_ours = has_entries(epoll);
        if (had_marks && has_ours && (count = collect(epoll, events, room, &is_busy))) return count;
        if (!deadline_left(&deadline, &left)) return 0;
    }
}
