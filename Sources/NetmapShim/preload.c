// The names of libc that programs call. Each decides in a few instructions whether the call is ours;
// everything that is not goes to libc at once.
//
// Nothing else is exported: symbols of a preloaded library get in front of everybody's.

#include "shim.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
// Two names for one function where a long is 64 bits wide; the declarations differ and the code does not.
#define ALIAS(name, of) __attribute__((visibility("default"), alias(#of)))

// libc's headers declare some of these as macros or with attributes that a definition must not repeat.
#undef open64
#undef openat64
#undef fcntl64
#undef mmap64

static inline bool is_device(const char *path) {
    // Most paths differ within the first few bytes.
    return path && UNLIKELY(path[0] == shim_device[0]) && UNLIKELY(strcmp(path, shim_device) == 0);
}

static inline bool needs_mode(int flags) { return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE; }

// A number that libc gave out: whatever we knew of it is over.
static inline int fresh(int fd) {
    if (UNLIKELY(fd >= 0 && fd_kind(fd) != FD_UNKNOWN)) descriptor_forget(fd);
    return fd;
}

// ---- open

EXPORT int open(const char *path, int flags, ...) {
    int mode = 0;
    if (needs_mode(flags)) {
        va_list list;
        va_start(list, flags);
        mode = va_arg(list, int);
        va_end(list);
    }
    if (UNLIKELY(is_device(path))) return request_open(flags);
    return fresh(real.open(path, flags, mode));
}

EXPORT int openat(int directory, const char *path, int flags, ...) {
    int mode = 0;
    if (needs_mode(flags)) {
        va_list list;
        va_start(list, flags);
        mode = va_arg(list, int);
        va_end(list);
    }
    if (UNLIKELY(is_device(path))) return request_open(flags);
    return fresh(real.openat(directory, path, flags, mode));
}

// What fortified programs call instead when there is no mode.
EXPORT int __open_2(const char *path, int flags) { return open(path, flags, 0); }
EXPORT int __openat_2(int directory, const char *path, int flags) { return openat(directory, path, flags, 0); }

ALIAS(open64, open) int open64(const char *path, int flags, ...);
ALIAS(openat64, openat) int openat64(int directory, const char *path, int flags, ...);
ALIAS(__open64_2, __open_2) int __open64_2(const char *path, int flags);
ALIAS(__openat64_2, __openat_2) int __openat64_2(int directory, const char *path, int flags);

// ---- close

EXPORT int close(int fd) {
    unsigned kind = fd_kind(fd);
    if (UNLIKELY(kind != FD_UNKNOWN && (unsigned)fd < FD_LIMIT)) {
        if (kind != FD_INTERNAL) {
            descriptor_forget(fd);
        } else if (process_is_ours()) {
            // The program counts through all numbers. It did not open this one.
            if (internal_is_ours(fd)) {
                errno = EBADF;
                return -1;
            }
            internal_close(fd, 0);
        }
    }
    return real.close(fd);
}

EXPORT int close_range(unsigned first, unsigned last, int flags) {
    if (first > last || (flags & CLOSE_RANGE_CLOEXEC) || !process_is_ours()) return real.close_range(first, last, flags);
    descriptor_forget_range(first, last);
    while (true) {
        int kept = internal_next(first);
        if (kept < 0 || (unsigned)kept > last) return real.close_range(first, last, flags);
        if ((unsigned)kept > first && real.close_range(first, (unsigned)kept - 1, flags) < 0) return -1;
        if ((unsigned)kept == last) return 0;
        first = (unsigned)kept + 1;
    }
}

EXPORT void closefrom(int lowest) {
    unsigned first = lowest < 0 ? 0 : (unsigned)lowest;
    if (close_range(first, ~0u, 0) == 0) return;
    long limit = sysconf(_SC_OPEN_MAX);
    for (long fd = (long)first; fd < limit; fd++) close((int)fd);
}

// ---- dup

EXPORT int dup(int fd) {
    int copy = real.dup(fd);
    if (UNLIKELY(copy >= 0 && (fd_kind(fd) >= FD_OURS || fd_kind(copy) != FD_UNKNOWN))) descriptor_copied(fd, copy);
    return copy;
}

