// Pipes, monitors, exclusive and persistent ports, and descriptors in many processes (netmap-spec 2.13, 2.14,
// 2.15; upstream's integration tests 001 to 003, 008 to 020, 023 and 025 to 027 cover the same).

#include "conform.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static bool arrived(struct nmport_d *port, struct netmap_ring *ring, uint32_t count) {
    for (uint64_t end = now_us() + 1000000; nm_ring_space(ring) < count && now_us() < end; pause_us(50)) rxsync(port);
    return nm_ring_space(ring) == count;
}

static bool has_room(struct nmport_d *port, struct netmap_ring *ring, uint32_t count, unsigned ms) {
    for (uint64_t end = now_us() + ms * 1000; nm_ring_space(ring) < count && now_us() < end; pause_us(50)) txsync(port);
    return nm_ring_space(ring) == count;
}

void piping(void) {
    struct nmport_d *a = open_port("netmap:pp{1"), *b = open_port("netmap:pp}1");
    struct netmap_ring *tx = tx_ring(a, 0), *rx = rx_ring(b, 0);
    CHECK(a->mem == b->mem && a->reg.nr_mem_id == b->reg.nr_mem_id, "both ends are in one memory");
    CHECK(try_port("netmap:pp{1*") == EINVAL, "host rings are none of a pipe's: EINVAL");
    for (uint32_t n = 0; n < 10; n++) {
        tx->slot[tx->head].ptr = 1000 + n;
        put(a, tx, 0xb, 0xa, n, 60 + n, 0);
    }
    uint32_t buffer = tx->slot[3].buf_idx;
    txsync(a);
    bool is_right = arrived(b, rx, 10);
    for (uint32_t n = 0; n < 10; n++)
        is_right &= rx->slot[n].len == 60 + n && rx->slot[n].ptr == 1000 + n && rx->slot[n].flags == 0;
    CHECK(is_right && rx->slot[3].buf_idx == buffer, "trap 37: slots arrive whole: buffer, length and pointer");
    rx->slot[0].ptr = 77; // what the receiver leaves in a slot is what the sender gets
    rx->head = rx->cur = 7;
    CHECK(!has_room(a, tx, 1023 - 3, 30), "trap 36: what was read is not room yet");
    rxsync(b);
    CHECK(has_room(a, tx, 1023 - 3, 1000), "trap 36: but after the receiver's sync it is");
    CHECK(tx->slot[0].ptr == 77 && tx->tail == 6 && tx->slot[6].buf_idx == rx->slot[6].buf_idx, "trap 38: the slots come back, that at tail too");
    uint32_t n = 10;
    while (put(a, tx, 0xb, 0xa, n, 60, 0)) n++;
    txsync(a);
    struct pollfd room = {.fd = a->fd, .events = POLLOUT};
    CHECK(n == 10 + 1020 && poll(&room, 1, 30) == 0, "a full pipe takes no more");
    nmport_close(b);
    b = open_port("netmap:pp}1");
    rx = rx_ring(b, 0);
    is_right = true;
    for (uint32_t i = 7; i < n; i++) is_right &= take(b, rx, 500).number == i;
    rxsync(b);
    CHECK(is_right, "trap 39: the other end was closed and opened, and nothing is lost");
    CHECK(poll(&room, 1, 1000) == 1 && has_room(a, tx, 1023, 1000), "and the sender has room again");
    uint32_t first = tx->head;
    put(a, tx, 0xb, 0xa, 5000, 60, 0);
    tx->slot[first].flags = NS_MOREFRAG;
    txsync(a);
    bool is_withheld = take(b, rx, 30).length < 0;
    put(a, tx, 0xb, 0xa, 5000, 60, 0);
    txsync(a);
    struct taken frame = take(b, rx, 1000);
    CHECK(is_withheld && frame.length == 120 && frame.slots == 2, "trap 24: a frame waits for its end (%d bytes came)", frame.length);
    struct nmreq_port_info_get info = {0};
    CHECK(ask(NETMAP_REQ_PORT_INFO_GET, "pp", &info) == 0, "trap 42: the parent was made with the pipe");
    nmport_close(a);
    put(b, tx_ring(b, 0), 0xa, 0xb, 1, 60, 0);
    CHECK(txsync(b) == 0, "an end alone goes on");
    nmport_close(b);
    info = (struct nmreq_port_info_get){0};
    CHECK(ask(NETMAP_REQ_PORT_INFO_GET, "pp", &info) == ENXIO, "trap 42: and went with it");

    a = open_port("vale40:p{x@conf:rings=2"), b = open_port("vale40:p}x");
    put(a, tx_ring(a, 1), 0xb, 0xa, 9, 60, 0);
    txsync(a);
    CHECK(take(b, rx_ring(b, 1), 1000).number == 9, "a pipe of a switch's port, with two rings");
    struct nmport_d *sw = open_port("vale40:other");
    put(sw, tx_ring(sw, 0), BROADCAST, 0xc, 1, 60, 0);
    flush(sw);
    CHECK(take(b, rx_ring(b, 0), 20).length < 0, "which the switch knows nothing of");
    nmport_close(a), nmport_close(b), nmport_close(sw);
    a = open_port("netmap:q{1@conf:slots=100"), b = open_port("netmap:q}1");
    struct nmport_d *c = open_port("netmap:q{2"), *d = open_port("netmap:q}2");
    CHECK(b->reg.nr_rx_slots == 100 && a->mem == c->mem, "trap 10: pipes with 100 slots; all of a parent's are in its memory");
    // Swap on: what comes at b goes out at c, by its buffer.
    tx = tx_ring(c, 0), rx = rx_ring(b, 0);
    uint32_t sent = 0, came = 0;
    is_right = true;
    while (came < 3000) {
        while (sent < 3000 && put(a, tx_ring(a, 0), 1, 2, sent, 300, 0)) sent++;
        txsync(a), rxsync(b);
        while (!nm_ring_empty(rx) && !nm_ring_empty(tx)) {
            struct netmap_slot *from = &rx->slot[rx->head], *to = &tx->slot[tx->head], old = *to;
            to->buf_idx = from->buf_idx, to->len = from->len, to->flags = NS_BUF_CHANGED;
            from->buf_idx = old.buf_idx, from->flags = NS_BUF_CHANGED;
            rx->head = rx->cur = nm_ring_next(rx, rx->head);
            tx->head = tx->cur = nm_ring_next(tx, tx->head);
        }
        txsync(c);
        struct taken f = take(d, rx_ring(d, 0), 0);
        if (f.length < 0) continue;
        is_right &= f.number == came++ && f.length == 300 && f.is_intact;
        if (!is_right) break;
    }
    CHECK(is_right && came == 3000, "trap 36: buffers travel through two pipes (%u)", came);
    nmport_close(a), nmport_close(b), nmport_close(c), nmport_close(d);
}

