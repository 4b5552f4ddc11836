// Requests: modes, options, the older requests, control blocks and their loops (netmap-spec 2.3 to 2.5, 2.19).

#include "conform.h"

#include <net/netmap_virt.h>
#include <pthread.h>
#include <sys/eventfd.h>

// REGISTER on a descriptor of its own, which stays open; what was given is in `reg`.
static int bind_port(const char *name, struct nmreq_register *reg, void *list) {
    int fd = netmap_fd();
    if (ctrl(fd, NETMAP_REQ_REGISTER, name, reg, list) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void mode(const char *name, struct nmreq_register asked, const char *what) {
    struct nmreq_register given = asked;
    int fd = bind_port(name, &given, NULL);
    bool as_it_was = given.nr_mode == asked.nr_mode && given.nr_ringid == asked.nr_ringid && given.nr_flags == asked.nr_flags;
    bool kept = (!asked.nr_tx_slots || asked.nr_tx_slots == given.nr_tx_slots)
        && (!asked.nr_tx_rings || asked.nr_tx_rings == given.nr_tx_rings)
        && (!asked.nr_host_tx_rings || asked.nr_host_tx_rings == given.nr_host_tx_rings)
        && (!asked.nr_host_rx_rings || asked.nr_host_rx_rings == given.nr_host_rx_rings);
    bool there = given.nr_memsize && given.nr_tx_slots && given.nr_rx_slots && given.nr_tx_rings && given.nr_rx_rings && given.nr_mem_id;
    CHECK(fd >= 0 && as_it_was && kept && there && given.nr_extra_bufs == asked.nr_extra_bufs, "trap 8: %s", what);
    if (fd >= 0) close(fd);
}

void registering(void) {
    struct nmreq_port_info_get info = {0};
    CHECK(ask(NETMAP_REQ_PORT_INFO_GET, "nm0", &info) == 0 && info.nr_memsize && info.nr_tx_slots && info.nr_rx_rings && info.nr_mem_id == 1,
          "PORT_INFO_GET of an interface");
    CHECK(ask(NETMAP_REQ_PORT_INFO_GET, "nowhere", &info) == ENXIO, "of none: ENXIO");
    mode("nm0", (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC}, "all rings of the interface");
    mode("nm0", (struct nmreq_register){.nr_mode = NR_REG_NIC_SW, .nr_extra_bufs = 20}, "and the host's");
    mode("nm0", (struct nmreq_register){.nr_mode = NR_REG_SW}, "the host's alone");
    mode("nm0", (struct nmreq_register){.nr_mode = NR_REG_ONE_NIC}, "one ring");
    mode("nm0", (struct nmreq_register){.nr_mode = NR_REG_ONE_SW, .nr_ringid = 1, .nr_host_tx_rings = 2, .nr_host_rx_rings = 2}, "one of two host rings");
    mode("nm0", (struct nmreq_register){.nr_mode = NR_REG_SW, .nr_host_tx_rings = 5, .nr_host_rx_rings = 4}, "many host rings");
    mode("vale20:f", (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC, .nr_flags = 0x1000 | 1ull << 40}, "trap 7: unknown flags are ignored");
    struct nmreq_register reg = {.nr_mode = NR_REG_SW};
    CHECK(bind_port("vale20:f", &reg, NULL) < 0 && errno == EINVAL, "a switch's port has no host rings: EINVAL");
    reg = (struct nmreq_register){.nr_mode = NR_REG_ONE_NIC, .nr_ringid = 7};
    CHECK(bind_port("vale20:f", &reg, NULL) < 0 && errno == EINVAL, "nor an eighth ring: EINVAL");
    reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC, .nr_mem_id = 4711};
    CHECK(bind_port("vale20:f", &reg, NULL) < 0 && errno == EINVAL, "nor memory that nobody has: EINVAL");

    struct nmport_d *a = open_port("vale20:a"), *again = open_port("vale20:a");
    struct netmap_ring *tx = tx_ring(a, 0), *rx = rx_ring(a, 0);
    CHECK(rx->dir == 0 && tx->dir == 1, "trap 1: 0 is receive, 1 is transmit");
    bool is_clear = true;
    for (size_t i = 0; i < sizeof tx->sem; i++) is_clear &= !tx->sem[i] && !rx->sem[i];
    memset(tx->sem, 0x5a, sizeof tx->sem);
    put(a, tx, BROADCAST, 1, 1, 60, 0);
    flush(a);
    bool is_kept = true;
    for (size_t i = 0; i < sizeof tx->sem; i++) is_kept &= tx->sem[i] == 0x5a;
    CHECK(is_clear && is_kept, "trap 2: sem is the program's");
    CHECK(again->nifp != a->nifp && a->nifp->ni_host_tx_rings == 1 && a->nifp->ni_host_rx_rings == 1 && a->reg.nr_host_tx_rings == 0
              && a->nifp->ring_ofs[1] == 0 && a->nifp->ring_ofs[3] == 0,
          "trap 3: a netmap_if each, with a host ring that is none");
    CHECK(a->reg.nr_memsize == 42369024 && a->mem == again->mem, "trap 43: one mapping for both, of the size in the worked example");
    uint8_t *other = mmap(NULL, a->reg.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, again->fd, 0);
    struct netmap_if *nifp = NETMAP_IF(other, a->reg.nr_offset);
    struct netmap_ring *moved = NETMAP_TXRING(nifp, 0);
    *NETMAP_BUF(tx, 2) = 77;
    CHECK(moved->sem[0] == 0x5a && *NETMAP_BUF(moved, 2) == 77, "trap 4: all is relative, so that any place will do");
    nmport_close(a);
    put(again, tx, BROADCAST, 1, 1, 60, 0);
    CHECK(flush(again), "trap 43: the mapping outlives the descriptor that made it");
    struct nmport_d *late = open_port("vale20:late@share=vale20:a");
    CHECK(late->mem == again->mem && rx_ring(late, 0)->num_slots == 1024, "trap 43: later ports of that memory are in it");
    nmport_close(late);
    nmport_close(again);

    struct nmport_d *odd = open_port("vale20:odd@conf:slots=1000");
    tx = tx_ring(odd, 0);
    CHECK(tx->num_slots == 1000 && tx->tail == 999 && rx_ring(odd, 0)->tail == 0, "traps 10 and 11: 1000 slots, one of them unusable");
    struct nmport_d *to = open_port("vale20:to@conf:slots=1000");
    int sent = 0, came = 0;
    for (uint32_t n = 0; n < 5000; n++) {
        sent += put(odd, tx, BROADCAST, 1, n, 60, 0);
        if (n % 100 == 99) {
            flush(odd);
            came += count_frames(to, 0);
        }
    }
    came += count_frames(to, 50);
    CHECK(sent == 5000 && came == 5000, "trap 10: five times around such rings (%d of %d)", came, sent);
    nmport_close(to);
    nmport_close(odd);
    struct nmport_d *t = open_port("vale20:t/T");
    CHECK(t->first_tx_ring == 0 && t->last_tx_ring == 0 && t->last_rx_ring == (uint16_t)(t->first_rx_ring - 1), "trap 12: no receive ring");
    nmport_close(t);

    struct nmreq_pools_info pools = {0};
    CHECK(ask(NETMAP_REQ_POOLS_INFO_GET, "nm0", &pools) == 0 && pools.nr_memsize == 343019520 && pools.nr_buf_pool_objtotal == 163840, "POOLS_INFO_GET");
    CHECK(ask(NETMAP_REQ_POOLS_INFO_GET, "", &pools) != 0, "not without a name");
    struct nmreq_vale_list list = {0};
    CHECK(ask(NETMAP_REQ_PORT_INFO_GET, "vale21:x", &info) == 0 && ask(NETMAP_REQ_VALE_LIST, "vale21:x", &list) == ENOENT,
          "trap 30: to ask about a port makes it for a moment only");
    struct nmreq_register null = {.nr_mode = NR_REG_NULL, .nr_mem_id = 1, .nr_tx_rings = 10, .nr_rx_rings = 5, .nr_tx_slots = 256, .nr_rx_slots = 100};
    int holder = netmap_fd(), fd;
    reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC};
    ctrl(holder, NETMAP_REQ_REGISTER, "nm0", &reg, NULL);
    fd = bind_port("null", &null, NULL);
    CHECK(fd >= 0 && null.nr_tx_rings == 10 && null.nr_rx_rings == 5 && null.nr_tx_slots == 256 && null.nr_rx_slots == 100, "a null port keeps its numbers");
    CHECK(ioctl(fd, NIOCTXSYNC, NULL) == 0, "and syncs");
    close(fd);
    null = (struct nmreq_register){.nr_mode = NR_REG_NULL, .nr_mem_id = 1};
    fd = bind_port("null", &null, NULL);
    CHECK(fd >= 0 && null.nr_tx_rings == 0 && null.nr_rx_slots == 0, "zeroes, too");
    close(fd);
    null = (struct nmreq_register){.nr_mode = NR_REG_NULL, .nr_mem_id = 1, .nr_tx_rings = 2, .nr_rx_rings = 1};
    fd = bind_port("null", &null, NULL);
    CHECK(fd >= 0 && null.nr_tx_rings == 2 && null.nr_tx_slots == 0 && ioctl(fd, NIOCTXSYNC, NULL) == 0, "rings without slots");
    close(fd);
    close(holder);
}

