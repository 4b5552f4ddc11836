#define _GNU_SOURCE
#include "tunnel_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int fill(struct sockaddr_un *address, const char *path) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) return -ENAMETOOLONG;
    strcpy(address->sun_path, path);
    return 0;
}

int nm_unix_datagram(const char *path) {
    struct sockaddr_un address;
    int e = fill(&address, path);
    if (e < 0) return e;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -errno;
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    e = -errno;
    close(fd);
    return e;
}

int nm_unix_datagram_connect(int fd, const char *path) {
    struct sockaddr_un address;
    int e = fill(&address, path);
    if (e < 0) return e;
    return connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

int nm_unix_datagram_connect_to(int fd, const char *path, uint32_t uid) {
    // By a descriptor, so that it is the file that was looked at.
    int file = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0) return -errno;
    struct stat status;
    char name[32];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    int e;
    if (fstat(file, &status) < 0) e = -errno;
    else if (!S_ISSOCK(status.st_mode)) e = -ENOTSOCK;
    else if (status.st_uid != uid && uid != 0) e = -EACCES;
    else e = nm_unix_datagram_connect(fd, name);
    close(file);
    return e;
}

int nm_inet_datagram(int is_ipv6, int protocol, const char *from, const char *from_port, const char *to,
                     const char *to_port) {
    struct addrinfo wish = {
        .ai_family = is_ipv6 ? AF_INET6 : AF_INET,
        // Raw sockets have no ports, and getaddrinfo knows no services for them.
        .ai_socktype = SOCK_DGRAM,
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
    };
    struct addrinfo *source = NULL, *target = NULL;
    int e = 0, fd = -1;
    if (getaddrinfo(from, from_port, &wish, &source) || getaddrinfo(to, to_port, &wish, &target)) e = -EINVAL;
    if (e == 0) {
        fd = socket(wish.ai_family, (protocol ? SOCK_RAW : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
        if (fd < 0) e = -errno;
    }
    if (e == 0 && bind(fd, source->ai_addr, source->ai_addrlen) < 0) e = -errno;
    if (e == 0 && connect(fd, target->ai_addr, target->ai_addrlen) < 0) e = -errno;
    if (source) freeaddrinfo(source);
    if (target) freeaddrinfo(target);
    if (e == 0) return fd;
    if (fd >= 0) close(fd);
    return e;
}

int nm_socket_pair(int files[2]) {
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, files) < 0 ? -errno : 0;
}

int nm_pipe(int files[2]) {
    if (pipe2(files, O_CLOEXEC) < 0) return -errno;
    return fcntl(files[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
}

int nm_can_bind(int is_udp, const char *address, const char *port) {
    struct addrinfo wish = {
        .ai_family = AF_INET,
        .ai_socktype = is_udp ? SOCK_DGRAM : SOCK_STREAM,
        .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
    };
    struct addrinfo *found = NULL;
    if (getaddrinfo(address, port, &wish, &found)) return -EINVAL;
    int one = 1, e = 0, fd = socket(AF_INET, wish.ai_socktype | SOCK_CLOEXEC, 0);
    if (fd < 0) e = -errno;
    else if (!is_udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0) e = -errno;
    else if (bind(fd, found->ai_addr, found->ai_addrlen) < 0) e = -errno;
    // Two that may use an address again can both bind it, but not both listen.
    else if (!is_udp && listen(fd, 1) < 0) e = -errno;
    if (fd >= 0) close(fd);
    freeaddrinfo(found);
    return e;
}
