/* options: what the command line asks for. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <netinet/in.h>

enum { MAX_NODES = 16 };

struct options {
    struct sockaddr_in nodes[MAX_NODES];
    int node_count;
    int clients;   /* of this process */
    int first;     /* the number of the first of them: all processes count on */
    int members;   /* of each channel: client i is in channel i / members */
    int size;      /* bytes of a payload */
    int openline;  /* the JSON protocol; 0: the limit's, which relays what it gets */
    int silent;    /* clients join nothing: they only publish, each into the channel of its own number */
    int all_nodes; /* a message is said to each node, by a member of the channel there: nothing else links them */
    int sources;   /* loopback addresses to connect from */
    int at_once;   /* handshakes under way */
};

/* Reads the command line; explains itself and exits with 2 when it makes no sense. */
struct options read_options(int argc, char **argv);

#endif
