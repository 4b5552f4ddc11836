// Frames over a switch (netmap-spec 2.15, 2.16; integration tests 004, 007, 021 and 022 of upstream's cover the same).

#include "conform.h"

#include <net/netmap_virt.h>

void frames(void) {
    struct nmport_d *a = open_port("vale30:a"), *b = open_port("vale30:b"), *c = open_port("vale30:c");
    struct netmap_ring *ta = tx_ring(a, 0), *tb = tx_ring(b, 0), *ra = rx_ring(a, 0), *rb = rx_ring(b, 0), *rc = rx_ring(c, 0);

    put(a, ta, BROADCAST, 0xa, 1, 60, 0);
    txsync(a);
    CHECK(take(b, rb, 2000).number == 1 && take(c, rc, 2000).number == 1 && take(a, ra, 20).length < 0, "a broadcast reaches all others");
    put(b, tb, 0xa, 0xb, 2, 60, 0);
    txsync(b);
    CHECK(take(a, ra, 2000).number == 2 && take(c, rc, 20).length < 0, "what is for a known address reaches its port only");
    put(a, ta, 0xc, 0xa, 3, 60, 0);
    txsync(a);
    CHECK(take(b, rb, 2000).number == 3 && take(c, rc, 2000).number == 3, "what is for an unknown one all others");
    put(b, tb, 0xb, 0xb, 4, 60, 0);
    CHECK(flush(b) && take(a, ra, 20).length < 0 && take(c, rc, 0).length < 0, "trap 26: what is for its own port is dropped");
    put(b, tb, 0xc, 0xa, 5, 60, 0); // the address of a turns up at b
    flush(b);
    count_frames(a, 50), count_frames(c, 0);
    put(c, tx_ring(c, 0), 0xa, 0xc, 6, 60, 0);
    txsync(c);
    CHECK(take(b, rb, 2000).number == 6 && take(a, ra, 20).length < 0, "trap 26: an address that moves is found where it was last");
    count_frames(a, 0), count_frames(b, 0), count_frames(c, 0);

    // Fragments, and what the receiver is told of them.
    put(a, ta, BROADCAST, 0xa, 7, 60, 0);
    txsync(a);
    struct taken frame = take(b, rb, 2000);
    CHECK(frame.first_flags == 0x0100 && frame.slots == 1, "trap 27: one slot: flags are 0x0100");
    put(a, ta, BROADCAST, 0xa, 8, 250, 100);
    txsync(a);
    frame = take(b, rb, 2000);
    CHECK(frame.length == 250 && frame.is_intact && frame.first_flags >> 8 == frame.slots && !(frame.last_flags & NS_MOREFRAG),
          "trap 27: %d slots: the high byte says so", frame.slots);
    put(a, ta, BROADCAST, 0xa, 9, 2048, 0);
    txsync(a);
    frame = take(b, rb, 2000);
    CHECK(frame.length == 2048 && frame.slots == 1 && frame.is_intact, "trap 29: a full buffer");
    uint32_t first = ta->head;
    put(a, ta, BROADCAST, 0xa, 10, 100, 0);
    ta->slot[first].flags = NS_MOREFRAG;
    bool is_back = flush(a);
    frame = take(b, rb, 2000);
    CHECK(is_back && frame.length == 100 && frame.is_intact && !(frame.last_flags & NS_MOREFRAG), "trap 24: a frame without an end is sent as it is");
    first = ta->head;
    put(a, ta, BROADCAST, 0xa, 11, 300, 100);
    uint32_t middle = nm_ring_next(ta, first);
    ta->slot[middle].len = 3000;
    txsync(a);
    frame = take(b, rb, 500);
    CHECK(frame.length < 0 || frame.length == 200, "trap 28: a piece that fits no buffer is empty (%d bytes came)", frame.length);
    flush(a);
    ta->slot[middle].len = 100;
    first = ta->head;
    put(a, ta, BROADCAST, 0xa, 12, 60, 0);
    uint32_t good = ta->slot[first].buf_idx;
    ta->slot[first].buf_idx = 0xffffff;
    is_back = flush(a);
    ta->slot[first].buf_idx = good;
    put(a, ta, BROADCAST, 0xa, 13, 60, 0);
    txsync(a);
    do frame = take(b, rb, 1000);
    while (frame.length == 0);
    CHECK(is_back && frame.number == 13, "trap 28: so is one whose buffer does not exist, and the next one arrives");
    uint8_t odd[13] = {0};
    nmport_inject(a, odd, sizeof odd);
    CHECK(flush(a) && take(b, rb, 20).length < 0, "13 bytes are no frame");
    count_frames(c, 20);

    // Indirect: the data stays with the sender.
    uint8_t data[600];
    memset(data, 0xff, 6);
    for (int i = 6; i < 600; i++) data[i] = (uint8_t)(i * 7) & 0xfe;
    first = ta->head;
    ta->slot[first] = (struct netmap_slot){.buf_idx = ta->slot[first].buf_idx, .len = 600, .flags = NS_INDIRECT, .ptr = (uintptr_t)data};
    ta->head = ta->cur = nm_ring_next(ta, first);
    txsync(a);
    struct pollfd news = {.fd = b->fd, .events = POLLIN};
    CHECK(poll(&news, 1, 2000) == 1 && rb->slot[rb->head].len == 600 && !memcmp(NETMAP_BUF(rb, rb->slot[rb->head].buf_idx), data, 600),
          "trap 34: indirect data is read from the sender");
    flush(a);
    ta->slot[first].flags = 0;
    count_frames(b, 0), count_frames(c, 20);

    // Sizes and numbers as upstream's random tests have them, to one receiver and to two.
    srand(1);
    bool is_right = true;
    for (int round = 0; round < 30 && is_right; round++) {
        uint32_t length = 50 + (uint32_t)rand() % 10000, count = 1 + (uint32_t)rand() % 100, sent = 0;
        while (sent < count && put(a, ta, BROADCAST, 0xa, sent, length, 0)) sent++;
        txsync(a);
        for (uint32_t n = 0; n < sent && is_right; n++) {
            struct taken at_b = take(b, rb, 2000), at_c = take(c, rc, 2000);
            is_right = at_b.length == (int)length && at_b.number == n && at_b.is_intact && at_c.length == (int)length && at_c.number == n && at_c.is_intact;
        }
        is_right &= flush(a);
    }
    CHECK(is_right, "frames of any length and number, to two receivers, in order");

    // Nobody takes anything: the sender does not notice.
    nmport_close(c);
    rxsync(b);
    uint32_t sent = 0;
    for (int round = 0; round < 20; round++) {
        while (put(a, ta, BROADCAST, 0xa, sent, 60, 0)) sent++;
        if (!flush(a)) break;
    }
    CHECK(sent == 20 * 1023 && nm_ring_space(ta) == 1023, "trap 23: a receiver that is full holds up nobody (%u frames sent)", sent);
    int came = count_frames(b, 20);
    CHECK(came == 1023, "trap 23: the oldest of them are there (%d)", came);
    nmport_close(b);
    put(a, ta, 0xb, 0xa, 1, 60, 0);
    CHECK(flush(a), "trap 26: nor one that has gone");

    // Extra buffers take the places of the ring's own.
    struct nmport_d *x = nmport_prepare("vale30:x");
    b = open_port("vale30:b");
    x->reg.nr_extra_bufs = 16;
    CHECK(nmport_open_desc(x) == 0 && x->reg.nr_extra_bufs == 16, "extra buffers");
    struct netmap_ring *tx = tx_ring(x, 0);
    uint32_t extra = x->nifp->ni_bufs_head, count = 0;
    while (extra && count < 16) {
        struct netmap_slot *slot = &tx->slot[tx->head];
        uint32_t own = slot->buf_idx, following = *(uint32_t *)NETMAP_BUF(tx, extra);
        slot->buf_idx = extra;
        put(x, tx, BROADCAST, 0xd, count++, 200, 0);
        slot->flags |= NS_BUF_CHANGED;
        *(uint32_t *)NETMAP_BUF(tx, own) = x->nifp->ni_bufs_head == extra ? 0 : x->nifp->ni_spare1[0];
        x->nifp->ni_spare1[0] = own;
        x->nifp->ni_bufs_head = 0;
        extra = following;
    }
    x->nifp->ni_bufs_head = x->nifp->ni_spare1[0];
    txsync(x);
    CHECK(count == 16 && count_frames(b, 200) == 16, "trap 45: sixteen are in the list, and frames are sent from them");
    nmport_close(x);
    nmport_close(b);
    nmport_close(a);
}

