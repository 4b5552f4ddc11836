#define _GNU_SOURCE
#include "linux_shims.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static int result(int r) { return r < 0 ? -errno : r; }

int nm_memfd_create(const char *name, uint64_t size) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -errno;
    if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd;
}

int nm_eventfd(void) { return result(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

int nm_eventfd_ring(int fd) {
    uint64_t one = 1;
    // EAGAIN means that the counter is full: the other side has news already.
    return write(fd, &one, sizeof one) < 0 && errno != EAGAIN ? -errno : 0;
}

int nm_eventfd_drain(int fd) {
    uint64_t n;
    struct iovec iov = {.iov_base = &n, .iov_len = sizeof n};
    // Not by O_NONBLOCK, which whoever else holds the file can take away.
    ssize_t r = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
    if (r < 0 && errno == EOPNOTSUPP) r = read(fd, &n, sizeof n); // before Linux 5.8
    return r < 0 && errno != EAGAIN ? -errno : 0;
}

// The head of the ring at the address that a context is; the kernel writes `tail`, the reader `head`.
struct completions {
    uint32_t id, count, head, tail, magic;
};
enum { COMPLETIONS_MAGIC = 0xa10a10a1 };

int nm_signaller_open(struct nm_signaller *signaller) {
    *signaller = (struct nm_signaller){.null = -1};
    aio_context_t context = 0;
    if (syscall(SYS_io_setup, 4, &context) < 0) return -errno;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int e = fd < 0 ? -errno : 0;
    if (e == 0 && ((struct completions *)context)->magic != COMPLETIONS_MAGIC) e = -ENOSYS;
    if (e < 0) {
        if (fd >= 0) close(fd);
        syscall(SYS_io_destroy, context);
        return e;
    }
    *signaller = (struct nm_signaller){.context = context, .null = fd};
    return 0;
}

void nm_signaller_close(struct nm_signaller signaller) {
    if (signaller.context) syscall(SYS_io_destroy, (aio_context_t)signaller.context);
    if (signaller.null >= 0) close(signaller.null);
}

int nm_signal(struct nm_signaller signaller, int fd) {
    if (!signaller.context) return nm_eventfd_ring(fd);
    struct iocb request = {
        .aio_lio_opcode = IOCB_CMD_PREAD,
        .aio_fildes = (uint32_t)signaller.null,
        .aio_flags = IOCB_FLAG_RESFD,
        .aio_resfd = (uint32_t)fd,
    };
    struct iocb *requests[] = {&request};
    long n;
    do n = syscall(SYS_io_submit, (aio_context_t)signaller.context, 1L, requests);
    while (n < 0 && errno == EINTR);
    // No memory for a request: rather the risk of waiting than a guest that nobody wakes.
    if (n < 0) return nm_eventfd_ring(fd);
    // It is complete already. Nobody wants to know; what is not taken out would fill the ring.
    struct completions *ring = (struct completions *)signaller.context;
    __atomic_store_n(&ring->head, __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
    return 0;
}

int nm_is_eventfd(int fd) {
    char path[64], target[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) return -errno;
    target[n] = 0;
    return strcmp(target, "anon_inode:[eventfd]") == 0;
}

int nm_open_read_write(const char *path) { return result(open(path, O_RDWR | O_CLOEXEC)); }

int nm_open_read(const char *path) { return result(open(path, O_RDONLY | O_CLOEXEC)); }

int nm_open_own(const char *path, int mode) {
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (mode ? O_CREAT | O_EXCL : 0);
    int fd = result(open(path, flags, mode));
    if (fd < 0) return fd;
    struct stat s;
    if (fstat(fd, &s) < 0 || !S_ISREG(s.st_mode) || s.st_uid != geteuid() || s.st_nlink != 1) {
        close(fd);
        return -EPERM;
    }
    return fd;
}

int nm_file_data(int fd, int64_t from, int64_t *start, int64_t *end) {
    off_t data = lseek(fd, from, SEEK_DATA);
    if (data < 0) return errno == ENXIO ? 0 : -errno;
    off_t hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return -errno;
    *start = data;
    *end = hole;
    return 1;
}

int nm_set_nonblocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : result(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int nm_set_close_on_exec(int fd, int on) { return result(fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0)); }

int nm_epoll_create(void) { return result(epoll_create1(EPOLL_CLOEXEC)); }

static int epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event e = {.events = events, .data.u64 = token};
    return result(epoll_ctl(epoll, operation, fd, &e));
}

int nm_epoll_add(int epoll, int fd, uint32_t events, uint64_t token) {
    return epoll_control(epoll, EPOLL_CTL_ADD, fd, events, token);
}

int nm_epoll_modify(int epoll, int fd, uint32_t events, uint64_t token) {
    return epoll_control(epoll, EPOLL_CTL_MOD, fd, events, token);
}

int nm_epoll_remove(int epoll, int fd) { return epoll_control(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

int nm_wait_readable(const int *fds, int count, int64_t timeout_ns) {
    struct pollfd p[4];
    if (count < 0 || count > 4) return -EINVAL;
    for (int i = 0; i < count; i++) p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return result(ppoll(p, (nfds_t)count, timeout_ns < 0 ? NULL : &t, NULL));
}

int nm_epoll_wait(int epoll, struct nm_event *events, int capacity, int timeout_ms) {
    struct epoll_event buffer[64];
    int n = epoll_wait(epoll, buffer, capacity < 64 ? capacity : 64, timeout_ms);
    if (n < 0) return errno == EINTR ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        events[i].token = buffer[i].data.u64;
        events[i].events = buffer[i].events;
    }
    return n;
}

int nm_signalfd(const int *signals, int count) {
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < count; i++) sigaddset(&set, signals[i]);
    int e = pthread_sigmask(SIG_BLOCK, &set, NULL);
    return e ? -e : result(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

int nm_signalfd_read(int fd) {
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == sizeof info ? (int)info.ssi_signo : -errno;
}

static int unix_address(struct sockaddr_un *address, const char *path) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

static int unix_socket(int type) { return result(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)); }

static int listen_at(const char *path, int type) {
    struct sockaddr_un address;
    int e = unix_address(&address, path);
    if (e < 0) return e;
    int fd = unix_socket(type);
    if (fd < 0) return fd;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 64) < 0) {
        e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

static int connect_to(const char *path, int type) {
    struct sockaddr_un address;
    int e = unix_address(&address, path);
    if (e < 0) return e;
    int fd = unix_socket(type);
    if (fd < 0) return fd;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        e = -errno;
        close(fd);
        return e;
    }
    return fd;
}

int nm_unix_listen(const char *path) { return listen_at(path, SOCK_STREAM); }
int nm_unix_connect(const char *path) { return connect_to(path, SOCK_STREAM); }
int nm_unix_listen_packets(const char *path) { return listen_at(path, SOCK_SEQPACKET); }
int nm_unix_connect_packets(const char *path) { return connect_to(path, SOCK_SEQPACKET); }

int nm_socket_cookie(int fd, uint64_t *cookie) {
    socklen_t n = sizeof *cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &n) < 0 ? -errno : 0;
}

void nm_doorbell(int socket) { (void)send(socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); }

// Several workers wait for the same socket, edge-triggered: each is woken by a byte's arrival, and then asks the
// kernel whether there is anything. Who found it empty because another was faster would sleep on, and who
// rang believes to have rung. So it is never emptied; it must only not get full, at some 270 bytes.
enum { BELL_FULL = 64, BELL_TAKEN = 16 };

void nm_doorbell_drain(int socket) {
    int waiting = 0;
    if (ioctl(socket, FIONREAD, &waiting) < 0 || waiting < BELL_FULL) return;
    char byte;
    // A few, so that something is left whoever else does the same.
    for (int i = 0; i < BELL_TAKEN; i++) {
        if (recv(socket, &byte, 1, MSG_DONTWAIT) <= 0) return;
    }
}

int nm_unix_accept(int fd) { return result(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

int nm_unix_peer_uid(int fd, uint32_t *uid, int32_t *pid) {
    struct ucred c;
    socklen_t n = sizeof c;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &c, &n) < 0) return -errno;
    *uid = c.uid;
    *pid = c.pid;
    return 0;
}

enum { MAX_FDS = 32 };

int64_t nm_receive(int fd, void *buffer, size_t size, int *fds, int *fd_count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    } control;
    struct iovec iov = {.iov_base = buffer, .iov_len = size};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    int room = fd_count ? *fd_count : 0, count = 0, lost = 0;
    ssize_t n;
    do n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        int came = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < came; i++) {
            int received;
            memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof received);
            if (count < room) {
                fds[count++] = received;
            } else {
                close(received);
                lost = 1;
            }
        }
    }
    if (fd_count) *fd_count = count;
    if (lost || (m.msg_flags & MSG_CTRUNC)) {
        for (int i = 0; i < count; i++) close(fds[i]);
        if (fd_count) *fd_count = 0;
        return -EMSGSIZE;
    }
    return n;
}

