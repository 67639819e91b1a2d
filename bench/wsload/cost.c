#include "cost.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double read_clock(clockid_t clock) {
    struct timespec time;
    if (clock_gettime(clock, &time))
        return 0;
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

double now(void) { return read_clock(CLOCK_MONOTONIC); }

double cpu_seconds(const struct options *options) {
    double sum = 0;
    for (int i = 0; i < options->pid_count; i++) {
        clockid_t clock;
        /* Behind by one tick of the scheduler at most (1 to 4 ms), where /proc/PID/stat rounds to 10 ms. */
        if (!clock_getcpuclockid(options->pids[i], &clock))
            sum += read_clock(clock);
    }
    return sum;
}

static long resident_kb_of(int pid) {
    char name[64], line[256];
    long kb = 0;
    snprintf(name, sizeof name, "/proc/%d/status", pid);
    FILE *file = fopen(name, "r");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, "VmRSS:", 6))
            kb = atol(line + 6);
    fclose(file);
    return kb;
}

long resident_kb(const struct options *options) {
    long sum = 0;
    for (int i = 0; i < options->pid_count; i++)
        sum += resident_kb_of(options->pids[i]);
    return sum;
}
