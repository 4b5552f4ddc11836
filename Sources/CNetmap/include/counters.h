// The counter page: one per engine, a file in its runtime directory that anybody who may read it
// can map, so that `top`, metrics and tests read live counters without asking the engine.
//
//   0       nm_counters_header
//   4096    nm_worker_counters[NM_COUNTERS_MAX_WORKERS]
//   16384   nm_port_counters[capacity]     indexed by port number; the file is sparse
//
// Every word has one writer at a time (the worker that holds the port's queue); readers get values
// that are whole but not a snapshot of one instant.
#ifndef WIREVALE_COUNTERS_H
#define WIREVALE_COUNTERS_H

#include <stdint.h>

#define NM_COUNTERS_MAGIC 0x31454c4156455257ull // "WREVALE1"
#define NM_COUNTERS_VERSION 2 // 1 had room for 16 reasons
#define NM_DROP_REASONS 24

struct nm_counters_header {
    uint64_t magic;
    uint32_t version;
    uint32_t capacity; // ports that fit
    uint64_t engine_pid;
    uint64_t started;  // seconds since the epoch
};

struct nm_worker_counters {
    uint64_t turns;  // passes over the worker's queues
    uint64_t busy;   // of which found frames
    uint64_t frames;
    uint64_t sleeps;
    uint64_t tid;
    uint64_t reserved[11];
};

struct nm_direction_counters {
    uint64_t packets;
    uint64_t bytes;
    uint64_t multicast;
    uint64_t offloaded; // frames that carried a checksum or segmentation request
    uint64_t drops[NM_DROP_REASONS];
};

struct nm_port_counters {
    char name[40];     // "vale0:vm1", empty if the port number is free
    uint64_t notifies; // times the port's peer was interrupted
    uint64_t reserved[2];
    struct nm_direction_counters rx; // from the port
    struct nm_direction_counters tx; // to the port
};

enum {
    NM_COUNTERS_WORKERS = 4096,
    NM_COUNTERS_MAX_WORKERS = 64,
    NM_COUNTERS_PORTS = 16384,
};

_Static_assert(sizeof(struct nm_worker_counters) == 128, "two cache lines a worker");
_Static_assert(sizeof(struct nm_port_counters) == 512, "eight cache lines a port");
_Static_assert(NM_COUNTERS_WORKERS + NM_COUNTERS_MAX_WORKERS * 128 <= NM_COUNTERS_PORTS, "no overlap");

#endif
