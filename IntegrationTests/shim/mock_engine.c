// Plays the engine for the preload library: `mock_engine SOCKET`. It moves nothing by itself; tests say
// what arrives and what is sent (wish.h), so that each step of a sync can be looked at.
//
// Names: "NAME" a port with 2 TX and 2 RX rings of 16 slots; "NAME{x" and "NAME}x" a pipe; "csb..." the
// same as a port. The first answer decides: one region and control file a port.

#define _GNU_SOURCE
#include "wish.h"

#include <errno.h>
#include <net/netmap.h>
#include <poll.h>
#include <shm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 16, RINGS = 2, BUFFERS = 256, BUFFER = 2048, RING_ROOM = 1024, MANY = 256 };
enum { RINGS_AT = 4096, BUFFERS_AT = RINGS_AT + 16 * RING_ROOM, REGION = BUFFERS_AT + BUFFERS * BUFFER };

struct port {
    char name[64];
    int region, control;
    uint8_t *memory, *krings;
    bool is_pipe;
};

struct descriptor {
    int end;
    uint64_t cookie;
    struct port *port;
    bool is_slave, is_csb, is_linked;
    uint32_t flags, bytes, sent;
};

struct later {
    uint64_t at;
    struct descriptor *descriptor;
    struct wish wish;
};

static struct port ports[32];
static int port_count;
static struct descriptor *descriptors[MANY];
static int descriptor_count;
static int channels[MANY], channel_count;
static struct later laters[MANY];
static int later_count;
static int listener;
static struct sockaddr_un address = {.sun_family = AF_UNIX};
static bool is_old;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t cookie_of(int fd) {
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size);
    return cookie;
}

// ---- Ports. Control file of a port: TX 0..1, RX 2..3; of a pipe: master TX, RX, slave TX, RX.

static struct nm_kring *kring(struct port *p, int i) { return (struct nm_kring *)(p->krings + NM_CONTROL_KRINGS) + i; }

static uint64_t make_ring(struct port *p, int place, int dir, int id, uint32_t *buffer) {
    uint64_t at = RINGS_AT + (uint64_t)place * RING_ROOM;
    struct netmap_ring *r = (struct netmap_ring *)(p->memory + at);
    *(int64_t *)&r->buf_ofs = BUFFERS_AT - (int64_t)at;
    *(uint32_t *)&r->num_slots = SLOTS;
    *(uint32_t *)&r->nr_buf_size = BUFFER;
    *(uint16_t *)&r->ringid = (uint16_t)id;
    *(uint16_t *)&r->dir = (uint16_t)dir;
    r->tail = dir ? SLOTS - 1 : 0;
    for (int i = 0; i < SLOTS; i++) {
        r->slot[i].buf_idx = buffer ? (*buffer)++ : 0;
        r->slot[i].len = BUFFER;
    }
    return at;
}

static struct port *find_port(const char *name) {
    char base[64];
    snprintf(base, sizeof base, "%s", name);
    char *bracket = strpbrk(base, "{}");
    if (bracket) *bracket = '{';
    for (int i = 0; i < port_count; i++)
        if (strcmp(ports[i].name, base) == 0) return &ports[i];
    struct port *p = &ports[port_count++];
    snprintf(p->name, sizeof p->name, "%s", base);
    p->is_pipe = bracket;
    p->region = memfd_create("region", MFD_CLOEXEC);
    p->control = memfd_create("control", MFD_CLOEXEC);
    if (ftruncate(p->region, REGION) || ftruncate(p->control, 4096)) exit(1);
    p->memory = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, p->region, 0);
    p->krings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p->control, 0);
    struct nm_control_file *file = (struct nm_control_file *)p->krings;
    file->magic = NM_CONTROL_MAGIC;
    file->version = NM_WIRE_VERSION;
    file->krings = 4;
    uint32_t buffer = 2;
    for (int i = 0; i < 4; i++) {
        struct nm_kring *k = kring(p, i);
        int dir = p->is_pipe ? !(i & 1) : i < RINGS;
        k->ring = make_ring(p, i, dir, p->is_pipe ? 0 : i % RINGS, p->is_pipe && !dir ? NULL : &buffer);
        k->slots = SLOTS;
        k->mode = p->is_pipe ? NM_KRING_PIPE : NM_KRING_ENGINE;
        k->peer = p->is_pipe ? 3 - (uint32_t)i : 0; // master TX 0 <-> slave RX 3, master RX 1 <-> slave TX 2
        k->tail = k->hwtail = dir ? SLOTS - 1 : 0;
    }
    return p;
}

