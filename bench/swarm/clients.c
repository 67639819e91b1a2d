#define _GNU_SOURCE
#include "clients.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 1 << 20, MOST_TRIES = 100, RETRY_NS = 100000000 };

static char arrived[ROOM + 1];

void give_up(const char *why) {
    printf("{\"event\":\"error\",\"why\":\"%s\"}\n", why);
    fflush(stdout);
    exit(1);
}

int channel_of(const struct swarm *swarm, int client) {
    const struct options *options = &swarm->options;
    int number = options->first + client;
    return (options->silent ? number : number / options->members) - swarm->first_channel;
}

struct swarm new_swarm(const struct options *options) {
    struct swarm swarm = {.options = *options, .epoll = epoll_create1(0)};
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    swarm.first_channel = channel_of(&swarm, 0);
    swarm.channel_count = channel_of(&swarm, options->clients - 1) + 1;
    swarm.all = calloc((size_t)options->clients, sizeof *swarm.all);
    swarm.queue = calloc((size_t)options->clients, sizeof *swarm.queue);
    swarm.channels = calloc((size_t)swarm.channel_count, sizeof *swarm.channels);
    for (int i = 0; i < options->clients; i++) {
        swarm.all[i] = (struct client){.fd = -1, .node = (options->first + i) % options->node_count, .awaited = 1};
        swarm.channels[channel_of(&swarm, i)].members++;
    }
    return swarm;
}

int say(struct swarm *swarm, int client, const struct saying *saying) {
    ssize_t size = write(swarm->all[client].fd, saying->bytes, (size_t)saying->size);
    if (size >= 0 && size != saying->size)
        give_up("a message fitted into a socket only in part");
    return size == saying->size;
}

/* -- opening */

static void enqueue(struct swarm *swarm, int client) {
    swarm->all[client].state = WAITING;
    swarm->queue[(swarm->queue_at + swarm->queued++) % swarm->options.clients] = client;
}

static void lose(struct swarm *swarm, int client);

static void dial(struct swarm *swarm, int index) {
    const struct options *options = &swarm->options;
    struct client *client = &swarm->all[index];
    int one = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0)
        give_up("no descriptors are left: see ulimit -Hn");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (options->sources > 1) {
        struct sockaddr_in source = {.sin_family = AF_INET};
        source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 100 + (unsigned)((options->first + index) % options->sources));
        setsockopt(client->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        bind(client->fd, (struct sockaddr *)&source, sizeof source);
    }
    client->state = CONNECTING;
    swarm->under_way++;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = (uint32_t)index};
    epoll_ctl(swarm->epoll, EPOLL_CTL_ADD, client->fd, &event);
    if (connect(client->fd, (const struct sockaddr *)&options->nodes[client->node], sizeof options->nodes[0]) &&
        errno != EINPROGRESS)
        lose(swarm, index);
}

void dial_some(struct swarm *swarm) {
    while (swarm->queued && swarm->under_way < swarm->options.at_once) {
        int index = swarm->queue[swarm->queue_at];
        if (swarm->all[index].not_before > nanoseconds())
            return;
        swarm->queue_at = (swarm->queue_at + 1) % swarm->options.clients;
        swarm->queued--;
        dial(swarm, index);
    }
}

void open_all(struct swarm *swarm) {
    for (int i = 0; i < swarm->options.clients; i++)
        if (swarm->all[i].fd < 0)
            enqueue(swarm, i);
}

/* The line is gone: the client goes to the next node, with its secret if it has one. */
static void lose(struct swarm *swarm, int index) {
    struct client *client = &swarm->all[index];
    enum state before = client->state;
    close(client->fd);
    client->fd = -1;
    free(client->held);
    client->held = NULL;
    client->held_size = 0;
    if (before == LIVE)
        swarm->live--;
    else if (before != ENDED)
        swarm->under_way--;
    client->state = ENDED;
    if (swarm->ending)
        return;
    if (!swarm->options.openline)
        give_up("a server closed a line");
    if (before == LIVE && !client->was_down++)
        swarm->down++;
    swarm->fell += before == LIVE;
    swarm->refused += before != LIVE;
    if (client->tries++ == MOST_TRIES)
        give_up("a client was not let in, however often it tried");
    /* Who lost its line comes back at once, who was not let in a moment later. */
    client->not_before = before == LIVE ? 0 : nanoseconds() + RETRY_NS;
    client->node = (client->node + 1 + index % (swarm->options.node_count > 1 ? swarm->options.node_count - 1 : 1)) %
                   swarm->options.node_count;
    enqueue(swarm, index);
}

static void become_live(struct swarm *swarm, struct client *client) {
    client->state = LIVE;
    client->tries = 0;
    swarm->under_way--;
    swarm->live++;
}

/* -- hearing */

static void ask_upgrade(struct swarm *swarm, int index) {
    struct client *client = &swarm->all[index];
    struct saying saying = upgrade(&swarm->options, client->node);
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error || !say(swarm, index, &saying)) {
        lose(swarm, index);
        return;
    }
    client->state = HANDSHAKE;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    epoll_ctl(swarm->epoll, EPOLL_CTL_MOD, client->fd, &event);
}

