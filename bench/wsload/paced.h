/* paced: messages at a fixed pace, to clients that are pushed to or that ask; what that takes in requests and bytes. */
#ifndef PACED_H
#define PACED_H

#include "connections.h"
#include "load.h"
#include "options.h"

/* The first connection publishes every so often; all others have a WebSocket, read an event stream, or poll: again at
 * once when they are answered, or each at its interval, spread evenly. In the end every connection must have received
 * exactly what was published. */
struct figures paced(struct connections *connections, const struct options *options);

#endif