static void describe(struct descriptor *d, struct nm_attachment *a) {
    memset(a, 0, sizeof *a);
    a->number = d->cookie;
    if (!d->port) return;
    struct port *p = d->port;
    a->region_size = REGION;
    a->nifp_offset = d->is_slave ? 512 : 0;
    a->control_size = 4096;
    a->buffer_offset = BUFFERS_AT;
    a->buffer_size = BUFFER;
    a->buffer_count = BUFFERS;
    a->tx_base = p->is_pipe ? (d->is_slave ? 2 : 0) : 0;
    a->rx_base = p->is_pipe ? (d->is_slave ? 3 : 1) : RINGS;
    a->tx_end = a->rx_end = p->is_pipe ? 1 : RINGS;
    a->flags = d->flags;
    a->is_csb = d->is_csb;
    snprintf(a->name, sizeof a->name, "%s", p->name);
}

static void bind_to(struct descriptor *d, const char *name) {
    d->port = find_port(name);
    d->is_slave = strchr(name, '}');
    struct port *p = d->port;
    uint64_t at = d->is_slave ? 512 : 0;
    struct netmap_if *n = (struct netmap_if *)(p->memory + at);
    uint32_t rings = p->is_pipe ? 1 : RINGS;
    *(uint32_t *)&n->ni_tx_rings = *(uint32_t *)&n->ni_rx_rings = rings;
    *(uint32_t *)&n->ni_host_tx_rings = *(uint32_t *)&n->ni_host_rx_rings = 1;
    for (uint32_t i = 0; i < rings; i++) {
        int tx = p->is_pipe ? (d->is_slave ? 2 : 0) : (int)i, rx = p->is_pipe ? tx + 1 : RINGS + (int)i;
        *(ssize_t *)&n->ring_ofs[i] = (ssize_t)(kring(p, tx)->ring - at);
        *(ssize_t *)&n->ring_ofs[rings + 1 + i] = (ssize_t)(kring(p, rx)->ring - at);
    }
}

// ---- News

