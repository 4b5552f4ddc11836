// Requests: what is copied there and back, control blocks, and what calls cost that are not ours.
// netmap-spec 1.2, 1.3, 2.4, 2.19; traps 5, 9, 47, 48.

#include "check.h"

#include <shm.h>
#include <sys/eventfd.h>

void requests(void) {
    int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    CHECK(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && (fcntl(fd, F_GETFL) & O_NONBLOCK), "open takes O_CLOEXEC and O_NONBLOCK");
    CHECK(ioctl(fd, NIOCCTRL, NULL) < 0 && errno == EINVAL, "no argument: EINVAL");
    CHECK(ioctl(fd, NIOCREGIF, NULL) < 0 && errno == EINVAL, "nor for the old ones");
    CHECK(ioctl(fd, NIOCCTRL, (void *)8) < 0 && errno == EFAULT, "an argument that cannot be read: EFAULT");
    CHECK(ioctl(fd, NIOCGINFO, (void *)8) < 0 && errno == EFAULT, "nor for the old ones");
    CHECK(ioctl(fd, _IO('i', 147), NULL) < 0 && errno == EOPNOTSUPP, "an unknown request: EOPNOTSUPP");
    struct nmreq_header h;
    struct nmreq_port_info_get info = {0};
    CHECK(ctrl(fd, &h, NETMAP_REQ_PORT_INFO_GET, "x", &info, NULL) == 0 && info.nr_memsize > 0, "PORT_INFO_GET");
    info.nr_memsize = 0;
    CHECK(ioctl(fd, (unsigned long)(int)NIOCCTRL, &h) == 0 && info.nr_memsize > 0, "1.2: a request number as an int");
    CHECK(h.nr_body == (uintptr_t)&info && h.nr_options == 0, "the pointers stay the program's");
    info.nr_memsize = 0;
    CHECK(ctrl(fd, &h, NETMAP_REQ_PORT_INFO_GET, "?", &info, NULL) < 0 && errno == ENXIO && info.nr_memsize == 0, "trap 9: no body on failure");
    struct nmreq_option unknown = {.nro_reqtype = 1234};
    struct nmreq_opt_offsets offsets = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_OFFSETS}};
    offsets.nro_opt.nro_next = (uintptr_t)&unknown;
    struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
    CHECK(ctrl(fd, &h, NETMAP_REQ_REGISTER, "?x", &reg, &offsets) < 0 && errno == EOPNOTSUPP, "an option that nobody knows");
    CHECK(strcmp(h.nr_name, "changed") == 0, "trap 9: the header comes back on failure");
    CHECK(unknown.nro_status == EOPNOTSUPP && offsets.nro_opt.nro_status == 0, "2.4: and the status of each option");
    CHECK(offsets.nro_opt.nro_next == (uintptr_t)&unknown && unknown.nro_next == 0, "with nro_next as it was");
    CHECK(offsets.nro_max_offset == 0, "but no payload");
    offsets.nro_opt.nro_next = 0;
    CHECK(ctrl(fd, &h, NETMAP_REQ_PORT_INFO_GET, "x", &info, &offsets) == 0 && offsets.nro_max_offset == 4711, "on success with its payload");
    struct nmreq_option self_linked = {.nro_reqtype = 1234, .nro_next = (uintptr_t)&self_linked, .nro_status = 99};
    CHECK(ctrl(fd, &h, NETMAP_REQ_PORT_INFO_GET, "x", &info, &self_linked) < 0 && errno == EMSGSIZE, "a loop of options: EMSGSIZE");
    CHECK(self_linked.nro_status == 99, "2.4: whose headers stay as they were");
    struct nmreq_option large = {.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, .nro_size = ~0ull};
    CHECK(ctrl(fd, &h, NETMAP_REQ_PORT_INFO_GET, "x", &info, &large) < 0 && errno == EMSGSIZE, "an option of any size: EMSGSIZE");
    CHECK(ctrl(fd, &h, NETMAP_REQ_PORT_INFO_GET, "x", &info, (void *)16) < 0 && errno == EFAULT, "an option that cannot be read: EFAULT");
    CHECK(ctrl(fd, &h, NETMAP_REQ_PORT_INFO_GET, "x", (void *)16, NULL) < 0 && errno == EFAULT, "nor a body");
    // Where it may be read but not written, across a page's end.
    uint8_t *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ctrl(fd, &h, NETMAP_REQ_PORT_INFO_GET, "x", &info, NULL);
    memcpy(page, &h, sizeof h);
    mprotect(page, 4096, PROT_READ);
    CHECK(ioctl(fd, NIOCCTRL, page) < 0 && errno == EFAULT, "an argument that cannot be written: EFAULT");
    munmap(page + 4096, 4096);
    CHECK(ioctl(fd, NIOCCTRL, page + 4096 - 40) < 0 && errno == EFAULT, "one that ends too early: EFAULT");
    // The old requests.
    struct nmreq old = {.nr_version = 14, .nr_name = "legacy"};
    CHECK(ioctl(fd, NIOCGINFO, &old) == 0 && old.nr_memsize > 0 && old.spare2[0] == 77, "NIOCGINFO");
    old = (struct nmreq){.nr_version = 3, .nr_name = "legacy"};
    CHECK(ioctl(fd, NIOCREGIF, &old) < 0 && errno == EINVAL && old.spare2[0] == 77, "1.2: the argument comes back on failure");
    old = (struct nmreq){.nr_version = 14, .nr_name = "legacy", .nr_ringid = NETMAP_NO_TX_POLL};
    CHECK(ioctl(fd, NIOCREGIF, &old) == 0, "NIOCREGIF");
    CHECK(mmap(NULL, old.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED, "and what it bound");
    CHECK(ctrl(fd, &h, NETMAP_REQ_REGISTER, "again", &reg, NULL) < 0 && errno == EBUSY, "bound once");
    CHECK(open("/dev/netmapx", O_RDWR) < 0 && errno == ENOENT, "other paths are not ours");
    int plain = open("/dev/null", O_RDWR);
    CHECK(ioctl(plain, NIOCREGIF, &old) < 0 && errno == ENOTTY, "nor are other descriptors");
    CHECK(ioctl(plain, NIOCTXSYNC, NULL) < 0 && errno == ENOTTY && ioctl(-1, NIOCTXSYNC, NULL) < 0 && errno == EBADF, "nor what is none");
    wish(fd, WISH_OLD, 0, 0, 0);
    CHECK(open("/dev/netmap", O_RDWR) < 0 && errno == ENXIO, "an engine of another version: ENXIO, and a line on stderr");
    CHECK(open("/dev/netmap", O_RDWR) < 0 && errno == ENXIO, "once");
    wish(fd, WISH_DIE, 0, 0, 0);
    usleep(50000);
    CHECK(open("/dev/netmap", O_RDWR) < 0 && errno == ENOENT, "no engine: ENOENT, and a line on stderr");
    CHECK(ioctl(fd, NIOCGINFO, &old) < 0 && (errno == ENXIO || errno == ENOENT), "its descriptors are of no use");
}

