// Frames to and from descriptors of this host.
#define _GNU_SOURCE
#include "host_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

// RWF_NOWAIT, because O_NONBLOCK belongs to the file, and whoever else holds that can take it away.
int64_t nm_read(int fd, void *buffer, size_t size) {
    struct iovec piece = {buffer, size};
    ssize_t n;
    do n = preadv2(fd, &piece, 1, -1, RWF_NOWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EOPNOTSUPP) n = read(fd, buffer, size); // kernels before 5.11 for taps
    return n < 0 ? -errno : n;
}

int64_t nm_write_frame(int fd, const void *header, size_t header_length, const void *head, size_t head_length,
                       const void *segments, int count) {
    struct iovec pieces[NM_WRITE_SEGMENTS + 2];
    int n = 0;
    if (header_length) pieces[n++] = (struct iovec){(void *)header, header_length};
    pieces[n++] = (struct iovec){(void *)head, head_length};
    if (count > NM_WRITE_SEGMENTS) return -EMSGSIZE;
    // A Segment is an address and a length, as an iovec is.
    if (count > 0) memcpy(&pieces[n], segments, (size_t)count * sizeof pieces[0]);
    if (count > 0) n += count;
    ssize_t r;
    do r = pwritev2(fd, pieces, n, -1, RWF_NOWAIT);
    while (r < 0 && errno == EINTR);
    if (r < 0 && errno == EOPNOTSUPP) r = writev(fd, pieces, n);
    return r < 0 ? -errno : r;
}

int nm_tap_open(char name[16], int flags) {
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -errno;
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    if (flags & NM_TAP_VNET_HEADER) request.ifr_flags |= IFF_VNET_HDR;
    if (flags & NM_TAP_MULTI_QUEUE) request.ifr_flags |= IFF_MULTI_QUEUE;
    memcpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    if (ioctl(fd, TUNSETIFF, &request) < 0) {
        int e = errno;
        close(fd);
        return -e;
    }
    memcpy(name, request.ifr_name, sizeof request.ifr_name);
    return fd;
}

int nm_tap_inspect(int fd, char name[16]) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    if (ioctl(fd, TUNGETIFF, &request) < 0) return -errno;
    memcpy(name, request.ifr_name, sizeof request.ifr_name);
    int flags = 0;
    if (!(request.ifr_flags & IFF_TAP)) return -EMEDIUMTYPE;
    if (!(request.ifr_flags & IFF_NO_PI)) return -EPROTO;
    if (request.ifr_flags & IFF_VNET_HDR) flags |= NM_TAP_VNET_HEADER;
    if (request.ifr_flags & IFF_MULTI_QUEUE) flags |= NM_TAP_MULTI_QUEUE;
    return flags;
}

int nm_tap_set_offload(int fd, int header_size) {
    if (ioctl(fd, TUNSETVNETHDRSZ, &header_size) < 0) return -errno;
    int big_endian = 0;
    (void)ioctl(fd, TUNSETVNETBE, &big_endian); // not there on every kernel, and off by default
    unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
    // Kernels before 6.2 know no USO.
    if (ioctl(fd, TUNSETOFFLOAD, offload | TUN_F_USO4 | TUN_F_USO6) == 0) return 0;
    return ioctl(fd, TUNSETOFFLOAD, offload) < 0 ? -errno : 0;
}

int nm_tap_set_persistent(int fd, int on) { return ioctl(fd, TUNSETPERSIST, on) < 0 ? -errno : 0; }
