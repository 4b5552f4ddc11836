// What a test asks of the mock engine, in the data of a NIOCCONFIG request.
#ifndef WISH_H
#define WISH_H

#include <netmap_wire.h>
#include <stdint.h>

enum {
    WISH_INJECT = 1,  // `count` frames arrive in RX ring `ring`, after `delay_ms`
    WISH_CONSUME = 2, // TX ring `ring` is sent, after `delay_ms`
    WISH_SLEEP = 3,   // `sleeping` := count, on all rings
    WISH_LOOK = 4,    // only the answer
    WISH_MODE = 5,    // `mode` := count, on all rings
    WISH_LOCK = 6,    // `lock` of RX ring `ring` := count
    WISH_LINK = 7,    // sleeping := 1 and sent by itself as soon as a byte comes
    WISH_DIE = 8,     // the engine ends
    WISH_OLD = 9,     // the engine answers NM_CALL_OPEN with EPROTO from now on
};

struct wish {
    uint32_t op, ring, count, delay_ms;
};

// The answer has the same place.
struct wish_answer {
    uint32_t descriptors; // alive
    uint32_t bytes;       // that came on this descriptor
    uint32_t sent;        // that went to it
    uint32_t channels;    // alive
    struct nm_kring ring; // of the RX ring (TX: WISH_CONSUME)
};
_Static_assert(sizeof(struct wish_answer) <= 256, "fits into nm_ifreq");

#endif