static inline void before_dup(int from, int to) {
    if (LIKELY(fd_kind(to) == FD_UNKNOWN) || from == to || (unsigned)to >= FD_LIMIT || !process_is_ours()) return;
    if (fd_kind(to) == FD_INTERNAL) channel_make_way(to);
    else if (real.fcntl(from, F_GETFD, NULL) >= 0) descriptor_forget(to);
}

EXPORT int dup2(int from, int to) {
    before_dup(from, to);
    int copy = real.dup2(from, to);
    if (UNLIKELY(copy >= 0 && from != to && fd_kind(from) >= FD_OURS)) descriptor_copied(from, copy);
    return copy;
}

EXPORT int dup3(int from, int to, int flags) {
    before_dup(from, to);
    int copy = real.dup3(from, to, flags);
    if (UNLIKELY(copy >= 0 && fd_kind(from) >= FD_OURS)) descriptor_copied(from, copy);
    return copy;
}

EXPORT int fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    int result = real.fcntl(fd, command, argument);
    if (LIKELY(command != F_DUPFD && command != F_DUPFD_CLOEXEC) || result < 0) return result;
    if (UNLIKELY(fd_kind(fd) >= FD_OURS || fd_kind(result) != FD_UNKNOWN)) descriptor_copied(fd, result);
    return result;
}
ALIAS(fcntl64, fcntl) int fcntl64(int fd, int command, ...);

// ---- ioctl

static __attribute__((noinline)) int ioctl_of_ours(int fd, uint32_t request, void *argument, bool *was_ours) {
    // A sync is too frequent to ask the kernel whose number it is; everything else is not.
    bool is_sync = request == NM_NIOCTXSYNC || request == NM_NIOCRXSYNC;
    struct binding *b = is_sync ? descriptor_pin(fd) : NULL;
    if (!b) b = descriptor_identify(fd);
    *was_ours = b;
    if (!b) return 0;
    int result = request_ioctl(b, fd, request, argument);
    descriptor_unpin(b);
    return result;
}

EXPORT int ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    uint32_t number = (uint32_t)request; // programs pass it as an int, too
    if (UNLIKELY(fd_kind(fd) >= FD_OURS && (unsigned)fd < FD_LIMIT) || UNLIKELY(request_is_netmap(number))) {
        bool was_ours;
        int result = ioctl_of_ours(fd, number, argument, &was_ours);
        if (was_ours) return result;
    }
    return real.ioctl(fd, request, argument);
}

// ---- mmap

EXPORT void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (fd >= 0 && !(flags & MAP_ANONYMOUS)) {
        if (UNLIKELY(fd_kind(fd) >= FD_OURS)) {
            struct binding *b = descriptor_identify(fd);
            if (b) {
                void *made = mapping_map(b, fd, address, length, protection, flags, offset);
                descriptor_unpin(b);
                return made;
            }
        }
        void *made = real.mmap(address, length, protection, flags, fd, offset);
        if (LIKELY(made != MAP_FAILED)) {
            if (UNLIKELY(mapping_entries && (flags & MAP_FIXED))) mapping_unmapped(address, length);
            return made;
        }
        // The kernel maps no sockets: a descriptor that came from another process is looked at here.
        int error = errno;
        struct binding *b = error == ENODEV ? descriptor_identify(fd) : NULL;
        errno = error;
        if (!b) return made;
        made = mapping_map(b, fd, address, length, protection, flags, offset);
        descriptor_unpin(b);
        return made;
    }
    void *made = real.mmap(address, length, protection, flags, fd, offset);
    if (UNLIKELY(mapping_entries && (flags & MAP_FIXED) && made != MAP_FAILED)) mapping_unmapped(address, length);
    return made;
}
ALIAS(mmap64, mmap) void *mmap64(void *, size_t, int, int, int, off_t);

EXPORT int munmap(void *address, size_t length) {
    int result = real.munmap(address, length);
    if (UNLIKELY(mapping_entries && result == 0)) mapping_unmapped(address, length);
    return result;
}

// ---- poll and select

