// Sockets that carry frames: what workers call, which never waits, and how such sockets are made. Swift cannot
// import the variadic, macro-built or union-shaped parts of the socket interface. Results of zero or more, or -errno.
#ifndef WIREVALE_SOCKET_IO_H
#define WIREVALE_SOCKET_IO_H

#include "host_io.h"

// A socket address of any family.
struct nm_address {
    uint32_t length;
    uint32_t unused;
    uint64_t words[16];
};

NM_HOT int64_t nm_socket_read(int fd, void *buffer, size_t size);
// `pieces`: address and length each, as a Segment is; at most 1024.
NM_HOT int64_t nm_socket_write(int fd, const void *pieces, int count);

enum { NM_DATAGRAMS = 64 }; // that one call moves
// Lengths that say that a datagram was not taken.
#define NM_DATAGRAM_TRUNCATED UINT32_MAX
#define NM_DATAGRAM_OWN (UINT32_MAX - 1)
// Fills `lengths[i]` for the datagram at `memory + i * stride`; one that comes from `own` is said to be so.
NM_HOT int nm_datagrams_read(int fd, void *memory, size_t stride, size_t size, int count, uint32_t *lengths,
                             const struct nm_address *own);
// `counts[i]` pieces of `pieces` make datagram i; to whom the socket is connected if `to` has no length.
NM_HOT int nm_datagrams_write(int fd, const void *pieces, const uint16_t *counts, int count,
                              const struct nm_address *to);

int nm_address_unix(struct nm_address *address, const char *path);
// Addresses of a host given in numbers: how many there are; 0 if it is a name. `family`: 0, 4 or 6.
int nm_address_numeric(struct nm_address *addresses, int capacity, const char *host, int port, int family, int listens);
int nm_address_is_multicast(const struct nm_address *address);
int nm_address_text(const struct nm_address *address, char *text, size_t size); // host:port; 0 if it has none
int nm_address_port(const struct nm_address *address);

// Asking a name server, on a thread of its own.
struct nm_resolution;
struct nm_resolution *nm_resolve(const char *host, int port, int family, int listens, int *file); // `file`: readable at the end
int nm_resolution_take(struct nm_resolution *resolution, struct nm_address *addresses, int capacity, char *why, size_t size);
void nm_resolution_drop(struct nm_resolution *resolution); // ends it, whenever the thread ends

enum { NM_SOCKET_KEEP_ALIVE = 1 };
int nm_stream_listen(const struct nm_address *address);
int nm_stream_connect(const struct nm_address *address, int *is_pending); // does not wait
int nm_stream_accept(int fd);
int nm_stream_prepare(int fd, int flags); // what every connection gets
int nm_socket_error(int fd);              // and clears it: -errno, or 0
int nm_socket_kind(int fd);               // SOCK_STREAM, SOCK_DGRAM, ... of a socket that is connected or not
int nm_socket_is_listening(int fd);
int nm_socket_peer(int fd, struct nm_address *address);
int nm_socket_name(int fd, struct nm_address *address);

int nm_datagram_bind(const struct nm_address *address);
// The receiving end of a group; `interface` is an address of the interface, or has no length.
int nm_multicast_receive(const struct nm_address *group, const struct nm_address *interface);
int nm_multicast_send(const struct nm_address *group, const struct nm_address *interface);
int nm_datagram_probe(const struct nm_address *address); // writable when the receiver there has room

#endif