void watching(void) {
    CHECK(try_port("vale41:b/r") != 0, "a monitor needs its parent open");
    struct nmport_d *a = open_port("vale41:a"), *b = open_port("vale41:b");
    struct nmport_d *r = open_port("vale41:b/r"), *t = open_port("vale41:a/t"), *z = open_port("vale41:b/z");
    CHECK(z->reg.nr_flags & NR_MONITOR_RX && z->reg.nr_flags & NR_MONITOR_TX && z->reg.nr_mem_id == b->reg.nr_mem_id && r->reg.nr_mem_id != b->reg.nr_mem_id,
          "trap 8: 'z' sees both directions, in its parent's memory");
    struct netmap_ring *ta = tx_ring(a, 0);
    for (uint32_t n = 0; n < 20; n++) put(a, ta, BROADCAST, 0xa, n, 100, 0);
    txsync(a);
    bool is_right = true, is_marked = true;
    for (uint32_t n = 0; n < 20; n++) {
        struct taken at_r = take(r, rx_ring(r, 0), 1000), at_t = take(t, rx_ring(t, 0), 1000);
        is_right &= at_r.number == n && at_r.is_intact && at_t.number == n && at_t.is_intact;
        is_marked &= (at_t.first_flags & NS_TXMON) && !(at_r.first_flags & NS_TXMON);
    }
    CHECK(is_right, "trap 41: a monitor sees frames as they arrive, though nobody has read them; another sees them sent");
    CHECK(is_marked, "those that were sent are marked");
    CHECK(take(z, rx_ring(z, 0), 30).length < 0, "without copies, it sees nothing before they were consumed");
    is_right = true;
    for (uint32_t n = 0; n < 20; n++) is_right &= take(b, rx_ring(b, 0), 1000).number == n;
    rxsync(b);
    CHECK(is_right, "the receiver has them all");
    is_right = true;
    for (uint32_t n = 0; n < 20; n++) {
        struct taken frame = take(z, rx_ring(z, 0), 1000);
        is_right &= frame.number == n && frame.is_intact;
    }
    CHECK(is_right, "and then so has the monitor without copies");
    bool is_changed = false;
    for (uint32_t i = 0; i < 20; i++) is_changed |= rx_ring(b, 0)->slot[i].flags & NS_BUF_CHANGED;
    CHECK(is_changed, "trap 40: whose buffers took the places of the parent's");
    struct pollfd out = {.fd = r->fd, .events = POLLOUT};
    put(r, tx_ring(r, 0), 1, 2, 3, 60, 0);
    int polled = poll(&out, 1, 500);
    CHECK(txsync(r) == 0 && polled == 1 && (out.revents & POLLERR), "trap 15: to send on a monitor: 0 from ioctl, POLLERR from poll");

    // More than the monitor has room for, while the receiver reads all: the newest stay.
    nmport_close(z);
    uint32_t sent = 0, came = 0;
    while (came < 5000) {
        while (sent < 5000 && sent < came + 500 && put(a, ta, BROADCAST, 0xa, sent, 60, 0)) sent++;
        txsync(a);
        if (take(b, rx_ring(b, 0), 100).length < 0) break;
        came++;
    }
    uint32_t seen = 0, last = 0;
    for (struct taken f; (f = take(r, rx_ring(r, 0), 50)).length >= 0; seen++) last = f.number;
    CHECK(came == 5000 && seen > 0 && seen < 5000, "trap 40: a monitor that does not read misses some (%u of %u), the receiver none", seen, came);
    (void)last;
    nmport_close(b);
    put(a, ta, BROADCAST, 0xa, 1, 60, 0);
    flush(a);
    struct pollfd dead = {.fd = r->fd, .events = POLLIN};
    CHECK(rxsync(r) == 0 && poll(&dead, 1, 1000) == 1 && (dead.revents & POLLERR), "when its parent has left it is dead: 0 and POLLERR");
    nmport_close(r), nmport_close(t), nmport_close(a);

    a = open_port("netmap:mp{1"), b = open_port("netmap:mp}1");
    t = open_port("netmap:mp{1/z"), r = open_port("netmap:mp}1/r");
    for (uint32_t n = 0; n < 10; n++) put(a, tx_ring(a, 0), 1, 2, n, 80, 0);
    txsync(a);
    is_right = true;
    for (uint32_t n = 0; n < 10; n++) is_right &= take(r, rx_ring(r, 0), 1000).number == n;
    CHECK(is_right, "on a pipe: at its receiving end, before it is read");
    CHECK(take(t, rx_ring(t, 0), 20).length < 0, "at its sending end without copies not before");
    for (uint32_t n = 0; n < 10; n++) is_right &= take(b, rx_ring(b, 0), 1000).number == n;
    rxsync(b);
    txsync(a);
    for (uint32_t n = 0; n < 10; n++) is_right &= take(t, rx_ring(t, 0), 1000).number == n;
    CHECK(is_right, "but afterwards");
    nmport_close(t), nmport_close(r), nmport_close(a), nmport_close(b);
}

