// A netmap program as they are written: `frames FROM TO COUNT` sends COUNT frames from one port to another
// and counts what arrives, in order. Knows nothing of the library or of the engine.

#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define NETMAP_WITH_LIBS
#include <net/netmap_user.h>

int main(int argc, char **argv) {
    if (argc != 4) return 64;
    struct nm_desc *from = nm_open(argv[1], NULL, 0, NULL), *to = nm_open(argv[2], NULL, 0, NULL);
    if (!from || !to) return 1;
    uint32_t count = (uint32_t)atoi(argv[3]), sent = 0, got = 0, misplaced = 0;
    unsigned char frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 0};
    while (got < count) {
        // A batch at a time: a switch drops what its receiver has no room for.
        while (sent < count && sent < got + 200) {
            memcpy(frame + 14, &sent, sizeof sent);
            if (!nm_inject(from, frame, sizeof frame)) break;
            sent++;
        }
        struct pollfd both[2] = {{from->fd, 0, 0}, {to->fd, POLLIN, 0}};
        if (poll(both, 2, 2000) <= 0 || (both[0].revents & POLLERR)) break;
        struct nm_pkthdr header;
        const unsigned char *data;
        while ((data = (const unsigned char *)nm_nextpkt(to, &header))) {
            misplaced += memcmp(data + 14, &got, sizeof got) != 0;
            got++;
        }
    }
    printf("%u of %u, %u misplaced\n", got, count, misplaced);
    nm_close(from);
    nm_close(to);
    return got == count && !misplaced ? 0 : 1;
}
