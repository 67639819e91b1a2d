/* poll: what a client that polls asks, and what it reads in the answers. As much of HTTP/1.1 as that takes. */
#ifndef POLL_H
#define POLL_H

#include "options.h"

enum { LONGEST_POSITION = 64 };

/* Whether a connection polls: the first one publishes, which takes a WebSocket. */
int is_poll(const struct options *options, int index);

/* Writes a request for what came behind a position; for "" without waiting. Returns its size, room or more where it
 * does not fit. */
int write_poll(char *request, int room, const struct options *options, int index, const char *position);

/* The size of the answer at the start of these bytes, which end with 0; 0 while it is not whole, -1 where it is no
 * answer that a poll should have. */
long whole_answer(const char *bytes, long size);

/* Keeps the position that an answer says to go on from; 0 where it says none. */
int take_position(const char *answer, char *position);

#endif
