// A netmap descriptor is one in whatever process and under whatever number it turns up, and nothing else
// is taken for one. Traps 43, 44, 49.

#include "check.h"

#include <linux/close_range.h>

static bool syncs(int fd) { return ioctl(fd, NIOCRXSYNC, NULL) == 0; }

int received(int argc, char **argv) {
    int fd = atoi(argv[2]);
    if (argc > 3) fd = receive_fd(fd);
    struct port p = {.fd = fd, .reg = {.nr_memsize = 4096 * 4}};
    // Without any request before: the first thing is a mapping, as a client of a descriptor server does it.
    map_port(&p);
    if (p.memory == MAP_FAILED) return 2;
    struct pollfd poller = {fd, POLLIN, 0};
    if (poll(&poller, 1, 0) != 1 || poller.revents != POLLIN) return 3;
    if (p.rx[0]->tail != 3) return 4;
    return syncs(fd) ? 0 : 5;
}

static int exec_with(void *argument) {
    char number[16];
    snprintf(number, sizeof number, "%d", *(int *)argument);
    execl(self(), self(), "received", number, NULL);
    return 99;
}

static int exec_and_receive(void *argument) {
    char number[16];
    snprintf(number, sizeof number, "%d", *(int *)argument);
    execl(self(), self(), "received", number, "scm", NULL);
    return 99;
}

static int sync_in_child(void *argument) { return syncs(*(int *)argument) ? 0 : 1; }

static int child_opens(void *argument) {
    (void)argument;
    struct port p = open_port("forked", 0);
    return p.memory != MAP_FAILED && syncs(p.fd) ? 0 : 1;
}

// What descriptor servers do: every number is closed, without looking.
static int daemon_by_close(void *argument) {
    int fd = *(int *)argument;
    for (int i = 0; i < 1024; i++)
        if (i > 2) close(i);
    if (syncs(fd)) return 1;
    struct port p = open_port("daemon", 0);
    if (p.fd > 8) return 2; // the lowest free number, as if there were no library
    for (int i = 0; i < 1024; i++)
        if (i > 2 && i != p.fd) close(i);
    return syncs(p.fd) && look_at(p.fd).descriptors > 0 ? 0 : 3;
}

static int daemon_by_range(void *argument) {
    int fd = *(int *)argument;
    if (close_range(3, ~0u, 0)) return 1;
    if (syncs(fd)) return 2;
    struct port p = open_port("daemon2", 0);
    if (close_range(3, (unsigned)p.fd - 1, 0) && p.fd > 3) return 3;
    if (close_range((unsigned)p.fd + 1, ~0u, CLOSE_RANGE_UNSHARE)) return 4;
    if (!syncs(p.fd) || !look_at(p.fd).descriptors) return 5;
    closefrom(3);
    return syncs(p.fd) ? 6 : 0;
}

// And what nobody can see: the library's own descriptors go too, and their numbers are used again.
static int daemon_behind_our_back(void *argument) {
    int fd = *(int *)argument, ends[2];
    syscall(SYS_close_range, 3, ~0u, 0);
    for (int i = 0; i < 600; i++)
        if (pipe(ends)) break;
    if (ioctl(fd, NIOCGINFO, &(struct nmreq){.nr_version = 14}) == 0 || errno != ENOTTY) return 1;
    for (int i = 3; i < 1100; i++) syscall(SYS_close, i);
    struct port p = open_port("daemon3", 0);
    return syncs(p.fd) && look_at(p.fd).channels > 0 ? 0 : 2;
}

// The highest number that is open: the library's own connection, if the program has none so high.
static int highest(void) {
    for (int fd = 1023; fd > 2; fd--)
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF) return fd;
    return -1;
}

// The library's own number becomes a file of the program's, unseen, which is closed once, and nobody else's with it.
static int daemon_that_takes_our_number(void *argument) {
    (void)argument;
    open_port("taken", 0);
    int own = highest(), file = open("/dev/null", O_RDONLY);
    if (own < 20 || syscall(SYS_dup3, file, own, 0) != own) return 1;
    return close(own) == 0 ? 0 : 2;
}

// Numbers beyond all that can be open are nobody's.
static int daemon_beyond_all_numbers(void *argument) {
    int fd = *(int *)argument;
    uint64_t began = now_us();
    if (close_range(0x80000000u, ~0u, 0) && errno != EINVAL) return 1;
    if (now_us() - began > 200000) return 2;
    return syncs(fd) ? 0 : 3;
}

