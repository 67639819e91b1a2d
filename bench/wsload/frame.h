/* frame: as much of RFC 6455 as a load client needs. */
#ifndef FRAME_H
#define FRAME_H

#include <stdint.h>

struct frame { char *bytes; int size; };

/* One masked text frame. The mask is zero, so the text stands in it as it is. */
struct frame text_frame(const char *text);

/* The text with up to two %c replaced by the number of a channel, and its first %s by the payload. */
char *expanded(const char *template, int channel, const char *payload);

/* Where a stream of frames has been read up to; all zero at its start. */
struct frame_reader {
    uint64_t left; /* of the payload of the frame that has begun */
    unsigned char head[10];
    unsigned char held; /* bytes of the head */
};

/* How many text and binary frames of a server end in these bytes. */
int frames_ended(struct frame_reader *reader, const char *bytes, long size);

#endif
