// poll and select with netmap descriptors among the others.
//
// Each descriptor of ours is synced, whatever is asked of it (netmap's poll does the work of both
// ioctls). If nothing is ready, the rings are set to wake us, looked at once more, and the kernel waits
// on the others as they are and on ours for a byte from the engine.

#include "shim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    ON_STACK = 128,  // descriptors whose copy needs no memory
};

// ---- Time

struct deadline deadline_after(const struct timespec *timeout) {
    struct deadline d = {.is_endless = !timeout};
    if (!timeout) return d;
    d.is_now = timeout->tv_sec == 0 && timeout->tv_nsec == 0;
    if (d.is_now) return d;
    clock_gettime(CLOCK_MONOTONIC, &d.end);
    if (timeout->tv_sec > INT32_MAX) {
        d.is_endless = true;
        return d;
    }
    d.end.tv_sec += timeout->tv_sec;
    d.end.tv_nsec += timeout->tv_nsec;
    if (d.end.tv_nsec >= 1000000000) {
        d.end.tv_nsec -= 1000000000;
        d.end.tv_sec++;
    }
    return d;
}

bool deadline_left(const struct deadline *d, struct timespec *left) {
    *left = (struct timespec){0};
    if (d->is_endless) return true;
    if (d->is_now) return false;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = (int64_t)(d->end.tv_sec - now.tv_sec) * 1000000000 + (d->end.tv_nsec - now.tv_nsec);
    if (ns <= 0) return false;
    *left = (struct timespec){ns / 1000000000, ns % 1000000000};
    return true;
}

const struct timespec *deadline_limit(const struct deadline *d, struct timespec *left, bool is_busy) {
    const struct timespec moment = {.tv_nsec = 1000000};
    if (is_busy && (d->is_endless || left->tv_sec > 0 || left->tv_nsec > moment.tv_nsec)) *left = moment;
    return d->is_endless && !is_busy ? NULL : left;
}

// ---- poll

// Whether a number is to be looked at by us. A number that we do not know may have come from another
// process; that is asked once.
static inline bool is_ours(int fd) {
    unsigned kind = fd_kind(fd);
    if (LIKELY(kind == FD_FOREIGN || kind == FD_INTERNAL)) return false;
    if (kind != FD_UNKNOWN) return true;
    struct binding *b = descriptor_identify(fd);
    if (b) descriptor_unpin(b);
    return b;
}

bool wait_has_ours(const struct pollfd *fds, nfds_t count) {
    for (nfds_t i = 0; i < count; i++)
        if (fds[i].fd >= 0 && is_ours(fds[i].fd)) return true;
    return false;
}

// Syncs ours, says in each `revents` what is ready, and returns how many are.
// `for_kernel` gets ours as the kernel should wait on them (`is_waiting`) or not at all.
static int look(struct pollfd *fds, struct pollfd *for_kernel, nfds_t count, bool is_waiting, bool is_armed, bool *is_busy) {
    int ready = 0;
    for (nfds_t i = 0; i < count; i++) {
        if (for_kernel) for_kernel[i] = (struct pollfd){fds[i].fd, fds[i].events, 0};
        int fd = fds[i].fd;
        unsigned kind = fd < 0 ? FD_FOREIGN : fd_kind(fd);
        if (kind <= FD_INTERNAL) continue;
        if (kind == FD_EPOLL) {
            fds[i].revents = (fds[i].events & (POLLIN | POLLRDNORM)) && epoll_is_ready(fd, is_busy)
                ? fds[i].events & (POLLIN | POLLRDNORM) : 0;
            ready += fds[i].revents != 0;
            // The kernel knows of its other descriptors; ours are not the only ones in it.
            if (fds[i].revents && for_kernel) for_kernel[i].fd = -1;
            continue;
        }
        struct binding *b = descriptor_pin(fd);
        if (!b) continue;
        if (is_armed) sync_arm(b, fds[i].events);
        nm_fence();
        fds[i].revents = sync_poll(b, fd, fds[i].events, is_busy);
        ready += fds[i].revents != 0;
        descriptor_unpin(b);
        if (for_kernel) {
            for_kernel[i].fd = is_waiting ? fd : -1;
            for_kernel[i].events = POLLIN;
        }
    }
    return ready;
}

// What the kernel says of the others comes to what we say of ours. Returns how many are ready.
static int merge(struct pollfd *fds, const struct pollfd *from_kernel, nfds_t count) {
    int ready = 0;
    for (nfds_t i = 0; i < count; i++) {
        unsigned kind = fds[i].fd < 0 ? FD_FOREIGN : fd_kind(fds[i].fd);
        if (kind <= FD_INTERNAL) fds[i].revents = from_kernel[i].revents;
        // Others in it are ready, or a byte came for ours; who then looks by epoll_wait finds out.
        if (kind == FD_EPOLL && !fds[i].revents && from_kernel[i].fd >= 0) fds[i].revents = from_kernel[i].revents;
        ready += fds[i].revents != 0;
    }
    return ready;
}

static void take_bytes(struct pollfd *fds, const struct pollfd *from_kernel, nfds_t count) {
    for (nfds_t i = 0; i < count; i++) {
        if (!from_kernel[i].revents || fds[i].fd < 0) continue;
        // The number may be somebody else's by now: then it is the kernel's to answer for.
        struct binding *b = fd_kind(fds[i].fd) >= FD_OURS ? descriptor_identify(fds[i].fd) : NULL;
        if (!b) continue;
        sync_drain(b, fds[i].fd);
        descriptor_unpin(b);
    }
}