void rings(void) {
    struct nmport_d *s = open_port("vale31:s@conf:rings=4"), *r = open_port("vale31:r@conf:rings=4"), *two = open_port("vale31:t@conf:rings=2");
    CHECK(s->reg.nr_tx_rings == 4 && two->reg.nr_rx_rings == 2, "ports with several rings");
    put(r, tx_ring(r, 2), BROADCAST, 0x1, 1, 60, 0);
    put(two, tx_ring(two, 1), BROADCAST, 0x2, 2, 60, 0);
    txsync(r), txsync(two);
    struct taken one = take(s, rx_ring(s, 0), 2000), other = take(s, rx_ring(s, 0), 2000);
    CHECK(one.length == 60 && other.length == 60, "trap 25: broadcasts of any ring arrive in ring 0");
    count_frames(r, 20), count_frames(two, 0);
    bool same = true, modulo = true;
    for (unsigned i = 0; i < 4; i++) {
        put(s, tx_ring(s, i), 0x1, 0x3, 10 + i, 60, 0);
        put(s, tx_ring(s, i), 0x2, 0x3, 20 + i, 60, 0);
        txsync(s);
        same &= take(r, rx_ring(r, i), 2000).number == 10 + i;
        modulo &= take(two, rx_ring(two, i % 2), 2000).number == 20 + i;
    }
    CHECK(same && modulo, "trap 25: others in the ring of their sender, modulo the receiver's");
    struct nmport_d *third = open_port("vale31:r-3");
    put(s, tx_ring(s, 3), 0x1, 0x3, 33, 60, 0);
    txsync(s);
    struct taken seen = take(third, rx_ring(third, 3), 2000);
    CHECK(seen.number == 33, "one ring of it, by another descriptor");
    rxsync(third);
    CHECK(take(r, rx_ring(r, 3), 20).length < 0, "trap 21: which is the same ring: what one has consumed the other does not see");
    nmport_close(third);
    // Two descriptors sync one ring: nothing is lost or doubled, nobody waits.
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < 20000; i++) rxsync(r), txsync(r);
        _exit(0);
    }
    int got = 0, sent = 0;
    bool in_order = true;
    for (uint64_t end = now_us() + 5000000; sent < 2000 && now_us() < end;) {
        // Not more than the ring takes: the other process may hold it for as long as it is not scheduled.
        if (sent - got < 500) sent += put(s, tx_ring(s, 0), 0x1, 0x3, (uint32_t)sent, 60, 0);
        txsync(s);
        for (struct taken f; (f = take(r, rx_ring(r, 0), 0)).length >= 0;) in_order &= f.number == (uint32_t)got++;
    }
    for (struct taken f; (f = take(r, rx_ring(r, 0), 200)).length >= 0;) in_order &= f.number == (uint32_t)got++;
    int status;
    waitpid(child, &status, 0);
    CHECK(got == 2000 && in_order && status == 0, "trap 21: two processes sync a ring, each frame comes once (%d)", got);
    nmport_close(s), nmport_close(r), nmport_close(two);
}

