// Which descriptor numbers are netmap descriptors, and what those have bound.
//
// A netmap descriptor is a socket to the engine: it can come by open, dup, fork, exec or SCM_RIGHTS, and
// it can go in ways that we do not see. So the table is a memory of what was seen, never the truth: what
// we do not know is looked at when it matters (netmap ioctls, mmap, waiting), and before anything is
// done that would hurt somebody else's descriptor, the socket's cookie is compared.

#include "shim.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

uint16_t fd_table[FD_LIMIT];
struct binding bindings[BINDING_LIMIT];
int bindings_used;

enum { REGION_LIMIT = 256, INTERNAL_LIMIT = 256 };
static struct region regions[REGION_LIMIT];
static struct {
    int fd; // -1: free
    uint64_t cookie;
} internals[INTERNAL_LIMIT];
static int internals_used;
static int highest; // no number above it is in the table
static int lock;
static pid_t process;

// ---- Locking. Rare: only calls that make or end a descriptor of ours come here.

void table_lock(sigset_t *saved) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, saved); // a handler that closes something must not wait for itself
    for (int i = 0; __atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE); i++)
        if (i > 100) sched_yield();
}

void table_unlock(const sigset_t *saved) {
    __atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
    pthread_sigmask(SIG_SETMASK, saved, NULL);
}

// Children of vfork close and duplicate descriptors of their own in the memory of their parent.
bool process_is_ours(void) { return getpid() == __atomic_load_n(&process, __ATOMIC_RELAXED); }

static sigset_t fork_signals;

static void before_fork(void) {
    channel_before_fork();
    table_lock(&fork_signals);
}

static void after_fork_in_parent(void) {
    table_unlock(&fork_signals);
    channel_after_fork(false);
}

static void after_fork_in_child(void) {
    __atomic_store_n(&process, getpid(), __ATOMIC_RELAXED);
    thread_forget();
    for (int i = 0; i < BINDING_LIMIT && bindings_used; i++) {
        bindings[i].pins = 0; // other threads' calls; those threads are not here
        end_if_unused(&bindings[i]);
    }
    table_unlock(&fork_signals);
    channel_after_fork(true);
}

void descriptor_init(void) {
    process = getpid();
    for (int i = 0; i < INTERNAL_LIMIT; i++) internals[i].fd = -1;
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

// ---- Identity

uint64_t socket_cookie(int fd) {
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    int saved = errno;
    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) < 0) cookie = 0;
    errno = saved;
    return cookie;
}

// Whether this is a socket whose peer is called like the engine's.
static bool looks_like_ours(int fd) {
    union {
        struct sockaddr_un address;
        struct sockaddr_storage room;
    } peer;
    socklen_t size = sizeof peer;
    int saved = errno, type = 0;
    socklen_t type_size = sizeof type;
    bool is_ours = getpeername(fd, (struct sockaddr *)&peer.room, &size) == 0 && peer.address.sun_family == AF_UNIX
        && size > offsetof(struct sockaddr_un, sun_path)
        && channel_peer_matches(peer.address.sun_path, size - offsetof(struct sockaddr_un, sun_path))
        && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) == 0 && type == SOCK_SEQPACKET;
    errno = saved;
    return is_ours;
}

bool descriptor_is_still(int fd, const struct binding *binding) { return socket_cookie(fd) == binding->cookie; }

// ---- The table. With the lock held.

static void set_number(int fd, unsigned kind) {
    __atomic_store_n(&fd_table[fd], (uint16_t)kind, __ATOMIC_RELEASE);
    if (kind != FD_UNKNOWN && fd > highest) highest = fd;
}

static void release_region(struct region *region) {
    if (!region || --region->users > 0) return;
    real.munmap(region->base, region->size);
    memset(region, 0, sizeof *region);
}

static void detach(struct binding *b) {
    if (b->refs) real.munmap(b->refs, b->refs_size);
    if (b->control) real.munmap(b->control, b->attachment.control_size);
    release_region(b->region);
    b->refs = NULL;
    b->control = NULL;
    b->region = NULL;
    b->tx_count = b->rx_count = 0;
}

void end_if_unused(struct binding *b) {
    if (b->numbers > 0 || b->maps > 0 || !b->cookie) return;
    if (!b->is_dying) {
        epoll_forget_binding(b);
        b->is_dying = true;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    }
    if (__atomic_load_n(&b->pins, __ATOMIC_ACQUIRE) > 0) return; // descriptor_unpin comes back here
    if (b->keeper >= 0) internal_close(b->keeper, b->cookie);
    detach(b);
    // Its pins stay: a thread that has just found the number may be about to look whether it is still ours.
    memset(b, 0, offsetof(struct binding, pins));
    __atomic_fetch_sub(&bindings_used, 1, __ATOMIC_RELAXED);
}