struct loop {
    int fd, result, error;
    void *events;
};

static void *run_loop(void *argument) {
    struct loop *l = argument;
    struct nmreq_header h;
    struct nmreq_sync_kloop_start start = {.sleep_us = 500};
    l->result = ctrl(l->fd, &h, NETMAP_REQ_SYNC_KLOOP_START, "", &start, l->events);
    l->error = errno;
    return NULL;
}

static int stop(int fd) {
    struct nmreq_header h;
    return ctrl(fd, &h, NETMAP_REQ_SYNC_KLOOP_STOP, "", NULL, NULL);
}

void blocks(void) {
    static struct nm_csb_atok atok[4];
    static struct nm_csb_ktoa ktoa[4];
    int fd = open("/dev/netmap", O_RDWR);
    struct nmreq_header h;
    struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_EXCLUSIVE};
    struct nmreq_opt_csb bad = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_CSB}, .csb_atok = 0x10, .csb_ktoa = 0x800};
    CHECK(ctrl(fd, &h, NETMAP_REQ_REGISTER, "csb", &reg, &bad) < 0 && errno == EFAULT, "2.19: arrays that are none: EFAULT");
    struct nmreq_opt_csb csb = {
        .nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_CSB}, .csb_atok = (uintptr_t)atok, .csb_ktoa = (uintptr_t)ktoa};
    CHECK(ctrl(fd, &h, NETMAP_REQ_REGISTER, "csb", &reg, &csb) == 0, "2.19: CSB mode");
    CHECK(atok[0].appl_need_kick == 1 && atok[3].sync_flags == 1 && ktoa[0].hwtail == SLOTS - 1 && ktoa[2].hwtail == 0 && ktoa[3].kern_need_kick == 1,
          "2.19: the blocks are set up");
    CHECK(ioctl(fd, NIOCTXSYNC, NULL) < 0 && errno == EBUSY, "2.19: ioctl: EBUSY");
    struct pollfd poller = {fd, POLLIN, 0};
    CHECK(poll(&poller, 1, 100) == 1 && poller.revents == POLLERR, "2.19: poll: POLLERR");
    struct port plain = open_port("plain", 0);
    struct loop other = {.fd = plain.fd};
    run_loop(&other);
    CHECK(other.result < 0 && other.error == EINVAL && stop(plain.fd) == 0, "2.19: no control blocks: START fails, STOP does not hang");

    struct loop loop = {.fd = fd};
    pthread_t thread, second;
    pthread_create(&thread, NULL, run_loop, &loop);
    atok[0].cur = 3;
    nm_store32_release(&atok[0].head, 3);
    usleep(50000);
    CHECK(wish(fd, WISH_CONSUME, 0, 0, 60000).ring.head == 3, "2.19: the loop publishes");
    wish(fd, WISH_CONSUME, 0, 0, 0);
    wish(fd, WISH_INJECT, 0, 5, 0);
    usleep(50000);
    CHECK(ktoa[0].hwcur == 3 && ktoa[0].hwtail == 2 && ktoa[2].hwtail == 5, "2.19: and tells what came of it");
    struct loop conflict = {.fd = fd};
    pthread_create(&second, NULL, run_loop, &conflict);
    pthread_join(second, NULL);
    CHECK(conflict.result < 0 && conflict.error == EBUSY, "trap 48: a second START fails at once: EBUSY");
    CHECK(stop(fd) == 0, "STOP");
    pthread_join(thread, NULL);
    CHECK(loop.result == 0, "ends it with 0");
    CHECK(stop(fd) == 0, "trap 47: STOP before START returns");
    pthread_create(&thread, NULL, run_loop, &loop);
    pthread_join(thread, NULL);
    CHECK(loop.result == 0, "trap 47: and the START that follows returns too");

    struct {
        struct nmreq_option option;
        int32_t pairs[4][2];
    } events = {.option = {.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, .nro_size = sizeof events - 8}};
    loop.events = &events;
    run_loop(&loop);
    CHECK(loop.result < 0 && loop.error == EINVAL, "2.19: eventfds for another number of rings: EINVAL");
    events.option.nro_size = sizeof events;
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 2; j++) events.pairs[i][j] = eventfd(0, EFD_NONBLOCK);
    pthread_create(&thread, NULL, run_loop, &loop);
    usleep(50000);
    CHECK(ktoa[0].kern_need_kick == 1, "2.19: with eventfds it sleeps and asks to be woken");
    atok[0].cur = 5;
    nm_store32_release(&atok[0].head, 5);
    eventfd_write(events.pairs[0][0], 1);
    usleep(50000);
    CHECK(wish(fd, WISH_CONSUME, 0, 0, 60000).ring.head == 5, "2.19: by its eventfd");
    wish(fd, WISH_INJECT, 0, 2, 0);
    poller = (struct pollfd){events.pairs[2][1], POLLIN, 0};
    CHECK(poll(&poller, 1, 1000) == 1 && ktoa[2].hwtail == 7, "2.19: or by the engine, and tells the program by the other");
    CHECK(stop(fd) == 0, "STOP");
    pthread_join(thread, NULL);
    CHECK(loop.result == 0, "ends it with 0");
}