static int put_one(void *port) {
    struct nmport_d *p = port;
    return put(p, tx_ring(p, 0), BROADCAST, 0xa, 4, 60, 0) && txsync(p) == 0 ? 0 : 1;
}

void owning(void) {
    static const char *const names[] = {"vale42:v", "v42", "netmap:v42{1"};
    struct nmreq_vale_newif newif = {0};
    CHECK(ask(NETMAP_REQ_VALE_NEWIF, "v42", &newif) == 0, "a persistent port");
    for (int i = 0; i < 3; i++) {
        char spec[64], plain[64];
        snprintf(plain, sizeof plain, "%s%s", i == 1 ? "netmap:" : "", names[i]);
        snprintf(spec, sizeof spec, "%s/x", plain);
        struct nmport_d *own = open_port(spec);
        CHECK(try_port(plain) == EBUSY && try_port(spec) == EBUSY, "%s: what is exclusive is nobody else's: EBUSY", plain);
        CHECK(in_child(put_one, own) == 0, "but a child's");
        nmport_close(own);
        CHECK(try_port(spec) == 0, "until it is closed");
        own = open_port(plain);
        CHECK(try_port(spec) == EBUSY && try_port(plain) == 0, "what is shared cannot become so");
        nmport_close(own);
    }
    CHECK(ask(NETMAP_REQ_VALE_DELIF, "v42", NULL) == 0, "and it goes");
}