void options(void) {
    struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC};
    struct nmreq_option unknown = {.nro_reqtype = 1234}, self = {.nro_reqtype = 1234};
    int fd = netmap_fd();
    CHECK(ctrl(fd, NETMAP_REQ_REGISTER, "nm0", &reg, &unknown) < 0 && errno == EOPNOTSUPP && unknown.nro_status == EOPNOTSUPP && !unknown.nro_next,
          "an unknown option: EOPNOTSUPP");
    CHECK(ctrl(fd, NETMAP_REQ_REGISTER, "nm0", &reg, NULL) == 0, "which was undone: the descriptor is free");
    CHECK(ctrl(fd, NETMAP_REQ_REGISTER, "nm0", &reg, NULL) < 0 && errno == EBUSY, "and then not any more: EBUSY");
    close(fd);
    self.nro_next = (uintptr_t)&self;
    CHECK(bind_port("nm0", &reg, &self) < 0 && errno == EMSGSIZE, "a loop of unknown options: EMSGSIZE");
    struct nmreq_opt_offsets known = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_OFFSETS}};
    known.nro_opt.nro_next = (uintptr_t)&known;
    CHECK(bind_port("nm0", &reg, &known) < 0 && errno == EINVAL, "a loop of a known one: EINVAL");
    struct {
        struct nmreq_option option;
        uint8_t room[1000];
    } large = {.option = {.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS, .nro_size = 1000}};
    static struct nmreq_option many[99];
    for (int i = 0; i < 99; i++) many[i] = (struct nmreq_option){.nro_reqtype = 1234, .nro_next = i < 98 ? (uintptr_t)&many[i + 1] : (uintptr_t)&large};
    CHECK(bind_port("nm0", &reg, many) < 0 && errno == EMSGSIZE, "more than 4096 bytes of them: EMSGSIZE");

    // Memory of the program's own, not a byte more than the pools need: less than whole pages.
    const size_t size = 2 * 1024 + 64 * 512 + (size_t)4096 * 2048;
    uint8_t *mine = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct nmreq_opt_extmem extmem = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_EXTMEM}, .nro_usrptr = (uintptr_t)mine};
    extmem.nro_info = (struct nmreq_pools_info){
        .nr_memsize = size, .nr_if_pool_objtotal = 2, .nr_if_pool_objsize = 1024, .nr_ring_pool_objtotal = 64,
        .nr_ring_pool_objsize = 512, .nr_buf_pool_objtotal = 4096, .nr_buf_pool_objsize = 2048};
    struct nmreq_opt_extmem first = extmem, second = extmem;
    reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC, .nr_tx_slots = 16, .nr_rx_slots = 16};
    struct nmreq_register asked = reg;
    fd = bind_port("vale20:e", &reg, &first);
    CHECK(fd >= 0 && reg.nr_memsize == size && first.nro_opt.nro_status == 0, "EXTMEM: pools that fit exactly");
    if (fd >= 0) {
        struct netmap_if *nifp = NETMAP_IF(mine, reg.nr_offset);
        struct netmap_ring *tx = NETMAP_TXRING(nifp, 0);
        CHECK(tx->num_slots == 16 && tx->tail == 15 && NETMAP_BUF(tx, 4095) + 2048 == (char *)mine + size, "are in the program's own memory");
        struct nmport_d *to = open_port("vale20:to");
        put(NULL, tx, BROADCAST, 1, 5, 100, 0);
        ioctl(fd, NIOCTXSYNC, NULL);
        struct taken frame = take(to, rx_ring(to, 0), 2000);
        CHECK(frame.length == 100 && frame.is_intact, "from which frames are sent");
        nmport_close(to);
        close(fd);
    }
    first = extmem;
    first.nro_info.nr_ring_pool_objsize = 1 << 20;
    reg = asked;
    CHECK(bind_port("vale20:e", &reg, &first) < 0 && first.nro_opt.nro_status == (uint32_t)errno, "rings of 1 MiB are refused");
    first = extmem;
    first.nro_opt.nro_next = (uintptr_t)&second;
    CHECK(bind_port("vale20:e", &reg, &first) < 0 && errno == EINVAL && first.nro_opt.nro_status == EINVAL && second.nro_opt.nro_status == EINVAL,
          "the option twice: EINVAL for both");
    munmap(mine, size);
}