int64_t nm_send(int fd, const void *buffer, size_t size, const int *fds, int fd_count) {
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * MAX_FDS)];
    } control;
    struct iovec iov = {.iov_base = (void *)buffer, .iov_len = size};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd_count > MAX_FDS) return -EMSGSIZE;
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = control.bytes;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * fd_count);
    }
    ssize_t n;
    do n = sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int nm_notify_datagram(const char *path, const char *message) {
    struct sockaddr_un address;
    int e = unix_address(&address, path);
    if (e < 0) return e;
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + strlen(path);
    if (path[0] == '@') address.sun_path[0] = 0; // an abstract socket
    else length += 1;
    int fd = result(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (fd < 0) return fd;
    ssize_t n = sendto(fd, message, strlen(message), MSG_NOSIGNAL, (struct sockaddr *)&address, length);
    e = n < 0 ? -errno : 0;
    close(fd);
    return e;
}

int nm_pin_thread(int cpu) {
    cpu_set_t set;
    if (cpu < 0 || cpu >= CPU_SETSIZE) return -EINVAL;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return result(sched_setaffinity(0, sizeof set, &set));
}

int nm_thread_id(void) { return (int)syscall(SYS_gettid); }

static _Thread_local uint32_t own_thread;
static void forget_own_thread(void) { own_thread = 0; }
static void watch_forks(void) { pthread_atfork(NULL, NULL, forget_own_thread); }

uint32_t nm_own_thread(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (own_thread == 0) {
        pthread_once(&once, watch_forks);
        own_thread = (uint32_t)nm_thread_id();
    }
    return own_thread;
}

void nm_name_thread(const char *name) { prctl(PR_SET_NAME, name); }

int64_t nm_thread_cpu_ns(int pid, int tid) {
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -errno;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0) return -EIO;
    text[n] = 0;
    return strtoll(text, NULL, 10);
}

