#include "load.h"

#include "cost.h"
#include "frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, STOPPED = 5, STALLED = 6, CLOSED = 7 };

static char arrived[1 << 20];

struct load {
    struct connections *connections;
    const struct options *options;
    struct frame message;
    long received; /* deliveries so far */
    /* Where the measured part began, behind the warm-up. */
    int measuring;
    long received_before;
    double cpu_before, began;
};

struct flight { double *sent_at, *took; long sent, done; };

static void stop(int status, const char *why, const struct load *load) {
    fprintf(stderr, "{\"error\":\"%s\",\"received\":%ld}\n", why, load->received);
    exit(status);
}

static char *payload_of(int size) {
    char *payload = malloc((size_t)size + 1);
    memset(payload, 'x', (size_t)size);
    payload[size - 1] = '~';
    payload[size] = 0;
    return payload;
}

static struct frame message_of(const struct options *options) {
    const char *hole = strstr(options->template, "%s");
    char *payload = payload_of(options->size);
    if (!hole)
        return text_frame(options->template);
    char *text = malloc(strlen(options->template) + (size_t)options->size + 1);
    sprintf(text, "%.*s%s%s", (int)(hole - options->template), options->template, payload, hole + 2);
    return text_frame(text);
}

static struct load new_load(struct connections *connections, const struct options *options) {
    return (struct load){.connections = connections, .options = options, .message = message_of(options)};
}

/* 1 when sent, 0 when the socket is full. Half a message would spoil the connection, so that is the end. */
static int send_message(struct load *load, int fd) {
    ssize_t size = write(fd, load->message.bytes, (size_t)load->message.size);
    if (size == load->message.size)
        return 1;
    if (size >= 0 || errno != EAGAIN)
        stop(STOPPED, size < 0 ? strerror(errno) : "a message fitted into the socket only in part", load);
    return 0;
}

static long count_deliveries(const char *bytes, ssize_t size, char byte_before) {
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
        stop(CLOSED, "the server closed a connection under load", load);
    long found = count_deliveries(arrived, size, connection->last_byte);
    connection->last_byte = arrived[size - 1];
    load->received += found;
    return found;
}

static int wait_for(struct load *load, struct epoll_event *events) {
    int count = epoll_wait(load->connections->epoll, events, EVENTS, PATIENCE_MS);
    if (count <= 0)
        stop(STALLED, "stalled: nothing has arrived for 10 s", load);
    return count;
}

static struct connection *connection_of(const struct load *load, const struct epoll_event *event) {
    return &load->connections->all[event->data.u32];
}

static void begin_measuring(struct load *load) {
    load->measuring = 1;
    load->received_before = load->received;
    load->cpu_before = cpu_seconds(load->options);
    load->began = now();
}

static struct figures end_measuring(const struct load *load) {
    double ended = now();
    return (struct figures){
        .deliveries = load->received - load->received_before,
        .seconds = ended - load->began,
        .cpu_seconds = cpu_seconds(load->options) - load->cpu_before,
    };
}

static long warm_up_rounds(const struct options *options) { return options->rounds / 5 + 1; }

static int by_value(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static void fill_window(struct load *load, struct flight *flight, long goal) {
    int publisher = load->connections->all[0].fd;
    while (flight->sent < goal && flight->sent - flight->done < load->options->window) {
        double at = now();
        if (!send_message(load, publisher))
            return;
        flight->sent_at[flight->sent++] = at;
    }
}

/* Members may be a message apart: message n counts as done with the (n + 1) * members-th delivery of all. */
static void land(struct load *load, struct flight *flight, long members) {
    while (flight->done < flight->sent && load->received >= (flight->done + 1) * members) {
        flight->took[flight->done] = now() - flight->sent_at[flight->done];
        flight->done++;
    }
}

struct figures fan_out(struct connections *connections, const struct options *options) {
    static struct epoll_event events[EVENTS];
    long members = options->clients - !options->echo_to_sender;
    long warm_up = warm_up_rounds(options), goal = options->rounds + warm_up;
    struct load load = new_load(connections, options);
    struct flight flight = {
        .sent_at = calloc((size_t)goal, sizeof(double)),
        .took = calloc((size_t)goal, sizeof(double)),
    };
    while (flight.done < goal) {
        fill_window(&load, &flight, goal);
        int count = wait_for(&load, events);
        for (int i = 0; i < count; i++)
            receive(&load, connection_of(&load, &events[i]));
        land(&load, &flight, members);
        if (!load.measuring && flight.done >= warm_up)
            begin_measuring(&load);
    }
    struct figures figures = end_measuring(&load);
    double *measured = flight.took + warm_up;
    qsort(measured, (size_t)options->rounds, sizeof(double), by_value);
    figures.last_client_ms_p50 = measured[options->rounds / 2] * 1e3;
    figures.last_client_ms_p99 = measured[options->rounds * 99 / 100] * 1e3;
    return figures;
}

static void answer(struct load *load, int fd, long deliveries) {
    for (long i = 0; i < deliveries; i++)
        if (!send_message(load, fd))
            stop(STOPPED, "a socket is full", load);
}

struct figures echo(struct connections *connections, const struct options *options) {
    static struct epoll_event events[EVENTS];
    long warm_up = warm_up_rounds(options) * options->clients, goal = options->rounds * options->clients + warm_up;
    struct load load = new_load(connections, options);
    for (int i = 0; i < options->clients; i++)
        answer(&load, connections->all[i].fd, options->window);
    while (load.received < goal) {
        int count = wait_for(&load, events);
        for (int i = 0; i < count; i++) {
            struct connection *connection = connection_of(&load, &events[i]);
            answer(&load, connection->fd, receive(&load, connection));
        }
        if (!load.measuring && load.received >= warm_up)
            begin_measuring(&load);
    }
    return end_measuring(&load);
}
