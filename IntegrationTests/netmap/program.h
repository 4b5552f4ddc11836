// What the netmap programs of the tests share: ports by name, numbered frames, a line for each thing that holds.
//
// They are ordinary netmap programs: our installed headers, our libnetmap, /dev/netmap. What makes them
// Wirevale's is the preload library in their environment.
#ifndef PROGRAM_H
#define PROGRAM_H

#include "checks.h"

#include <errno.h>
#include <fcntl.h>
#include <libnetmap.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

void pause_us(unsigned us);

// Requests.
int ctrl(int fd, unsigned type, const char *name, void *body, void *options);
int ask(unsigned type, const char *name, void *body); // on a descriptor of its own; an errno, or 0
int netmap_fd(void);

// Ports. `open_port` ends the program if there is none, `try_port` says the errno.
struct nmport_d *open_port(const char *spec);
int try_port(const char *spec);
struct netmap_ring *tx_ring(struct nmport_d *port, unsigned i);
struct netmap_ring *rx_ring(struct nmport_d *port, unsigned i);

// Frames: addresses 02:00:00:00:00:NN, a number, and bytes that follow from both.
enum { BROADCAST = 0xff, HEADER = 20 };
bool put(struct nmport_d *port, struct netmap_ring *ring, int to, int from, uint32_t number, uint32_t length, uint32_t piece);
int txsync(struct nmport_d *port);
int rxsync(struct nmport_d *port);
bool flush(struct nmport_d *port); // syncs until all is sent

struct taken {
    int length, from, slots;
    uint32_t number;
    uint16_t first_flags, last_flags;
    bool is_intact;
};
// The next frame, within `ms`; length -1 if there is none. It is released at the next sync.
struct taken take(struct nmport_d *port, struct netmap_ring *ring, int ms);
// Frames that arrive until none has come for `ms`; -1 if one was not intact.
int count_frames(struct nmport_d *port, int ms);

#endif
