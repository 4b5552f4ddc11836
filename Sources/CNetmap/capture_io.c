// Clocks, timers and outputs of captures.
#define _GNU_SOURCE
#include "capture_io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

uint64_t nm_realtime_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int nm_timer(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int nm_timer_set(int fd, uint64_t due) {
    struct itimerspec when = {{0, 0}, {(time_t)(due / 1000000000u), (long)(due % 1000000000u)}};
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL) < 0 ? -errno : 0;
}

int nm_open_output(const char *path, int mode) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, mode);
    return fd < 0 ? -errno : fd;
}

int nm_file_is_stream(int fd) {
    struct stat status;
    if (fstat(fd, &status) < 0) return -errno;
    return !S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode);
}
