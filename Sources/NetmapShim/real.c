// libc's own functions behind the names that we took, and a few things that all files need.

#include "shim.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// Another library's constructor may call us before ours has run, and dlsym may allocate: a program's
// allocator that maps memory for its first time would then wait for itself. Until our constructor has
// looked them up, plain system calls do.

static int raw_openat(int directory, const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    int mode = va_arg(list, int);
    va_end(list);
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

static int raw_open(const char *path, int flags, ...) {
    va_list list;
    va_start(list, flags);
    int mode = va_arg(list, int);
    va_end(list);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

static int raw_close(int fd) { return (int)syscall(SYS_close, fd); }

static int raw_close_range(unsigned first, unsigned last, int flags) {
    return (int)syscall(SYS_close_range, first, last, flags);
}

static int raw_dup(int fd) { return (int)syscall(SYS_dup, fd); }

static int raw_dup3(int from, int to, int flags) { return (int)syscall(SYS_dup3, from, to, flags); }

static int raw_fcntl(int fd, int command, ...) {
    va_list list;
    va_start(list, command);
    void *argument = va_arg(list, void *);
    va_end(list);
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

static int raw_dup2(int from, int to) {
    if (from == to) return raw_fcntl(from, F_GETFD, NULL) < 0 ? -1 : to;
    return raw_dup3(from, to, 0);
}

static int raw_ioctl(int fd, unsigned long request, ...) {
    va_list list;
    va_start(list, request);
    void *argument = va_arg(list, void *);
    va_end(list);
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

static void *raw_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

static int raw_munmap(void *address, size_t length) { return (int)syscall(SYS_munmap, address, length); }

static int raw_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask) {
    struct timespec copy;
    if (timeout) copy = *timeout;
    return (int)syscall(SYS_ppoll, fds, count, timeout ? &copy : NULL, mask, _NSIG / 8);
}

static int raw_poll(struct pollfd *fds, nfds_t count, int timeout) {
    struct timespec t = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000l};
    return raw_ppoll(fds, count, timeout < 0 ? NULL : &t, NULL);
}

static int raw_pselect(int count, fd_set *read, fd_set *write, fd_set *except, const struct timespec *timeout,
                       const sigset_t *mask) {
    struct timespec copy;
    if (timeout) copy = *timeout;
    struct {
        const sigset_t *set;
        size_t size;
    } signals = {mask, _NSIG / 8};
    return (int)syscall(SYS_pselect6, count, read, write, except, timeout ? &copy : NULL, &signals);
}

static int raw_select(int count, fd_set *read, fd_set *write, fd_set *except, struct timeval *timeout) {
    struct timespec t;
    if (timeout) t = (struct timespec){timeout->tv_sec, timeout->tv_usec * 1000};
    return raw_pselect(count, read, write, except, timeout ? &t : NULL, NULL);
}

static int raw_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

static int raw_epoll_pwait(int epoll, struct epoll_event *events, int room, int timeout, const sigset_t *mask) {
    return (int)syscall(SYS_epoll_pwait, epoll, events, room, timeout, mask, _NSIG / 8);
}

static int raw_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout) {
    return raw_epoll_pwait(epoll, events, room, timeout, NULL);
}

static int raw_epoll_pwait2(int epoll, struct epoll_event *events, int room, const struct timespec *timeout,
                            const sigset_t *mask) {
    int result = (int)syscall(SYS_epoll_pwait2, epoll, events, room, timeout, mask, _NSIG / 8);
    if (result >= 0 || errno != ENOSYS) return result;
    // Kernels before 5.11 count milliseconds only; to wake too late is better than to spin.
    int64_t ms = timeout ? timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000 : -1;
    return raw_epoll_pwait(epoll, events, room, ms > INT32_MAX ? INT32_MAX : (int)ms, mask);
}

struct real real = {
    .openat = raw_openat,
    .open = raw_open,
    .close = raw_close,
    .close_range = raw_close_range,
    .dup = raw_dup,
    .dup2 = raw_dup2,
    .dup3 = raw_dup3,
    .fcntl = raw_fcntl,
    .ioctl = raw_ioctl,
    .mmap = raw_mmap,
    .munmap = raw_munmap,
    .poll = raw_poll,
    .ppoll = raw_ppoll,
    .select = raw_select,
    .pselect = raw_pselect,
    .epoll_ctl = raw_epoll_ctl,
    .epoll_wait = raw_epoll_wait,
    .epoll_pwait = raw_epoll_pwait,
    .epoll_pwait2 = raw_epoll_pwait2,
};

char shim_device[256] = "/dev/netmap";
char shim_socket[108];

// An absolute path, whatever the program's working directory is later.
static void set_path(char *to, size_t room, const char *path) {
    if (path[0] == '/') {
        snprintf(to, room, "%s", path);
        return;
    }
    char directory[4096];
    if (!getcwd(directory, sizeof directory)) directory[0] = 0;
    size_t length = strlen(directory);
    if (length + 1 + strlen(path) + 1 > room) return;
    snprintf(to, room, "%.*s/%s", (int)length, directory, path);
}

// Where an engine listens if nobody says it: as the command line tools look for it.
static void set_standard_socket(void) {
    const char *directory = getenv("WIREVALE_RUNTIME_DIR");
    char path[sizeof shim_socket];
    if (directory && *directory) snprintf(path, sizeof path, "%s/netmap.sock", directory);
    else if (geteuid() == 0) snprintf(path, sizeof path, "/run/wirevale/netmap.sock");
    else if ((directory = getenv("XDG_RUNTIME_DIR")) && *directory)
        snprintf(path, sizeof path, "%s/wirevale/netmap.sock", directory);
    else snprintf(path, sizeof path, "/tmp/wirevale-%u/netmap.sock", (unsigned)geteuid());
    set_path(shim_socket, sizeof shim_socket, path);
}

__attribute__((constructor)) static void start(void) {
    const char *device = getenv("WIREVALE_DEVNAME");
    if (device && *device && strlen(device) < sizeof shim_device) strcpy(shim_device, device);
    const char *socket = getenv("WIREVALE_NETMAP");
    if (socket && *socket) set_path(shim_socket, sizeof shim_socket, socket);
    else set_standard_socket();
#define FIND(name)                                                                       \
    do {                                                                                 \
        void *found = dlsym(RTLD_NEXT, #name);                                           \
        if (found) __atomic_store_n((void **)&real.name, found, __ATOMIC_RELAXED);       \
    } while (0)
    FIND(openat);
    FIND(open);
    FIND(close);
    FIND(close_range);
    FIND(dup);
    FIND(dup2);
    FIND(dup3);
    FIND(fcntl);
    FIND(ioctl);
    FIND(mmap);
    FIND(munmap);
    FIND(poll);
    FIND(ppoll);
    FIND(select);
    FIND(pselect);
    FIND(epoll_ctl);
    FIND(epoll_wait);
    FIND(epoll_pwait);
    FIND(epoll_pwait2);
#undef FIND
    descriptor_init();
}

void shim_say(bool *flag, const char *format, ...) {
    if (flag && __atomic_exchange_n(flag, true, __ATOMIC_RELAXED)) return;
    char text[512] = "wirevale: ";
    va_list list;
    va_start(list, format);
    int length = vsnprintf(text + 10, sizeof text - 11, format, list);
    va_end(list);
    if (length < 0) return;
    size_t end = 10 + (size_t)length;
    if (end > sizeof text - 2) end = sizeof text - 2;
    text[end] = '\n';
    if (write(2, text, end + 1) < 0) return;
}

ssize_t user_read_pieces(const struct iovec *to, const struct iovec *from, int count) {
    ssize_t read = process_vm_readv(getpid(), to, (unsigned long)count, from, (unsigned long)count, 0);
    if (read >= 0 || (errno != ENOSYS && errno != EPERM)) return read;
    // A sandbox forbids it: then a bad pointer is the program's fault and end.
    read = 0;
    for (int i = 0; i < count; i++) {
        memcpy(to[i].iov_base, from[i].iov_base, to[i].iov_len);
        read += (ssize_t)to[i].iov_len;
    }
    return read;
}

int user_read(void *to, uint64_t from, size_t length) {
    if (length == 0) return 0;
    struct iovec local = {to, length}, remote = {(void *)(uintptr_t)from, length};
    return user_read_pieces(&local, &remote, 1) == (ssize_t)length ? 0 : EFAULT;
}

int user_write(uint64_t to, const void *from, size_t length) {
    if (length == 0) return 0;
    struct iovec local = {(void *)(uintptr_t)from, length}, remote = {(void *)(uintptr_t)to, length};
    ssize_t written = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);
    if (written == (ssize_t)length) return 0;
    if (written < 0 && (errno == ENOSYS || errno == EPERM)) {
        memcpy((void *)(uintptr_t)to, from, length);
        return 0;
    }
    return EFAULT;
}

static __thread int32_t current_thread __attribute__((tls_model("initial-exec")));

int32_t thread_id(void) {
    if (UNLIKELY(!current_thread)) current_thread = (int32_t)syscall(SYS_gettid);
    return current_thread;
}

void thread_forget(void) { current_thread = 0; }
