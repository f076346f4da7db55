/* What a machine can do to a process, on demand: a disk that does not sync, a clock that is wrong.
 *
 * FAULT_SYNC names a file. While it is there, fsync and fdatasync fail with EIO: as often as the number
 * in it says, or always if it is empty.
 * FAULT_KILL names a file such as `7 written`: the process kills itself at this moment of the seventh
 * save from now on. A save is all writes to the data up to the sync that ends it. Its moments are
 * `before` its first write, `inside` (behind its first write), `written` (before its sync) and `synced`.
 * FAULT_CLOCK names a file with the seconds by which the wall clock is wrong. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void passes(const char *moment) {
    const char *name = getenv("FAULT_KILL");
    FILE *file = name ? fopen(name, "r") : NULL;
    long left = 0;
    char wanted[16] = "";
    if (!file) return;
    int is_read = fscanf(file, "%ld %15s", &left, wanted) == 2;
    fclose(file);
    if (!is_read || strcmp(wanted, moment) != 0) return;
    if (left <= 1) {
        unlink(name);
        kill(getpid(), SIGKILL);
    } else if ((file = fopen(name, "w"))) {
        fprintf(file, "%ld %s", left - 1, moment);
        fclose(file);
    }
}

/* Only the store's thread writes in this way. */
static int is_saving;

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    if (!real) real = (ssize_t(*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    int begins = !is_saving;
    if (begins) passes("before");
    ssize_t written = real(fd, bytes, count, at);
    is_saving = 1;
    if (begins) passes("inside");
    return written;
}

static int syncs(int (*real)(int), int fd) {
    if (fails()) return -1;
    int ends = is_saving;
    if (ends) passes("written");
    int outcome = real(fd);
    is_saving = 0;
    if (ends) passes("synced");
    return outcome;
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return syncs(real, fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return syncs(real, fd);
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