static struct binding *find(uint64_t cookie) {
    struct binding *free = NULL;
    for (int i = 0; i < BINDING_LIMIT; i++) {
        if (bindings[i].cookie == cookie && !bindings[i].is_dying) return &bindings[i];
        if (!bindings[i].cookie && !free) free = &bindings[i];
    }
    if (!free) return NULL;
    free->cookie = cookie;
    free->keeper = -1;
    __atomic_fetch_add(&bindings_used, 1, __ATOMIC_RELAXED);
    return free;
}

static void drop_number(int fd) {
    unsigned kind = fd_kind(fd);
    if (kind < FD_OURS) {
        if (kind != FD_INTERNAL) set_number(fd, FD_UNKNOWN);
        return;
    }
    set_number(fd, FD_UNKNOWN);
    struct binding *b = &bindings[kind - FD_OURS];
    b->numbers--;
    end_if_unused(b);
}

static void adopt(int fd, uint64_t cookie) {
    if ((unsigned)fd >= FD_LIMIT) return;
    unsigned kind = fd_kind(fd);
    if (kind >= FD_OURS && bindings[kind - FD_OURS].cookie == cookie) return;
    drop_number(fd);
    struct binding *b = find(cookie);
    if (!b) return;
    b->numbers++;
    set_number(fd, (unsigned)(FD_OURS + (b - bindings)));
}

void descriptor_adopt(int fd, uint64_t cookie) {
    sigset_t saved;
    table_lock(&saved);
    adopt(fd, cookie);
    table_unlock(&saved);
}

void descriptor_forget(int fd) {
    unsigned kind = fd_kind(fd);
    if (kind == FD_UNKNOWN || (unsigned)fd >= FD_LIMIT || !process_is_ours()) return;
    if (kind == FD_FOREIGN) {
        __atomic_store_n(&fd_table[fd], FD_UNKNOWN, __ATOMIC_RELEASE);
        return;
    }
    sigset_t saved;
    table_lock(&saved);
    if (kind == FD_EPOLL) epoll_forget(fd);
    drop_number(fd);
    table_unlock(&saved);
}

void descriptor_forget_range(unsigned first, unsigned last) {
    if (!process_is_ours()) return;
    for (unsigned fd = first; fd <= last && fd <= (unsigned)highest; fd++)
        if (fd_kind((int)fd) != FD_INTERNAL) descriptor_forget((int)fd);
}

void descriptor_copied(int from, int to) {
    if (!process_is_ours()) return;
    unsigned kind = fd_kind(from);
    if (fd_kind(to) == FD_UNKNOWN && kind < FD_OURS) return;
    sigset_t saved;
    table_lock(&saved);
    kind = fd_kind(from);
    if (kind >= FD_OURS) adopt(to, bindings[kind - FD_OURS].cookie);
    else drop_number(to);
    table_unlock(&saved);
}

struct binding *descriptor_pin(int fd) {
    while (true) {
        unsigned kind = (unsigned)fd < FD_LIMIT ? __atomic_load_n(&fd_table[fd], __ATOMIC_ACQUIRE) : FD_FOREIGN;
        if (kind < FD_OURS) return NULL;
        struct binding *b = &bindings[kind - FD_OURS];
        __atomic_fetch_add(&b->pins, 1, __ATOMIC_SEQ_CST);
        // Whoever ends a binding first takes its numbers out of the table and then looks at the pins.
        if (LIKELY(__atomic_load_n(&fd_table[fd], __ATOMIC_SEQ_CST) == kind && !b->is_dying)) return b;
        descriptor_unpin(b);
    }
}

void descriptor_unpin(struct binding *b) {
    if (LIKELY(__atomic_sub_fetch(&b->pins, 1, __ATOMIC_SEQ_CST) > 0 || !b->is_dying)) return;
    sigset_t saved;
    table_lock(&saved);
    if (b->is_dying && b->pins == 0) end_if_unused(b);
    table_unlock(&saved);
}

struct binding *descriptor_identify(int fd) {
    if ((unsigned)fd >= FD_LIMIT) return NULL;
    uint64_t cookie = socket_cookie(fd);
    struct binding *known = descriptor_pin(fd);
    if (known) {
        if (known->cookie == cookie) return known;
        descriptor_unpin(known);
        if (!process_is_ours()) return NULL;
        descriptor_forget(fd); // it was closed behind our back
    }
    unsigned kind = fd_kind(fd);
    if (kind == FD_INTERNAL || kind == FD_EPOLL) return NULL;
    if (!cookie || channel_has_cookie(cookie) || !looks_like_ours(fd)) {
        // Only a process that has descriptors of ours asks again and again.
        if (kind == FD_UNKNOWN && bindings_used && process_is_ours()) {
            sigset_t saved;
            table_lock(&saved);
            if (fd_kind(fd) == FD_UNKNOWN) set_number(fd, FD_FOREIGN);
            table_unlock(&saved);
        }
        return NULL;
    }
    descriptor_adopt(fd, cookie);
    return descriptor_pin(fd);
}