void lasting(void) {
    struct nmreq_vale_newif newif = {.nr_tx_slots = 512, .nr_rx_slots = 512};
    struct nmreq_vale_attach attach = {.reg = {.nr_mode = NR_REG_ALL_NIC}};
    struct nmreq_vale_detach detach = {0};
    CHECK(ask(NETMAP_REQ_VALE_NEWIF, "v43", &newif) == 0 && newif.nr_tx_slots == 512 && newif.nr_mem_id > 1, "NEWIF");
    CHECK(ask(NETMAP_REQ_VALE_NEWIF, "v43", &newif) == EEXIST, "twice: EEXIST");
    CHECK(ask(NETMAP_REQ_VALE_ATTACH, "vale43:v43", &attach) == 0 && ask(NETMAP_REQ_VALE_ATTACH, "vale43:v43", &attach) == EBUSY, "ATTACH; twice: EBUSY");
    CHECK(ask(NETMAP_REQ_VALE_NEWIF, "v43", &newif) == EEXIST && ask(NETMAP_REQ_VALE_DELIF, "v43", NULL) == EBUSY, "attached, its name is taken and it stays: EBUSY");
    struct nmport_d *own = open_port("netmap:v43"), *other = open_port("vale43:o");
    CHECK(own->reg.nr_tx_slots == 512, "it has its slots");
    put(own, tx_ring(own, 0), BROADCAST, 0xa, 1, 60, 0);
    txsync(own);
    CHECK(take(other, rx_ring(other, 0), 2000).number == 1, "trap 31: by its own name it sends to the switch");
    struct nmport_d *member = open_port("vale43:v43");
    put(member, tx_ring(member, 0), BROADCAST, 0xa, 2, 60, 0);
    txsync(member);
    CHECK(take(other, rx_ring(other, 0), 2000).number == 2 && member->mem == own->mem, "trap 31: and by the switch's");
    nmport_close(member), nmport_close(own), nmport_close(other);
    attach.reg.nr_mode = NR_REG_ALL_NIC;
    CHECK(ask(NETMAP_REQ_VALE_ATTACH, "vale44:v43", &attach) == 0, "a second switch");
    CHECK(ask(NETMAP_REQ_VALE_DETACH, "vale43:v43", &detach) == EBUSY, "the first one must wait: EBUSY");
    CHECK(ask(NETMAP_REQ_VALE_DETACH, "vale44:v43", &detach) == 0 && ask(NETMAP_REQ_VALE_DETACH, "vale43:v43", &detach) == 0, "the other way round they go");
    struct nmreq_vale_list list = {0};
    CHECK(ask(NETMAP_REQ_VALE_LIST, "vale43:v43", &list) == ENOENT, "and the switch with them");
    CHECK(ask(NETMAP_REQ_VALE_DELIF, "v43", NULL) == 0 && ask(NETMAP_REQ_VALE_DELIF, "v43", NULL) == ENXIO, "DELIF; twice: ENXIO");
    attach = (struct nmreq_vale_attach){.reg = {.nr_mode = NR_REG_NIC_SW}};
    CHECK(ask(NETMAP_REQ_VALE_ATTACH, "vale43:nm0", &attach) == 0, "an interface with its host");
    CHECK(try_port("netmap:nm0") == EBUSY, "it is the switch's: EBUSY");
    struct nmreq_vale_polling poll = {.nr_mode = NETMAP_POLLING_MODE_SINGLE_CPU, .nr_num_polling_cpus = 1};
    CHECK(ask(NETMAP_REQ_VALE_POLLING_ENABLE, "vale43:nm0", &poll) == 0 && ask(NETMAP_REQ_VALE_POLLING_DISABLE, "vale43:nm0", &poll) == 0, "polling, on and off");
    CHECK(ask(NETMAP_REQ_VALE_DETACH, "vale43:nm0", &detach) == 0 && try_port("netmap:nm0") == 0, "DETACH gives it back");
}

