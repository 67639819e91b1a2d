#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: wsload --port P [--port P2 ...] [--mode fanout|echo|paced|idle|hold] [options]\n"
    "  --host A            address of the server (127.0.0.1)\n"
    "  --path P            path of the request (/)\n"
    "  --header 'A: b'     one more line for the request; may be repeated\n"
    "  --clients N         connections (1000)\n"
    "  --size B            bytes of a payload, at least 2 (100)\n"
    "  --seconds S         how long is measured, behind a warm-up of a fifth of it (2)\n"
    "  --messages M        how many messages are measured, behind a fifth of them, instead of --seconds; 0: as many as\n"
    "                      the time allows (0)\n"
    "  --window W          messages in flight (1)\n"
    "  --hello TEXT        a first frame of every connection, answered by one; may be repeated: then it is sent when the\n"
    "                      one before is answered. One that begins with 40 waits for the server's greeting\n"
    "  --subscribe TEXT    joins the channel with the number %c, answered by one frame\n"
    "  --together          the first message is a JSON array of all hellos and of joins, each answered by one frame\n"
    "  --send TEMPLATE     text of a message; its %s is the payload, its %c the number of the channel (%s)\n"
    "  --channels C        channels in all (1)\n"
    "  --each K            channels that each connection is in (1)\n"
    "  --stride S          connection i is in channels i * S to i * S + K - 1, modulo C (1)\n"
    "  --active A          channels that are published into, in turn (all)\n"
    "  --publishers P      members of a channel that publish there, in turn (1)\n"
    "  --not-to-sender     the server leaves the publisher out\n"
    "  --streams PATH      all but the first connection read an event stream: GET PATH, whose %c is the channel\n"
    "  --polls PATH        all but the first connection poll, in mode paced: GET PATH, whose %c is the channel, with\n"
    "                      &since=POSITION behind it\n"
    "  --poll-wait S       a poll waits so long, and when it is answered asks again at once (0)\n"
    "  --poll-every S      or it does not wait, and each client asks so often (0)\n"
    "  --every S           paced: seconds between messages (1)\n"
    "  --sources K         loopback addresses to connect from (1)\n"
    "  --connect-window N  handshakes under way at once (64)\n"
    "  --hold S            seconds to wait before memory is read (1)\n"
    "  --pid PID           a process of the server, for CPU and memory; may be repeated\n";

enum option_code {
    HOST = 1, PORT, PATH, HEADER, CLIENTS, MODE, SIZE, SECONDS, MESSAGES, WINDOW, PID,
    HELLO_TEXT, SUBSCRIBE, TOGETHER, SEND, CHANNELS, EACH, STRIDE, ACTIVE, PUBLISHERS,
    STREAMS, POLLS, POLL_WAIT, POLL_EVERY, EVERY, NOT_TO_SENDER, SOURCES, CONNECT_WINDOW, HOLD_SECONDS, HELP,
};

static const struct option known[] = {
    {"host", 1, 0, HOST},
    {"port", 1, 0, PORT},
    {"path", 1, 0, PATH},
    {"header", 1, 0, HEADER},
    {"clients", 1, 0, CLIENTS},
    {"mode", 1, 0, MODE},
    {"size", 1, 0, SIZE},
    {"seconds", 1, 0, SECONDS},
    {"messages", 1, 0, MESSAGES},
    {"window", 1, 0, WINDOW},
    {"pid", 1, 0, PID},
    {"hello", 1, 0, HELLO_TEXT},
    {"subscribe", 1, 0, SUBSCRIBE},
    {"together", 0, 0, TOGETHER},
    {"channels", 1, 0, CHANNELS},
    {"each", 1, 0, EACH},
    {"stride", 1, 0, STRIDE},
    {"active", 1, 0, ACTIVE},
    {"publishers", 1, 0, PUBLISHERS},
    {"send", 1, 0, SEND},
    {"streams", 1, 0, STREAMS},
    {"polls", 1, 0, POLLS},
    {"poll-wait", 1, 0, POLL_WAIT},
    {"poll-every", 1, 0, POLL_EVERY},
    {"every", 1, 0, EVERY},
    {"not-to-sender", 0, 0, NOT_TO_SENDER},
    {"sources", 1, 0, SOURCES},
    {"connect-window", 1, 0, CONNECT_WINDOW},
    {"hold", 1, 0, HOLD_SECONDS},
    {"help", 0, 0, HELP},
    {0},
};

