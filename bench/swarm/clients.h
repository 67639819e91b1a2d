/* clients: opens every client's line, hears what comes on it, and takes it up elsewhere when its node is gone. */
#ifndef CLIENTS_H
#define CLIENTS_H

#include "options.h"
#include "speech.h"
#include "tally.h"

enum state { WAITING, CONNECTING, HANDSHAKE, GREETING, JOINING, LIVE, ENDED };

struct client {
    int fd, node;
    enum state state;
    unsigned char was_down; /* it has lost its line before */
    unsigned char tries;
    uint32_t awaited; /* the number of the next message of its channel */
    int64_t not_before; /* when it may try again */
    char *held;       /* bytes of a frame that is not whole yet */
    int held_size;
    char secret[LONGEST_SECRET], position[LONGEST_POSITION];
};

struct channel {
    int members;        /* in this process */
    uint32_t published; /* from this process: messages are numbered from 1 */
    uint32_t number;    /* of the message whose arrivals are counted, and how many have it, the last after so long */
    int arrived;
    double last;
};

struct swarm {
    struct options options;
    struct client *all;
    struct channel *channels; /* by number, less that of the first one */
    int first_channel, channel_count;
    int epoll;
    int *queue; /* clients that wait for a place among the handshakes, a ring */
    int queue_at, queued, under_way;
    int live, down;        /* clients that hear everything; that have lost their line */
    long fell, back, fresh, unrecovered, refused; /* lines lost; taken up again; begun anew instead; with losses */
    int64_t back_at;       /* when the last one was back */
    int64_t heard_at;      /* when the last message came */
    struct tally tally;
    void (*landed)(struct swarm *, int channel);   /* all members here have its message */
    void (*answered)(struct swarm *, int client);  /* a message with an id was answered */
    int ending;            /* lines are closed on purpose */
};

struct swarm new_swarm(const struct options *options);

/* All are to be open. */
void open_all(struct swarm *swarm);

/* Begins as many handshakes as may be under way; called again and again. */
void dial_some(struct swarm *swarm);

/* Something has come for a client. */
void hear(struct swarm *swarm, int client, unsigned events);

/* 0 where its socket is full, or has gone. */
int say(struct swarm *swarm, int client, const struct saying *saying);

int channel_of(const struct swarm *swarm, int client);

/* Says goodbye, in order. */
void say_goodbye(struct swarm *swarm);

/* Ends the program. */
_Noreturn void give_up(const char *why);

#endif
