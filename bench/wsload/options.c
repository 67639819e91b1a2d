#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: wsload --port P [--port P2 ...] [--mode fanout|echo|idle] [options]\n"
    "  --host A            address of the server (127.0.0.1)\n"
    "  --path P            path of the request (/)\n"
    "  --header 'A: b'     one more line for the request; may be repeated\n"
    "  --clients N         connections (1000)\n"
    "  --size B            bytes of a payload, at least 2 (100)\n"
    "  --rounds R          measured messages: of the publisher, or of each client in echo (200)\n"
    "  --window W          messages in flight (1)\n"
    "  --hello TEXT        first frame of every connection; one that begins with 40 waits for the server's greeting\n"
    "  --hello-frames K    frames that answer the hello (1)\n"
    "  --send TEMPLATE     text of a message; its first %s is the payload (%s)\n"
    "  --not-to-sender     the server leaves the publisher out\n"
    "  --http              a streaming GET instead of a WebSocket\n"
    "  --sources K         loopback addresses to connect from (1)\n"
    "  --connect-window N  handshakes under way at once (64)\n"
    "  --hold S            seconds to wait before memory is read (1)\n"
    "  --pid PID           a process of the server, for CPU and memory; may be repeated\n";

enum option_code {
    HOST = 1, PORT, PATH, HEADER, CLIENTS, MODE, SIZE, ROUNDS, WINDOW, PID,
    HELLO_TEXT, HELLO_FRAMES, SEND, HTTP, NOT_TO_SENDER, SOURCES, CONNECT_WINDOW, HOLD, HELP,
};

static const struct option known[] = {
    {"host", 1, 0, HOST},
    {"port", 1, 0, PORT},
    {"path", 1, 0, PATH},
    {"header", 1, 0, HEADER},
    {"clients", 1, 0, CLIENTS},
    {"mode", 1, 0, MODE},
    {"size", 1, 0, SIZE},
    {"rounds", 1, 0, ROUNDS},
    {"window", 1, 0, WINDOW},
    {"pid", 1, 0, PID},
    {"hello", 1, 0, HELLO_TEXT},
    {"hello-frames", 1, 0, HELLO_FRAMES},
    {"send", 1, 0, SEND},
    {"http", 0, 0, HTTP},
    {"not-to-sender", 0, 0, NOT_TO_SENDER},
    {"sources", 1, 0, SOURCES},
    {"connect-window", 1, 0, CONNECT_WINDOW},
    {"hold", 1, 0, HOLD},
    {"help", 0, 0, HELP},
    {0},
};

static const char *const mode_names[] = {[FANOUT] = "fanout", [ECHO] = "echo", [IDLE] = "idle"};

const char *mode_name(enum mode mode) { return mode_names[mode]; }

static void explain(void) {
    printf("%s", usage);
    exit(0);
}

static void refuse(const char *why, const char *what) {
    fprintf(stderr, "wsload: %s %s\n%s", why, what, usage);
    exit(2);
}

static int number(const char *text, int least, int most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < least || value > most)
        refuse("not a number in range:", text);
    return (int)value;
}

static double seconds(const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= 3600))
        refuse("not a time in seconds:", text);
    return value;
}

static enum mode mode_of(const char *text) {
    for (int mode = FANOUT; mode <= IDLE; mode++)
        if (!strcmp(text, mode_names[mode]))
            return mode;
    refuse("no such mode:", text);
    return IDLE;
}

static const char *one_more_header(const char *headers, const char *line) {
    char *joined = malloc(strlen(headers) + strlen(line) + 3);
    sprintf(joined, "%s%s\r\n", headers, line);
    return joined;
}

static void add(int *list, int *count, int most, int value) {
    if (*count == most)
        refuse("too many", "ports or processes");
    list[(*count)++] = value;
}

static void set(struct options *options, int code, const char *text) {
    const int many = 10000000;
    switch (code) {
    case HOST: options->host = text; break;
    case PORT: add(options->ports, &options->port_count, MAX_PORTS, number(text, 1, 65535)); break;
    case PATH: options->path = text; break;
    case HEADER: options->headers = one_more_header(options->headers, text); break;
    case CLIENTS: options->clients = number(text, 1, many); break;
    case MODE: options->mode = mode_of(text); break;
    case SIZE: options->size = number(text, 2, MAX_SIZE); break;
    case ROUNDS: options->rounds = number(text, 1, many); break;
    case WINDOW: options->window = number(text, 1, 65536); break;
    case PID: add(options->pids, &options->pid_count, MAX_PIDS, number(text, 1, 1 << 30)); break;
    case HELLO_TEXT: options->hello = text; break;
    case HELLO_FRAMES: options->hello_frames = number(text, 1, 1000); break;
    case SEND: options->template = text; break;
    case HTTP: options->plain_http = 1; break;
    case NOT_TO_SENDER: options->echo_to_sender = 0; break;
    case SOURCES: options->sources = number(text, 1, 1 << 20); break;
    case CONNECT_WINDOW: options->connect_window = number(text, 1, many); break;
    case HOLD: options->hold = seconds(text); break;
    case HELP: explain(); break;
    default: refuse("see", "the options:");
    }
}

struct options read_options(int argc, char **argv) {
    struct options options = {
        .host = "127.0.0.1", .path = "/", .headers = "", .template = "%s", .mode = FANOUT,
        .clients = 1000, .size = 100, .window = 1, .rounds = 200,
        .hello_frames = 1, .echo_to_sender = 1, .sources = 1, .connect_window = 64, .hold = 1.0,
    };
    for (int code; (code = getopt_long(argc, argv, "", known, NULL)) != -1;)
        set(&options, code, optarg);
    if (optind < argc)
        refuse("what is", argv[optind]);
    if (!options.port_count)
        refuse("needs", "--port");
    if (options.mode == FANOUT && options.clients == 1 && !options.echo_to_sender)
        refuse("nobody would receive anything:", "--clients 1 --not-to-sender");
    options.server_greets = options.hello && !strncmp(options.hello, "40", 2);
    return options;
}
