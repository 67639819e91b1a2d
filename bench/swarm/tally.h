/* tally: what has been delivered: how late, and whether in order, everything, and once. */
#ifndef TALLY_H
#define TALLY_H

#include <stdint.h>

/* Times in microseconds, as they come. */
struct times { float *all; long count, room; };

struct tally {
    long deliveries, lost, doubled, gaps;
    long answers;           /* to messages with an id */
    struct times delivery;  /* to those who never lost their line */
    struct times last;      /* from a message to the last of its members in this process */
};

int64_t nanoseconds(void);

void keep_time(struct times *times, double microseconds);

/* The time that this share of all do not exceed; 0 where there are none. Sorts them. */
double percentile(struct times *times, double share);

/* Message `number` came to somebody who awaits `*awaited` next. */
void count_message(struct tally *tally, uint32_t number, uint32_t *awaited);

void forget(struct tally *tally);

#endif
