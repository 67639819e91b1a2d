#include "paced.h"

#include "cost.h"
#include "frame.h"
#include "poll.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 10, LONGEST_ANSWER = 1 << 16 };

/* What has come so far of the answer to a client's poll. */
struct answer { char *bytes; long held; int awaited; };

struct paced {
    struct connections *connections;
    const struct options *options;
    struct frame message;
    struct answer *answers;
    double began;
    long sent, asked; /* messages; polls of those that ask at an interval */
    struct figures so_far;
};

static char arrived[LONGEST_ANSWER];

static void say(struct paced *paced, int index, const char *bytes, int size) {
    if (write(paced->connections->all[index].fd, bytes, (size_t)size) != size)
        stop(STOPPED, "a socket is full", paced->so_far.deliveries);
    paced->so_far.bytes_up += size;
}

static void ask(struct paced *paced, int index) {
    struct answer *answer = &paced->answers[index];
    char request[4096];
    int size = write_poll(request, sizeof request, paced->options, index, paced->connections->all[index].position);
    if (answer->awaited)
        stop(STALLED, "a poll was not answered within its interval", paced->so_far.deliveries);
    if (size >= (int)sizeof request)
        stop(STOPPED, "a request is too long", paced->so_far.deliveries);
    say(paced, index, request, size);
    answer->awaited = 1;
    paced->so_far.requests++;
}

static void count(struct paced *paced, int index, const char *bytes, long size) {
    struct connection *connection = &paced->connections->all[index];
    long found = count_deliveries(bytes, size, connection->last_byte);
    connection->last_byte = bytes[size - 1];
    connection->received += found;
    paced->so_far.deliveries += found;
}

static void take_answer(struct paced *paced, int index, const char *bytes, long size) {
    struct answer *answer = &paced->answers[index];
    if (answer->held + size >= LONGEST_ANSWER)
        stop(STOPPED, "an answer is too long", paced->so_far.deliveries);
    memcpy(answer->bytes + answer->held, bytes, (size_t)size);
    answer->held += size;
    answer->bytes[answer->held] = 0;
    long whole = whole_answer(answer->bytes, answer->held);
    if (whole < 0 || (whole && whole != answer->held))
        stop(CLOSED, "a poll was not answered with 200 and nothing behind it", paced->so_far.deliveries);
    if (!whole)
        return;
    if (!take_position(answer->bytes, paced->connections->all[index].position))
        stop(CLOSED, "an answer has no position", paced->so_far.deliveries);
    count(paced, index, answer->bytes, whole);
    answer->held = answer->awaited = 0;
    if (!paced->options->poll_every)
        ask(paced, index);
}

static void receive(struct paced *paced, int index) {
    ssize_t size = read(paced->connections->all[index].fd, arrived, sizeof arrived);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0)
        stop(CLOSED, "the server closed a connection under load", paced->so_far.deliveries);
    paced->so_far.bytes_down += size;
    if (is_poll(paced->options, index))
        take_answer(paced, index, arrived, size);
    else
        count(paced, index, arrived, size);
}

static double next_message(const struct paced *paced) {
    return paced->began + (double)(paced->sent + 1) * paced->options->every;
}

/* Those that ask at an interval take turns, so that they are spread over it. */
static double next_poll(const struct paced *paced) {
    return paced->began + (double)paced->asked * paced->options->poll_every / (paced->options->clients - 1);
}

static void do_what_is_due(struct paced *paced, int publishing) {
    const struct options *options = paced->options;
    for (; publishing && now() >= next_message(paced); paced->sent++)
        say(paced, 0, paced->message.bytes, paced->message.size);
    for (; options->poll_every && now() >= next_poll(paced); paced->asked++)
        ask(paced, 1 + (int)(paced->asked % (options->clients - 1)));
}

static void go_on_until(struct paced *paced, double end, int publishing) {
    static struct epoll_event events[EVENTS];
    do_what_is_due(paced, publishing);
    double due = end;
    if (publishing && next_message(paced) < due)
        due = next_message(paced);
    if (paced->options->poll_every && next_poll(paced) < due)
        due = next_poll(paced);
    double wait = due - now();
    int some = epoll_wait(paced->connections->epoll, events, EVENTS, wait > 0 ? (int)(wait * 1e3) + 1 : 0);
    for (int i = 0; i < some; i++)
        receive(paced, (int)events[i].data.u32);
}

static void go_on_for(struct paced *paced, double seconds) {
    double end = now() + seconds;
    while (now() < end)
        go_on_until(paced, end, 1);
}

/* What is under way arrives, and nobody may have more or less than was published. */
static void check_everyone(struct paced *paced) {
    double end = now() + PATIENCE_SECONDS;
    while (paced->so_far.deliveries < paced->sent * paced->options->clients && now() < end)
        go_on_until(paced, end, 0);
    for (int i = 0; i < paced->options->clients; i++)
        if (paced->connections->all[i].received != paced->sent) {
            char why[80];
            snprintf(why, sizeof why, "connection %d received %ld instead of %ld", i,
                     paced->connections->all[i].received, paced->sent);
            stop(MISCOUNTED, why, paced->so_far.deliveries);
        }
}

static struct paced new_paced(struct connections *connections, const struct options *options) {
    struct paced paced = {.connections = connections, .options = options, .began = now()};
    char *payload = payload_of(options->size), *text = expanded(options->template, 0, payload);
    paced.message = text_frame(text);
    paced.answers = calloc((size_t)options->clients, sizeof *paced.answers);
    for (int i = 0; i < options->clients; i++)
        if (is_poll(options, i))
            paced.answers[i].bytes = malloc(LONGEST_ANSWER);
    free(text);
    free(payload);
    return paced;
}

struct figures paced(struct connections *connections, const struct options *options) {
    struct paced paced = new_paced(connections, options);
    for (int i = 1; options->polls && !options->poll_every && i < options->clients; i++)
        ask(&paced, i);
    go_on_for(&paced, options->seconds / 5);
    struct figures before = paced.so_far;
    double cpu = cpu_seconds(options), from = now();
    go_on_for(&paced, options->seconds);
    struct figures after = paced.so_far;
    struct figures figures = {
        .deliveries = after.deliveries - before.deliveries,
        .requests = after.requests - before.requests,
        .bytes_up = after.bytes_up - before.bytes_up,
        .bytes_down = after.bytes_down - before.bytes_down,
        .seconds = now() - from,
        .cpu_seconds = cpu_seconds(options) - cpu,
    };
    check_everyone(&paced);
    return figures;
}
