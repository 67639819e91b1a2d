/* frame: as much of RFC 6455 as a load client needs. */
#ifndef FRAME_H
#define FRAME_H

struct frame { char *bytes; int size; };

/* One masked text frame. The mask is zero, so the text stands in it as it is. */
struct frame text_frame(const char *text);

/* How many frames of a server begin in these bytes, the first of them at their start. */
int frames_in(const char *bytes, long size);

#endif