// ---- A server that keeps ports open, and short-lived programs that use them by its descriptors.

static int server_socket;

static int serve(void *unused) {
    (void)unused;
    struct nmport_d *ports[] = {open_port("netmap:hh{1"), open_port("netmap:hh}1"), open_port("vale45:s"), open_port("vale45:r")};
    for (char which; recv(server_socket, &which, 1, 0) == 1;) {
        struct nmport_d *port = ports[which - '0'];
        send(server_socket, &port->reg, sizeof port->reg, 0);
        send_fd(server_socket, port->fd);
    }
    return 0;
}

struct errand {
    int socket;
    char port;
    int count;
};

// In a process that has never seen the port: its rings, from the descriptor and what it was told.
static struct nmport_d *from_server(const struct errand *errand) {
    static struct nmport_d port;
    if (send(errand->socket, &errand->port, 1, 0) != 1) exit(90);
    if (recv(errand->socket, &port.reg, sizeof port.reg, 0) != sizeof port.reg) exit(91);
    port.fd = receive_fd(errand->socket);
    void *memory = mmap(NULL, port.reg.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, port.fd, 0);
    if (memory == MAP_FAILED) exit(92);
    port.nifp = NETMAP_IF(memory, port.reg.nr_offset);
    return &port;
}

static int send_some(void *argument) {
    struct errand *errand = argument;
    struct nmport_d *port = from_server(errand);
    int sent = 0;
    while (sent < errand->count && put(port, tx_ring(port, 0), BROADCAST, 0xa, (uint32_t)sent, 3000, 0)) sent++;
    if (errand->port == '2' && !flush(port)) return 93;
    txsync(port);
    return sent;
}

static int receive_some(void *argument) {
    struct errand *errand = argument;
    struct nmport_d *port = from_server(errand);
    int came = 0;
    while (came < errand->count) {
        struct taken frame = take(port, rx_ring(port, 0), 1000);
        if (frame.length < 0 || !frame.is_intact) break;
        came++;
    }
    rxsync(port);
    return came;
}

// How many slots are in the pipe: `count`, if not at once then soon.
static int in_pipe(void *argument) {
    struct errand *errand = argument;
    struct nmport_d *port = from_server(errand);
    has_room(port, tx_ring(port, 0), (uint32_t)(1023 - errand->count), 1000);
    return (int)(1023 - nm_ring_space(tx_ring(port, 0)));
}