static void go_on(struct swarm *swarm, int index) {
    struct client *client = &swarm->all[index];
    const struct options *options = &swarm->options;
    struct saying saying;
    if (client->state == HANDSHAKE && options->openline) {
        client->state = GREETING;
        saying = greeting(client->secret, client->position);
    } else if (client->state != JOINING && !options->silent) {
        client->state = JOINING;
        saying = subscription(options, swarm->first_channel + channel_of(swarm, index));
    } else {
        become_live(swarm, client);
        return;
    }
    say(swarm, index, &saying);
}

static void greeted(struct swarm *swarm, int index, const struct frame *frame) {
    struct client *client = &swarm->all[index];
    int resumed = contains(frame, "\"resumed\":true");
    if (*client->secret && !resumed)
        swarm->fresh++;
    swarm->unrecovered += resumed && contains(frame, "\"recovered\":false");
    take_value(frame, "resume", client->secret, LONGEST_SECRET);
    take_value(frame, "position", client->position, LONGEST_POSITION);
    if (!resumed) {
        go_on(swarm, index);
        return;
    }
    swarm->back++;
    swarm->back_at = nanoseconds();
    become_live(swarm, client);
}

static void arrive(struct swarm *swarm, int index, uint32_t number, double took) {
    struct channel *channel = &swarm->channels[channel_of(swarm, index)];
    if (number != channel->number) {
        channel->number = number;
        channel->arrived = 0;
        channel->last = 0;
    }
    if (took > channel->last)
        channel->last = took;
    if (++channel->arrived == channel->members) {
        keep_time(&swarm->tally.last, channel->last);
        if (swarm->landed)
            swarm->landed(swarm, channel_of(swarm, index));
    }
}

static void delivered(struct swarm *swarm, int index, const struct frame *frame, uint32_t number, int64_t at) {
    struct client *client = &swarm->all[index];
    double took = (double)((swarm->heard_at = nanoseconds()) - at) / 1e3;
    take_value(frame, "position", client->position, LONGEST_POSITION);
    count_message(&swarm->tally, number, &client->awaited);
    if (!client->was_down)
        keep_time(&swarm->tally.delivery, took);
    arrive(swarm, index, number, took);
}

static void take(struct swarm *swarm, int index, const struct frame *frame) {
    struct client *client = &swarm->all[index];
    uint32_t number;
    int64_t at;
    if (frame->opcode == 9) {
        struct saying pong = framed(PONG, frame->text, frame->size);
        say(swarm, index, &pong);
    } else if (frame->opcode != 1)
        return;
    else if (client->state == LIVE && take_message(frame, &number, &at))
        delivered(swarm, index, frame, number, at);
    else if (!swarm->options.openline || begins_with(frame, "{\"type\":\"$reply\"")) {
        if (client->state == GREETING)
            greeted(swarm, index, frame);
        else if (client->state == JOINING)
            go_on(swarm, index);
        else if (client->state == LIVE) {
            swarm->tally.answers++;
            if (swarm->answered)
                swarm->answered(swarm, index);
        }
    } else if (begins_with(frame, "{\"type\":\"$error\"")) {
        if (client->state == LIVE)
            give_up("a message was answered with an error");
        shutdown(client->fd, SHUT_RDWR);
    } else if (begins_with(frame, "{\"type\":\"$ping\"")) {
        struct saying pong = framed(TEXT, "{\"type\":\"$pong\"}", 16);
        say(swarm, index, &pong);
    } else if (begins_with(frame, "{\"type\":\"$gap\""))
        swarm->tally.gaps++;
}

/* What is left of these bytes, which may be the beginning of a frame. */
static long take_frames(struct swarm *swarm, int index, const char *bytes, long size) {
    struct frame frame;
    for (long used; size && (used = take_frame(bytes, size, &frame)); bytes += used, size -= used)
        take(swarm, index, &frame);
    return size;
}

static void keep_rest(struct client *client, const char *end, long left) {
    free(client->held);
    client->held = NULL;
    client->held_size = (int)left;
    if (left) {
        client->held = malloc((size_t)left);
        memcpy(client->held, end - left, (size_t)left);
    }
}

static void take_bytes(struct swarm *swarm, int index) {
    struct client *client = &swarm->all[index];
    if (client->held_size)
        memcpy(arrived, client->held, (size_t)client->held_size);
    ssize_t size = read(client->fd, arrived + client->held_size, (size_t)(ROOM - client->held_size));
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0) {
        lose(swarm, index);
        return;
    }
    char *from = arrived, *end = arrived + client->held_size + size;
    *end = 0;
    if (client->state == HANDSHAKE) {
        char *head = strstr(from, "\r\n\r\n");
        if (head && strncmp(from, "HTTP/1.1 101", 12)) {
            lose(swarm, index);
            return;
        }
        if (head) {
            from = head + 4;
            go_on(swarm, index);
        }
    }
    keep_rest(client, end, client->state == HANDSHAKE ? end - from : take_frames(swarm, index, from, end - from));
}

void hear(struct swarm *swarm, int index, unsigned events) {
    struct client *client = &swarm->all[index];
    if (client->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        ask_upgrade(swarm, index);
    else if (client->fd >= 0 && client->state != CONNECTING)
        take_bytes(swarm, index);
}

void say_goodbye(struct swarm *swarm) {
    static const char normal[] = {0x03, (char)0xe8};
    struct saying goodbye = framed(CLOSE, normal, 2);
    swarm->ending = 1;
    for (int i = 0; i < swarm->options.clients; i++)
        if (swarm->all[i].fd >= 0)
            say(swarm, i, &goodbye);
}
