// What a sync makes of the program's indices and slots: netmap-spec 2.6, 2.7, 2.9, 2.13; traps 15-22, 34,
// 36-38.

#include "check.h"

struct state {
    uint32_t head, cur, tail;
};

// Brings TX ring 0 to head = cur = 4 and tail = 10, or RX ring 0 to the same.
static void prepare(struct port *p, bool transmit) {
    struct netmap_ring *r = transmit ? p->tx[0] : p->rx[0];
    if (transmit) {
        // Given away up to `to`, done with up to there: the tail is one slot before.
        for (uint32_t to = 11; to != 5; to = to == 11 ? 4 : 5) {
            r->head = r->cur = to;
            ioctl(p->fd, NIOCTXSYNC, NULL);
            if (to == 11) wish(p->fd, WISH_CONSUME, 0, 0, 0);
            if (to == 4) break;
            ioctl(p->fd, NIOCTXSYNC, NULL);
        }
    } else {
        wish(p->fd, WISH_INJECT, 0, 10, 0);
        ioctl(p->fd, NIOCRXSYNC, NULL);
        r->head = r->cur = 4;
        ioctl(p->fd, NIOCRXSYNC, NULL);
    }
}

static void validate(bool transmit) {
    static const struct {
        const char *what;
        struct state is, becomes;
        uint32_t fault;
    } cases[] = {
        {"nothing moved", {4, 4, 10}, {4, 4, 10}, NM_FAULT_NONE},
        {"all given away", {10, 10, 10}, {10, 10, 10}, NM_FAULT_NONE},
        {"some given away", {6, 6, 10}, {6, 6, 10}, NM_FAULT_NONE},
        {"cur before head: wake me later (2.6, B10)", {4, 10, 10}, {4, 10, 10}, NM_FAULT_NONE},
        {"trap 16: tail overwritten", {5, 5, 2}, {5, 5, 10}, NM_FAULT_NONE},
        {"head moved back", {3, 4, 10}, {4, 4, 10}, NM_FAULT_HEAD},
        {"head beyond tail", {11, 11, 10}, {4, 4, 10}, NM_FAULT_HEAD},
        {"head out of range", {16, 4, 10}, {4, 4, 10}, NM_FAULT_HEAD},
        {"head at the end of numbers", {0xffffffff, 4, 10}, {4, 4, 10}, NM_FAULT_HEAD},
        {"cur behind head", {6, 5, 10}, {4, 4, 10}, NM_FAULT_CUR},
        {"cur beyond tail", {6, 11, 10}, {4, 4, 10}, NM_FAULT_CUR},
        {"cur out of range", {6, 4711, 10}, {4, 4, 10}, NM_FAULT_CUR},
        {"tail out of range", {6, 6, 16}, {4, 4, 10}, NM_FAULT_TAIL},
        {"all out of range", {99, 99, 99}, {4, 4, 10}, NM_FAULT_HEAD},
    };
    const char *name = transmit ? "TX" : "RX";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char port[32];
        snprintf(port, sizeof port, "v%s%zu", name, i);
        struct port p = open_port(port, 0);
        struct netmap_ring *r = transmit ? p.tx[0] : p.rx[0];
        prepare(&p, transmit);
        // A transmit ring's free slots end before what was sent and not reclaimed: 4 .. 10.
        if (transmit && !(r->head == 4 && r->tail == 10)) {
            CHECK(false, "preparation: head %u tail %u", r->head, r->tail);
            return;
        }
        r->head = cases[i].is.head;
        r->cur = cases[i].is.cur;
        r->tail = cases[i].is.tail;
        // A buffer that does not exist, and a length that no buffer has.
        r->slot[7].buf_idx = 100000;
        r->slot[8].len = 3000;
        int result = ioctl(p.fd, transmit ? NIOCTXSYNC : NIOCRXSYNC, NULL);
        struct state s = cases[i].becomes;
        struct nm_kring k = transmit ? wish(p.fd, WISH_CONSUME, 0, 0, 60000).ring : look_at(p.fd).ring;
        bool repaired = r->slot[7].buf_idx == 0 && r->slot[7].len == 0 && r->slot[8].len == 0;
        bool is_right = result == 0 && r->head == s.head && r->cur == s.cur && r->tail == s.tail
            && k.head == s.head && k.fault == cases[i].fault && k.rejects == (cases[i].fault != 0)
            && repaired == (cases[i].fault != 0);
        CHECK(is_right, "%s %s -> head %u cur %u tail %u, fault %u", name, cases[i].what, r->head, r->cur, r->tail, k.fault);
        if (cases[i].fault) {
            uint32_t wrong = k.fault == NM_FAULT_HEAD ? cases[i].is.head : k.fault == NM_FAULT_CUR ? cases[i].is.cur : cases[i].is.tail;
            uint32_t low = k.fault == NM_FAULT_HEAD ? 4 : k.fault == NM_FAULT_CUR ? cases[i].is.head : 0;
            if (k.fault_value != wrong || k.fault_low != low)
                CHECK(false, "... with value %u of %u .. %u", k.fault_value, k.fault_low, k.fault_high);
            // The ring works on.
            r->head = r->cur = 5;
            CHECK(ioctl(p.fd, transmit ? NIOCTXSYNC : NIOCRXSYNC, NULL) == 0 && r->head == 5, "... and goes on");
        }
        munmap(p.memory, p.reg.nr_memsize);
        close(p.fd);
        if (i + 1 == sizeof cases / sizeof *cases) break;
    }
}

