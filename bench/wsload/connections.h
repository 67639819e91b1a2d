/* connections: opens all clients, a bounded number at a time, and carries each to the point where it can receive. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include "options.h"

#include <sys/epoll.h>

enum state { CONNECTING, HANDSHAKE, GREETING, HELLO, READY, DEAD };

struct connection {
    int fd;
    enum state state;
    int awaited;    /* frames that the server still owes before READY */
    char last_byte; /* of what has been read under load */
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

/* Throws away what has arrived so far. */
void drain(struct connections *connections, const struct options *options);

#endif
