// What captures need of C: clocks and timers that workers use (NM_HOT: see host_io.h), and the layout of the
// programs that libpcap compiles filters to.
#ifndef WIREVALE_CAPTURE_IO_H
#define WIREVALE_CAPTURE_IO_H

#include "host_io.h"

#include <linux/filter.h> // struct sock_filter, the instruction, and the parts of its code

// struct bpf_program of libpcap.
struct nm_bpf_program {
    uint32_t count;
    struct sock_filter *instructions;
};

_Static_assert(sizeof(struct sock_filter) == 8, "as libpcap has it");
_Static_assert(sizeof(struct nm_bpf_program) == 16, "as libpcap has it");

NM_HOT uint64_t nm_realtime_ns(void);
int nm_timer(void);                           // a timerfd on the clock of nm_monotonic_ns
NM_HOT int nm_timer_set(int fd, uint64_t due); // when it is readable; a time that is over: at once; 0: never

int nm_open_output(const char *path, int mode); // made, or emptied; a FIFO without a reader is -ENXIO
int nm_file_is_stream(int fd);                  // 1 for what can keep a writer waiting: FIFO, socket, terminal

#endif
