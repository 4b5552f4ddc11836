// How the sockets are made that user, vde and l2tpv3 ports use.
#ifndef WIREVALE_TUNNEL_SOCKETS_H
#define WIREVALE_TUNNEL_SOCKETS_H

#include <stdint.h>

int nm_unix_datagram(const char *path);             // bound to `path`
int nm_unix_datagram_connect(int fd, const char *path);
// The same, if `path` is a socket of user `uid`; root may name anybody's.
int nm_unix_datagram_connect_to(int fd, const char *path, uint32_t uid);
// A UDP socket, or a raw one of IP protocol `protocol` if that is not 0, for numeric addresses. Ports may be NULL.
// -EADDRNOTAVAIL: `from` is not an address of this host.
int nm_inet_datagram(int is_ipv6, int protocol, const char *from, const char *from_port, const char *to,
                     const char *to_port);

int nm_socket_pair(int files[2]); // connected stream sockets
int nm_pipe(int files[2]);        // to read, to write; who reads does not wait
// Whether an IPv4 socket can be bound there now: 0 or -errno.
int nm_can_bind(int is_udp, const char *address, const char *port);

#endif