int nm_lock_file(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return -errno;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    return fd;
}

uint64_t nm_monotonic_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint32_t nm_monotonic_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint32_t)t.tv_sec;
}

int64_t nm_file_size(int fd) {
    struct stat s;
    return fstat(fd, &s) < 0 ? -errno : (int64_t)s.st_size;
}

int64_t nm_file_block_size(int fd) {
    struct stat s;
    return fstat(fd, &s) < 0 ? -errno : (int64_t)s.st_blksize;
}

static void *close_it(void *fd) {
    close((int)(intptr_t)fd);
    return NULL;
}

void nm_close_elsewhere(int fd) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 1 << 16);
    (void)pthread_create(&thread, &attributes, close_it, (void *)(intptr_t)fd); // without one, it stays open
    pthread_attr_destroy(&attributes);
}

int nm_file_can_stall(int fd) {
    // memfd, /dev/shm and hugetlbfs: the only ones that have seals.
    if (fcntl(fd, F_GET_SEALS) >= 0) return 0;
    char line[4096], name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(name, line, sizeof line - 1);
    if (n > 0 && line[0] != '/') return 0; // an eventfd, a socket, a pipe
    int id = -1, seen, result = 1; // a mount that is not ours to see is not one to wait for
    snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
    FILE *file = fopen(name, "re");
    if (!file) return -errno;
    while (id < 0 && fgets(line, sizeof line, file)) (void)sscanf(line, "mnt_id: %d", &id);
    fclose(file);
    if (!(file = fopen("/proc/self/mountinfo", "re"))) return -errno;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%d", &seen) != 1 || seen != id) continue;
        const char *type = strstr(line, " - ");
        static const char *const far[] = {"fuse", "nfs", "cifs", "smb", "9p", "ceph", "afs", "coda", "virtiofs"};
        result = !type;
        for (size_t i = 0; type && i < sizeof far / sizeof *far; i++) result |= !strncmp(type + 3, far[i], strlen(far[i]));
        break;
    }
    fclose(file);
    return result;
}

// One table for the process: a signal handler can be given nothing else. Slots are claimed with a
// compare-and-swap on `length`, published by `base`, and read by the handler on any thread.
enum { GUARDS = 4096 };
static struct {
    char *base;
    size_t length;
    int tripped;
} guards[GUARDS];

static void guard_handler(int signal, siginfo_t *info, void *context) {
    (void)context;
    int saved = errno;
    char *address = info->si_addr;
    for (int i = 0; i < GUARDS; i++) {
        char *base = __atomic_load_n(&guards[i].base, __ATOMIC_ACQUIRE);
        if (!base || address < base || address >= base + guards[i].length) continue;
        void *zeroes = mmap(base, guards[i].length, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
        if (zeroes == MAP_FAILED) break;
        __atomic_store_n(&guards[i].tripped, 1, __ATOMIC_RELEASE);
        errno = saved;
        return;
    }
    // Not guest memory: our own bug, so die of it as usual.
    struct sigaction standard = {.sa_handler = SIG_DFL};
    sigaction(signal, &standard, NULL);
    errno = saved;
}

int nm_guard_install(void) {
    struct sigaction action = {.sa_sigaction = guard_handler, .sa_flags = SA_SIGINFO | SA_NODEFER};
    return result(sigaction(SIGBUS, &action, NULL));
}

int nm_guard_add(void *base, size_t length) {
    for (int i = 0; i < GUARDS; i++) {
        size_t unused = 0;
        if (!__atomic_compare_exchange_n(&guards[i].length, &unused, length, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) continue;
        __atomic_store_n(&guards[i].tripped, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&guards[i].base, (char *)base, __ATOMIC_RELEASE);
        return i;
    }
    return -ENOSPC;
}

void nm_guard_remove(int guard) {
    if (guard < 0 || guard >= GUARDS) return;
    __atomic_store_n(&guards[guard].base, NULL, __ATOMIC_RELEASE);
    __atomic_store_n(&guards[guard].length, 0, __ATOMIC_RELEASE);
}

int nm_guard_tripped(int guard) {
    return guard >= 0 && guard < GUARDS ? __atomic_load_n(&guards[guard].tripped, __ATOMIC_ACQUIRE) : 0;
}
