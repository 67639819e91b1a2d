/* options: what the command line asks for. */
#ifndef OPTIONS_H
#define OPTIONS_H

enum { MAX_PORTS = 64, MAX_PIDS = 64, MAX_HELLOS = 8, MAX_SIZE = 1 << 20 };
enum mode { FANOUT, ECHO, PACED, IDLE, HOLD };

struct options {
    const char *host;
    const char *path;
    const char *headers;  /* lines for the request, each ended by CR LF */
    const char *template; /* the text of a message; its %c is the channel, its %s the payload */
    const char *hellos[MAX_HELLOS]; /* first text frames of every connection, each sent when the last is answered */
    int hello_count;
    const char *subscribe; /* joins the channel %c, answered by one frame; NULL: there is nothing to be said */
    int together;          /* hellos and joins are one message, a JSON array of them */
    int channels;          /* in all */
    int each;              /* channels that a connection is in */
    int stride;            /* channels between the first of a connection and the first of the next */
    int active;            /* channels that are published into, from the first on */
    int publishers;        /* members of a channel that publish there in turn */
    enum mode mode;
    int ports[MAX_PORTS], port_count;
    int pids[MAX_PIDS], pid_count;
    int clients, size, window;
    double seconds; /* how long is measured, behind a warm-up of a fifth of it */
    int messages;   /* how many are measured, behind a fifth of them, instead; 0: as many as the seconds allow */
    int server_greets;  /* the server speaks before the first hello (Engine.IO) */
    const char *streams; /* path of an event stream: all but the first connection read it; NULL: WebSockets only */
    const char *polls;   /* path of a poll: all but the first connection poll; NULL: none does */
    int poll_wait;       /* seconds that a poll waits, and then asks again at once */
    double poll_every;   /* or seconds between polls that do not wait */
    double every;        /* paced: seconds between messages */
    int echo_to_sender; /* the publisher receives its own messages */
    int sources;        /* loopback addresses to connect from: each has its own 28 000 ports */
    int connect_window; /* handshakes under way at once */
    double hold;        /* seconds to wait before memory is read */
};

/* Reads the command line; explains itself and exits with 2 when it makes no sense. */
struct options read_options(int argc, char **argv);

const char *mode_name(enum mode mode);

#endif
