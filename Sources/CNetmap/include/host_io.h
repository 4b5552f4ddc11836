// Frames to and from descriptors of this host: what workers call, which never waits and takes no lock of
// ours (swift_attr: see shm.h), and how such descriptors are made. Results of zero or more, or -errno.
#ifndef WIREVALE_HOST_IO_H
#define WIREVALE_HOST_IO_H

#include <stddef.h>
#include <stdint.h>

#define NM_HOT __attribute__((swift_attr("@_noLocks")))

enum { NM_WRITE_SEGMENTS = 1000 }; // pieces behind the first that one writev takes (UIO_MAXIOV less two)

NM_HOT int64_t nm_read(int fd, void *buffer, size_t size);
// One frame: `header_length` bytes of `header`, `head`, then `count` segments (address and length each).
NM_HOT int64_t nm_write_frame(int fd, const void *header, size_t header_length, const void *head,
                              size_t head_length, const void *segments, int count);

enum { NM_TAP_VNET_HEADER = 1, NM_TAP_MULTI_QUEUE = 2 };
// A queue of a tap interface, new or existing; an empty name is replaced by the kernel's choice.
int nm_tap_open(char name[16], int flags);
int nm_tap_open_in(int namespace, char name[16], int flags); // in a network namespace, or -1 for our own
int nm_tap_inspect(int fd, char name[16]); // its flags; -EMEDIUMTYPE for a tun, -EPROTO for one with packet information
int nm_tap_set_offload(int fd, int header_size);
int nm_tap_set_persistent(int fd, int on);
int nm_tap_mtu(int fd); // wherever the interface is now
// Sets an interface up, with an MTU unless that is 0, and on a bridge unless that is NULL.
int nm_interface_set_up(int namespace, const char *name, int mtu, const char *bridge);

// Runs a program that gets `from[i]` as `to[i]`, /dev/null for input, and ends when we do: its process, or -errno.
int nm_spawn(char *const *arguments, const int *from, const int *to, int count);
void nm_reap_elsewhere(int process); // waits for its end on a thread of its own
int nm_process_file(int process);    // readable when the process has ended (pidfd)

#endif