static void notify(struct port *p, struct nm_kring *k) {
    nm_fence();
    uint32_t want = nm_load32(&k->want);
    if (want == NM_WANT_NOTHING || (want == NM_WANT_ALWAYS && nm_load32(&k->notified))) return;
    if (want == NM_WANT_ONCE) nm_store32(&k->want, NM_WANT_NOTHING);
    nm_store32(&k->notified, 1);
    for (int i = 0; i < descriptor_count; i++) {
        struct descriptor *d = descriptors[i];
        if (d->port != p) continue;
        struct nm_attachment a;
        describe(d, &a);
        uint32_t index = (uint32_t)(k - kring(p, 0));
        bool has = (index >= a.tx_base && index < a.tx_base + a.tx_end) || (index >= a.rx_base && index < a.rx_base + a.rx_end);
        if (has && send(d->end, "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) d->sent++;
    }
}

static void transmit(struct descriptor *d, uint32_t ring) {
    struct nm_kring *k = kring(d->port, (int)ring);
    uint32_t head = nm_load32_acquire(&k->head);
    nm_store32(&k->hwcur, head);
    nm_store32_release(&k->hwtail, (head + SLOTS - 1) % SLOTS);
    notify(d->port, k);
}

static void grant(struct descriptor *d, const struct wish *w) {
    struct port *p = d->port;
    if (!p) return;
    if (w->op == WISH_INJECT) {
        struct nm_kring *k = kring(p, RINGS + (int)w->ring);
        nm_store32(&k->hwcur, nm_load32(&k->head));
        uint32_t tail = nm_load32(&k->hwtail);
        struct netmap_ring *r = (struct netmap_ring *)(p->memory + k->ring);
        for (uint32_t i = 0; i < w->count; i++, tail = (tail + 1) % SLOTS) r->slot[tail].len = 60;
        nm_store32_release(&k->hwtail, tail);
        notify(p, k);
    } else if (w->op == WISH_CONSUME) {
        transmit(d, w->ring);
    }
    for (int i = 0; i < 4; i++) {
        if (w->op == WISH_SLEEP || w->op == WISH_LINK) nm_store32(&kring(p, i)->sleeping, w->op == WISH_LINK ? 1 : w->count);
        if (w->op == WISH_MODE) nm_store32(&kring(p, i)->mode, w->count);
    }
    if (w->op == WISH_LOCK) nm_store32(&kring(p, RINGS + (int)w->ring)->lock, w->count);
    if (w->op == WISH_LINK) d->is_linked = true;
}

static void on_bytes(struct descriptor *d, int count) {
    d->bytes += (uint32_t)count;
    if (!d->port) return;
    for (int i = 0; i < 4; i++) {
        struct nm_kring *k = kring(d->port, i);
        if (!nm_load32(&k->kicked)) continue;
        nm_store32(&k->kicked, 0);
        nm_fence();
        // Pipes: the ends move their slots themselves and we pass the news on.
        if (d->port->is_pipe) notify(d->port, kring(d->port, (int)k->peer));
        else if (d->is_linked && i < RINGS) transmit(d, (uint32_t)i);
    }
}

// ---- Requests

static void answer(int channel, int error, const void *payload, uint32_t length, const int *fds, int count) {
    struct nm_answer a = {error, length};
    struct iovec pieces[2] = {{&a, sizeof a}, {(void *)payload, length}};
    char control[CMSG_SPACE(sizeof(int) * 2)] = {0};
    struct msghdr m = {.msg_iov = pieces, .msg_iovlen = 2};
    if (count) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)count);
    }
    sendmsg(channel, &m, MSG_NOSIGNAL);
}

static void open_descriptor(int channel) {
    if (is_old) return answer(channel, EPROTO, NULL, 0, NULL, 0);
    int program = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(program, (struct sockaddr *)&address, sizeof address)) exit(1);
    int end;
    while (true) {
        end = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct ucred who;
        socklen_t size = sizeof who;
        getsockopt(end, SOL_SOCKET, SO_PEERCRED, &who, &size);
        if (who.pid == getpid()) break; // our own
        channels[channel_count++] = end;
    }
    struct descriptor *d = calloc(1, sizeof *d);
    d->end = end;
    d->cookie = cookie_of(program);
    descriptors[descriptor_count++] = d;
    answer(channel, 0, NULL, 0, &program, 1);
    close(program);
}

