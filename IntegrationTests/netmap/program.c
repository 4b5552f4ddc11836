#include "program.h"

void pause_us(unsigned us) {
    struct timespec t = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

int netmap_fd(void) {
    int fd = open("/dev/netmap", O_RDWR | O_CLOEXEC);
    if (fd >= 0) return fd;
    printf("FAILED: no /dev/netmap: %s\n", strerror(errno));
    exit(1);
}

int ctrl(int fd, unsigned type, const char *name, void *body, void *options) {
    struct nmreq_header header;
    nmreq_header_init(&header, (uint16_t)type, body);
    snprintf(header.nr_name, sizeof header.nr_name, "%s", name);
    header.nr_options = (uintptr_t)options;
    return ioctl(fd, NIOCCTRL, &header);
}

int ask(unsigned type, const char *name, void *body) {
    int fd = netmap_fd();
    int error = ctrl(fd, type, name, body, NULL) < 0 ? errno : 0;
    close(fd);
    return error;
}

static void say_nothing(struct nmctx *ctx, const char *why) { (void)ctx, (void)why; }

int try_port(const char *spec) {
    nmctx_get()->error = say_nothing;
    struct nmport_d *port = nmport_open(spec);
    if (!port) return errno;
    nmport_close(port);
    return 0;
}

struct nmport_d *open_port(const char *spec) {
    struct nmport_d *port = nmport_open(spec);
    if (port) return port;
    printf("FAILED: no port %s: %s\n", spec, strerror(errno));
    exit(1);
}

struct netmap_ring *tx_ring(struct nmport_d *port, unsigned i) { return NETMAP_TXRING(port->nifp, i); }
struct netmap_ring *rx_ring(struct nmport_d *port, unsigned i) { return NETMAP_RXRING(port->nifp, i); }

static uint8_t byte_at(uint32_t number, uint32_t at) { return (uint8_t)(number * 31 + at); }

bool put(struct nmport_d *port, struct netmap_ring *ring, int to, int from, uint32_t number, uint32_t length, uint32_t piece) {
    (void)port;
    if (!piece) piece = ring->nr_buf_size;
    uint32_t slots = (length + piece - 1) / piece, head = ring->head;
    if (nm_ring_space(ring) < slots) return false;
    uint8_t header[HEADER] = {2, 0, 0, 0, 0, (uint8_t)to, 2, 0, 0, 0, 0, (uint8_t)from, 0x88, 0xb5};
    if (to == BROADCAST) memset(header, 0xff, 6);
    memcpy(header + 14, &number, 4);
    for (uint32_t at = 0; at < length;) {
        struct netmap_slot *slot = &ring->slot[head];
        uint8_t *buffer = (uint8_t *)NETMAP_BUF(ring, slot->buf_idx);
        uint32_t size = length - at < piece ? length - at : piece;
        for (uint32_t i = 0; i < size; i++) buffer[i] = at + i < HEADER ? header[at + i] : byte_at(number, at + i);
        slot->len = (uint16_t)size;
        slot->flags = at + size < length ? NS_MOREFRAG : 0;
        at += size;
        head = nm_ring_next(ring, head);
    }
    ring->head = ring->cur = head;
    return true;
}

int txsync(struct nmport_d *port) { return ioctl(port->fd, NIOCTXSYNC, NULL); }
int rxsync(struct nmport_d *port) { return ioctl(port->fd, NIOCRXSYNC, NULL); }

bool flush(struct nmport_d *port) {
    uint64_t end = now_us() + 3000000;
    do {
        bool is_pending = false;
        txsync(port);
        for (unsigned i = port->first_tx_ring; i <= port->last_tx_ring && i < port->nifp->ni_tx_rings; i++)
            is_pending |= nm_tx_pending(tx_ring(port, i));
        if (!is_pending) return true;
        pause_us(50);
    } while (now_us() < end);
    return false;
}

struct taken take(struct nmport_d *port, struct netmap_ring *ring, int ms) {
    struct taken frame = {.length = -1, .is_intact = true};
    uint64_t end = now_us() + (uint64_t)ms * 1000;
    struct pollfd poller = {.fd = port->fd, .events = POLLIN};
    rxsync(port);
    while (nm_ring_empty(ring)) {
        uint64_t now = now_us();
        if (now >= end) return frame;
        poll(&poller, 1, (int)((end - now) / 1000) + 1);
        if (nm_ring_empty(ring)) pause_us(50); // another ring, or another process, has the news
    }
    frame.length = 0;
    uint8_t header[HEADER] = {0};
    uint32_t head = ring->head;
    for (bool more = true; more && head != ring->tail; head = nm_ring_next(ring, head)) {
        struct netmap_slot *slot = &ring->slot[head];
        const uint8_t *buffer = (const uint8_t *)NETMAP_BUF(ring, slot->buf_idx);
        if (frame.slots++ == 0) frame.first_flags = slot->flags;
        frame.last_flags = slot->flags;
        more = slot->flags & NS_MOREFRAG;
        for (uint32_t i = 0; i < slot->len; i++, frame.length++) {
            if (frame.length < HEADER) header[frame.length] = buffer[i];
            if (frame.length == HEADER - 1) memcpy(&frame.number, header + 14, 4);
            if (frame.length >= HEADER && buffer[i] != byte_at(frame.number, (uint32_t)frame.length)) frame.is_intact = false;
        }
    }
    frame.from = header[11];
    ring->head = ring->cur = head;
    return frame;
}

int count_frames(struct nmport_d *port, int ms) {
    int count = 0;
    bool any, intact = true;
    do {
        any = false;
        for (unsigned i = port->first_rx_ring; i <= port->last_rx_ring; i++) {
            struct taken frame = take(port, rx_ring(port, i), any ? 0 : ms);
            if (frame.length < 0) continue;
            any = true;
            intact &= frame.is_intact;
            count++;
        }
    } while (any);
    rxsync(port);
    return intact ? count : -1;
}