// The program wants the library's own number, again and again.
static int daemon_that_wants_our_number(void *argument) {
    int fd = *(int *)argument;
    struct port p = open_port("wanted", 0);
    uint32_t channels = look_at(fd).channels;
    int last = highest();
    for (int own = last - 3; own <= last + 3; own++) {
        if (own < 20 || dup2(0, own) != own) return 1;
        // Something that asks the engine.
        if (ioctl(p.fd, NIOCGINFO, &(struct nmreq){.nr_version = 14}) && errno == ENOTTY) return 2;
        usleep(5000);
        if (look_at(fd).channels != channels) return 3;
        close(own);
    }
    return 0;
}

void identity(void) {
    struct port p = open_port("id", 0);
    CHECK(p.memory != MAP_FAILED, "open, register and map");
    CHECK(p.fd >= 0 && p.fd < 8, "the descriptor has a low number (%d)", p.fd);
    int copies[] = {dup(p.fd), dup2(p.fd, 100), dup3(p.fd, 101, O_CLOEXEC), fcntl(p.fd, F_DUPFD, 200),
                    fcntl(p.fd, F_DUPFD_CLOEXEC, 200)};
    bool all = true;
    for (int i = 0; i < 5; i++) all &= copies[i] >= 0 && syncs(copies[i]);
    CHECK(all, "dup, dup2, dup3, F_DUPFD, F_DUPFD_CLOEXEC");
    CHECK(dup2(p.fd, p.fd) == p.fd && syncs(p.fd), "dup2 onto itself");
    for (int i = 0; i < 5; i++) close(copies[i]);
    CHECK(!syncs(copies[0]) && errno == EBADF, "a closed copy is nothing");
    CHECK(syncs(p.fd), "the original lives on");

    wish(p.fd, WISH_INJECT, 0, 3, 0);
    CHECK(in_child(sync_in_child, &p.fd) == 0, "after fork");
    CHECK(in_child(child_opens, NULL) == 0, "a child opens its own");
    CHECK(look_at(p.fd).descriptors == 1, "which its end unbinds");
    int status = in_child(exec_with, &p.fd);
    CHECK(status == 0, "after exec, first thing a mapping, then poll (status %d)", status);
    int ends[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends);
    int other = dup(p.fd);
    fcntl(p.fd, F_SETFD, FD_CLOEXEC);
    fcntl(other, F_SETFD, FD_CLOEXEC);
    send_fd(ends[0], p.fd);
    status = in_child(exec_and_receive, &ends[1]);
    CHECK(status == 0, "by SCM_RIGHTS in a process that knows nothing (status %d)", status);
    send_fd(ends[0], p.fd);
    int came = receive_fd(ends[1]);
    CHECK(syncs(came) && look_at(came).descriptors == 1, "by SCM_RIGHTS in this process");
    close(came);

    status = in_child(daemon_by_close, &p.fd);
    CHECK(status == 0, "a daemon that closes every number (status %d)", status);
    status = in_child(daemon_by_range, &p.fd);
    CHECK(status == 0, "a daemon with close_range and closefrom (status %d)", status);
    status = in_child(daemon_behind_our_back, &p.fd);
    CHECK(status == 0, "a daemon that closes behind our back (status %d)", status);
    status = in_child(daemon_that_takes_our_number, NULL);
    CHECK(status == 0, "a file that took the library's number is closed as any other (status %d)", status);
    status = in_child(daemon_beyond_all_numbers, &p.fd);
    CHECK(status == 0, "close_range of numbers that nothing has (status %d)", status);
    status = in_child(daemon_that_wants_our_number, &p.fd);
    CHECK(status == 0, "a daemon that wants the library's number keeps no connection too many (status %d)", status);
    CHECK(syncs(p.fd) && look_at(p.fd).descriptors == 1, "all that did not touch us");

    // A stale entry: the number becomes somebody else's without our seeing it.
    struct port q = open_port("stale", 0);
    munmap(q.memory, q.reg.nr_memsize);
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    syscall(SYS_dup2, pair[0], q.fd);
    struct pollfd poller = {q.fd, POLLIN, 0};
    CHECK(poll(&poller, 1, 0) == 0, "a number that became another socket is not ready");
    if (send(pair[1], "hello", 5, 0) == 5) CHECK(poll(&poller, 1, 1000) == 1 && poller.revents == POLLIN, "until it is");
    char text[8] = {0};
    CHECK(recv(q.fd, text, sizeof text, MSG_DONTWAIT) == 5 && !strcmp(text, "hello"), "and has all its data");
    int mtu = ioctl(q.fd, 0x8921 /* SIOCGIFMTU */, text);
    CHECK(mtu < 0 && errno != EOPNOTSUPP, "trap 49: its ioctls are not ours");
    close(q.fd);

    // A child of vfork closes things in its parent's memory.
    fflush(stdout);
    pid_t child = vfork();
    if (child == 0) {
        close(p.fd);
        close_range(3, ~0u, 0);
        _exit(0);
    }
    waitpid(child, &status, 0);
    poller.fd = p.fd;
    CHECK(syncs(p.fd) && poll(&poller, 1, 0) == 1 && look_at(p.fd).descriptors == 1, "trap 44: a child of vfork changes nothing");
}

