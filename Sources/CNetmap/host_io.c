// Frames to and from descriptors of this host.
#define _GNU_SOURCE
#include "host_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

// RWF_NOWAIT, because O_NONBLOCK belongs to the file, and whoever else holds that can take it away.
int64_t nm_read(int fd, void *buffer, size_t size) {
    struct iovec piece = {buffer, size};
    ssize_t n;
    do n = preadv2(fd, &piece, 1, -1, RWF_NOWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EOPNOTSUPP) n = read(fd, buffer, size); // kernels before 5.11 for taps
    return n < 0 ? -errno : n;
}

int64_t nm_write_frame(int fd, const void *header, size_t header_length, const void *head, size_t head_length,
                       const void *segments, int count) {
    struct iovec pieces[NM_WRITE_SEGMENTS + 2];
    int n = 0;
    if (header_length) pieces[n++] = (struct iovec){(void *)header, header_length};
    pieces[n++] = (struct iovec){(void *)head, head_length};
    if (count > NM_WRITE_SEGMENTS) return -EMSGSIZE;
    // A Segment is an address and a length, as an iovec is.
    if (count > 0) memcpy(&pieces[n], segments, (size_t)count * sizeof pieces[0]);
    if (count > 0) n += count;
    ssize_t r;
    do r = pwritev2(fd, pieces, n, -1, RWF_NOWAIT);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno == EOPNOTSUPP) r = writev(fd, pieces, n);
    return r < 0 ? -errno : r;
}

int nm_tap_open(char name[16], int flags) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (flags & NM_TAP_VNET_HEADER) request.ifr_flags |= IFF_VNET_HDR;
    if (flags & NM_TAP_MULTI_QUEUE) request.ifr_flags |= IFF_MULTI_QUEUE;
    memcpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    memcpy(name, request.ifr_name, sizeof request.ifr_name);
    return fd;
}

int nm_tap_inspect(int fd, char name[16]) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0) return -errno;
    memcpy(name, request.ifr_name, sizeof request.ifr_name);
    int flags = 0;
    if (!(request.ifr_flags & IFF_TAP)) return -EMEDIUMTYPE;
    if (!(request.ifr_flags & IFF_NO_PI)) return -EPROTO;
    if (request.ifr_flags & IFF_VNET_HDR) flags |= NM_TAP_VNET_HEADER;
    if (request.ifr_flags & IFF_MULTI_QUEUE) flags |= NM_TAP_MULTI_QUEUE;
    return flags;
}

int nm_tap_set_offload(int fd, int header_size) {
    if (ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0) return -errno;
    int big_endian = 0;
    (void)ioctl(fd, TUNSETVNETBE, &big_endian); // not there on every kernel, and off by default
    unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
    // Kernels before 6.2 know no USO.
    if (ioctl(fd, TUNSETOFFLOAD, offload | TUN_F_USO4 | TUN_F_USO6) == 0) return 0;
    return ioctl(fd, TUNSETOFFLOAD, offload) < 0 ? -errno : 0;
}

int nm_tap_set_persistent(int fd, int on) { return ioctl(fd, TUNSETPERSIST, on) < 0 ? -errno : 0; }

// What a thread of its own does in another namespace: setns changes the thread that calls it, for good.
struct in_namespace {
    int namespace;
    int (*body)(void *);
    void *argument;
    int result;
};

static void *enter_namespace(void *argument) {
    struct in_namespace *job = argument;
    job->result = setns(job->namespace, CLONE_NEWNET) < 0 ? -errno : job->body(job->argument);
    return NULL;
}

static int in_namespace(int namespace, int (*body)(void *), void *argument) {
    if (namespace < 0) return body(argument);
    struct in_namespace job = {namespace, body, argument, 0};
    pthread_t thread;
    int e = pthread_create(&thread, NULL, enter_namespace, &job);
    if (e) return -e;
    pthread_join(thread, NULL);
    return job.result;
}

struct tap_request {
    char *name;
    int flags;
};

static int tap_open(void *argument) {
    struct tap_request *request = argument;
    return nm_tap_open(request->name, request->flags);
}