// ---- What a descriptor has bound

static struct region *find_region(int file, uint64_t size) {
    struct stat status;
    if (fstat(file, &status) < 0 || (uint64_t)status.st_size < size) return NULL;
    struct region *free = NULL;
    for (int i = 0; i < REGION_LIMIT; i++) {
        struct region *r = &regions[i];
        if (r->users && r->device == status.st_dev && r->inode == status.st_ino && r->size == size) {
            r->users++;
            return r;
        }
        if (!r->users && !free) free = r;
    }
    if (!free) return NULL;
    void *base = real.mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file, 0);
    if (base == MAP_FAILED) return NULL;
    madvise(base, size, MADV_DONTDUMP);
    *free = (struct region){status.st_dev, status.st_ino, base, size, 1};
    return free;
}

static bool ring_at(const struct binding *b, uint64_t offset, uint32_t slots, struct netmap_ring **ring) {
    uint64_t size = b->attachment.region_size;
    *ring = NULL;
    if (offset == 0 || slots == 0) return true; // a null port's need no memory
    if (offset % 8 || offset > size || slots > 1u << 20) return false;
    if (size - offset < NM_RING_SLOTS + (uint64_t)slots * NM_SLOT_SIZE) return false;
    *ring = (struct netmap_ring *)(b->region->base + offset);
    return true;
}

static bool fill_refs(struct binding *b) {
    const struct nm_attachment *a = &b->attachment;
    const struct nm_control_file *file = (const struct nm_control_file *)b->control;
    if (a->control_size < NM_CONTROL_KRINGS || nm_load64(&file->magic) != NM_CONTROL_MAGIC) return false;
    uint64_t krings = nm_load32(&file->krings);
    if (krings > (a->control_size - NM_CONTROL_KRINGS) / NM_KRING_SIZE) return false;
    if (a->tx_end < a->tx_first || a->rx_end < a->rx_first) return false;
    if ((uint64_t)a->tx_base + a->tx_end > krings || (uint64_t)a->rx_base + a->rx_end > krings) return false;
    if (a->buffer_size == 0 || a->buffer_offset > a->region_size
        || (a->region_size - a->buffer_offset) / a->buffer_size < a->buffer_count)
        return false;
    b->tx_count = a->tx_end - a->tx_first;
    b->rx_count = a->rx_end - a->rx_first;
    b->refs_size = (b->tx_count + b->rx_count + 1) * sizeof(struct ring_ref);
    b->refs = real.mmap(NULL, b->refs_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->refs == MAP_FAILED) {
        b->refs = NULL;
        return false;
    }
    struct nm_kring *first = (struct nm_kring *)(b->control + NM_CONTROL_KRINGS);
    for (uint32_t i = 0; i < b->tx_count + b->rx_count; i++) {
        struct ring_ref *ref = &b->refs[i];
        ref->kring = i < b->tx_count ? first + a->tx_base + a->tx_first + i
                                     : first + a->rx_base + a->rx_first + (i - b->tx_count);
        ref->slots = nm_load32(&ref->kring->slots);
        if (!ring_at(b, nm_load64(&ref->kring->ring), ref->slots, &ref->ring)) return false;
        uint32_t peer = nm_load32(&ref->kring->peer);
        if (nm_load32(&ref->kring->mode) != NM_KRING_PIPE || peer >= krings) continue;
        // A pipe's slots go to the same index on the other side.
        if (nm_load32(&first[peer].slots) != ref->slots) continue;
        if (!ring_at(b, nm_load64(&first[peer].ring), ref->slots, &ref->peer_ring)) return false;
        ref->peer = first + peer;
    }
    return true;
}

static int attach(struct binding *b, const struct nm_attachment *a, int region, int control) {
    static bool said;
    if (b->is_attached) { // another thread was faster; only the mode of a binding can change
        b->attachment.is_csb = a->is_csb;
        return 0;
    }
    b->attachment = *a;
    if (!(b->region = find_region(region, a->region_size))) goto failed;
    b->control = real.mmap(NULL, a->control_size, PROT_READ | PROT_WRITE, MAP_SHARED, control, 0);
    if (b->control == MAP_FAILED) {
        b->control = NULL;
        goto failed;
    }
    if (!fill_refs(b)) goto failed;
    b->is_attached = true;
    // Until the program is seen waiting, it may be waiting where we cannot see it.
    if (b->waits == WAIT_UNSEEN)
        for (uint32_t i = 0; i < b->tx_count + b->rx_count; i++)
            nm_store32(&b->refs[i].kring->want, NM_WANT_ALWAYS);
    return 0;
failed:
    detach(b);
    memset(&b->attachment, 0, sizeof b->attachment);
    shim_say(&said, "the engine's description of '%.63s' makes no sense; is it of another version?", a->name);
    return ENXIO;
}

