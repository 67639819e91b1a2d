/* drive: who publishes, and when: one message at a time, as many as may be in flight, or at a pace. */
#ifndef DRIVE_H
#define DRIVE_H

#include "clients.h"

/* One message into a channel of this process. */
void publish(struct swarm *swarm, int channel);

/* Round this process's channels, so many in flight at a time, each done when all its members have it; until `stop_at`
 * (ns, as all times here). */
void begin_driving(struct swarm *swarm, int window, int64_t stop_at);

/* So many a second, round this process's channels. */
void begin_pacing(struct swarm *swarm, double rate, int64_t stop_at);

/* Every client has so many unanswered messages of its own under way. */
void begin_flooding(struct swarm *swarm, int window, int64_t stop_at);

/* Publishes what is due by now; milliseconds until the next, or -1. */
int publish_what_is_due(struct swarm *swarm);

/* Whether nothing is published any more, and, but for a pace, nothing is under way. */
int is_over(void);

#endif
