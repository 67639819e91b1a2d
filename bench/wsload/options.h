/* options: what the command line asks for. */
#ifndef OPTIONS_H
#define OPTIONS_H

enum { MAX_PORTS = 64, MAX_PIDS = 64, MAX_SIZE = 1 << 20 };
enum mode { FANOUT, ECHO, IDLE };

struct options {
    const char *host;
    const char *path;
    const char *headers;  /* lines for the request, each ended by CR LF */
    const char *hello;    /* the first text frame of every connection, or NULL */
    const char *template; /* the text of a message; its first %s is the payload */
    enum mode mode;
    int ports[MAX_PORTS], port_count;
    int pids[MAX_PIDS], pid_count;
    int clients, size, window;
    long rounds;
    int hello_frames;   /* frames that answer the hello */
    int server_greets;  /* the server speaks before the hello (Engine.IO) */
    int plain_http;     /* a GET that streams, instead of a WebSocket */
    int echo_to_sender; /* the publisher receives its own messages */
    int sources;        /* loopback addresses to connect from: each has its own 28 000 ports */
    int connect_window; /* handshakes under way at once */
    double hold;        /* seconds to wait before memory is read */
};

/* Reads the command line; explains itself and exits with 2 when it makes no sense. */
struct options read_options(int argc, char **argv);

const char *mode_name(enum mode mode);

#endif
