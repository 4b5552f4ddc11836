// What all C programs of the tests share: a line for each thing that holds, children, descriptors that go to others.
#ifndef CHECKS_H
#define CHECKS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stdbool.h>
#include <stdint.h>

// Says what holds; counts what does not.
#define CHECK(condition, ...) check(condition, __LINE__, __VA_ARGS__)
void check(bool holds, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
extern int failures;

uint64_t now_us(void);
int in_child(int (*what)(void *), void *argument); // its exit status
int send_fd(int socket, int fd);
int receive_fd(int socket);

#endif
