// Which port a sender chose (NS_PORT beside NS_NO_LEARN), persistent ports on two switches, interfaces on one.

#include "conform.h"

static int place(const char *name) {
    struct nmreq_vale_list list = {0};
    return ask(NETMAP_REQ_VALE_LIST, name, &list) == 0 ? (int)list.nr_port_idx : -1;
}

// As `put`, with flags in all slots of the frame.
static bool put_flagged(struct nmport_d *port, int to, int from, uint32_t number, uint32_t length, uint32_t piece, unsigned flags) {
    struct netmap_ring *ring = tx_ring(port, 0);
    uint32_t first = ring->head;
    if (!put(port, ring, to, from, number, length, piece)) return false;
    for (uint32_t i = first; i != ring->head; i = nm_ring_next(ring, i)) ring->slot[i].flags |= (uint16_t)flags;
    return true;
}

static unsigned forced(int place) { return NS_NO_LEARN | (unsigned)place << NS_PORT_SHIFT; }

void forcing(void) {
    struct nmreq_vale_newif newif = {0};
    struct nmreq_vale_attach attach = {.reg = {.nr_mode = NR_REG_ALL_NIC}};
    // A port whose counters stay when we have gone: the test reads them.
    CHECK(ask(NETMAP_REQ_VALE_NEWIF, "forcer", &newif) == 0 && ask(NETMAP_REQ_VALE_ATTACH, "vale33:forcer", &attach) == 0, "a port that stays");
    struct nmport_d *a = open_port("vale33:forcer"), *b = open_port("vale33:b"), *c = open_port("vale33:c"), *d = open_port("vale34:d");
    struct netmap_ring *rb = rx_ring(b, 0), *rc = rx_ring(c, 0);
    int at_a = place("vale33:forcer"), at_b = place("vale33:b"), at_c = place("vale33:c");
    CHECK(at_a == (int)attach.port_index && at_a > 0 && at_b > 0 && at_c > 0 && at_a != at_b && at_b != at_c && at_a != at_c,
          "ports have numbers (%d, %d, %d), which VALE_LIST and ATTACH tell", at_a, at_b, at_c);

    put_flagged(a, BROADCAST, 0xa, 1, 60, 0, forced(at_c));
    flush(a);
    CHECK(take(c, rc, 2000).number == 1 && take(b, rb, 20).length < 0, "a broadcast that is forced to a port reaches it alone");
    put_flagged(a, BROADCAST, 0xa, 2, 250, 100, forced(at_b));
    flush(a);
    struct taken frame = take(b, rb, 2000);
    CHECK(frame.number == 2 && frame.slots == 1 && frame.is_intact && frame.length == 250, "a frame of several slots, too");
    put(b, tx_ring(b, 0), 0xa, 0xb, 3, 60, 0);
    flush(b);
    CHECK(take(c, rc, 2000).number == 3 && take(a, rx_ring(a, 0), 2000).number == 3, "the sender was not learned: what is for it goes to all");
    put_flagged(a, 0xb, 0xa, 4, 60, 0, forced(at_c));
    flush(a);
    CHECK(take(c, rc, 2000).number == 4 && take(b, rb, 20).length < 0, "against what was learned");

    // What a forwarder does that copies the flags of what it received: they hold the number of slots there.
    put(a, tx_ring(a, 0), BROADCAST, 0xa, 5, 60, 0);
    flush(a);
    uint16_t flags = take(b, rb, 2000).first_flags;
    take(c, rc, 2000);
    put_flagged(b, BROADCAST, 0xb, 6, 60, 0, flags);
    flush(b);
    CHECK(flags >> NS_PORT_SHIFT == (unsigned)1 && take(c, rc, 2000).number == 6 && take(a, rx_ring(a, 0), 2000).number == 6,
          "trap 27: a slot that is sent with the flags it was received with goes where its addresses say");

    // Each of a mixed burst to its own.
    for (int i = 0; i < 30; i++) put_flagged(a, BROADCAST, 0xa, (uint32_t)i, 60, 0, i % 3 == 2 ? 0 : forced(i % 3 ? at_b : at_c));
    flush(a);
    bool is_right = true;
    for (int i = 0; i < 30; i++) {
        if (i % 3 != 0) is_right &= take(b, rb, 2000).number == (uint32_t)i;
        if (i % 3 != 1) is_right &= take(c, rc, 2000).number == (uint32_t)i;
    }
    CHECK(is_right && count_frames(b, 20) == 0 && count_frames(c, 0) == 0, "a burst of frames for one, for another, for all, in order");

    // Nobody's numbers: nothing arrives, and it is counted (the test looks).
    nmport_close(c);
    for (int i = 0; i < 2000 && place("vale33:c") != 255; i++) pause_us(1000); // the engine sees its end in its own time
    put_flagged(a, BROADCAST, 0xa, 7, 60, 0, forced(at_c));
    put_flagged(a, BROADCAST, 0xa, 8, 60, 0, forced(254));
    put_flagged(a, BROADCAST, 0xa, 9, 60, 0, forced(255));
    put_flagged(a, BROADCAST, 0xa, 10, 60, 0, forced(at_a));
    CHECK(flush(a) && take(b, rb, 20).length < 0 && take(d, rx_ring(d, 0), 0).length < 0, "a number that no port has is no destination");
    CHECK(place("vale33:b") == at_b && place("vale33:forcer") == at_a, "the others keep their numbers");
    c = open_port("vale33:e");
    CHECK(place("vale33:e") == at_c, "the next one gets what is free");
    nmport_close(a), nmport_close(b), nmport_close(c), nmport_close(d);
}

