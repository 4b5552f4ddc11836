// What the files of the preload library tell each other.
//
//   preload.c     the names of libc that programs call; decides in a few instructions whether a call is ours
//   real.c        libc's own functions behind those names
//   descriptor.c  which descriptor numbers are netmap descriptors, and what those have bound
//   channel.c     requests to the engine and their answers
//   request.c     the netmap ioctls with arguments
//   sync.c        what a program's rings and the engine tell each other
//   wait.c        poll and select; epoll.c: epoll
//   mapping.c     mmap of a descriptor, and memory that the program brings
//   kloop.c       control blocks instead of rings
//
// Rules: no memory from malloc, no locks on the way of calls that are not ours, no policy (names, modes,
// limits and errors come from the engine), and nothing that the program or another program writes into
// shared memory can make us touch memory outside of the rings.
#ifndef WIREVALE_SHIM_H
#define WIREVALE_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
// The fortified headers define inline versions of what we define.
#undef _FORTIFY_SOURCE

#include <errno.h>
#include <net/netmap.h>
#include <netmap_wire.h>
#include <poll.h>
#include <shm.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <time.h>

#pragma GCC visibility push(hidden)

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

// ---- real.c

// libc's functions, or system calls as long as we have not looked for them.
struct real {
    int (*openat)(int, const char *, int, ...);
    int (*open)(const char *, int, ...);
    int (*close)(int);
    int (*close_range)(unsigned, unsigned, int);
    int (*dup)(int);
    int (*dup2)(int, int);
    int (*dup3)(int, int, int);
    int (*fcntl)(int, int, ...);
    int (*ioctl)(int, unsigned long, ...);
    void *(*mmap)(void *, size_t, int, int, int, off_t);
    int (*munmap)(void *, size_t);
    int (*poll)(struct pollfd *, nfds_t, int);
    int (*ppoll)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *);
    int (*select)(int, fd_set *, fd_set *, fd_set *, struct timeval *);
    int (*pselect)(int, fd_set *, fd_set *, fd_set *, const struct timespec *, const sigset_t *);
    int (*epoll_ctl)(int, int, int, struct epoll_event *);
    int (*epoll_wait)(int, struct epoll_event *, int, int);
    int (*epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
    int (*epoll_pwait2)(int, struct epoll_event *, int, const struct timespec *, const sigset_t *);
};
extern struct real real;

// Says something that a person has to know, once for each `flag`.
void shim_say(bool *flag, const char *format, ...) __attribute__((format(printf, 2, 3)));
extern char shim_device[256]; // what programs call the netmap device
extern char shim_socket[108]; // where the engine listens

// Reads and writes the program's own memory; EFAULT instead of a signal.
int user_read(void *to, uint64_t from, size_t length);
int user_write(uint64_t to, const void *from, size_t length);
// Reads as many pieces as are readable; returns bytes read, or -1.
struct iovec;
ssize_t user_read_pieces(const struct iovec *to, const struct iovec *from, int count);

int32_t thread_id(void);
void thread_forget(void);

// ---- descriptor.c

enum {
    FD_LIMIT = 1 << 20,     // descriptor numbers that we can know
    BINDING_LIMIT = 4096,   // netmap descriptors of a process
    FD_UNKNOWN = 0,
    FD_FOREIGN = 1,  // somebody else's, as far as we know
    FD_INTERNAL = 2, // our own; the program does not know of it
    FD_EPOLL = 3,    // an epoll descriptor that has some of ours
    FD_OURS = 4,     // and more: FD_OURS + the binding's index
};

// A ring that a descriptor has bound. All that it says was checked once and cannot be changed by others.
struct ring_ref {
    struct nm_kring *kring;
    struct netmap_ring *ring;
    uint32_t slots;
    struct netmap_ring *peer_ring; // pipes
    struct nm_kring *peer;
    uint32_t busy_since, busy_holder; // somebody else's lock, and since when (milliseconds)
};

// Memory that several bindings share.
struct region {
    uint64_t device, inode;
    uint8_t *base;
    uint64_t size;
    int users;
};

// How the program waits for this descriptor, as far as we see.
enum {
    WAIT_UNSEEN = 0, // not by us: by io_uring, or never
    WAIT_POLL = 1,
    WAIT_EPOLL = 2,
};

// What is behind a netmap descriptor: one for each open file, however many numbers it has.
struct binding {
    uint64_t cookie; // of the socket; 0: free
    int numbers;     // descriptor numbers in the table
    int maps;        // mappings of the program
    int keeper;      // our own descriptor while there are mappings, or -1
    bool is_dying;   // to be freed by the last call
    bool is_attached;
    bool is_dead;    // the engine has gone
    uint8_t waits;   // WAIT_*
    struct nm_attachment attachment;
    uint8_t *control;
    struct region *region;
    uint32_t tx_count, rx_count;
    struct ring_ref *refs; // TX, then RX
    size_t refs_size;
    uint32_t tx_news, rx_news; // times that a tail moved
    uint64_t last_sync;        // when the last ioctl sync was, in coarse nanoseconds
    uint64_t csb_atok, csb_ktoa;
    int pins; // calls that are under way; the last field, which outlives the others
};

extern uint16_t fd_table[FD_LIMIT];
extern int bindings_used; // how many bindings this process has; 0: no call is ours

static inline unsigned fd_kind(int fd) {
    return (unsigned)fd < FD_LIMIT ? __atomic_load_n(&fd_table[fd], __ATOMIC_RELAXED) : FD_FOREIGN;
}