static inline bool may_have_ours(void) { return UNLIKELY(__atomic_load_n(&bindings_used, __ATOMIC_RELAXED) > 0); }

EXPORT int poll(struct pollfd *fds, nfds_t count, int timeout) {
    if (LIKELY(!may_have_ours()) || !wait_has_ours(fds, count)) return real.poll(fds, count, timeout);
    struct timespec t = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000l};
    return wait_poll(fds, count, timeout < 0 ? NULL : &t, NULL);
}

EXPORT int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    bool is_valid = !timeout || (timeout->tv_sec >= 0 && timeout->tv_nsec >= 0 && timeout->tv_nsec < 1000000000);
    if (LIKELY(!may_have_ours()) || !is_valid || !wait_has_ours(fds, count)) return real.ppoll(fds, count, timeout, mask);
    return wait_poll(fds, count, timeout, mask);
}

// What fortified programs call: with the size of the array, which must suffice.
EXPORT int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t size) {
    if (size / sizeof *fds < count) abort();
    return poll(fds, count, timeout);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t size) {
    if (size / sizeof *fds < count) abort();
    return ppoll(fds, count, timeout, mask);
}

EXPORT int select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout) {
    if (LIKELY(!may_have_ours()) || count <= 0 || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
        return real.select(count, read, write, except, timeout);
    struct timespec t = {0};
    if (timeout) t = (struct timespec){timeout->tv_sec + timeout->tv_usec / 1000000, timeout->tv_usec % 1000000 * 1000};
    bool was_ours;
    int result = wait_select(count, read, write, except, timeout ? &t : NULL, NULL, &was_ours);
    if (!was_ours) return real.select(count, read, write, except, timeout);
    if (timeout) *timeout = (struct timeval){t.tv_sec, t.tv_nsec / 1000};
    return result;
}

EXPORT int pselect(int count, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout, const sigset_t *mask) {
    bool is_valid = !timeout || (timeout->tv_sec >= 0 && timeout->tv_nsec >= 0 && timeout->tv_nsec < 1000000000);
    if (LIKELY(!may_have_ours()) || count <= 0 || !is_valid) return real.pselect(count, read, write, except, timeout, mask);
    struct timespec t = {0};
    if (timeout) t = *timeout;
    bool was_ours;
    int result = wait_select(count, read, write, except, timeout ? &t : NULL, mask, &was_ours);
    return was_ours ? result : real.pselect(count, read, write, except, timeout, mask);
}

// ---- epoll

EXPORT int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    unsigned kind = fd_kind(fd);
    if (UNLIKELY(kind >= FD_OURS || (kind == FD_UNKNOWN && may_have_ours()))) {
        struct binding *b = descriptor_identify(fd);
        if (b) {
            int result = epoll_control(b, epoll, operation, fd, event);
            descriptor_unpin(b);
            return result;
        }
    }
    return real.epoll_ctl(epoll, operation, fd, event);
}

static inline bool may_await_ours(void) { return UNLIKELY(__atomic_load_n(&epoll_entries, __ATOMIC_RELAXED) > 0); }

static int await_ms(int epoll, struct epoll_event *events, int room, int timeout, const sigset_t *mask) {
    struct timespec t = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000l};
    return epoll_await(epoll, events, room, timeout < 0 ? NULL : &t, mask);
}

EXPORT int epoll_wait(int epoll, struct epoll_event *events, int room, int timeout) {
    if (LIKELY(!may_await_ours())) return real.epoll_wait(epoll, events, room, timeout);
    return await_ms(epoll, events, room, timeout, NULL);
}

EXPORT int epoll_pwait(int epoll, struct epoll_event *events, int room, int timeout, const sigset_t *mask) {
    if (LIKELY(!may_await_ours())) return real.epoll_pwait(epoll, events, room, timeout, mask);
    return await_ms(epoll, events, room, timeout, mask);
}

EXPORT int epoll_pwait2(int epoll, struct epoll_event *events, int room, const struct timespec *timeout, const sigset_t *mask) {
    if (LIKELY(!may_await_ours())) return real.epoll_pwait2(epoll, events, room, timeout, mask);
    return epoll_await(epoll, events, room, timeout, mask);
}