// The requests before NIOCCTRL.
static struct nmreq older_request(const char *name) {
    struct nmreq r = {.nr_version = NETMAP_API};
    snprintf(r.nr_name, sizeof r.nr_name, "%s", name);
    return r;
}

static int regif(struct nmreq *r) {
    int fd = netmap_fd();
    if (ioctl(fd, NIOCREGIF, r) == 0) return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

void older(void) {
    struct nmreq r = older_request("nm0");
    r.nr_version = NETMAP_API - 1;
    CHECK(regif(&r) < 0 && errno == EINVAL, "trap 5: a version before 14: EINVAL");
    const struct {
        uint32_t version, flags;
        uint16_t ringid;
    } rows[] = {{NETMAP_API, 0, 0}, {NETMAP_API, NR_REG_ALL_NIC, 0}, {NETMAP_API + 1, 0, 0}, {NETMAP_API, NR_REG_SW, 0},
                {NETMAP_API + 2, NR_REG_NIC_SW, 0}, {NETMAP_API, 0, NETMAP_SW_RING}, {NETMAP_API, 0, NETMAP_HW_RING}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        r = older_request("nm0");
        r.nr_version = rows[i].version;
        r.nr_flags = rows[i].flags;
        r.nr_ringid = rows[i].ringid;
        int fd = regif(&r);
        CHECK(fd >= 0 && r.nr_version == rows[i].version && r.nr_flags == rows[i].flags && r.nr_ringid == rows[i].ringid && r.nr_memsize && r.nr_tx_slots,
              "trap 5: version %u, nr_flags %u, nr_ringid %#x", rows[i].version, rows[i].flags, rows[i].ringid);
        if (fd >= 0) close(fd);
    }
    const struct {
        const char *name;
        uint32_t extra;
    } wanted[] = {{"nm0", 20}, {"nm0{pipeexbuf", 58}, {"valeX1:Y4{pipeex", 58}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        r = older_request(wanted[i].name);
        r.nr_arg3 = wanted[i].extra;
        int fd = regif(&r);
        CHECK(fd >= 0 && r.nr_arg3 == wanted[i].extra, "extra buffers of %s", wanted[i].name);
        if (fd >= 0) close(fd);
    }
    r = older_request("valeX1:abcdefgh");
    r.nr_flags = NR_REG_PIPE_MASTER;
    r.nr_ringid = 1234;
    int fd = regif(&r);
    CHECK(fd >= 0, "trap 6: a pipe's number goes behind a name that has no room for it");
    if (fd >= 0) close(fd);

    struct nmreq_port_hdr length = {.nr_hdr_len = 12};
    struct nmport_d *p = open_port("vale22:eph0");
    bool all = true;
    for (int i = 0; i < 3; i++) {
        const uint32_t values[] = {12, 0, 10};
        length.nr_hdr_len = values[i];
        all &= ask(NETMAP_REQ_PORT_HDR_SET, "vale22:eph0", &length) == 0;
        length.nr_hdr_len = 99;
        all &= ask(NETMAP_REQ_PORT_HDR_GET, "vale22:eph0", &length) == 0 && length.nr_hdr_len == values[i];
    }
    CHECK(all, "a header of 12, 0 and 10 bytes");
    r = older_request("vale22:eph0");
    r.nr_cmd = NETMAP_BDG_VNET_HDR;
    r.nr_arg1 = 12;
    bool twice = ioctl(p->fd, NIOCREGIF, &r) == 0;
    r.nr_arg1 = 0;
    CHECK(twice && ioctl(p->fd, NIOCREGIF, &r) == 0, "trap 32: QEMU's probe, on the open descriptor");
    r = older_request("netmap:vale22:e");
    r.nr_cmd = NETMAP_BDG_VNET_HDR;
    r.nr_arg1 = 12;
    bool first = ioctl(p->fd, NIOCREGIF, &r) < 0 && errno == ENXIO;
    r.nr_arg1 = 0;
    CHECK(first && ioctl(p->fd, NIOCREGIF, &r) < 0 && errno == ENXIO, "trap 32: with a prefix it fails both times");
    nmport_close(p);
}

// ---- Control blocks

struct loop {
    int fd, result, error;
    struct nmreq_option *list;
    struct nmreq_sync_kloop_start body;
    pthread_t thread;
};

static void *run_loop(void *argument) {
    struct loop *loop = argument;
    loop->result = ctrl(loop->fd, NETMAP_REQ_SYNC_KLOOP_START, "", &loop->body, loop->list);
    loop->error = errno;
    return NULL;
}

static void begin(struct loop *loop) { pthread_create(&loop->thread, NULL, run_loop, loop); }
static void end(struct loop *loop) { pthread_join(loop->thread, NULL); }
static int stop_loop(int fd) { return ctrl(fd, NETMAP_REQ_SYNC_KLOOP_STOP, "", NULL, NULL); }

static struct nm_csb_atok *atok;
static struct nm_csb_ktoa *ktoa;

static int bind_blocks(const char *name, struct nmreq_register *reg) {
    struct nmreq_opt_csb csb = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_CSB}, .csb_atok = (uintptr_t)atok, .csb_ktoa = (uintptr_t)ktoa};
    *reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_EXCLUSIVE};
    return bind_port(name, reg, &csb);
}

