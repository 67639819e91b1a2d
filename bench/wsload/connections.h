/* connections: opens all clients, a bounded number at a time, and carries each to the point where it can receive. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include "frame.h"
#include "options.h"
#include "poll.h"

#include <sys/epoll.h>

enum state { CONNECTING, HANDSHAKE, OPENING, READY, DEAD };

struct connection {
    int fd;
    enum state state;
    int awaited;              /* frames that the server still owes before the next step */
    int said, joined;         /* hellos sent, channels asked for */
    struct frame_reader read; /* until READY */
    long received;            /* deliveries under load */
    char last_byte;           /* of what has been read under load */
    char position[LONGEST_POSITION]; /* where a client that polls goes on */
};

struct connections {
    struct connection *all;
    int epoll;
    int opened, ready, failed;
    char first_failure[300];
};

enum { EVENTS = 2048 };

/* Returns when every connection is READY or has failed; -1 when nothing has moved for 15 s. */
int open_connections(struct connections *connections, const struct options *options);

/* Reads and throws away what comes, until the standard input ends. */
void hold_open(struct connections *connections);

/* Throws away what has arrived so far. */
void drain(struct connections *connections, const struct options *options);

#endif
