#include "load.h"

#include "cost.h"
#include "frame.h"
#include "layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

static char arrived[1 << 20];

struct load {
    struct connections *connections;
    const struct options *options;
    struct layout layout;
    struct frame *messages; /* one for each active channel */
    long received; /* deliveries so far */
    /* When the load began, and where, behind the warm-up, the measured part. */
    double began;
    int measuring;
    long received_before, done_before;
    double cpu_before, measured_from;
};

/* ends[n]: how many deliveries there are in all when messages 0 to n have arrived everywhere. */
struct flight { double *sent_at, *took; long *ends; long sent, done, room; };

void stop(int status, const char *why, long received) {
    fprintf(stderr, "{\"error\":\"%s\",\"received\":%ld}\n", why, received);
    exit(status);
}

char *payload_of(int size) {
    char *payload = malloc((size_t)size + 1);
    memset(payload, 'x', (size_t)size);
    payload[size - 1] = '~';
    payload[size] = 0;
    return payload;
}

static struct load new_load(struct connections *connections, const struct options *options) {
    struct load load = {.connections = connections, .options = options, .layout = new_layout(options), .began = now()};
    char *payload = payload_of(options->size);
    load.messages = calloc((size_t)options->active, sizeof *load.messages);
    for (int channel = 0; channel < options->active; channel++) {
        char *text = expanded(options->template, channel, payload);
        load.messages[channel] = text_frame(text);
        free(text);
    }
    return load;
}

/* 1 when sent, 0 when the socket is full. Half a message would spoil the connection, so that is the end. */
static int send_message(struct load *load, int fd, int channel) {
    const struct frame *message = &load->messages[channel];
    ssize_t size = write(fd, message->bytes, (size_t)message->size);
    if (size == message->size)
        return 1;
    if (size >= 0 || errno != EAGAIN)
        stop(STOPPED, size < 0 ? strerror(errno) : "a message fitted into the socket only in part", load->received);
    return 0;
}

long count_deliveries(const char *bytes, long size, char byte_before) {
    long found = 0;
    const char *end = bytes + size;
    for (const char *at = bytes; (at = memchr(at, '~', (size_t)(end - at))); at++)
        found += (at == bytes ? byte_before : at[-1]) == 'x';
    return found;
}

static long receive(struct load *load, struct connection *connection) {
    ssize_t size = read(connection->fd, arrived, sizeof arrived);
    if (size < 0 && errno == EAGAIN)
        return 0;
    if (size <= 0)
        stop(CLOSED, "the server closed a connection under load", load->received);
    long found = count_deliveries(arrived, size, connection->last_byte);
    connection->last_byte = arrived[size - 1];
    connection->received += found;
    load->received += found;
    return found;
}

static int wait_for(struct load *load, struct epoll_event *events) {
    int count = epoll_wait(load->connections->epoll, events, EVENTS, PATIENCE_MS);
    if (count <= 0)
        stop(STALLED, "stalled: nothing has arrived for 10 s", load->received);
    return count;
}

static struct connection *connection_of(const struct load *load, const struct epoll_event *event) {
    return &load->connections->all[event->data.u32];
}

/* Whether the warm-up is over when so many messages are done; from the first time on the load is measured. */
static int is_warm(struct load *load, long done) {
    const struct options *options = load->options;
    int warm = options->messages ? done >= options->messages / 5 : now() - load->began >= options->seconds / 5;
    if (load->measuring || !warm)
        return load->measuring;
    load->measuring = 1;
    load->done_before = done;
    load->received_before = load->received;
    load->cpu_before = cpu_seconds(load->options);
    load->measured_from = now();
    return 1;
}

/* Whether enough has been measured when so many messages are done; one is the least. */
static int is_over(const struct load *load, long done) {
    const struct options *options = load->options;
    long measured = done - load->done_before;
    return options->messages ? measured >= options->messages
                             : measured && now() - load->measured_from >= options->seconds;
}

