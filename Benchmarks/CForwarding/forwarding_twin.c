#include "forwarding_twin.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "net/netmap.h"
#include "shm.h"

enum { BATCH = 64, BUCKETS = 2048, FLOOD = 0xffff, NOWHERE = 0xfffe, SOURCE = 1, SINK = 2 };

struct kring {
    char *base, *slots, *buffers;
    int count, hwcur, hwtail, collected;
    uint32_t size, buffer_count;
};

struct frame {
    char *address;
    uint32_t head_length, length, first_extra;
    uint16_t extra_count;
    uint8_t offload;
};

struct twin {
    struct kring from, to;
    char *source, *sink;
    uint64_t region_size, multiplier;
    uint64_t (*table)[8]; // four entries of key and value a bucket
    struct frame frames[BATCH];
    int frame_count;
    uint16_t destinations[BATCH], targets[BATCH], lists[BATCH][BATCH], *group_of_port;
    int sizes[BATCH], groups, flooded;
    uint64_t counters[16];
};

static void open_kring(struct kring *k, char *region, int ring, int slots, int transmit) {
    long stride = (NM_RING_SLOTS + (long)slots * NM_SLOT_SIZE + 127) & ~127;
    k->base = region + ring * stride;
    k->slots = k->base + NM_RING_SLOTS;
    struct netmap_ring *r = (struct netmap_ring *)k->base;
    k->buffers = k->base + r->buf_ofs;
    k->size = r->nr_buf_size;
    k->count = slots;
    k->hwcur = 0;
    k->hwtail = transmit ? slots - 1 : 0;
    k->buffer_count = 2 + 2 * slots;
    k->collected = 0;
}

static uint64_t key_of(uint64_t mac) { return (mac & 0xffffffffffffull) | 1ull << 63; }

static uint64_t *bucket(struct twin *t, uint64_t key) { return t->table[(key * t->multiplier) >> (64 - 11)]; }

static int live(uint64_t value, uint32_t now, uint32_t ageing) {
    return (value & 0x10000) || !ageing || now - (uint32_t)(value >> 32) <= ageing;
}

static uint32_t lookup(struct twin *t, uint64_t mac, uint32_t now, uint32_t ageing) {
    uint64_t key = key_of(mac), *b = bucket(t, key);
    for (int way = 0; way < 8; way += 2) {
        if (nm_load64_acquire(b + way) != key) continue;
        uint64_t value = nm_load64(b + way + 1);
        return live(value, now, ageing) ? (uint16_t)value : FLOOD;
    }
    return FLOOD;
}

static int learn(struct twin *t, uint64_t mac, uint16_t port, uint32_t now) {
    uint64_t key = key_of(mac), fresh = port | (uint64_t)now << 32, *b = bucket(t, key);
    for (int way = 0; way < 8; way += 2) {
        if (nm_load64_acquire(b + way) != key) continue;
        if (nm_load64(b + way + 1) == fresh) return 0;
        nm_store64(b + way + 1, fresh);
        return 1;
    }
    for (int way = 0; way < 8; way += 2) {
        if (nm_load64(b + way)) continue;
        nm_store64_release(b + way + 1, fresh);
        nm_store64_release(b + way, key);
        return 1;
    }
    return 0;
}

struct twin *twin_create(int source_region, int sink_region, uint64_t size, int slots, uint64_t source_mac, uint64_t sink_mac) {
    (void)source_mac;
    struct twin *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->region_size = size;
    t->source = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, source_region, 0);
    t->sink = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, sink_region, 0);
    t->multiplier = 0x9e3779b97f4a7c15ull;
    t->table = aligned_alloc(64, BUCKETS * sizeof *t->table);
    t->group_of_port = malloc(65536 * sizeof *t->group_of_port);
    if (t->source == MAP_FAILED || t->sink == MAP_FAILED || !t->table || !t->group_of_port) abort();
    memset(t->table, 0, BUCKETS * sizeof *t->table);
    memset(t->group_of_port, 0xff, 65536 * sizeof *t->group_of_port);
    open_kring(&t->from, t->source, 0, slots, 1);
    open_kring(&t->to, t->sink, 1, slots, 0);
    learn(t, sink_mac, SINK, 0);
    return t;
}

void twin_align(struct twin *t) {
    t->from.hwcur = (int)nm_load32(t->from.base + NM_RING_HEAD);
    t->from.hwtail = (int)nm_load32(t->from.base + NM_RING_TAIL);
    t->to.hwtail = (int)nm_load32(t->to.base + NM_RING_TAIL);
}

void twin_destroy(struct twin *t) {
    munmap(t->source, t->region_size);
    munmap(t->sink, t->region_size);
    free(t->table);
    free(t->group_of_port);
    free(t);
}

static void collect(struct twin *t) {
    struct kring *k = &t->from;
    uint32_t h = nm_load32_acquire(k->base + NM_RING_HEAD);
    t->frame_count = 0;
    k->collected = 0;
    if (h >= (uint32_t)k->count || (int)h == k->hwcur) return;
    int available = (int)h - k->hwcur, given = k->hwtail - k->hwcur;
    if (available < 0) available += k->count;
    if (given < 0) given += k->count;
    if (available > given) available = given;
    int j = k->hwcur, taken = 0, count = 0;
    uint64_t bytes = 0;
    while (taken < available && count < BATCH) {
        uint64_t word = nm_load64(k->slots + (long)j * NM_SLOT_SIZE);
        uint32_t index = (uint32_t)word, length = (word >> 32) & 0xffff, flags = word >> 48;
        if (index >= k->buffer_count || length > k->size || (flags & NS_MOREFRAG)) abort();
        char *address = k->buffers + (uint64_t)index * k->size;
        nm_prefetch(address);
        t->frames[count] = (struct frame){.address = address, .head_length = length, .length = length};
        count++;
        bytes += length;
        taken++;
        if (++j == k->count) j = 0;
    }
    t->frame_count = count;
    k->collected = taken;
    nm_count(&t->counters[0], count);
    nm_count(&t->counters[1], bytes);
}