int descriptor_attach(struct binding *b, int fd) {
    struct nm_attachment a;
    struct exchange exchange = {.answer = &a, .answer_room = sizeof a};
    int length = channel_call(NM_CALL_ATTACH, fd, &exchange);
    if (length < 0) return -length;
    int error = exchange.error, *files = exchange.received;
    if (!error && length != sizeof a) error = ENXIO;
    if (!error && a.region_size && (files[0] < 0 || files[1] < 0)) error = ENXIO;
    if (!error && a.region_size) {
        sigset_t saved;
        table_lock(&saved);
        error = attach(b, &a, files[0], files[1]);
        table_unlock(&saved);
    }
    for (int i = 0; i < 2; i++)
        if (files[i] >= 0) real.close(files[i]);
    return error;
}

// ---- Our own descriptors

// As high as the process may, but not so high that the kernel's table of its descriptors grows.
static int high_number(void) {
    struct rlimit limit;
    rlim_t number = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 256;
    return number > 1024 ? 960 : number > 96 ? (int)number - 64 : 3;
}

// With the table locked.
static int internal_add(int fd) {
    int number = real.fcntl(fd, F_DUPFD_CLOEXEC, high_number());
    if (number < 0) number = real.fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (number < 0 || number >= FD_LIMIT) return number;
    for (int i = 0; i < INTERNAL_LIMIT; i++) {
        if (internals[i].fd >= 0) continue;
        internals[i].cookie = socket_cookie(number);
        internals[i].fd = number;
        internals_used++;
        drop_number(number);
        set_number(number, FD_INTERNAL);
        break;
    }
    return number;
}

int internal_adopt(int fd) {
    sigset_t saved;
    table_lock(&saved);
    int number = internal_add(fd);
    table_unlock(&saved);
    if (number < 0) return fd;
    real.close(fd);
    return number;
}

static int internal_slot(int fd) {
    for (int i = 0; i < INTERNAL_LIMIT; i++)
        if (internals[i].fd == fd) return i;
    return -1;
}

bool internal_is_ours(int fd) {
    int slot = internal_slot(fd);
    return slot >= 0 && internals[slot].cookie == socket_cookie(fd);
}

// With the table locked (or nobody else there).
void internal_close(int fd, uint64_t cookie) {
    int slot = internal_slot(fd);
    if (slot >= 0) {
        internals[slot].fd = -1;
        internals_used--;
        set_number(fd, FD_UNKNOWN);
    }
    if (fd >= 0 && cookie && socket_cookie(fd) == cookie) real.close(fd);
}

int internal_make_way(int fd) {
    sigset_t saved;
    int moved = -1;
    table_lock(&saved);
    int slot = internal_slot(fd);
    if (slot >= 0) {
        uint64_t cookie = internals[slot].cookie;
        bool is_ours = socket_cookie(fd) == cookie;
        int number = is_ours ? real.fcntl(fd, F_DUPFD_CLOEXEC, fd + 1) : -1;
        if (is_ours && number < 0) number = real.fcntl(fd, F_DUPFD_CLOEXEC, 3);
        set_number(fd, FD_UNKNOWN);
        internals[slot].fd = number < FD_LIMIT ? number : -1;
        if (internals[slot].fd < 0) internals_used--;
        else set_number(moved = number, FD_INTERNAL);
        for (int i = 0; i < BINDING_LIMIT; i++)
            if (bindings[i].cookie && bindings[i].keeper == fd) bindings[i].keeper = number;
    }
    table_unlock(&saved);
    return moved;
}

int internal_next(unsigned from) {
    int lowest = -1;
    for (int i = 0; i < INTERNAL_LIMIT && internals_used; i++) {
        int fd = internals[i].fd;
        if (fd >= 0 && (unsigned)fd >= from && (lowest < 0 || fd < lowest) && internal_is_ours(fd)) lowest = fd;
    }
    return lowest;
}

void keeper_take(struct binding *b, int fd) {
    // Its own number may have been closed behind our back since.
    if (b->keeper >= 0 && socket_cookie(b->keeper) == b->cookie) return;
    b->keeper = internal_add(fd);
}
