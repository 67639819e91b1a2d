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

struct figures {
    long deliveries;
    double seconds, cpu_seconds;
    double last_client_ms_p50, last_client_ms_p99; /* fan-out only: from the send to the last member's delivery */
};

/* Messages go round the active channels, and in each round its publishers; a message is done when every member has it.
 * In the end every connection must have received exactly what was published into its channels. */
struct figures fan_out(struct connections *connections, const struct options *options);

/* Every connection sends, and sends again when its own message has come back. */
struct figures echo(struct connections *connections, const struct options *options);

#endif
