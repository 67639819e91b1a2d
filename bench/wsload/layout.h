/* layout: which connection is in which channels, and who publishes there.
 *
 * Connection i is in channels i * stride, i * stride + 1, ... (modulo their number), as many as each connection has.
 */
#ifndef LAYOUT_H
#define LAYOUT_H

#include "options.h"

struct layout {
    int *members;    /* of each channel */
    int *publishers; /* connections: options->publishers of each channel, one channel behind the other */
};

/* The nth channel of a connection. */
int channel_of(const struct options *options, int connection, int nth);

/* Explains itself and exits with 2 when a channel that is to be published into has too few members. */
struct layout new_layout(const struct options *options);

/* Who sends a message: they go round the channels, and in each channel round its publishers. */
int publisher_of(const struct layout *layout, const struct options *options, long message);

#endif
