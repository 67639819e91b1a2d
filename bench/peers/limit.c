/* limit: the least that a WebSocket broadcast server can do: one read, then one send() per client.
 *
 * No checks, no framing choices, no memory. What it costs per delivery is what the kernel costs; a server is measured
 * against it.
 *
 * usage: limit PORT fanout|echo|idle|cork|channels
 *   cork      all messages of one read go out in one send() per client
 *   channels  "+17" joins number 17, "17 text" goes to its members
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_FDS = 200000, MOST_CHANNELS = 20000, BACKLOG = 4096, EVENTS = 1024 };
enum mode { FANOUT, ECHO, CORK, CHANNELS };

struct members { int *fds, count, room; };

static enum mode mode;
static int epoll;
static struct members everybody, channels[MOST_CHANNELS];
static char joined[MOST_FDS]; /* whether the handshake is done, by descriptor */
static char in[1 << 20], out[(1 << 20) + 1];

static void watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int listen_at(int port) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG)) {
        perror("limit");
        exit(1);
    }
    return fd;
}

static void accept_client(int listener) {
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (fd >= MOST_FDS) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    joined[fd] = 0;
    watch(fd);
}

static void add(struct members *members, int fd) {
    if (members->count == members->room) {
        members->room = members->room ? 2 * members->room : 16;
        members->fds = realloc(members->fds, (size_t)members->room * sizeof(int));
    }
    members->fds[members->count++] = fd;
}

static void drop(struct members *members, int fd) {
    for (int i = 0; i < members->count; i++)
        if (members->fds[i] == fd) {
            members->fds[i] = members->fds[--members->count];
            return;
        }
}

/* The load client always sends the same key, so the answer is always the same. */
static void join(int fd) {
    static const char yes[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    if (write(fd, yes, sizeof yes - 1) < 0)
        return;
    joined[fd] = 1;
    add(&everybody, fd);
}

static void leave(int fd) {
    drop(&everybody, fd);
    for (int i = 0; mode == CHANNELS && i < MOST_CHANNELS; i++)
        drop(&channels[i], fd);
    close(fd);
}

static void send_to(const struct members *members, const char *bytes, size_t size) {
    for (int i = 0; i < members->count; i++)
        send(members->fds[i], bytes, size, MSG_NOSIGNAL);
}

/* A frame of "+17" or of "17 text", without its mask; `text` is where its payload begins. */
static void in_channel(int fd, const char *frame, size_t size, const char *text) {
    static const char ok[] = "\x81\x02ok";
    int joining = *text == '+', channel = atoi(text + joining);
    if (channel < 0 || channel >= MOST_CHANNELS)
        return;
    if (joining) {
        add(&channels[channel], fd);
        send(fd, ok, sizeof ok - 1, MSG_NOSIGNAL);
    } else
        send_to(&channels[channel], frame, size);
}

/* The load client's mask is zero: its frame without the mask is the frame to send.
 * Returns -1 for what needs memory or more code: a frame of 64 KiB or more, or one that came in pieces. */
static int relay(int fd, const char *at, const char *end) {
    int held = 0;
    while (at < end) {
        int length = end - at < 8 ? 127 : at[1] & 127, head = 2;
        if (length == 126) {
            length = (unsigned char)at[2] << 8 | (unsigned char)at[3];
            head = 4;
        } else if (length == 127)
            return -1;
        if (head + 4 + length > end - at)
            return -1;
        char *frame = out + held;
        memcpy(frame, at, (size_t)head);
        frame[1] &= 127;
        memcpy(frame + head, at + head + 4, (size_t)length);
        size_t size = (size_t)(head + length);
        frame[size] = 0;
        switch (mode) {
        case CORK: held += head + length; break;
        case ECHO: send(fd, frame, size, MSG_NOSIGNAL); break;
        case CHANNELS: in_channel(fd, frame, size, frame + head); break;
        default: send_to(&everybody, frame, size);
        }
        at += head + 4 + length;
    }
    if (held)
        send_to(&everybody, out, (size_t)held);
    return 0;
}

static void serve(int fd) {
    ssize_t size = read(fd, in, sizeof in);
    if (size <= 0)
        leave(fd);
    else if (!joined[fd])
        join(fd);
    else if (relay(fd, in, in + size))
        leave(fd);
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static enum mode mode_of(const char *name) {
    if (!strcmp(name, "echo"))
        return ECHO;
    if (!strcmp(name, "cork"))
        return CORK;
    return strcmp(name, "channels") ? FANOUT : CHANNELS;
}

int main(int argc, char **argv) {
    static struct epoll_event events[EVENTS];
    if (argc != 3) {
        fprintf(stderr, "usage: limit PORT fanout|echo|idle|cork|channels\n");
        return 2;
    }
    mode = mode_of(argv[2]);
    raise_descriptor_limit();
    epoll = epoll_create1(0);
    int listener = listen_at(atoi(argv[1]));
    watch(listener);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            if (events[i].data.fd == listener)
                accept_client(listener);
            else
                serve(events[i].data.fd);
    }
}