static int wait_with(struct pollfd *fds, struct pollfd *copy, nfds_t count, const struct timespec *timeout,
                     const sigset_t *mask) {
    const struct timespec none = {0};
    struct deadline deadline = deadline_after(timeout);
    bool is_busy = false;
    if (look(fds, copy, count, false, false, &is_busy) || deadline.is_now) {
        int result = real.ppoll(copy, count, &none, mask);
        return result < 0 ? result : merge(fds, copy, count);
    }
    while (true) {
        // Each number is still what we think, or we would wait for the wrong one.
        for (nfds_t i = 0; i < count; i++) {
            if (fds[i].fd < 0 || fd_kind(fds[i].fd) < FD_OURS) continue;
            struct binding *b = descriptor_identify(fds[i].fd);
            if (b) descriptor_unpin(b);
        }
        is_busy = false;
        bool is_ready = look(fds, copy, count, true, true, &is_busy);
        struct timespec left;
        bool has_time = deadline_left(&deadline, &left);
        if (is_ready || !has_time) {
            for (nfds_t i = 0; i < count; i++)
                if (copy[i].fd >= 0 && fd_kind(copy[i].fd) >= FD_OURS) copy[i].fd = -1;
            int result = real.ppoll(copy, count, &none, mask);
            return result < 0 ? result : merge(fds, copy, count);
        }
        int result = real.ppoll(copy, count, deadline_limit(&deadline, &left, is_busy), mask);
        if (result < 0) return result;
        take_bytes(fds, copy, count);
        look(fds, NULL, count, false, false, &is_busy);
        if ((result = merge(fds, copy, count))) return result;
        if (!deadline_left(&deadline, &left)) return 0;
    }
}

int wait_poll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    struct pollfd few[ON_STACK];
    if (count <= ON_STACK) return wait_with(fds, few, count, timeout, mask);
    size_t size = count * sizeof(struct pollfd);
    struct pollfd *many = real.mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (many == MAP_FAILED) {
        errno = ENOMEM;
        return -1;
    }
    int result = wait_with(fds, many, count, timeout, mask);
    int saved = errno;
    real.munmap(many, size);
    errno = saved;
    return result;
}

// ---- select: its sets as a list, and back

// The sets may be larger than fd_set: programs allocate them for higher numbers.
static inline bool in_set(const fd_set *set, int fd) {
    return set && (((const unsigned long *)set)[fd / (8 * (int)sizeof(long))] >> (fd % (8 * (int)sizeof(long))) & 1);
}

static inline void put_in_set(fd_set *set, int fd) {
    ((unsigned long *)set)[fd / (8 * (int)sizeof(long))] |= 1ul << (fd % (8 * (int)sizeof(long)));
}

static size_t set_bytes(int count) {
    const int bits = 8 * (int)sizeof(long);
    return (size_t)((count + bits - 1) / bits) * sizeof(long);
}

// Programs pass a number as large as their limit of descriptors with sets that are not. The kernel looks no further
// than its table of their descriptors reaches, and so do we.
static int within_table(int count) {
    if (count <= FD_SETSIZE) return count;
    char text[2048] = "";
    int saved = errno, file = real.open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        ssize_t length = read(file, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        real.close(file);
    }
    errno = saved;
    const char *at = strstr(text, "FDSize:");
    int size = at ? atoi(at + 7) : FD_SETSIZE;
    return count < size ? count : size;
}

int wait_select(int count, fd_set *read, fd_set *write, fd_set *except, struct timespec *timeout, const sigset_t *mask,
                bool *was_ours) {
    const short in = POLLIN | POLLRDNORM | POLLRDBAND, out = POLLOUT | POLLWRNORM | POLLWRBAND;
    nfds_t used = 0;
    *was_ours = false;
    count = within_table(count);
    for (int fd = 0; fd < count; fd++) {
        if (!in_set(read, fd) && !in_set(write, fd) && !in_set(except, fd)) continue;
        used++;
        *was_ours |= is_ours(fd);
    }
    if (!*was_ours) return 0;
    struct pollfd few[ON_STACK], *list = few;
    if (used > ON_STACK) {
        list = real.mmap(NULL, used * sizeof *list, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (list == MAP_FAILED) {
            errno = ENOMEM;
            return -1;
        }
    }
    used = 0;
    for (int fd = 0; fd < count; fd++) {
        short events = (in_set(read, fd) ? in : 0) | (in_set(write, fd) ? out : 0) | (in_set(except, fd) ? POLLPRI : 0);
        if (events) list[used++] = (struct pollfd){fd, events, 0};
    }
    struct deadline deadline = deadline_after(timeout);
    int result = wait_poll(list, used, timeout, mask);
    if (timeout) deadline_left(&deadline, timeout); // Linux's select says how much was left
    for (nfds_t i = 0; i < used && result > 0; i++)
        if (list[i].revents & POLLNVAL) {
            errno = EBADF;
            result = -1;
        }
    if (result >= 0) {
        size_t bytes = set_bytes(count);
        fd_set *sets[3] = {read, write, except};
        // The program's sets are read above and written here: first what was asked, then what is.
        result = 0;
        for (int s = 0; s < 3; s++)
            if (sets[s]) memset(sets[s], 0, bytes);
        for (nfds_t i = 0; i < used; i++) {
            short events = list[i].events, got = list[i].revents;
            if ((events & POLLIN) && (got & (in | POLLHUP | POLLERR))) put_in_set(read, list[i].fd), result++;
            if ((events & POLLOUT) && (got & (out | POLLERR))) put_in_set(write, list[i].fd), result++;
            if ((events & POLLPRI) && (got & POLLPRI)) put_in_set(except, list[i].fd), result++;
        }
    }
    if (list != few) {
        int saved = errno;
        real.munmap(list, used * sizeof *list);
        errno = saved;
    }
    return result;
}