// What the sender's header asks for, to ports with other headers (2.16).
void offloads(void) {
    struct nmport_d *s = nmport_prepare("vale32:s"), *r = open_port("vale32:r"), *h = nmport_prepare("vale32:h");
    s->reg.nr_flags |= NR_ACCEPT_VNET_HDR, h->reg.nr_flags |= NR_ACCEPT_VNET_HDR;
    CHECK(nmport_open_desc(s) == 0 && nmport_open_desc(h) == 0, "ports that may have a header");
    struct nmreq_port_hdr length = {.nr_hdr_len = 12};
    CHECK(ask(NETMAP_REQ_PORT_HDR_SET, "vale32:s", &length) == 0, "12 bytes for the sender");
    length.nr_hdr_len = 10;
    CHECK(ask(NETMAP_REQ_PORT_HDR_SET, "vale32:h", &length) == 0, "10 for a receiver");
    CHECK(try_port("vale32:s") == EIO, "trap 32: who does not accept a header: EIO");

    // TSO: 14 Ethernet, 20 IPv4, 20 TCP, 1900 bytes of data; gso_size is at odds with nothing.
    uint8_t frame[12 + 54 + 1900] = {1, 1, 54, 0, 1000 & 0xff, 1000 >> 8, 34, 0, 16, 0};
    uint8_t *e = frame + 12;
    memset(e, 0xff, 6);
    e[6] = 2, e[11] = 1, e[12] = 8;
    e[14] = 0x45, e[16] = 1940 >> 8, e[17] = 1940 & 0xff, e[22] = 64, e[23] = 6;
    e[26] = e[30] = 10, e[29] = 1, e[33] = 2;
    e[46] = 0x50, e[47] = 0x18;
    for (int i = 0; i < 1900; i++) e[54 + i] = (uint8_t)i;
    CHECK(nmport_inject(s, frame, sizeof frame) == (int)sizeof frame && flush(s), "a large packet is sent");
    struct netmap_ring *ring = rx_ring(r, 0);
    struct pollfd news = {.fd = r->fd, .events = POLLIN};
    int data = 0, parts = 0, largest = 0;
    while (data < 1900 && poll(&news, 1, 1000) == 1)
        for (; !nm_ring_empty(ring); ring->head = ring->cur = nm_ring_next(ring, ring->head), parts++) {
            const struct netmap_slot *slot = &ring->slot[ring->head];
            largest = slot->len > largest ? slot->len : largest;
            data += slot->len - 54;
        }
    CHECK(data == 1900 && parts > 1 && largest <= 1514, "trap 33: without a header it arrives in frames of at most 1514 bytes (%d, the largest %d)", parts, largest);
    news.fd = h->fd;
    ring = rx_ring(h, 0);
    bool came = poll(&news, 1, 1000) == 1;
    const struct netmap_slot *slot = &ring->slot[ring->head];
    CHECK(came && slot->len == sizeof frame - 2 && !memcmp(NETMAP_BUF(ring, slot->buf_idx), frame, 10), "with one of 10 bytes it arrives whole");
    nmport_close(s), nmport_close(r), nmport_close(h);
}
