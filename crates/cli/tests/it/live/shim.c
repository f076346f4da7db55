/* What a machine can do to a process, on demand: a disk that does not sync, a clock that is wrong.
 *
 * FAULT_SYNC names a file. While it is there, fsync and fdatasync fail with EIO: as often as the number
 * in it says, or always if it is empty.
 * FAULT_CLOCK names a file with the seconds by which the wall clock is wrong. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int fails(void) {
    const char *name = getenv("FAULT_SYNC");
    FILE *file = name ? fopen(name, "r") : NULL;
    long left = 0;
    if (!file) return 0;
    int is_counted = fscanf(file, "%ld", &left) == 1;
    fclose(file);
    if (is_counted) {
        if (left <= 1) {
            unlink(name);
        } else if ((file = fopen(name, "w"))) {
            fprintf(file, "%ld", left - 1);
            fclose(file);
        }
    }
    errno = EIO;
    return 1;
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails() ? -1 : real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails() ? -1 : real(fd);
}

static long long wrong_by(void) {
    const char *name = getenv("FAULT_CLOCK");
    FILE *file = name ? fopen(name, "r") : NULL;
    long long seconds = 0;
    if (!file) return 0;
    if (fscanf(file, "%lld", &seconds) != 1) seconds = 0;
    fclose(file);
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int outcome = real(clock, at);
    if (outcome == 0 && clock == CLOCK_REALTIME) at->tv_sec += wrong_by();
    return outcome;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
