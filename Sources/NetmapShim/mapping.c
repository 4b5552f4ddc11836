// What a descriptor maps: the region, in which its rings and buffers are.
//
// The library has each region mapped as a whole, so the program's mapping is made from that one
// (mremap with an old size of 0 makes a second mapping of shared pages): no file has to stay open for it.
// As with the kernel's netmap, a mapping keeps the binding when the descriptor is closed.

#include "shim.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LIMIT = 1024 };

// Pages of the program that keep a binding.
static struct {
    uintptr_t from, to; // from == to: free
    struct binding *binding;
} ranges[LIMIT];
int mapping_entries;

// With the table locked.
static bool add(uintptr_t from, uintptr_t to, struct binding *b) {
    for (int i = 0; i < LIMIT; i++) {
        if (ranges[i].from != ranges[i].to) continue;
        ranges[i].from = from;
        ranges[i].to = to;
        ranges[i].binding = b;
        b->maps++;
        mapping_entries++;
        return true;
    }
    return false;
}

static void drop(int i) {
    struct binding *b = ranges[i].binding;
    ranges[i].from = ranges[i].to = 0;
    mapping_entries--;
    if (--b->maps > 0) return;
    if (b->keeper >= 0) internal_close(b->keeper, b->cookie);
    b->keeper = -1;
}

void mapping_unmapped(void *address, size_t length) {
    if (!process_is_ours()) return;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
    uintptr_t from = (uintptr_t)address & ~page, to = ((uintptr_t)address + length + page) & ~page;
    sigset_t saved;
    table_lock(&saved);
    for (int i = 0; i < LIMIT; i++) {
        uintptr_t a = ranges[i].from, z = ranges[i].to;
        if (a == z || to <= a || z <= from) continue;
        if (a < from && to < z) { // a hole in its middle
            ranges[i].to = from;
            add(to, z, ranges[i].binding);
        } else if (a < from) {
            ranges[i].to = from;
        } else if (to < z) {
            ranges[i].from = to;
        } else {
            struct binding *b = ranges[i].binding;
            drop(i);
            end_if_unused(b);
        }
    }
    table_unlock(&saved);
}

// A second mapping of what the library has mapped.
static void *second(struct binding *b, void *address, size_t length, int protection, int flags, off_t offset) {
    void *made = MAP_FAILED;
    uint8_t *from = b->region->base + offset;
    if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
        if ((flags & MAP_FIXED_NOREPLACE) == MAP_FIXED_NOREPLACE) {
            void *place = real.mmap(address, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
            if (place == MAP_FAILED) return MAP_FAILED;
        }
        made = mremap(from, 0, length, MREMAP_MAYMOVE | MREMAP_FIXED, address);
    } else {
        made = mremap(from, 0, length, MREMAP_MAYMOVE);
    }
    if (made == MAP_FAILED) return MAP_FAILED;
    if (protection != (PROT_READ | PROT_WRITE)) mprotect(made, length, protection);
    if (flags & MAP_LOCKED) mlock(made, length);
#ifdef MADV_POPULATE_WRITE
    if ((flags & MAP_POPULATE) && (protection & PROT_WRITE)) madvise(made, length, MADV_POPULATE_WRITE);
#endif
    return made;
}

void *mapping_map(struct binding *b, int fd, void *address, size_t length, int protection, int flags, off_t offset) {
    int error = 0;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!b->is_attached) error = descriptor_attach(b, fd);
    if (!error && !b->is_attached) error = EINVAL;
    uint64_t size = error ? 0 : b->region->size;
    size_t pages = (length + page - 1) & ~(page - 1);
    if (!error && (length == 0 || pages < length || offset < 0 || (size_t)offset % page || (uint64_t)offset > size
                   || pages > ((size + page - 1) & ~(page - 1)) - (uint64_t)offset))
        error = EINVAL;
    if (error) {
        errno = error;
        return MAP_FAILED;
    }
    void *made = second(b, address, length, protection, flags, offset);
    if (made == MAP_FAILED) return made;
    if ((flags & MAP_FIXED) && mapping_entries) mapping_unmapped(address, pages);
    sigset_t saved;
    table_lock(&saved);
    add((uintptr_t)made, (uintptr_t)made + pages, b);
    keeper_take(b, fd);
    table_unlock(&saved);
    return made;
}

// The engine has laid out rings in the region by now. What the program's pages hold comes into the pages
// that the engine has not touched, then the region takes their place. Pages without content stay holes.
int mapping_replace(struct binding *b, uint64_t address, uint64_t length) {
    enum { CHUNK = 256 };
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (!b->region || length > b->region->size || length % page || address % page) return EINVAL;
    unsigned char is_there[CHUNK];
    for (size_t at = 0; at < length; at += CHUNK * page) {
        size_t size = length - at < CHUNK * page ? length - at : CHUNK * page;
        if (mincore(b->region->base + at, size, is_there) < 0) return errno;
        for (size_t i = 0; i < size / page; i++) {
            uint64_t words[512];
            const size_t step = sizeof words;
            for (size_t from = at + i * page; !(is_there[i] & 1) && from < at + (i + 1) * page; from += step) {
                if (user_read(words, address + from, step)) return EFAULT;
                uint64_t any = 0;
                for (size_t word = 0; word < step / sizeof *words; word++) any |= words[word];
                if (any) memcpy(b->region->base + from, words, step);
            }
        }
    }
    void *made = mremap(b->region->base, 0, length, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(uintptr_t)address);
    return made == MAP_FAILED ? errno : 0;
}
