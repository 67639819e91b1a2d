#define _GNU_SOURCE
#include "connections.h"

#include "layout.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 15000, JOINS_AT_ONCE = 50, LONGEST_JOIN = 400 };

struct opening {
    struct connections *connections;
    const struct options *options;
    struct frame hellos[MAX_HELLOS];
};

static char arrived[1 << 16];

static void fail(struct connections *connections, struct connection *connection, const char *doing, const char *why) {
    if (!connections->failed++)
        snprintf(connections->first_failure, sizeof connections->first_failure, "%s: %.200s", doing, why);
    if (connection->state == READY)
        connections->ready--;
    connection->state = DEAD;
    close(connection->fd);
}

static void become_ready(struct connections *connections, struct connection *connection) {
    connection->state = READY;
    connections->ready++;
}

/* One loopback address has 28 000 ports to connect from; 127.0.0.2, 127.0.0.3, ... have as many each. */
static void choose_source(int fd, int index, int sources) {
    int one = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (unsigned)(index % sources));
    setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    bind(fd, (struct sockaddr *)&source, sizeof source);
}

static int port_of(const struct options *options, int index) { return options->ports[index % options->port_count]; }

static void start_next(struct connections *connections, const struct options *options) {
    int index = connections->opened++, one = 1;
    struct connection *connection = &connections->all[index];
    struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port_of(options, index))};
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connection->state = CONNECTING;
    if (connection->fd < 0) {
        fail(connections, connection, "socket", strerror(errno));
        return;
    }
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (options->sources > 1)
        choose_source(connection->fd, index, options->sources);
    inet_pton(AF_INET, options->host, &target.sin_addr);
    if (connect(connection->fd, (struct sockaddr *)&target, sizeof target) && errno != EINPROGRESS) {
        fail(connections, connection, "connect", strerror(errno));
        return;
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = (uint32_t)index};
    epoll_ctl(connections->epoll, EPOLL_CTL_ADD, connection->fd, &event);
}

/* The first connection publishes, which takes a WebSocket. */
static int is_stream(const struct options *options, int index) { return options->streams && index > 0; }

static int write_request(char *request, size_t room, const struct options *options, int index) {
    static const char stream[] = "Accept: text/event-stream\r\n";
    static const char upgrade[] =
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    int streams = is_stream(options, index);
    if (is_poll(options, index))
        return write_poll(request, (int)room, options, index, "");
    char *path = expanded(streams ? options->streams : options->path, channel_of(options, index, 0), "");
    int size = snprintf(request, room, "GET %s HTTP/1.1\r\nHost: %s:%d\r\n%s%s\r\n", path, options->host,
                        port_of(options, index), streams ? stream : upgrade, options->headers);
    free(path);
    return size;
}

