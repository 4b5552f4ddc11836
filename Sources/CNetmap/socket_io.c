// Sockets that carry frames.
#define _GNU_SOURCE
#include "socket_io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(sizeof(struct sockaddr_storage) == sizeof(((struct nm_address *)0)->words), "any address fits");

static int result(int r) { return r < 0 ? -errno : r; }
static struct sockaddr *raw(const struct nm_address *address) { return (struct sockaddr *)address->words; }

int64_t nm_socket_read(int fd, void *buffer, size_t size) {
    ssize_t n;
    do n = recv(fd, buffer, size, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int64_t nm_socket_write(int fd, const void *pieces, int count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    ssize_t n;
    do n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int nm_datagrams_read(int fd, void *memory, size_t stride, size_t size, int count, uint32_t *lengths,
                      const struct nm_address *own) {
    struct mmsghdr messages[NM_DATAGRAMS];
    struct iovec pieces[NM_DATAGRAMS];
    struct sockaddr_in6 names[NM_DATAGRAMS]; // an IPv4 address is shorter
    if (count > NM_DATAGRAMS) count = NM_DATAGRAMS;
    for (int i = 0; i < count; i++) {
        pieces[i] = (struct iovec){(char *)memory + (size_t)i * stride, size};
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &pieces[i], .msg_iovlen = 1}};
        if (own->length) {
            messages[i].msg_hdr.msg_name = &names[i];
            messages[i].msg_hdr.msg_namelen = sizeof names[i];
        }
    }
    int n;
    do n = recvmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT, NULL);
    while (n < 0 && errno == EINTR);
    if (n < 0) return -errno;
    for (int i = 0; i < n; i++) {
        lengths[i] = messages[i].msg_hdr.msg_flags & MSG_TRUNC ? NM_DATAGRAM_TRUNCATED : messages[i].msg_len;
        if (own->length && messages[i].msg_hdr.msg_namelen == own->length &&
            memcmp(&names[i], own->words, 8) == 0) // family, port, IPv4 address
            lengths[i] = NM_DATAGRAM_OWN;
    }
    return n;
}

int nm_datagrams_write(int fd, const void *pieces, const uint16_t *counts, int count, const struct nm_address *to) {
    struct mmsghdr messages[NM_DATAGRAMS];
    struct iovec *piece = (struct iovec *)pieces;
    if (count > NM_DATAGRAMS) count = NM_DATAGRAMS;
    for (int i = 0; i < count; i++) {
        messages[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = piece, .msg_iovlen = counts[i]}};
        if (to->length) {
            messages[i].msg_hdr.msg_name = raw(to);
            messages[i].msg_hdr.msg_namelen = to->length;
        }
        piece += counts[i];
    }
    int n;
    do n = sendmmsg(fd, messages, (unsigned)count, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return result(n);
}

int nm_address_unix(struct nm_address *address, const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof name.sun_path) return -ENAMETOOLONG;
    strcpy(name.sun_path, path);
    memset(address, 0, sizeof *address);
    memcpy(address->words, &name, sizeof name);
    address->length = sizeof name;
    return 0;
}

static int look_up(struct nm_address *addresses, int capacity, const char *host, int port, int family, int listens,
                   int flags, int *count) {
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {
        .ai_family = family == 4 ? AF_INET : family == 6 ? AF_INET6 : AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = flags | AI_NUMERICSERV | (listens ? AI_PASSIVE : 0),
    };
    struct addrinfo *list = NULL;
    int e = getaddrinfo(*host ? host : NULL, service, &hints, &list);
    if (e) return e;
    int n = 0;
    for (struct addrinfo *a = list; a && n < capacity; a = a->ai_next) {
        if (a->ai_addrlen > sizeof addresses[n].words) continue;
        memset(&addresses[n], 0, sizeof addresses[n]);
        memcpy(addresses[n].words, a->ai_addr, a->ai_addrlen);
        addresses[n++].length = a->ai_addrlen;
    }
    freeaddrinfo(list);
    *count = n;
    return 0;
}

int nm_address_numeric(struct nm_address *addresses, int capacity, const char *host, int port, int family,
                       int listens) {
    int count = 0;
    int e = look_up(addresses, capacity, host, port, family, listens, AI_NUMERICHOST, &count);
    return e ? 0 : count;
}

int nm_address_is_multicast(const struct nm_address *address) {
    struct sockaddr_in in;
    memcpy(&in, address->words, sizeof in);
    return in.sin_family == AF_INET && IN_MULTICAST(ntohl(in.sin_addr.s_addr));
}