// The bodies and options come back as they came, but for what the tests look at.
static int control(struct descriptor *d, uint8_t *bytes, uint32_t length) {
    struct nmreq_header *header = (struct nmreq_header *)bytes;
    struct nm_control_call *call = (struct nm_control_call *)(header + 1);
    uint8_t *body = (uint8_t *)(call + 1), *option = body + (call->body_length + 7) / 8 * 8;
    int error = header->nr_version < NETMAP_MIN_API || header->nr_version > NETMAP_MAX_API ? EINVAL : 0;
    if (call->is_too_long) error = EMSGSIZE;
    for (uint32_t i = 0; i < call->option_count && option < bytes + length; i++) {
        struct nmreq_option *o = (struct nmreq_option *)option;
        size_t size = sizeof *o;
        o->nro_status = EOPNOTSUPP;
        if (o->nro_reqtype == NETMAP_REQ_OPT_OFFSETS) {
            size = sizeof(struct nmreq_opt_offsets);
            o->nro_status = 0;
            ((struct nmreq_opt_offsets *)o)->nro_max_offset = 4711;
        } else if (o->nro_reqtype == NETMAP_REQ_OPT_CSB) {
            size = sizeof(struct nmreq_opt_csb);
            o->nro_status = (uint32_t)call->csb_error;
            if (call->csb_error) error = call->csb_error;
            else d->is_csb = true;
        } else if (o->nro_reqtype == NETMAP_REQ_OPT_EXTMEM) {
            size = sizeof(struct nmreq_opt_extmem);
            o->nro_status = 0;
        } else if (o->nro_reqtype == NETMAP_REQ_OPT_SYNC_KLOOP_EVENTFDS) {
            size = o->nro_size;
            o->nro_status = 0;
        } else if (o->nro_reqtype == NETMAP_REQ_OPT_SYNC_KLOOP_MODE) {
            size = sizeof(struct nmreq_opt_sync_kloop_mode);
            o->nro_status = 0;
        } else if (header->nr_reqtype == NETMAP_REQ_REGISTER && !error) {
            error = EOPNOTSUPP;
        }
        o->nro_next = 0xdead; // must not reach the program
        option += (size + 7) / 8 * 8;
    }
    header->nr_body = header->nr_options = 0xdead;
    if (error) {
        if (header->nr_name[0] == '?') snprintf(header->nr_name, sizeof header->nr_name, "changed");
        return error;
    }
    switch (header->nr_reqtype) {
    case NETMAP_REQ_REGISTER: {
        if (!call->body_length) return EINVAL;
        if (d->port) return EBUSY;
        struct nmreq_register *r = (struct nmreq_register *)body;
        d->flags = (uint32_t)r->nr_flags;
        bind_to(d, header->nr_name);
        r->nr_offset = d->is_slave ? 512 : 0;
        r->nr_memsize = REGION;
        r->nr_tx_rings = r->nr_rx_rings = d->port->is_pipe ? 1 : RINGS;
        return 0;
    }
    case NETMAP_REQ_PORT_INFO_GET:
        if (!call->body_length) return EINVAL;
        ((struct nmreq_port_info_get *)body)->nr_memsize = REGION;
        return header->nr_name[0] == '?' ? ENXIO : 0;
    case NETMAP_REQ_CSB_ENABLE:
        return d->port ? 0 : ENXIO;
    case NETMAP_REQ_SYNC_KLOOP_STOP: {
        if (!d->port) return ENXIO;
        uint32_t *loop = &kring(d->port, 0)->loop;
        *loop = *loop == NM_LOOP_RUN || *loop == NM_LOOP_STOP ? NM_LOOP_STOP : NM_LOOP_STOP_NEXT;
        return 0;
    }
    case NETMAP_REQ_SYNC_KLOOP_START: {
        if (!d->port) return ENXIO;
        uint32_t *loop = &kring(d->port, 0)->loop;
        if (!d->is_csb) return EINVAL;
        if (*loop == NM_LOOP_RUN || *loop == NM_LOOP_STOP) return EBUSY;
        *loop = *loop == NM_LOOP_STOP_NEXT ? NM_LOOP_STOP : NM_LOOP_RUN;
        return 0;
    }
    default: return EINVAL;
    }
}

static void on_request(int channel, uint8_t *bytes, uint32_t length, int fd) {
    struct nm_call *call = (struct nm_call *)bytes;
    uint8_t *payload = bytes + sizeof *call;
    if (call->version != NM_WIRE_VERSION || call->length != length - sizeof *call) exit(1);
    if (call->op == NM_CALL_OPEN) return open_descriptor(channel);
    uint64_t cookie = cookie_of(fd);
    struct descriptor *d = NULL;
    for (int i = 0; i < descriptor_count; i++)
        if (descriptors[i]->cookie == cookie) d = descriptors[i];
    if (!d) return answer(channel, EBADF, NULL, 0, NULL, 0);
    if (call->op == NM_CALL_ATTACH) {
        struct nm_attachment a;
        describe(d, &a);
        int files[2] = {d->port ? d->port->region : -1, d->port ? d->port->control : -1};
        return answer(channel, 0, &a, sizeof a, files, d->port ? 2 : 0);
    }
    if (call->op == NM_CALL_LOOP_ENDED) {
        kring(d->port, 0)->loop = NM_LOOP_NONE;
        return answer(channel, 0, NULL, 0, NULL, 0);
    }
    if (call->op == NM_CALL_CONTROL) {
        int error = control(d, payload, call->length);
        return answer(channel, error, payload, call->length, NULL, 0);
    }
    if (call->op == NM_CALL_REGIF || call->op == NM_CALL_GINFO) {
        struct nmreq *r = (struct nmreq *)payload;
        int error = r->nr_version < NETMAP_API ? EINVAL : r->nr_name[0] == '?' ? ENXIO : 0;
        r->spare2[0] = 77;
        if (!error && call->op == NM_CALL_REGIF && r->nr_cmd == 0) {
            d->flags = r->nr_flags | (r->nr_ringid & NETMAP_NO_TX_POLL ? NR_NO_TX_POLL : 0);
            bind_to(d, r->nr_name);
        }
        if (!error) r->nr_memsize = REGION;
        return answer(channel, error, r, sizeof *r, NULL, 0);
    }
    struct nm_ifreq *r = (struct nm_ifreq *)payload;
    struct wish w;
    memcpy(&w, r->data, sizeof w);
    if (w.op == WISH_DIE) exit(0);
    if (w.op == WISH_OLD) is_old = true;
    if (w.delay_ms) laters[later_count++] = (struct later){now() + w.delay_ms, d, w};
    else grant(d, &w);
    struct wish_answer a = {(uint32_t)descriptor_count, d->bytes, d->sent, (uint32_t)channel_count, {0}};
    if (d->port) a.ring = *kring(d->port, (w.op == WISH_CONSUME ? 0 : d->port->is_pipe ? 1 : RINGS) + (int)w.ring);
    memcpy(r->data, &a, sizeof a);
    answer(channel, 0, r, sizeof *r, NULL, 0);
}