static void send_request(struct opening *opening, int index) {
    struct connections *connections = opening->connections;
    struct connection *connection = &connections->all[index];
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        fail(connections, connection, "connect", strerror(error));
        return;
    }
    char request[4096];
    int length = write_request(request, sizeof request, opening->options, index);
    if (length >= (int)sizeof request || write(connection->fd, request, (size_t)length) != length) {
        fail(connections, connection, "request", "does not fit into one write");
        return;
    }
    connection->state = HANDSHAKE;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    epoll_ctl(connections->epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

static void say(struct opening *opening, struct connection *connection, const char *bytes, int size, int answers) {
    connection->awaited += answers;
    if (write(connection->fd, bytes, (size_t)size) != size)
        fail(opening->connections, connection, "hello", "does not fit into one write");
}

static void join_next_channels(struct opening *opening, struct connection *connection) {
    static char joins[JOINS_AT_ONCE * LONGEST_JOIN];
    const struct options *options = opening->options;
    int index = (int)(connection - opening->connections->all), count = 0, size = 0;
    for (; connection->joined < options->each && count < JOINS_AT_ONCE; count++) {
        char *text = expanded(options->subscribe, channel_of(options, index, connection->joined++), "");
        struct frame frame = text_frame(text);
        if (size + frame.size > (int)sizeof joins) {
            fail(opening->connections, connection, "subscribe", "too long");
            return;
        }
        memcpy(joins + size, frame.bytes, (size_t)frame.size);
        size += frame.size;
        free(frame.bytes);
        free(text);
    }
    say(opening, connection, joins, size, count);
}

/* As a page does, which asks for its channels along with the connection. */
static void say_together(struct opening *opening, struct connection *connection) {
    static char text[JOINS_AT_ONCE * LONGEST_JOIN];
    const struct options *options = opening->options;
    int index = (int)(connection - opening->connections->all), count = 0, size = 0, room = (int)sizeof text;
    for (; connection->said < options->hello_count && size < room; count++)
        size += snprintf(text + size, (size_t)(room - size), "%c%s", count ? ',' : '[', options->hellos[connection->said++]);
    for (; options->subscribe && connection->joined < options->each && count < JOINS_AT_ONCE && size < room; count++) {
        char *join = expanded(options->subscribe, channel_of(options, index, connection->joined++), "");
        size += snprintf(text + size, (size_t)(room - size), ",%s", join);
        free(join);
    }
    if (size + 1 >= room) {
        fail(opening->connections, connection, "hello", "too long");
        return;
    }
    strcpy(text + size, "]");
    struct frame frame = text_frame(text);
    say(opening, connection, frame.bytes, frame.size, count);
    free(frame.bytes);
}

/* The next thing that a connection has to say when everything before is answered. */
static void go_on(struct opening *opening, struct connection *connection) {
    const struct options *options = opening->options;
    if (options->together && !connection->said)
        say_together(opening, connection);
    else if (connection->said < options->hello_count) {
        struct frame hello = opening->hellos[connection->said++];
        say(opening, connection, hello.bytes, hello.size, 1);
    } else if (options->subscribe && connection->joined < options->each)
        join_next_channels(opening, connection);
    else
        become_ready(opening->connections, connection);
}

static void take_frames(struct opening *opening, struct connection *connection, const char *bytes, long size) {
    connection->awaited -= frames_ended(&connection->read, bytes, size);
    if (connection->awaited <= 0)
        go_on(opening, connection);
}

static void take_response(struct opening *opening, struct connection *connection, long size) {
    const struct options *options = opening->options;
    int index = (int)(connection - opening->connections->all), polls = is_poll(options, index);
    int streams = polls || is_stream(options, index);
    const char *wanted = streams ? "HTTP/1.1 200" : "HTTP/1.1 101", *end = strstr(arrived, "\r\n\r\n");
    if (strncmp(arrived, wanted, strlen(wanted)) || !end || (polls && !take_position(arrived, connection->position))) {
        fail(opening->connections, connection, "handshake", arrived);
        return;
    }
    if (streams) {
        become_ready(opening->connections, connection);
        return;
    }
    connection->state = OPENING;
    connection->awaited = options->server_greets;
    take_frames(opening, connection, end + 4, size - (end + 4 - arrived));
}

static void take_bytes(struct opening *opening, struct connection *connection) {
    ssize_t size = read(connection->fd, arrived, sizeof arrived - 1);
    if (size < 0 && errno == EAGAIN)
        return;
    if (size <= 0) {
        fail(opening->connections, connection, "closed while opening", size ? strerror(errno) : "end of stream");
        return;
    }
    arrived[size] = 0;
    switch (connection->state) {
    case HANDSHAKE: take_response(opening, connection, size); break;
    case OPENING: take_frames(opening, connection, arrived, size); break;
    default: break;
    }
}

static void step(struct opening *opening, const struct epoll_event *event) {
    int index = (int)event->data.u32;
    struct connection *connection = &opening->connections->all[index];
    if (connection->state == CONNECTING)
        send_request(opening, index);
    else if (connection->state != DEAD)
        take_bytes(opening, connection);
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int open_connections(struct connections *connections, const struct options *options) {
    static struct epoll_event events[EVENTS];
    struct opening opening = {.connections = connections, .options = options};
    for (int i = 0; i < options->hello_count; i++)
        opening.hellos[i] = text_frame(options->hellos[i]);
    raise_descriptor_limit();
    *connections = (struct connections){.epoll = epoll_create1(0)};
    connections->all = calloc((size_t)options->clients, sizeof *connections->all);
    while (connections->ready + connections->failed < options->clients) {
        while (connections->opened < options->clients &&
               connections->opened - connections->ready - connections->failed < options->connect_window)
            start_next(connections, options);
        if (connections->ready + connections->failed == options->clients)
            break;
        int count = epoll_wait(connections->epoll, events, EVENTS, PATIENCE_MS);
        if (count <= 0)
            return -1;
        for (int i = 0; i < count; i++)
            step(&opening, &events[i]);
    }
    return 0;
}

void drain(struct connections *connections, const struct options *options) {
    for (int i = 0; i < options->clients; i++)
        while (read(connections->all[i].fd, arrived, sizeof arrived) > 0) {
        }
}

void hold_open(struct connections *connections) {
    static struct epoll_event events[EVENTS];
    struct epoll_event input = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(connections->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    for (;;) {
        int count = epoll_wait(connections->epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.u32 == UINT32_MAX ? STDIN_FILENO : connections->all[events[i].data.u32].fd;
            if (read(fd, arrived, sizeof arrived) > 0)
                continue;
            if (fd == STDIN_FILENO)
                return;
            epoll_ctl(connections->epoll, EPOLL_CTL_DEL, fd, NULL);
        }
    }
}
