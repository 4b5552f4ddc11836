// What the checks of the preload library share: a port of the mock engine as a program sees it.
#ifndef CHECK_H
#define CHECK_H

#include "checks.h"
#include "wish.h"

#include <errno.h>
#include <fcntl.h>
#include <net/netmap.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 16 };

struct port {
    int fd;
    struct nmreq_header header;
    struct nmreq_register reg;
    uint8_t *memory;
    struct netmap_if *nifp;
    struct netmap_ring *tx[2], *rx[2];
};

int ctrl(int fd, struct nmreq_header *header, unsigned type, const char *name, void *body, void *options);
struct port open_port(const char *name, uint64_t flags); // bound and mapped
void map_port(struct port *port);
struct wish_answer wish(int fd, uint32_t op, uint32_t ring, uint32_t count, uint32_t delay_ms);
struct wish_answer look_at(int fd);
const char *self(void); // this program's path

void identity(void);
void closing(void);
void mapping(void);
void validation(void);
void slots(void);
void pipes(void);
void polling(void);
void selecting(void);
void epolling(void);
void unseen(void);
void requests(void);
void blocks(void);
void overhead(void);
int received(int argc, char **argv); // what an exec'd process does

#endif