int nm_address_text(const struct nm_address *address, char *text, size_t size) {
    char host[NI_MAXHOST], service[NI_MAXSERV];
    int family = raw(address)->sa_family;
    if (family != AF_INET && family != AF_INET6) return 0;
    if (getnameinfo(raw(address), address->length, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV))
        return 0;
    return snprintf(text, size, family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}

int nm_address_port(const struct nm_address *address) {
    struct sockaddr_in in; // the port of IPv6 is at the same place
    memcpy(&in, address->words, sizeof in);
    return in.sin_family == AF_INET || in.sin_family == AF_INET6 ? ntohs(in.sin_port) : 0;
}

enum { RESOLVED = 8 };

struct nm_resolution {
    atomic_int owners;
    int file, family, port, listens, error, count;
    struct nm_address addresses[RESOLVED];
    char host[256];
};

static void release(struct nm_resolution *r) {
    if (atomic_fetch_sub(&r->owners, 1) != 1) return;
    close(r->file);
    free(r);
}

static void *resolve(void *argument) {
    struct nm_resolution *r = argument;
    r->error = look_up(r->addresses, RESOLVED, r->host, r->port, r->family, r->listens, 0, &r->count);
    uint64_t one = 1;
    (void)!write(r->file, &one, sizeof one);
    release(r);
    return NULL;
}

struct nm_resolution *nm_resolve(const char *host, int port, int family, int listens, int *file) {
    struct nm_resolution *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    snprintf(r->host, sizeof r->host, "%s", host);
    r->port = port;
    r->family = family;
    r->listens = listens;
    r->file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    *file = r->file < 0 ? -1 : dup(r->file);
    atomic_init(&r->owners, 2);
    pthread_t thread;
    if (*file < 0 || pthread_create(&thread, NULL, resolve, r)) {
        if (*file >= 0) close(*file);
        if (r->file >= 0) close(r->file);
        free(r);
        return NULL;
    }
    pthread_detach(thread);
    return r;
}

int nm_resolution_take(struct nm_resolution *r, struct nm_address *addresses, int capacity, char *why, size_t size) {
    if (r->error) {
        snprintf(why, size, "%s", r->error == EAI_SYSTEM ? "system error" : gai_strerror(r->error));
        return -EADDRNOTAVAIL;
    }
    int n = r->count < capacity ? r->count : capacity;
    memcpy(addresses, r->addresses, (size_t)n * sizeof *addresses);
    return n;
}

void nm_resolution_drop(struct nm_resolution *resolution) { release(resolution); }

static int open_socket(const struct nm_address *address, int type) {
    return result(socket(raw(address)->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static int fail(int fd) {
    int e = -errno;
    close(fd);
    return e;
}

int nm_stream_listen(const struct nm_address *address) {
    int fd = open_socket(address, SOCK_STREAM), one = 1;
    if (fd < 0) return fd;
    if (raw(address)->sa_family != AF_UNIX) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, raw(address), address->length) < 0 || listen(fd, 8) < 0) return fail(fd);
    return fd;
}

int nm_stream_connect(const struct nm_address *address, int *is_pending) {
    int fd = open_socket(address, SOCK_STREAM);
    if (fd < 0) return fd;
    *is_pending = 0;
    if (connect(fd, raw(address), address->length) < 0) {
        if (errno != EINPROGRESS) return fail(fd);
        *is_pending = 1;
    }
    return fd;
}

int nm_stream_accept(int fd) { return result(accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)); }

int nm_stream_prepare(int fd, int flags) {
    int one = 1;
    // Not there for unix sockets, which need neither.
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (flags & NM_SOCKET_KEEP_ALIVE) (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    return 0;
}

static int option(int fd, int name) {
    int value = 0;
    socklen_t n = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &n) < 0 ? -errno : value;
}

int nm_socket_error(int fd) {
    int e = option(fd, SO_ERROR);
    return e > 0 ? -e : e;
}

int nm_socket_kind(int fd) { return option(fd, SO_TYPE); }
int nm_socket_is_listening(int fd) { return option(fd, SO_ACCEPTCONN); }

int nm_socket_peer(int fd, struct nm_address *address) {
    socklen_t n = sizeof address->words;
    memset(address, 0, sizeof *address);
    if (getpeername(fd, raw(address), &n) < 0) return -errno;
    address->length = n;
    return 0;
}

int nm_socket_name(int fd, struct nm_address *address) {
    socklen_t n = sizeof address->words;
    memset(address, 0, sizeof *address);
    if (getsockname(fd, raw(address), &n) < 0) return -errno;
    address->length = n;
    return 0;
}

enum { RECEIVE_BUFFER = 4 << 20 }; // the kernel gives what its limit allows

int nm_datagram_bind(const struct nm_address *address) {
    int fd = open_socket(address, SOCK_DGRAM), one = 1, size = RECEIVE_BUFFER;
    if (fd < 0) return fd;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (raw(address)->sa_family != AF_UNIX) (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, raw(address), address->length) < 0) return fail(fd);
    return fd;
}

static struct in_addr in_address(const struct nm_address *address) {
    struct sockaddr_in in;
    memcpy(&in, address->words, sizeof in);
    return in.sin_addr;
}

int nm_multicast_receive(const struct nm_address *group, const struct nm_address *interface) {
    int fd = nm_datagram_bind(group);
    if (fd < 0) return fd;
    struct ip_mreq request = {.imr_multiaddr = in_address(group)};
    if (interface->length) request.imr_interface = in_address(interface);
    int zero = 0;
    // Only the groups that this socket has joined, not those of the whole host.
    (void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_ALL, &zero, sizeof zero);
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request) < 0) return fail(fd);
    return fd;
}

int nm_multicast_send(const struct nm_address *group, const struct nm_address *interface) {
    int fd = open_socket(group, SOCK_DGRAM);
    if (fd < 0) return fd;
    unsigned char loop = 1;
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_LOOP, &loop, sizeof loop) < 0) return fail(fd);
    if (interface->length) {
        struct in_addr from = in_address(interface);
        if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &from, sizeof from) < 0) return fail(fd);
    }
    // Connected, so that the kernel has chosen the source: by it, own datagrams are known when they come back.
    if (connect(fd, raw(group), group->length) < 0) return fail(fd);
    return fd;
}

int nm_datagram_probe(const struct nm_address *address) {
    int fd = open_socket(address, SOCK_DGRAM);
    if (fd < 0) return fd;
    if (connect(fd, raw(address), address->length) < 0) return fail(fd);
    return fd;
}