static int count_of(int fd) {
    usleep(20000);
    return (int)look_at(fd).descriptors;
}

void closing(void) {
    struct port witness = open_port("witness", 0);
    struct port p = open_port("kept", 0);
    CHECK(count_of(witness.fd) == 2, "two descriptors");
    close(p.fd);
    CHECK(count_of(witness.fd) == 2, "2.2: a mapping keeps the binding when the descriptor is closed");
    p.tx[0]->slot[0].len = 60;
    CHECK(p.tx[0]->tail == SLOTS - 1, "and its rings stay");
    munmap(p.memory + 4096, 4096);
    CHECK(count_of(witness.fd) == 2, "a hole in the mapping is not its end");
    munmap(p.memory, p.reg.nr_memsize);
    CHECK(count_of(witness.fd) == 1, "munmap of the rest is");
    p = open_port("kept", 0);
    munmap(p.memory, p.reg.nr_memsize);
    CHECK(count_of(witness.fd) == 2, "without a mapping the descriptor keeps it");
    int copy = dup(p.fd);
    close(p.fd);
    CHECK(count_of(witness.fd) == 2, "and so does a copy");
    close(copy);
    CHECK(count_of(witness.fd) == 1, "the last close unbinds");
    p = open_port("kept", 0);
    void *other = mmap(p.memory, p.reg.nr_memsize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    close(p.fd);
    CHECK(other == p.memory && count_of(witness.fd) == 1, "something mapped over it ends it too");
}

void mapping(void) {
    int fd = open("/dev/netmap", O_RDWR);
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EINVAL, "2.2: unbound, EINVAL");
    CHECK(ioctl(fd, NIOCTXSYNC, NULL) < 0 && errno == ENXIO, "2.7: sync of an unbound descriptor, ENXIO");
    struct pollfd poller = {fd, POLLIN, 0};
    CHECK(poll(&poller, 1, 1000) == 1 && poller.revents == POLLERR, "2.8: poll of one, POLLERR");
    struct port p = open_port("map", 0);
    size_t size = p.reg.nr_memsize;
    CHECK(mmap(NULL, size + 4096, PROT_READ, MAP_SHARED, p.fd, 0) == MAP_FAILED && errno == EINVAL, "too long, EINVAL");
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, p.fd, (off_t)size) == MAP_FAILED && errno == EINVAL, "beyond, EINVAL");
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, p.fd, 1) == MAP_FAILED && errno == EINVAL, "askew, EINVAL");
    uint8_t *part = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p.fd, 4096);
    CHECK(part != MAP_FAILED, "a part");
    struct netmap_ring *ring = (struct netmap_ring *)part;
    ring->head = 5;
    CHECK(p.tx[0]->head == 5, "of the same memory");
    uint8_t *place = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *fixed = mmap(place, size, PROT_READ, MAP_SHARED | MAP_FIXED, p.fd, 0);
    CHECK(fixed == place && ((struct netmap_ring *)(fixed + 4096))->head == 5, "at a fixed place");
    // The program's own files and memory.
    int zero = open("/dev/zero", O_RDONLY), pipe_ends[2];
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, zero, 0) != MAP_FAILED, "other files map as ever");
    CHECK(!pipe(pipe_ends) && mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, pipe_ends[0], 0) == MAP_FAILED && errno == ENODEV,
          "and what cannot be mapped cannot");
    // Memory of the program's own (EXTMEM).
    uint8_t *mine = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(mine, 0x5a, size);
    struct nmreq_opt_extmem extmem = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_EXTMEM}, .nro_usrptr = (uintptr_t)mine};
    struct nmreq_header header;
    struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
    int own = open("/dev/netmap", O_RDWR);
    CHECK(ctrl(own, &header, NETMAP_REQ_REGISTER, "extmem", &reg, &extmem) == 0, "EXTMEM registers");
    struct netmap_if *nifp = (struct netmap_if *)(mine + reg.nr_offset);
    CHECK(nifp->ni_tx_rings == 2, "the engine's rings are in the program's memory");
    CHECK(mine[size - 1] == 0x5a, "and what the program had there is");
    wish(own, WISH_INJECT, 0, 2, 0);
    ioctl(own, NIOCRXSYNC, NULL);
    struct netmap_ring *rx = (struct netmap_ring *)((uint8_t *)nifp + nifp->ring_ofs[3]);
    CHECK(rx->tail == 2, "in which frames arrive");
}