void handing(void) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)) return;
    server_socket = pair[1];
    fflush(stdout);
    pid_t server = fork();
    if (!server) {
        close(pair[0]);
        _exit(serve(NULL));
    }
    close(pair[1]);
    struct errand errand = {pair[0], '2', 20};
    CHECK(in_child(send_some, &errand) == 20, "trap 44: a program sends by a descriptor that it was handed");
    errand.port = '3';
    CHECK(in_child(receive_some, &errand) == 20, "trap 44: another receives, after the first has gone");
    errand = (struct errand){pair[0], '0', 10};
    CHECK(in_child(send_some, &errand) == 10, "ten frames of two slots into a pipe");
    errand = (struct errand){pair[0], '1', 7};
    CHECK(in_child(receive_some, &errand) == 7, "seven are read");
    errand = (struct errand){pair[0], '0', 6};
    CHECK(in_child(in_pipe, &errand) == 6, "trap 39: the rest is still in it");
    errand = (struct errand){pair[0], '1', 3};
    CHECK(in_child(receive_some, &errand) == 3, "for the next one to read");
    errand = (struct errand){pair[0], '0', 0};
    CHECK(in_child(in_pipe, &errand) == 0, "and then it is empty");
    struct nmport_d *end = open_port("netmap:hh}1");
    CHECK(end->reg.nr_rx_slots == 1024, "who opens it by name has the same rings");
    nmport_close(end);
    kill(server, SIGKILL);
    int status;
    waitpid(server, &status, 0);
    struct nmreq_port_info_get info;
    uint64_t limit = now_us() + 2000000;
    do info = (struct nmreq_port_info_get){0};
    while (ask(NETMAP_REQ_PORT_INFO_GET, "hh", &info) == 0 && now_us() < limit);
    CHECK(ask(NETMAP_REQ_PORT_INFO_GET, "hh", &info) == ENXIO, "trap 46: killed, it leaves nothing");
}

// ---- A program that gives up what it may do, once its port is open, as QEMU can.

static int bare(void *argument) {
    char *directory = argument;
    struct nmport_d *a = open_port("vale46:a"), *b = open_port("vale46:b");
    struct rlimit none = {3, 3}; // those of standard input, output and error
    bool is_root = getuid() == 0;
    if (!is_root && unshare(CLONE_NEWUSER)) return 77;
    if (chroot(directory) || chdir("/") || (is_root && (setgid(65534) || setuid(65534))) || setrlimit(RLIMIT_NOFILE, &none)) return 78;
    CHECK(open("/dev/null", O_RDONLY) < 0, "trap 52: without a root directory, an identity and a free descriptor");
    struct pollfd news = {.fd = b->fd, .events = POLLIN};
    put(a, tx_ring(a, 0), BROADCAST, 0xa, 7, 60, 0);
    struct pollfd sends = {.fd = a->fd, .events = POLLOUT};
    CHECK(poll(&sends, 1, 1000) == 1 && poll(&news, 1, 2000) == 1 && take(b, rx_ring(b, 0), 100).number == 7, "trap 52: a program sends, waits and receives");
    pid_t child = fork();
    if (!child) {
        pause_us(50000);
        put(a, tx_ring(a, 0), BROADCAST, 0xa, 8, 60, 0);
        _exit(txsync(a) == 0 ? 0 : 1);
    }
    int status = -1;
    bool woken = poll(&news, 1, 2000) == 1;
    waitpid(child, &status, 0);
    CHECK(woken && status == 0 && take(b, rx_ring(b, 0), 100).number == 8, "trap 52: its child sends, too");
    struct nmreq r = {.nr_version = NETMAP_API, .nr_cmd = NETMAP_BDG_VNET_HDR, .nr_arg1 = 12, .nr_name = "vale46:a"};
    CHECK(ioctl(a->fd, NIOCREGIF, &r) == 0, "trap 52: and requests go through");
    nmport_close(a), nmport_close(b);
    return failures ? 1 : 0;
}

void shedding(void) {
    char directory[] = "/tmp/wvt-root-XXXXXX";
    if (!mkdtemp(directory)) return;
    int status = in_child(bare, directory);
    rmdir(directory);
    if (status == 77) printf("note: no user namespaces here\n");
    else CHECK(status == 0, "trap 52: all of it (status %d)", status);
}
