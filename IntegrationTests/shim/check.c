// Checks the preload library against the mock engine: `check NAME`, with LD_PRELOAD and WIREVALE_NETMAP
// in the environment. Prints a line for each thing that holds; the exit status says whether all do.

#include "check.h"

int ctrl(int fd, struct nmreq_header *header, unsigned type, const char *name, void *body, void *options) {
    memset(header, 0, sizeof *header);
    header->nr_version = NETMAP_API;
    header->nr_reqtype = (uint16_t)type;
    snprintf(header->nr_name, sizeof header->nr_name, "%s", name);
    header->nr_body = (uintptr_t)body;
    header->nr_options = (uintptr_t)options;
    return ioctl(fd, NIOCCTRL, header);
}

void map_port(struct port *p) {
    p->memory = mmap(NULL, p->reg.nr_memsize, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
    if (p->memory == MAP_FAILED) return;
    p->nifp = (struct netmap_if *)(p->memory + p->reg.nr_offset);
    uint32_t rings = p->nifp->ni_tx_rings;
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t r = i < rings ? i : 0;
        p->tx[i] = (struct netmap_ring *)((uint8_t *)p->nifp + p->nifp->ring_ofs[r]);
        p->rx[i] = (struct netmap_ring *)((uint8_t *)p->nifp + p->nifp->ring_ofs[rings + 1 + r]);
    }
}

struct port open_port(const char *name, uint64_t flags) {
    struct port p = {.reg = {.nr_mode = NR_REG_ALL_NIC, .nr_flags = flags}};
    p.fd = open("/dev/netmap", O_RDWR);
    if (p.fd < 0 || ctrl(p.fd, &p.header, NETMAP_REQ_REGISTER, name, &p.reg, NULL) < 0) {
        printf("FAILED: no port %s: %s\n", name, strerror(errno));
        exit(1);
    }
    map_port(&p);
    return p;
}

struct wish_answer wish(int fd, uint32_t op, uint32_t ring, uint32_t count, uint32_t delay_ms) {
    struct wish w = {op, ring, count, delay_ms};
    struct wish_answer answer = {0};
    struct nm_ifreq request = {0};
    memcpy(request.data, &w, sizeof w);
    if (ioctl(fd, NIOCCONFIG, &request) == 0) memcpy(&answer, request.data, sizeof answer);
    return answer;
}

struct wish_answer look_at(int fd) { return wish(fd, WISH_LOOK, 0, 0, 0); }

static char path[4096];
const char *self(void) { return path; }

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {
        {"identity", identity}, {"closing", closing}, {"mapping", mapping}, {"validation", validation},
        {"slots", slots}, {"pipes", pipes}, {"polling", polling}, {"selecting", selecting},
        {"epolling", epolling}, {"unseen", unseen}, {"requests", requests}, {"blocks", blocks},
        {"overhead", overhead},
    };
    if (!realpath(argv[0], path)) return 64;
    if (argc > 2 && strcmp(argv[1], "received") == 0) return received(argc, argv);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (argc != 2 || strcmp(argv[1], all[i].name) != 0) continue;
        all[i].run();
        return failures ? 1 : 0;
    }
    fprintf(stderr, "no such check\n");
    return 64;
}