static double measure(void (*call)(int), int fd, int times) {
    double best = 1e9;
    for (int turn = 0; turn < 5; turn++) {
        uint64_t began = now_us();
        for (int i = 0; i < times; i++) call(fd);
        double ns = (double)(now_us() - began) * 1000 / times;
        if (ns < best) best = ns;
    }
    return best;
}

static void wrong_ioctl(int fd) { ioctl(fd, 0x1234, NULL); }
static void kernel_ioctl(int fd) { syscall(SYS_ioctl, fd, 0x1234, NULL); }
static void one_poll(int fd) { poll(&(struct pollfd){fd, POLLIN, 0}, 1, 0); }
static void kernel_poll_call(int fd) { syscall(SYS_poll, &(struct pollfd){fd, POLLIN, 0}, 1, 0); }
static void rxsync(int fd) { ioctl(fd, NIOCRXSYNC, NULL); }
static void txsync(int fd) { ioctl(fd, NIOCTXSYNC, NULL); }

void overhead(void) {
    int ends[2];
    if (pipe(ends)) return;
    double ioctl_before = measure(wrong_ioctl, ends[0], 200000) - measure(kernel_ioctl, ends[0], 200000);
    double poll_before = measure(one_poll, ends[0], 200000) - measure(kernel_poll_call, ends[0], 200000);
    printf("note: a forwarded ioctl costs %.1f ns more, a poll %.1f ns (no netmap descriptor in the process)\n", ioctl_before, poll_before);
    struct port p = open_port("cost", 0);
    double ioctl_after = measure(wrong_ioctl, ends[0], 200000) - measure(kernel_ioctl, ends[0], 200000);
    double poll_after = measure(one_poll, ends[0], 200000) - measure(kernel_poll_call, ends[0], 200000);
    printf("note: a forwarded ioctl costs %.1f ns more, a poll %.1f ns (with one)\n", ioctl_after, poll_after);
    printf("note: NIOCRXSYNC of two empty rings %.1f ns, NIOCTXSYNC %.1f ns, poll(POLLIN) of them %.0f ns\n",
           measure(rxsync, p.fd, 200000), measure(txsync, p.fd, 200000), measure(one_poll, p.fd, 50000));
    // Times are for people to read; what neighbours of this machine do must not fail anything.
    CHECK(ioctl_before < 1000 && poll_before < 1000, "calls that are not ours cost nothing to speak of");
}