void joining(void) {
    struct nmreq_vale_newif newif = {.nr_tx_rings = 2, .nr_rx_rings = 1};
    struct nmreq_vale_attach attach = {.reg = {.nr_mode = NR_REG_ALL_NIC}};
    struct nmreq_vale_detach detach = {0};
    struct nmport_d *a = open_port("vale35:a"), *b = open_port("vale36:b"), *c = open_port("vale36:c");
    struct netmap_ring *ra = rx_ring(a, 0), *rb = rx_ring(b, 0), *rc = rx_ring(c, 0);
    // One that goes again.
    CHECK(ask(NETMAP_REQ_VALE_NEWIF, "gone", &newif) == 0 && ask(NETMAP_REQ_VALE_ATTACH, "vale35:gone", &attach) == 0
              && ask(NETMAP_REQ_VALE_ATTACH, "vale36:gone", &attach) == 0, "a port on two switches");
    put(a, tx_ring(a, 0), BROADCAST, 0xa, 1, 60, 0);
    flush(a);
    CHECK(take(b, rb, 2000).number == 1 && take(c, rc, 2000).number == 1, "frames pass");
    CHECK(ask(NETMAP_REQ_VALE_DETACH, "vale35:gone", &detach) == EBUSY && ask(NETMAP_REQ_VALE_DETACH, "vale36:gone", &detach) == 0, "detached from the second");
    put(a, tx_ring(a, 0), BROADCAST, 0xa, 4, 60, 0);
    CHECK(flush(a) && take(b, rb, 50).length < 0, "nothing passes any more");
    struct nmport_d *own = open_port("netmap:gone");
    put(a, tx_ring(a, 0), BROADCAST, 0xa, 5, 60, 0);
    flush(a);
    CHECK(take(own, rx_ring(own, 0), 2000).number == 5, "and it can be opened again");
    nmport_close(own);
    CHECK(ask(NETMAP_REQ_VALE_DETACH, "vale35:gone", &detach) == 0 && ask(NETMAP_REQ_VALE_DELIF, "gone", NULL) == 0, "and removed");

    newif = (struct nmreq_vale_newif){.nr_tx_rings = 2, .nr_rx_rings = 1};
    CHECK(ask(NETMAP_REQ_VALE_NEWIF, "wire", &newif) == 0 && ask(NETMAP_REQ_VALE_ATTACH, "vale35:wire", &attach) == 0, "a port on a switch");
    CHECK(ask(NETMAP_REQ_VALE_ATTACH, "vale36:wire", &attach) == 0, "and on a second one");
    CHECK(ask(NETMAP_REQ_VALE_ATTACH, "vale37:wire", &attach) == EBUSY && try_port("netmap:wire") == EBUSY && try_port("vale36:wire") == EBUSY,
          "it is theirs then: EBUSY");
    CHECK(place("vale35:wire") > 0 && place("vale36:wire") > 0, "both list it");
    put(a, tx_ring(a, 0), BROADCAST, 0xa, 1, 60, 0);
    flush(a);
    CHECK(take(b, rb, 2000).number == 1 && take(c, rc, 2000).number == 1, "a broadcast on the first reaches all on the second");
    put(b, tx_ring(b, 0), 0xa, 0xb, 2, 9000, 0);
    flush(b);
    struct taken frame = take(a, ra, 2000);
    CHECK(frame.number == 2 && frame.length == 9000 && frame.is_intact && take(c, rc, 20).length < 0,
          "an answer finds the way back, and only that; large frames are whole");
    // As many as the rings between take, both ways at once, and in order.
    uint32_t at_a = 0, at_b = 0, sent = 0;
    bool in_order = true;
    for (uint64_t end = now_us() + 10000000; (at_a < 20000 || at_b < 20000) && now_us() < end;) {
        while (sent < 20000 && sent < (at_a < at_b ? at_a : at_b) + 400 && put(a, tx_ring(a, 0), 0xb, 0xa, sent, 60, 0)) {
            put(b, tx_ring(b, 0), 0xa, 0xb, sent, 60, 0);
            sent++;
        }
        txsync(a), txsync(b);
        while ((frame = take(a, ra, 0)).length >= 0) in_order &= frame.number == at_a++ && frame.is_intact;
        while ((frame = take(b, rb, 0)).length >= 0) in_order &= frame.number == at_b++ && frame.is_intact;
        if (nm_ring_empty(ra) && nm_ring_empty(rb)) pause_us(50);
    }
    CHECK(at_a == 20000 && at_b == 20000 && in_order, "20000 each way, in order (%u, %u)", at_a, at_b);
    // Both sleep by now; the next frame wakes them.
    pause_us(100000);
    put(a, tx_ring(a, 0), 0xb, 0xa, 3, 60, 0);
    txsync(a);
    CHECK(take(b, rb, 2000).number == 3, "a frame wakes the switch behind it");
    // An interface on a switch takes what is for it; nobody has its host stack.
    attach.reg.nr_mode = NR_REG_NIC_SW;
    CHECK(ask(NETMAP_REQ_VALE_ATTACH, "vale35:nmsink0", &attach) == 0, "an interface on the switch");
    for (uint32_t i = 0; i < 10; i++) put_flagged(a, BROADCAST, 0xa, i, 60, 0, forced(place("vale35:nmsink0")));
    flush(a);
    put_flagged(a, BROADCAST, 0xa, 11, 60, 0, forced(place("vale35:nmsink0^")));
    CHECK(flush(a), "takes frames");
    nmport_close(a), nmport_close(b), nmport_close(c);
}