void loops(void) {
    atok = aligned_alloc(64, 64 * sizeof *atok);
    ktoa = aligned_alloc(64, 64 * sizeof *ktoa);
    struct nmreq_register reg = {.nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_EXCLUSIVE};
    struct nmreq_opt_csb bad = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_CSB}, .csb_atok = 0x10, .csb_ktoa = 0x800};
    CHECK(bind_port("vale23:k", &reg, &bad) < 0, "control blocks at odd places are refused");
    int fd = bind_blocks("vale23:k", &reg);
    CHECK(fd >= 0 && ioctl(fd, NIOCTXSYNC, NULL) < 0 && errno == EBUSY, "in CSB mode a sync is the loop's: EBUSY");

    // A frame through the loop, to an ordinary port and back.
    struct nmport_d *to = open_port("vale23:to");
    struct loop loop = {.fd = fd, .body = {.sleep_us = 500}};
    begin(&loop);
    uint8_t *memory = mmap(NULL, reg.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct netmap_if *nifp = NETMAP_IF(memory, reg.nr_offset);
    struct netmap_ring *tx = NETMAP_TXRING(nifp, 0);
    tx->head = tx->cur = 0;
    put(NULL, tx, BROADCAST, 9, 3, 200, 0);
    __atomic_store_n(&atok[0].cur, tx->head, __ATOMIC_RELEASE);
    __atomic_store_n(&atok[0].head, tx->head, __ATOMIC_RELEASE);
    struct taken frame = take(to, rx_ring(to, 0), 3000);
    CHECK(frame.length == 200 && frame.is_intact, "the loop sends");
    put(to, tx_ring(to, 0), 9, 8, 4, 300, 0);
    txsync(to);
    uint64_t limit = now_us() + 3000000;
    while (!__atomic_load_n(&ktoa[1].hwtail, __ATOMIC_ACQUIRE) && now_us() < limit) pause_us(500);
    CHECK(ktoa[1].hwtail == 1 && NETMAP_RXRING(nifp, 0)->slot[0].len == 300, "and receives");
    struct loop other = {.fd = fd, .body = {.sleep_us = 500}};
    begin(&other);
    end(&other);
    CHECK(other.result < 0 && other.error == EBUSY, "trap 48: a second loop: EBUSY, at once");
    CHECK(stop_loop(fd) == 0, "STOP");
    end(&loop);
    CHECK(loop.result == 0, "ends the loop with 0");
    CHECK(stop_loop(fd) == 0, "trap 47: STOP first");
    begin(&loop);
    end(&loop);
    CHECK(loop.result == 0, "trap 47: and START ends at once");

    for (int kind = 0; kind < 4; kind++) {
        static const char *const names[] = {"for all rings", "for the transmit ring only", "and served in the kick", "for another number of rings"};
        struct {
            struct nmreq_option option;
            struct {
                int32_t ioeventfd, irqfd;
            } fds[3];
        } events = {.option = {.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS}};
        struct nmreq_opt_sync_kloop_mode direct = {
            .nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_SYNC_KLOOP_MODE},
            .mode = NM_OPT_SYNC_KLOOP_DIRECT_TX | NM_OPT_SYNC_KLOOP_DIRECT_RX};
        int count = kind == 3 ? 3 : 2;
        for (int i = 0; i < count; i++) {
            events.fds[i].ioeventfd = kind == 1 && i == 1 ? -1 : eventfd(0, 0);
            events.fds[i].irqfd = eventfd(0, 0);
        }
        events.option.nro_size = sizeof events.option + (size_t)count * 8;
        if (kind == 2) events.option.nro_next = (uintptr_t)&direct;
        struct loop with = {.fd = fd, .body = {.sleep_us = 500}, .list = &events.option};
        begin(&with);
        pause_us(50000);
        if (kind < 3) {
            int stopped = stop_loop(fd);
            end(&with);
            CHECK(stopped == 0 && with.result == 0 && events.option.nro_status == 0, "eventfds %s", names[kind]);
        } else {
            end(&with);
            CHECK(with.result < 0 && with.error == EINVAL, "eventfds %s: EINVAL", names[kind]);
        }
        for (int i = 0; i < count; i++) close(events.fds[i].ioeventfd), close(events.fds[i].irqfd);
    }
    close(fd);
    munmap(memory, reg.nr_memsize);
    reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_EXCLUSIVE};
    fd = bind_port("vale23:l", &reg, NULL);
    loop = (struct loop){.fd = fd};
    begin(&loop);
    end(&loop);
    CHECK(loop.result < 0 && loop.error == EINVAL && stop_loop(fd) == 0, "trap 47: no control blocks: START fails, STOP does not hang");
    struct nmreq_opt_csb csb = {.nro_opt = {.nro_reqtype = NETMAP_REQ_OPT_CSB}, .csb_atok = (uintptr_t)atok, .csb_ktoa = (uintptr_t)ktoa};
    close(fd);
    reg = (struct nmreq_register){.nr_mode = NR_REG_ALL_NIC, .nr_flags = NR_EXCLUSIVE};
    fd = bind_port("vale23:m", &reg, NULL);
    CHECK(ctrl(fd, NETMAP_REQ_CSB_ENABLE, "", NULL, &csb) == 0 && csb.nro_opt.nro_status == 0, "CSB_ENABLE");
    loop = (struct loop){.fd = fd};
    begin(&loop);
    pause_us(20000);
    int stopped = stop_loop(fd);
    end(&loop);
    CHECK(stopped == 0 && loop.result == 0, "and its loop");
    close(fd);
    nmport_close(to);
}