int nm_tap_open_in(int namespace, char name[16], int flags) {
    struct tap_request request = {name, flags};
    return in_namespace(namespace, tap_open, &request);
}

static int interface_socket(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return fd < 0 ? -errno : fd;
}

struct interface_request {
    const char *name;
    int mtu; // 0: leave it
    const char *bridge;
};

static int interface_set(void *argument) {
    struct interface_request *wish = argument;
    int fd = interface_socket();
    if (fd < 0) return fd;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, wish->name, sizeof request.ifr_name - 1);
    int r = 0;
    if (wish->mtu) {
        request.ifr_mtu = wish->mtu;
        r = ioctl(fd, SIOCSIFMTU, &request);
    }
    if (r == 0 && (r = ioctl(fd, SIOCGIFFLAGS, &request)) == 0 && !(request.ifr_flags & IFF_UP)) {
        request.ifr_flags |= IFF_UP;
        r = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    if (r == 0 && wish->bridge) {
        struct ifreq join;
        memset(&join, 0, sizeof join);
        strncpy(join.ifr_name, wish->bridge, sizeof join.ifr_name - 1);
        unsigned index = if_nametoindex(wish->name);
        join.ifr_ifindex = (int)index;
        r = index ? ioctl(fd, SIOCBRADDIF, &join) : -1;
        if (r < 0 && errno == EBUSY) r = 0; // it is on a bridge already: this one, or its owner's choice
    }
    int e = errno;
    close(fd);
    return r < 0 ? -e : 0;
}

int nm_interface_set_up(int namespace, const char *name, int mtu, const char *bridge) {
    struct interface_request request = {name, mtu, bridge};
    return in_namespace(namespace, interface_set, &request);
}

static int interface_mtu(void *argument) {
    struct ifreq *request = argument;
    int fd = interface_socket();
    if (fd < 0) return fd;
    int r = ioctl(fd, SIOCGIFMTU, request);
    int e = errno;
    close(fd);
    return r < 0 ? -e : request->ifr_mtu;
}

int nm_tap_mtu(int fd) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0) return -errno;
    // In the interface's own namespace, which may have moved since.
    int namespace = ioctl(fd, TUNGETDEVNETNS);
    if (namespace < 0) return -errno;
    int mtu = in_namespace(namespace, interface_mtu, &request);
    close(namespace);
    return mtu;
}

// fork and not posix_spawn, for which there is no way to ask for the signal at our death. Only
// async-signal-safe calls in the child: other threads' locks are as they were.
int nm_spawn(char *const *arguments, const int *from, const int *to, int count) {
    int report[2]; // the child's errno, or nothing when exec closed it
    if (pipe2(report, O_CLOEXEC) < 0) return -errno;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        int e = errno;
        close(report[0]);
        close(report[1]);
        return -e;
    }
    if (child == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent) _exit(1);
        int spare[16];
        int error = dup2(report[1], 1000) < 0 ? errno : 0;
        fcntl(1000, F_SETFD, FD_CLOEXEC);
        // Out of the way of the numbers that they are to get.
        for (int i = 0; i < count && i < 16; i++) spare[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 500);
        for (int i = 0; i < count && i < 16; i++)
            if (spare[i] < 0 || dup2(spare[i], to[i]) < 0) error = errno;
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
        if (null >= 0) dup2(null, 0);
        if (!error) {
            execvp(arguments[0], arguments);
            error = errno;
        }
        (void)!write(1000, &error, sizeof error);
        _exit(127);
    }
    close(report[1]);
    int error = 0;
    ssize_t n;
    do n = read(report[0], &error, sizeof error);
    while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n != sizeof error) return child;
    waitpid(child, NULL, 0);
    return -error;
}

static void *reap(void *process) {
    while (waitpid((pid_t)(intptr_t)process, NULL, 0) < 0 && errno == EINTR) {}
    return NULL;
}

void nm_reap_elsewhere(int process) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, reap, (void *)(intptr_t)process) == 0) pthread_detach(thread);
}

int nm_process_file(int process) {
    int fd = (int)syscall(SYS_pidfd_open, process, 0);
    return fd < 0 ? -errno : fd;
}
