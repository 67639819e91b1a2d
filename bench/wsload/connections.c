#define _GNU_SOURCE
#include "connections.h"

#include "frame.h"

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

enum { PATIENCE_MS = 15000 };

struct opening {
    struct connections *connections;
    const struct options *options;
    struct frame hello;
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

static int write_request(char *request, size_t room, const struct options *options, int port) {
    static const char stream[] = "Accept: text/event-stream\r\n";
    static const char upgrade[] =
        "Upgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    return snprintf(request, room, "GET %s HTTP/1.1\r\nHost: %s:%d\r\n%s%s\r\n", options->path, options->host, port,
                    options->plain_http ? stream : upgrade, options->headers);
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
    int length = write_request(request, sizeof request, opening->options, port_of(opening->options, index));
    if (length >= (int)sizeof request || write(connection->fd, request, (size_t)length) != length) {
        fail(connections, connection, "request", "does not fit into one write");
        return;
    }
    connection->state = HANDSHAKE;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)index};
    epoll_ctl(connections->epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

static void say_hello(struct opening *opening, struct connection *connection) {
    connection->state = HELLO;
    connection->awaited = opening->options->hello_frames;
    if (write(connection->fd, opening->hello.bytes, (size_t)opening->hello.size) != opening->hello.size)
        fail(opening->connections, connection, "hello", "does not fit into one write");
}

static void take_response(struct opening *opening, struct connection *connection, long size) {
    const struct options *options = opening->options;
    const char *wanted = options->plain_http ? "HTTP/1.1 200" : "HTTP/1.1 101";
    const char *end = strstr(arrived, "\r\n\r\n");
    if (strncmp(arrived, wanted, strlen(wanted)) || !end) {
        fail(opening->connections, connection, "handshake", arrived);
        return;
    }
    long behind = size - (end + 4 - arrived);
    if (!options->hello)
        become_ready(opening->connections, connection);
    else if (options->server_greets && !behind)
        connection->state = GREETING;
    else
        say_hello(opening, connection);
}

/* The frames of a hello are small: one that a read cuts in two would be counted twice. */
static void take_frames(struct opening *opening, struct connection *connection, long size) {
    connection->awaited -= frames_in(arrived, size);
    if (connection->awaited <= 0)
        become_ready(opening->connections, connection);
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
    case GREETING: say_hello(opening, connection); break;
    case HELLO: take_frames(opening, connection, size); break;
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
    if (options->hello)
        opening.hello = text_frame(options->hello);
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
