#include "layout.h"

#include <stdio.h>
#include <stdlib.h>

int channel_of(const struct options *options, int connection, int nth) {
    return (int)(((long)connection * options->stride + nth) % options->channels);
}

struct layout new_layout(const struct options *options) {
    struct layout layout = {
        .members = calloc((size_t)options->channels, sizeof(int)),
        .publishers = calloc((size_t)options->channels * (size_t)options->publishers, sizeof(int)),
    };
    for (int connection = 0; connection < options->clients; connection++)
        for (int nth = 0; nth < options->each; nth++) {
            int channel = channel_of(options, connection, nth), place = layout.members[channel]++;
            if (place < options->publishers)
                layout.publishers[(long)channel * options->publishers + place] = connection;
        }
    for (int channel = 0; channel < options->active; channel++)
        if (layout.members[channel] < options->publishers) {
            fprintf(stderr, "wsload: channel %d has %d members, too few for --publishers %d\n", channel,
                    layout.members[channel], options->publishers);
            exit(2);
        }
    return layout;
}

int publisher_of(const struct layout *layout, const struct options *options, long message) {
    long channel = message % options->active, turn = message / options->active % options->publishers;
    return layout->publishers[channel * options->publishers + turn];
}
