/* load: drives messages through open connections and counts what is delivered.
 *
 * Frames are not parsed: a payload is 'x' * (size - 1) + '~', nothing else may contain "x~", so a delivery is one "x~"
 * received. Joined frames, Socket.IO packets and event streams all count alike. A '~' alone does not do: it is the byte
 * 126, which stands in the head of every frame of 126 to 65 535 bytes.
 */
#ifndef LOAD_H
#define LOAD_H

#include "connections.h"
#include "options.h"

/* What ends the program when something goes wrong. */
enum { STOPPED = 5, STALLED = 6, CLOSED = 7, MISCOUNTED = 8 };

struct figures {
    long deliveries;
    double seconds, cpu_seconds;
    double last_client_ms_p50, last_client_ms_p99; /* fan-out only: from the send to the last member's delivery */
    long requests, bytes_up, bytes_down;           /* paced only: polls; bytes of the clients and of the server */
};

/* Says why on stderr, and ends the program. */
_Noreturn void stop(int status, const char *why, long received);

char *payload_of(int size);

long count_deliveries(const char *bytes, long size, char byte_before);

/* Messages go round the active channels, and in each round its publishers; a message is done when every member has it.
 * In the end every connection must have received exactly what was published into its channels. */
struct figures fan_out(struct connections *connections, const struct options *options);

/* Every connection sends, and sends again when its own message has come back. */
struct figures echo(struct connections *connections, const struct options *options);

#endif