void validation(void) {
    validate(true);
    validate(false);
}

static void *spin(void *argument) {
    struct port *p = argument;
    for (int i = 0; i < 20000; i++) ioctl(p->fd, NIOCRXSYNC, NULL);
    return NULL;
}

void slots(void) {
    struct port p = open_port("slots", 0);
    struct netmap_ring *tx = p.tx[0], *rx = p.rx[0];
    struct nm_kring k;
    // Trap 19 and 2.9: only NS_BUF_CHANGED is taken back.
    tx->slot[0].flags = NS_BUF_CHANGED | NS_REPORT | NS_MOREFRAG;
    tx->slot[1].flags = NS_BUF_CHANGED;
    tx->slot[2].flags = NS_BUF_CHANGED;
    tx->head = tx->cur = 2;
    ioctl(p.fd, NIOCTXSYNC, NULL);
    CHECK(tx->slot[0].flags == (NS_REPORT | NS_MOREFRAG) && tx->slot[1].flags == 0, "trap 19: NS_BUF_CHANGED is cleared, others stay");
    CHECK(tx->slot[2].flags == NS_BUF_CHANGED, "on what was given away only");
    // Indirect: the data comes into the slot's buffer.
    char data[100];
    memset(data, 'x', sizeof data);
    tx->slot[2] = (struct netmap_slot){.buf_idx = tx->slot[2].buf_idx, .len = 100, .flags = NS_INDIRECT, .ptr = (uintptr_t)data};
    tx->slot[3] = (struct netmap_slot){.buf_idx = tx->slot[3].buf_idx, .len = 100, .flags = NS_INDIRECT, .ptr = 8};
    tx->slot[4] = (struct netmap_slot){.buf_idx = tx->slot[4].buf_idx, .len = 60000, .flags = NS_INDIRECT, .ptr = (uintptr_t)data};
    tx->slot[5] = (struct netmap_slot){.buf_idx = 77777, .len = 10, .flags = NS_INDIRECT, .ptr = (uintptr_t)data};
    tx->slot[6] = (struct netmap_slot){.buf_idx = tx->slot[6].buf_idx, .len = 50, .flags = NS_INDIRECT, .ptr = (uintptr_t)data};
    tx->head = tx->cur = 7;
    CHECK(ioctl(p.fd, NIOCTXSYNC, NULL) == 0, "trap 34: indirect slots, good and bad, are sent");
    char *buffer = (char *)tx + tx->buf_ofs + (size_t)tx->slot[2].buf_idx * tx->nr_buf_size;
    char *last = (char *)tx + tx->buf_ofs + (size_t)tx->slot[6].buf_idx * tx->nr_buf_size;
    CHECK(memcmp(buffer, data, 100) == 0 && tx->slot[2].len == 100, "their data is in their buffers");
    CHECK(tx->slot[3].len == 0, "what cannot be read is empty");
    CHECK(tx->slot[4].len == 0 && tx->slot[5].len == 0, "so is what fits no buffer");
    CHECK(memcmp(last, data, 50) == 0 && tx->slot[6].len == 50, "those after it are not");
    // Timestamps (trap 20): with each receive sync, nothing arrived or not.
    rx->ts.tv_sec = 0;
    ioctl(p.fd, NIOCRXSYNC, NULL);
    CHECK(rx->ts.tv_sec > 1000000000, "trap 20: a receive sync is stamped");
    rx->ts.tv_sec = 0;
    ioctl(p.fd, NIOCTXSYNC, NULL);
    CHECK(rx->ts.tv_sec == 0 && tx->ts.tv_sec == 0, "a transmit sync is not");
    // Trap 18: RX cur goes back.
    wish(p.fd, WISH_INJECT, 0, 5, 0);
    ioctl(p.fd, NIOCRXSYNC, NULL);
    rx->cur = 5;
    ioctl(p.fd, NIOCRXSYNC, NULL);
    rx->cur = 1;
    ioctl(p.fd, NIOCRXSYNC, NULL);
    CHECK(rx->cur == 1 && rx->head == 0 && look_at(p.fd).ring.rejects == 0, "trap 18: cur of a receive ring may go back");
    // The engine that sleeps gets a byte, one, and it is remembered.
    uint32_t before = look_at(p.fd).bytes;
    wish(p.fd, WISH_SLEEP, 0, 0, 0);
    rx->head = rx->cur = 2;
    ioctl(p.fd, NIOCRXSYNC, NULL);
    CHECK(look_at(p.fd).bytes == before, "an engine that is awake gets no byte");
    wish(p.fd, WISH_SLEEP, 0, 1, 0);
    tx->head = tx->cur = 8;
    ioctl(p.fd, NIOCTXSYNC, NULL);
    usleep(10000);
    CHECK(look_at(p.fd).bytes == before + 1, "one that sleeps gets one");
    ioctl(p.fd, NIOCTXSYNC, NULL);
    usleep(10000);
    CHECK(look_at(p.fd).bytes == before + 1, "but not if nothing was published");
    // Trap 21: whoever finds the ring taken does nothing, and says so to nobody.
    wish(p.fd, WISH_LOCK, 0, (uint32_t)getppid(), 0);
    wish(p.fd, WISH_INJECT, 0, 1, 0);
    uint32_t tail = rx->tail;
    usleep(20000);
    for (int i = 0; i < 3; i++) {
        CHECK(ioctl(p.fd, NIOCRXSYNC, NULL) == 0 && rx->tail == tail, "trap 21: a ring that another one syncs is skipped");
        usleep(15000);
    }
    // Trap 46: its holder is no more.
    wish(p.fd, WISH_LOCK, 0, 0x3ffffff0, 0);
    ioctl(p.fd, NIOCRXSYNC, NULL);
    usleep(20000);
    ioctl(p.fd, NIOCRXSYNC, NULL);
    CHECK(rx->tail == tail + 1, "trap 46: a ring whose holder died goes on");
    // Trap 22: one bad ring does not stop the others.
    wish(p.fd, WISH_INJECT, 1, 2, 0);
    rx->head = 99;
    CHECK(ioctl(p.fd, NIOCRXSYNC, NULL) == 0 && p.rx[1]->tail == 2 && rx->tail == tail + 1, "trap 22: one bad ring does not stop the others");
    // Modes.
    struct pollfd poller = {p.fd, POLLIN | POLLOUT, 0};
    wish(p.fd, WISH_MODE, 0, NM_KRING_DEAD, 0);
    wish(p.fd, WISH_INJECT, 1, 1, 0);
    CHECK(ioctl(p.fd, NIOCRXSYNC, NULL) == 0 && p.rx[1]->tail == 2, "trap 15: a dead ring: ioctl says nothing and does nothing");
    CHECK(poll(&poller, 1, 0) == 1 && (poller.revents & POLLERR), "trap 15: but poll says POLLERR");
    wish(p.fd, WISH_MODE, 0, NM_KRING_STOPPED, 0);
    CHECK(ioctl(p.fd, NIOCTXSYNC, NULL) < 0 && errno == EIO, "a stopped ring: EIO");
    wish(p.fd, WISH_MODE, 0, NM_KRING_DUMMY, 0);
    CHECK(ioctl(p.fd, NIOCTXSYNC, NULL) == 0 && ioctl(p.fd, NIOCRXSYNC, NULL) == 0, "a null port: 0");
    wish(p.fd, WISH_MODE, 0, NM_KRING_ENGINE, 0);
    // Trap 17: rings that others scribble on, synced by several threads.
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, spin, &p);
    unsigned seed = 1;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1103515245 + 12345;
        uint32_t *words = (uint32_t *)(i & 1 ? (void *)&rx->head : (void *)&rx->slot[seed >> 16 & 15]);
        words[seed >> 24 & 1] = seed;
    }
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    k = look_at(p.fd).ring;
    CHECK(k.head < SLOTS && k.lock == 0, "trap 17: scribbling harms nobody (%u rejects)", k.rejects);
    wish(p.fd, WISH_DIE, 0, 0, 0);
    usleep(20000);
    CHECK(poll(&poller, 1, 1000) == 1 && (poller.revents & (POLLERR | POLLOUT)), "an engine that has gone keeps nobody waiting");
}