static void end_descriptor(int i) {
    struct descriptor *d = descriptors[i];
    close(d->end);
    for (int j = later_count - 1; j >= 0; j--)
        if (laters[j].descriptor == d) laters[j] = laters[--later_count];
    descriptors[i] = descriptors[--descriptor_count];
    free(d);
}

static void serve_channel(int i) {
    static uint8_t bytes[NM_WIRE_MAX] __attribute__((aligned(16)));
    char control_room[CMSG_SPACE(sizeof(int))];
    struct iovec piece = {bytes, sizeof bytes};
    struct msghdr m = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control_room, .msg_controllen = sizeof control_room};
    int channel = channels[i], fd = -1;
    ssize_t count = recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
    if (count <= 0) {
        close(channel);
        channels[i] = channels[--channel_count];
        return;
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c) memcpy(&fd, CMSG_DATA(c), sizeof fd);
    on_request(channel, bytes, (uint32_t)count, fd);
    if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
    if (argc != 2) return 64;
    signal(SIGPIPE, SIG_IGN);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", argv[1]);
    unlink(argv[1]);
    listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) return 1;
    printf("ready\n");
    fflush(stdout);
    while (true) {
        struct pollfd fds[1 + 2 * MANY];
        int n = 0, channel_end, timeout = -1;
        fds[n++] = (struct pollfd){listener, POLLIN, 0};
        for (int i = 0; i < channel_count; i++) fds[n++] = (struct pollfd){channels[i], POLLIN, 0};
        channel_end = n;
        for (int i = 0; i < descriptor_count; i++) fds[n++] = (struct pollfd){descriptors[i]->end, POLLIN, 0};
        for (int i = 0; i < later_count; i++) {
            int left = laters[i].at > now() ? (int)(laters[i].at - now()) : 0;
            if (timeout < 0 || left < timeout) timeout = left;
        }
        poll(fds, (nfds_t)n, timeout);
        for (int i = 0; i < later_count; i++)
            if (laters[i].at <= now()) {
                struct later due = laters[i];
                laters[i--] = laters[--later_count];
                grant(due.descriptor, &due.wish);
            }
        for (int i = n - 1; i >= channel_end; i--) {
            if (!fds[i].revents) continue;
            struct descriptor *d = descriptors[i - channel_end];
            char bytes[64];
            ssize_t count = recv(d->end, bytes, sizeof bytes, MSG_DONTWAIT);
            if (count > 0) on_bytes(d, (int)count);
            else if (count == 0 || errno != EAGAIN) end_descriptor(i - channel_end);
        }
        for (int i = channel_end - 1; i >= 1; i--)
            if (fds[i].revents) serve_channel(i - 1);
        if (fds[0].revents) channels[channel_count++] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    }
}