// The binding behind a number, which stays until descriptor_unpin; NULL: not ours.
struct binding *descriptor_pin(int fd);
// The same, looking at the descriptor itself: for numbers that we do not know, and when it matters that
// the number is still what we think.
struct binding *descriptor_identify(int fd);
bool descriptor_is_still(int fd, const struct binding *binding);
void descriptor_unpin(struct binding *binding);
// Gets what the descriptor has bound. 0, or an errno; `attachment.region_size` is 0 if it is not bound.
int descriptor_attach(struct binding *binding, int fd);
void descriptor_adopt(int fd, uint64_t cookie); // a new one
void descriptor_forget(int fd);                 // the number is about to be closed
void descriptor_copied(int from, int to);       // dup
void descriptor_forget_range(unsigned first, unsigned last);
// Internal descriptors: high numbers that close does not touch.
int internal_adopt(int fd);           // moves it there; closes `fd`; returns the new number
void internal_close(int fd, uint64_t cookie);
bool internal_is_ours(int fd);        // and not a number that was used again behind our back
int internal_make_way(int fd);        // the program wants this number; where ours went, or -1
void end_if_unused(struct binding *b); // without numbers and mappings; table locked
int internal_next(unsigned from);     // the lowest internal number >= from, or -1
void keeper_take(struct binding *binding, int fd); // table locked
void table_lock(sigset_t *saved);
void table_unlock(const sigset_t *saved);
uint64_t socket_cookie(int fd);
bool process_is_ours(void); // not a child of vfork, which borrows our memory
void descriptor_init(void);
extern struct binding bindings[BINDING_LIMIT];

// ---- channel.c

// One request and its answer. `descriptor` is passed along (-1: none); up to two descriptors come back.
// Returns the length of the answer's payload, or -errno if there was no answer.
struct exchange {
    const void *head, *body; // sent, one after the other
    size_t head_length, body_length;
    void *answer;
    size_t answer_room;
    int error; // what the engine said
    int received[2];
};
int channel_call(unsigned op, int descriptor, struct exchange *exchange);
bool channel_peer_matches(const char *path, size_t length);
bool channel_has_cookie(uint64_t cookie);
void channel_make_way(int fd); // the program wants a number that is internal
void channel_before_fork(void);
void channel_after_fork(bool is_child);

// ---- request.c
int request_open(int flags);
int request_ioctl(struct binding *binding, int fd, uint32_t request, void *argument);
static inline bool request_is_netmap(uint32_t request) {
    switch (request) {
    case NM_NIOCCTRL:
    case NM_NIOCREGIF:
    case NM_NIOCGINFO:
    case NM_NIOCTXSYNC:
    case NM_NIOCRXSYNC:
    case NM_NIOCCONFIG: return true;
    default: return false;
    }
}

// ---- sync.c
enum sync_result {
    SYNC_DONE,
    SYNC_BUSY,    // another thread is at it
    SYNC_FAULT,   // what the program wrote was no use; the ring was set right
    SYNC_FAILED,  // there is nobody on the other side
    SYNC_STOPPED,
};
int sync_ioctl(struct binding *binding, int fd, bool transmit);
// What poll has to say; syncs as poll has to. Sets `is_busy` if another thread was at one of the rings: what
// that one finds it may find without a byte from the engine.
short sync_poll(struct binding *binding, int fd, short events, bool *is_busy);
// Asks for a byte at the next news.
void sync_arm(struct binding *binding, short events);
// Takes the bytes off the descriptor.
void sync_drain(struct binding *binding, int fd);
// The same syncs for control blocks.
enum sync_result sync_block(struct binding *binding, int fd, struct ring_ref *ref, bool transmit, uint32_t head,
                            uint32_t cur, uint32_t *hwcur, uint32_t *hwtail);
void sync_arm_ring(struct ring_ref *ref);

// ---- wait.c
int wait_poll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask);
int wait_select(int count, fd_set *read, fd_set *write, fd_set *except, struct timespec *timeout, const sigset_t *mask,
                bool *was_ours);
// Whether the set has descriptors of ours.
bool wait_has_ours(const struct pollfd *fds, nfds_t count);
struct deadline {
    bool is_endless, is_now;
    struct timespec end;
};
struct deadline deadline_after(const struct timespec *timeout);
// What is left; false: nothing.
bool deadline_left(const struct deadline *deadline, struct timespec *left);
// How long the kernel may wait: NULL for ever; a moment if we have to look again.
const struct timespec *deadline_limit(const struct deadline *deadline, struct timespec *left, bool is_busy);

// ---- epoll.c
extern int epoll_entries; // registrations in this process
int epoll_control(struct binding *binding, int epoll, int operation, int fd, struct epoll_event *event);
int epoll_await(int epoll, struct epoll_event *events, int room, const struct timespec *timeout, const sigset_t *mask);
bool epoll_is_ready(int epoll, bool *is_busy); // has descriptors of ours that are ready
void epoll_forget(int epoll);
void epoll_forget_binding(struct binding *binding);

// ---- mapping.c
extern int mapping_entries;
void *mapping_map(struct binding *binding, int fd, void *address, size_t length, int protection, int flags, off_t offset);
void mapping_unmapped(void *address, size_t length); // the program unmapped it or mapped something over it
int mapping_replace(struct binding *binding, uint64_t address, uint64_t length); // EXTMEM

// ---- kloop.c
int kloop_run(struct binding *binding, int fd, const struct nmreq_sync_kloop_start *start, const void *eventfds,
              size_t eventfds_size);
int kloop_stop(struct binding *binding);
int csb_probe(uint64_t atok, uint64_t ktoa, uint32_t count);
int csb_init(struct binding *binding, uint64_t atok, uint64_t ktoa);

#pragma GCC visibility pop
#endif