static int group_of(struct twin *t, uint16_t port) {
    uint16_t known = t->group_of_port[port];
    if (known != 0xffff) return known;
    int group = t->groups++;
    t->group_of_port[port] = group;
    t->targets[group] = port;
    t->sizes[group] = 0;
    return group;
}

static void classify(struct twin *t, uint32_t now, uint32_t ageing) {
    for (int g = 0; g < t->groups; g++) t->group_of_port[t->targets[g]] = 0xffff;
    t->groups = t->flooded = 0;
    uint64_t last_source = ~0ull, last_destination = ~0ull;
    uint32_t last_port = NOWHERE;
    int last_group = 0;
    uint64_t multicast = 0;
    for (int i = 0; i < t->frame_count; i++) {
        struct frame *f = &t->frames[i];
        if (f->head_length < 14) abort();
        uint64_t low = nm_load64(f->address);
        uint32_t high = nm_load32(f->address + 8);
        uint64_t destination = low & 0xffffffffffffull, from = low >> 48 | (uint64_t)high << 16;
        if (from != last_source) {
            last_source = from;
            if (!(from & 1) && from && learn(t, from, SOURCE, now)) last_destination = ~0ull;
        }
        if (destination != last_destination) {
            last_destination = destination;
            last_port = destination & 1 ? FLOOD : lookup(t, destination, now, ageing);
            if (last_port == SOURCE) last_port = NOWHERE;
            if (last_port < NOWHERE) last_group = group_of(t, last_port);
        }
        t->destinations[i] = last_port;
        multicast += destination & 1;
        if (last_port < NOWHERE) t->lists[last_group][t->sizes[last_group]++] = i;
        else if (last_port == FLOOD) t->flooded++;
        else nm_count(&t->counters[4], 1);
    }
    if (multicast) nm_count(&t->counters[5], multicast);
}

static void deliver(struct twin *t, const uint16_t *list, int n) {
    struct kring *k = &t->to;
    uint32_t h = nm_load32_acquire(k->base + NM_RING_HEAD);
    if (h >= (uint32_t)k->count) h = k->hwtail;
    int room = (int)h - k->hwtail - 1, j = k->hwtail, start = j;
    if (room < 0) room += k->count;
    uint64_t delivered = 0, bytes = 0;
    for (int i = 0; i < n; i++) {
        struct frame *f = &t->frames[list[i]];
        if (room <= 0 || f->length > k->size || f->extra_count || f->offload) abort();
        char *cell = k->slots + (long)j * NM_SLOT_SIZE;
        uint32_t index = nm_load32(cell);
        if (index >= k->buffer_count) abort();
        nm_copy(k->buffers + (uint64_t)index * k->size, f->address, f->length);
        nm_store64(cell, index | (uint64_t)f->length << 32 | (uint64_t)(1 << 8) << 48);
        room--;
        delivered++;
        bytes += f->length;
        if (++j == k->count) j = 0;
    }
    k->hwtail = j;
    if (j != start) nm_store32_release(k->base + NM_RING_TAIL, j);
    nm_count(&t->counters[8], delivered);
    nm_count(&t->counters[9], bytes);
}

static void complete(struct twin *t) {
    struct kring *k = &t->from;
    k->hwcur += k->collected;
    if (k->hwcur >= k->count) k->hwcur -= k->count;
    k->hwtail = k->hwcur ? k->hwcur - 1 : k->count - 1;
    nm_store32_release(k->base + NM_RING_TAIL, k->hwtail);
}

int twin_forward(struct twin *t, uint32_t now) {
    int total = 0;
    for (;;) {
        collect(t);
        if (!t->frame_count) return total;
        classify(t, now, 300);
        for (int g = 0; g < t->groups; g++) deliver(t, t->lists[g], t->sizes[g]);
        total += t->frame_count;
        complete(t);
    }
}

int twin_copy(struct twin *t) {
    struct kring *from = &t->from, *to = &t->to;
    int head = (int)nm_load32_acquire(from->base + NM_RING_HEAD), j = from->hwcur, k = to->hwtail, n = 0;
    while (j != head) {
        uint64_t a = nm_load64(from->slots + (long)j * NM_SLOT_SIZE);
        uint32_t b = nm_load32(to->slots + (long)k * NM_SLOT_SIZE);
        nm_copy(to->buffers + (uint64_t)b * to->size, from->buffers + (uint64_t)(uint32_t)a * from->size, (a >> 32) & 0xffff);
        if (++j == from->count) j = 0;
        if (++k == to->count) k = 0;
        n++;
    }
    from->hwcur = j;
    from->hwtail = j ? j - 1 : from->count - 1;
    to->hwtail = k;
    nm_store32_release(from->base + NM_RING_TAIL, from->hwtail);
    nm_store32_release(to->base + NM_RING_TAIL, k);
    return n;
}