void pipes(void) {
    struct port a = open_port("p{1", 0), b = open_port("p}1", 0);
    struct netmap_ring *tx = a.tx[0], *rx = b.rx[0];
    uint32_t first = tx->slot[0].buf_idx;
    for (uint32_t i = 0; i < 3; i++) {
        tx->slot[i].len = (uint16_t)(60 + i);
        tx->slot[i].ptr = 0x1234567890 + i;
    }
    tx->slot[0].flags = NS_BUF_CHANGED;
    tx->slot[2].flags = NS_MOREFRAG;
    tx->head = tx->cur = 3;
    ioctl(a.fd, NIOCTXSYNC, NULL);
    CHECK(tx->tail == SLOTS - 1 && tx->slot[0].flags == 0, "2.13: sent, nothing returned yet");
    ioctl(b.fd, NIOCRXSYNC, NULL);
    CHECK(rx->tail == 2, "trap 24: an incomplete frame is withheld");
    CHECK(rx->slot[0].buf_idx == first && rx->slot[0].len == 60 && rx->slot[1].len == 61, "whole slots arrive: the buffer itself");
    CHECK(rx->slot[1].ptr == 0x1234567891, "trap 37: with their pointer");
    tx->slot[3].len = 40;
    tx->slot[3].flags = 0;
    tx->head = tx->cur = 4;
    ioctl(a.fd, NIOCTXSYNC, NULL);
    ioctl(b.fd, NIOCRXSYNC, NULL);
    CHECK(rx->tail == 4 && rx->slot[2].flags == NS_MOREFRAG, "until it is complete");
    // The receiver puts another buffer into a slot and gives two back.
    uint32_t extra = 200;
    rx->slot[0].buf_idx = extra;
    rx->slot[0].flags = NS_BUF_CHANGED;
    rx->slot[1].ptr = 42;
    rx->head = rx->cur = 2;
    ioctl(a.fd, NIOCTXSYNC, NULL);
    CHECK(tx->tail == SLOTS - 1, "trap 36: space comes back with the receiver's sync only");
    ioctl(b.fd, NIOCRXSYNC, NULL);
    ioctl(a.fd, NIOCTXSYNC, NULL);
    CHECK(tx->tail == 1, "then up to the slot before its head");
    CHECK(tx->slot[0].buf_idx == extra, "trap 36: with the buffers that the receiver left");
    CHECK(tx->slot[1].ptr == 42, "trap 38: and the slot at tail has its own already");
    tx->slot[1].ptr = 43;
    rx->head = rx->cur = 3;
    ioctl(b.fd, NIOCRXSYNC, NULL);
    ioctl(a.fd, NIOCTXSYNC, NULL);
    CHECK(tx->slot[1].ptr == 43 && tx->tail == 2, "trap 38: which is not written again");
    rx->head = rx->cur = 4;
    ioctl(b.fd, NIOCRXSYNC, NULL);
    ioctl(a.fd, NIOCTXSYNC, NULL);
    // Lossless: a full pipe takes no more.
    tx->slot[2].flags = 0;
    tx->head = tx->cur = tx->tail;
    ioctl(a.fd, NIOCTXSYNC, NULL);
    struct pollfd poller = {a.fd, POLLOUT, 0};
    CHECK(tx->tail == tx->cur && poll(&poller, 1, 50) == 0, "a full pipe is not writable");
    ioctl(b.fd, NIOCRXSYNC, NULL);
    CHECK((rx->tail + SLOTS - rx->head) % SLOTS == SLOTS - 1, "and full it arrives");
    // Both ends wake each other, by way of the engine.
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        usleep(100000);
        rx->head = rx->cur = rx->tail;
        ioctl(b.fd, NIOCRXSYNC, NULL);
        _exit(0);
    }
    uint64_t began = now_us();
    int ready = poll(&poller, 1, 3000);
    uint64_t took = now_us() - began;
    CHECK(ready == 1 && poller.revents == POLLOUT && took > 50000 && took < 1000000, "the receiver's sync wakes the sender (%u us)", (unsigned)took);
    waitpid(child, NULL, 0);
    ioctl(b.fd, NIOCRXSYNC, NULL);
    poller = (struct pollfd){b.fd, POLLIN, 0};
    child = fork();
    if (child == 0) {
        usleep(100000);
        tx->slot[tx->head].flags = 0;
        tx->head = tx->cur = (tx->head + 1) % SLOTS;
        ioctl(a.fd, NIOCTXSYNC, NULL);
        _exit(0);
    }
    began = now_us();
    ready = poll(&poller, 1, 3000);
    took = now_us() - began;
    CHECK(ready == 1 && took > 50000 && took < 1000000, "and the sender's the receiver (%u us)", (unsigned)took);
    waitpid(child, NULL, 0);
}
