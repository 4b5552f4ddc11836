// What the machine itself can do, to hold the figures against:
//
//   limits pingpong CPU CPU     nanoseconds for a cache line to go there and back, best and median
//   limits copy CPU SIZE        nanoseconds to copy SIZE bytes between buffers of a ring, best and median
//
// Two virtual processors may be threads of one core, cores that share a cache or cores that do not,
// and the host changes that while we run. Two-core figures compare only at equal ping-pong.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 21, TURNS = 5000, SLOTS = 512, STRIDE = 2304 };

struct line {
    _Alignas(128) atomic_int ball; // even: ours, odd: theirs, negative: over
};

static struct line court;

static double nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) {
        fprintf(stderr, "limits: there is no processor %d to run on\n", cpu);
        exit(69);
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(double *times, int n) {
    qsort(times, n, sizeof *times, ascending);
    printf("%.2f %.2f\n", times[0], times[n / 2]);
}

static void *partner(void *cpu) {
    pin(*(int *)cpu);
    for (;;) {
        int seen = atomic_load_explicit(&court.ball, memory_order_acquire);
        if (seen < 0) return NULL;
        if (seen & 1) atomic_store_explicit(&court.ball, seen + 1, memory_order_release);
    }
}

static void pingpong(int here, int there) {
    pthread_t thread;
    double times[ROUNDS];
    if (pthread_create(&thread, NULL, partner, &there)) exit(71);
    pin(here);
    int turn = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = nanoseconds();
        for (int i = 0; i < TURNS; i++) {
            atomic_store_explicit(&court.ball, turn + 1, memory_order_release);
            turn += 2;
            while (atomic_load_explicit(&court.ball, memory_order_acquire) != turn) continue;
        }
        times[round] = (nanoseconds() - start) / TURNS;
    }
    atomic_store(&court.ball, -1);
    pthread_join(thread, NULL);
    report(times, ROUNDS);
}

static void copying(int cpu, size_t size) {
    pin(cpu);
    char *from = aligned_alloc(4096, (size_t)SLOTS * STRIDE), *to = aligned_alloc(4096, (size_t)SLOTS * STRIDE);
    double times[ROUNDS];
    if (!from || !to || size > STRIDE) exit(64);
    memset(from, 1, (size_t)SLOTS * STRIDE);
    memset(to, 2, (size_t)SLOTS * STRIDE);
    int laps = size > 512 ? 64 : 512;
    for (int round = 0; round < ROUNDS; round++) {
        double start = nanoseconds();
        for (int lap = 0; lap < laps; lap++)
            for (int i = 0; i < SLOTS; i++) {
                memcpy(to + (size_t)i * STRIDE, from + (size_t)i * STRIDE, size);
                __asm__ volatile("" ::"r"(to) : "memory");
            }
        times[round] = (nanoseconds() - start) / laps / SLOTS;
    }
    report(times, ROUNDS);
}

int main(int count, char **arguments) {
    if (count == 4 && !strcmp(arguments[1], "pingpong")) pingpong(atoi(arguments[2]), atoi(arguments[3]));
    else if (count == 4 && !strcmp(arguments[1], "copy")) copying(atoi(arguments[2]), strtoul(arguments[3], NULL, 10));
    else {
        fprintf(stderr, "usage: limits pingpong CPU CPU | limits copy CPU SIZE\n");
        return 64;
    }
    return 0;
}
