#include "tally.h"

#include <stdlib.h>
#include <time.h>

int64_t nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void keep_time(struct times *times, double microseconds) {
    if (times->count == times->room) {
        times->room = times->room ? 2 * times->room : 4096;
        times->all = realloc(times->all, (size_t)times->room * sizeof *times->all);
    }
    times->all[times->count++] = (float)microseconds;
}

static int by_value(const void *left, const void *right) {
    float a = *(const float *)left, b = *(const float *)right;
    return a < b ? -1 : a > b;
}

double percentile(struct times *times, double share) {
    if (!times->count)
        return 0;
    qsort(times->all, (size_t)times->count, sizeof *times->all, by_value);
    long place = (long)(share * (double)times->count);
    return times->all[place < times->count ? place : times->count - 1];
}

void count_message(struct tally *tally, uint32_t number, uint32_t *awaited) {
    tally->deliveries++;
    if (number < *awaited) {
        tally->doubled++;
        return;
    }
    tally->lost += number - *awaited;
    *awaited = number + 1;
}

void forget(struct tally *tally) {
    free(tally->delivery.all);
    free(tally->last.all);
    *tally = (struct tally){0};
}
