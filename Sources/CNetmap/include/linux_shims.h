// Kernel interfaces that Swift cannot import: epoll, eventfd, signalfd, timerfd and memfd are not in
// the Glibc module, variadic functions and control-message macros cannot be called from Swift.
// Every function returns a result of zero or more, or -errno; none sets a global.
#ifndef WIREVALE_LINUX_SHIMS_H
#define WIREVALE_LINUX_SHIMS_H

#include <stddef.h>
#include <stdint.h>

int nm_memfd_create(const char *name, uint64_t size); // sealed against shrinking
int nm_eventfd(void);
int nm_eventfd_ring(int fd);  // adds one; may wait if its flag O_NONBLOCK was taken away and it is full
int nm_eventfd_drain(int fd); // back to zero; does not wait, whatever flags it has
// One byte to whoever sleeps behind a socket: never blocks, is lost if nobody ever reads. swift_attr: see shm.h.
__attribute__((swift_attr("@_noLocks"))) void nm_doorbell(int socket);
__attribute__((swift_attr("@_noLocks"))) void nm_doorbell_drain(int socket);
int nm_is_eventfd(int fd);    // 1, 0 or -errno

// Adding one to an eventfd that somebody else holds, too. O_NONBLOCK belongs to the file that both share,
// so write(2) can be made to wait: he takes the flag away and fills the counter. The kernel's own signal
// cannot wait (at the end of its range the counter stays there), and Linux AIO is the way to have it sent: an empty
// read of /dev/null whose completion is told to the eventfd. Swift has no io_submit.
struct nm_signaller {
    uint64_t context; // of io_setup, or 0: then write(2) has to do
    int null;
};
// For one thread. 0, or -errno where there is no AIO; what it makes can be used in either case.
int nm_signaller_open(struct nm_signaller *signaller);
void nm_signaller_close(struct nm_signaller signaller);
int nm_signal(struct nm_signaller signaller, int fd); // adds one, never waits

int nm_open_read_write(const char *path);
int nm_open_read(const char *path);
// A plain file that belongs to this user, for reading and writing; one that exists already if `mode` is
// 0, else a new one. Anything else in its place, a symbolic link too, is an error.
int nm_open_own(const char *path, int mode);
// The next stretch of data at or after `from` in a sparse file: 1 and its bounds, 0 if there is none.
int nm_file_data(int fd, int64_t from, int64_t *start, int64_t *end);
int nm_set_nonblocking(int fd);
int nm_set_close_on_exec(int fd, int on);

enum { NM_EPOLL_IN = 1, NM_EPOLL_OUT = 4, NM_EPOLL_ERR = 8, NM_EPOLL_HUP = 16, NM_EPOLL_EDGE = 1 << 31 };
int nm_epoll_create(void);
int nm_epoll_add(int epoll, int fd, uint32_t events, uint64_t token);
int nm_epoll_modify(int epoll, int fd, uint32_t events, uint64_t token);
int nm_epoll_remove(int epoll, int fd);
struct nm_event {
    uint64_t token;
    uint32_t events;
};
// How many of `fds`, at most 4, can be read; 0 after the timeout (negative: none).
int nm_wait_readable(const int *fds, int count, int64_t timeout_ns);
int nm_epoll_wait(int epoll, struct nm_event *events, int capacity, int timeout_ms);

int nm_signalfd(const int *signals, int count); // blocks them for this thread and its children
int nm_signalfd_read(int fd);                   // the signal's number

int nm_unix_listen(const char *path);
int nm_unix_listen_packets(const char *path);  // SOCK_SEQPACKET
int nm_unix_connect_packets(const char *path); // does not wait
int nm_socket_cookie(int fd, uint64_t *cookie);
int nm_unix_connect(const char *path); // does not wait
int nm_unix_accept(int fd);
int nm_unix_peer_uid(int fd, uint32_t *uid, int32_t *pid);
// Reads at most `size` bytes and up to `*fd_count` descriptors; on return `*fd_count` says how many
// came. Descriptors that did not fit are closed by the kernel and reported as -EMSGSIZE.
int64_t nm_receive(int fd, void *buffer, size_t size, int *fds, int *fd_count);
int64_t nm_send(int fd, const void *buffer, size_t size, const int *fds, int fd_count);
int nm_notify_datagram(const char *path, const char *message); // sd_notify's transport

int nm_pin_thread(int cpu);
int nm_thread_id(void);
// The same without a system call but for a thread's first; right in a child of fork, too.
__attribute__((swift_attr("@_noLocks"))) uint32_t nm_own_thread(void);
void nm_name_thread(const char *name);
int64_t nm_thread_cpu_ns(int pid, int tid);
int nm_lock_file(const char *path); // descriptor of the locked file, or -EWOULDBLOCK
__attribute__((swift_attr("@_noLocks"))) uint64_t nm_monotonic_ns(void);
uint32_t nm_monotonic_seconds(void); // coarse: one tick behind at most, and cheap
int64_t nm_file_size(int fd);
int64_t nm_file_block_size(int fd);
// Whether a page of the file can keep whoever touches it waiting for as long as somebody likes: it lies on
// FUSE or on another machine. 1, 0 or -errno. To be asked first: fstat and statfs ask that somebody, too.
int nm_file_can_stall(int fd);
void nm_close_elsewhere(int fd); // on a thread of its own: a FUSE server is asked to flush, and waited for

// Guest memory is a file that its owner can cut short while we read it. A touch behind the end
// raises SIGBUS; the handler puts zeroes under the whole mapping so that the worker goes on, and marks
// the mapping so that its port can be closed with the reason.
int nm_guard_install(void);
int nm_guard_add(void *base, size_t length); // a guard number
void nm_guard_remove(int guard);
int nm_guard_tripped(int guard);

#endif