static struct figures figures_of(const struct load *load) {
    double ended = now();
    return (struct figures){
        .deliveries = load->received - load->received_before,
        .seconds = ended - load->measured_from,
        .cpu_seconds = cpu_seconds(load->options) - load->cpu_before,
    };
}

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static void make_room(struct flight *flight) {
    if (flight->sent < flight->room)
        return;
    flight->room = flight->room ? 2 * flight->room : 4096;
    flight->sent_at = realloc(flight->sent_at, (size_t)flight->room * sizeof(double));
    flight->took = realloc(flight->took, (size_t)flight->room * sizeof(double));
    flight->ends = realloc(flight->ends, (size_t)flight->room * sizeof(long));
}

static void fill_window(struct load *load, struct flight *flight) {
    const struct options *options = load->options;
    while (flight->sent - flight->done < options->window) {
        long message = flight->sent;
        int channel = (int)(message % options->active), publisher = publisher_of(&load->layout, options, message);
        double at = now();
        if (!send_message(load, load->connections->all[publisher].fd, channel))
            return;
        make_room(flight);
        flight->sent_at[message] = at;
        flight->ends[message] = load->layout.members[channel] - !options->echo_to_sender;
        flight->ends[message] += message ? flight->ends[message - 1] : 0;
        flight->sent++;
    }
}

/* Members may be a message apart: a message counts as done with the last of as many deliveries as it and all before
 * it have. */
static void land(struct load *load, struct flight *flight) {
    while (flight->done < flight->sent && load->received >= flight->ends[flight->done]) {
        flight->took[flight->done] = now() - flight->sent_at[flight->done];
        flight->done++;
    }
}

/* Nobody may have been passed over in favour of somebody else. */
static void check_everyone(struct load *load, long sent) {
    const struct options *options = load->options;
    long *wanted = calloc((size_t)options->clients, sizeof(long));
    for (int i = 0; i < options->clients; i++)
        for (int nth = 0; nth < options->each; nth++) {
            long channel = channel_of(options, i, nth), more = sent - channel - 1;
            if (channel < options->active && more >= 0)
                wanted[i] += more / options->active + 1;
        }
    if (!options->echo_to_sender)
        for (long message = 0; message < sent; message++)
            wanted[publisher_of(&load->layout, options, message)]--;
    for (int i = 0; i < options->clients; i++)
        if (load->connections->all[i].received != wanted[i]) {
            char why[80];
            snprintf(why, sizeof why, "connection %d received %ld instead of %ld", i,
                     load->connections->all[i].received, wanted[i]);
            stop(MISCOUNTED, why, load->received);
        }
    free(wanted);
}

static void receive_some(struct load *load, struct flight *flight) {
    static struct epoll_event events[EVENTS];
    int count = wait_for(load, events);
    for (int i = 0; i < count; i++)
        receive(load, connection_of(load, &events[i]));
    land(load, flight);
}

struct figures fan_out(struct connections *connections, const struct options *options) {
    struct load load = new_load(connections, options);
    struct flight flight = {0};
    while (!is_warm(&load, flight.done) || !is_over(&load, flight.done)) {
        fill_window(&load, &flight);
        receive_some(&load, &flight);
    }
    struct figures figures = figures_of(&load);
    long first = load.done_before, measured = flight.done - first;
    while (flight.done < flight.sent)
        receive_some(&load, &flight);
    check_everyone(&load, flight.sent);
    qsort(flight.took + first, (size_t)measured, sizeof(double), by_value);
    figures.last_client_ms_p50 = flight.took[first + measured / 2] * 1e3;
    figures.last_client_ms_p99 = flight.took[first + measured * 99 / 100] * 1e3;
    return figures;
}

static void answer(struct load *load, int fd, long deliveries) {
    for (long i = 0; i < deliveries; i++)
        if (!send_message(load, fd, 0))
            stop(STOPPED, "a socket is full", load->received);
}

struct figures echo(struct connections *connections, const struct options *options) {
    static struct epoll_event events[EVENTS];
    struct load load = new_load(connections, options);
    for (int i = 0; i < options->clients; i++)
        answer(&load, connections->all[i].fd, options->window);
    while (!is_warm(&load, load.received) || !is_over(&load, load.received)) {
        int count = wait_for(&load, events);
        for (int i = 0; i < count; i++) {
            struct connection *connection = connection_of(&load, &events[i]);
            answer(&load, connection->fd, receive(&load, connection));
        }
    }
    return figures_of(&load);
}
