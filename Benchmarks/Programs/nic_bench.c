// The plain way to an interface: a packet socket without a ring, recvmmsg and sendmmsg of 64 frames. What ports are
// measured against, and what fills and empties the far end of a cable.
//
//   nic_bench send IFNAME CPU SIZE       sends frames of SIZE bytes until it is ended
//   nic_bench receive IFNAME CPU         takes frames and throws them away
//
// Prints the frames so far on each line that it reads from stdin.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 64, ROOM = 2048 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int open_socket(const char *name, int protocol) {
    int fd = socket(AF_PACKET, SOCK_RAW, htons(protocol));
    if (fd < 0) fail("socket");
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = (int)if_nametoindex(name)};
    if (!address.sll_ifindex) fail(name);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
    int size = 1 << 22, on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
    return fd;
}

static void answer(uint64_t frames) {
    struct pollfd in = {.fd = 0, .events = POLLIN};
    if (poll(&in, 1, 0) != 1) return;
    char line[64];
    if (!fgets(line, sizeof line, stdin)) exit(0);
    printf("%llu\n", (unsigned long long)frames);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 4) return 64;
    int sends = !strcmp(argv[1], "send");
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(atoi(argv[3]), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    setvbuf(stdin, NULL, _IONBF, 0);
    int fd = open_socket(argv[2], sends ? 0 : ETH_P_ALL);
    unsigned size = sends && argc > 4 ? (unsigned)atoi(argv[4]) : ROOM;
    static unsigned char room[BATCH][ROOM];
    static struct mmsghdr messages[BATCH];
    static struct iovec pieces[BATCH];
    for (int i = 0; i < BATCH; i++) {
        static const unsigned char head[14] = {2, 0, 0, 0, 0x62, 2, 2, 0, 0, 0, 0x62, 1, 0x88, 0xb5};
        if (sends) memcpy(room[i], head, sizeof head);
        pieces[i] = (struct iovec){room[i], size};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &pieces[i], .msg_iovlen = 1};
    }
    puts("ready");
    fflush(stdout);
    uint64_t frames = 0;
    for (unsigned turn = 0;; turn++) {
        int n = sends ? sendmmsg(fd, messages, BATCH, MSG_DONTWAIT) : recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
        if (n > 0) frames += (unsigned)n;
        else if (errno != EAGAIN && errno != ENOBUFS) fail("sendmmsg or recvmmsg");
        if (turn % 16 == 0 || n <= 0) answer(frames);
    }
}
