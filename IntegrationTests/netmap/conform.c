// Checks an engine as a program sees it: `conform NAME`, with the preload library in the environment.

#include "conform.h"

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {
        {"registering", registering}, {"options", options}, {"older", older}, {"loops", loops},
        {"frames", frames}, {"rings", rings}, {"offloads", offloads}, {"piping", piping},
        {"forcing", forcing}, {"joining", joining},
        {"watching", watching}, {"owning", owning}, {"lasting", lasting}, {"handing", handing},
        {"shedding", shedding},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (argc != 2 || strcmp(argv[1], all[i].name) != 0) continue;
        all[i].run();
        return failures ? 1 : 0;
    }
    fprintf(stderr, "no such group of checks\n");
    return 64;
}