static const char *const mode_names[] = {
    [FANOUT] = "fanout", [ECHO] = "echo", [PACED] = "paced", [IDLE] = "idle", [HOLD] = "hold",
};

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
    for (int mode = FANOUT; mode <= HOLD; mode++)
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

static void add_hello(struct options *options, const char *text) {
    if (options->hello_count == MAX_HELLOS)
        refuse("too many", "--hello");
    options->hellos[options->hello_count++] = text;
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
    case SECONDS: options->seconds = seconds(text); break;
    case MESSAGES: options->messages = number(text, 0, many); break;
    case WINDOW: options->window = number(text, 1, 65536); break;
    case PID: add(options->pids, &options->pid_count, MAX_PIDS, number(text, 1, 1 << 30)); break;
    case HELLO_TEXT: add_hello(options, text); break;
    case SUBSCRIBE: options->subscribe = text; break;
    case TOGETHER: options->together = 1; break;
    case CHANNELS: options->channels = number(text, 1, many); break;
    case EACH: options->each = number(text, 1, many); break;
    case STRIDE: options->stride = number(text, 0, many); break;
    case ACTIVE: options->active = number(text, 1, many); break;
    case PUBLISHERS: options->publishers = number(text, 1, many); break;
    case SEND: options->template = text; break;
    case STREAMS: options->streams = text; break;
    case POLLS: options->polls = text; break;
    case POLL_WAIT: options->poll_wait = number(text, 0, 3600); break;
    case POLL_EVERY: options->poll_every = seconds(text); break;
    case EVERY: options->every = seconds(text); break;
    case NOT_TO_SENDER: options->echo_to_sender = 0; break;
    case SOURCES: options->sources = number(text, 1, 1 << 20); break;
    case CONNECT_WINDOW: options->connect_window = number(text, 1, many); break;
    case HOLD_SECONDS: options->hold = seconds(text); break;
    case HELP: explain(); break;
    default: refuse("see", "the options:");
    }
}

struct options read_options(int argc, char **argv) {
    struct options options = {
        .host = "127.0.0.1", .path = "/", .headers = "", .template = "%s", .mode = FANOUT,
        .clients = 1000, .size = 100, .window = 1, .seconds = 2.0, .every = 1.0,
        .channels = 1, .each = 1, .stride = 1, .publishers = 1, .echo_to_sender = 1, .sources = 1, .connect_window = 64, .hold = 1.0,
    };
    for (int code; (code = getopt_long(argc, argv, "", known, NULL)) != -1;)
        set(&options, code, optarg);
    if (optind < argc)
        refuse("what is", argv[optind]);
    if (!options.port_count)
        refuse("needs", "--port");
    if (options.together && !options.hello_count)
        refuse("with nothing to say:", "--together without --hello");
    if (options.mode == FANOUT && options.clients == 1 && !options.echo_to_sender)
        refuse("nobody would receive anything:", "--clients 1 --not-to-sender");
    if (options.each > options.channels || options.active > options.channels)
        refuse("more than there are", "--channels: --each or --active");
    if (!options.active)
        options.active = options.channels;
    if (options.streams && (options.mode == ECHO || options.channels > 1 || options.publishers > 1))
        refuse("event streams cannot publish; with them there is one channel:", "--streams");
    if (options.polls && (options.mode != PACED || options.clients < 2 || !options.poll_wait == !options.poll_every))
        refuse("polls are for mode paced and two clients or more, with --poll-wait or --poll-every:", "--polls");
    if (options.mode == PACED && (!options.every || options.channels > 1 || !options.echo_to_sender))
        refuse("mode paced has one channel, whose publisher hears itself, and a time above 0:", "--every");
    options.server_greets = options.hello_count && !strncmp(options.hellos[0], "40", 2);
    return options;
}
