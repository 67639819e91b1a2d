#define _GNU_SOURCE
#include "speech.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct saying upgrade(const struct options *options, int node) {
    struct saying saying;
    char host[32];
    inet_ntop(AF_INET, &options->nodes[node].sin_addr, host, sizeof host);
    saying.size = snprintf(saying.bytes, sizeof saying.bytes,
                           "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                           options->openline ? "/openline" : "/", host, ntohs(options->nodes[node].sin_port));
    return saying;
}

struct saying framed(int kind, const char *payload, long size) {
    struct saying saying;
    char *head = saying.bytes;
    int at = 0;
    head[at++] = (char)kind;
    if (size < 126)
        head[at++] = (char)(0x80 | size);
    else {
        head[at++] = (char)(0x80 | 126);
        head[at++] = (char)(size >> 8);
        head[at++] = (char)size;
    }
    memset(head + at, 0, 4);
    memcpy(head + at + 4, payload, (size_t)size);
    saying.size = at + 4 + (int)size;
    return saying;
}

static struct saying text(const char *said) { return framed(TEXT, said, (long)strlen(said)); }

struct saying greeting(const char *secret, const char *position) {
    char said[256];
    if (!*secret)
        return text("{\"type\":\"$connect\",\"id\":1}");
    snprintf(said, sizeof said, "{\"type\":\"$connect\",\"id\":1,\"resume\":\"%s\",\"since\":\"%s\"}", secret, position);
    return text(said);
}

struct saying subscription(const struct options *options, int channel) {
    char said[128];
    snprintf(said, sizeof said, options->openline ? "{\"type\":\"$subscribe\",\"channel\":\"bench:%d\",\"id\":2}" : "+%d",
             channel);
    return text(said);
}

struct saying message(const struct options *options, int channel, uint32_t number, int64_t at, long id) {
    char payload[4097], said[LONGEST_SAYING - 16], key[32] = "";
    int head = snprintf(payload, sizeof payload, "#%u %lld ", number, (long long)at);
    memset(payload + head, 'x', (size_t)(options->size - head));
    payload[options->size] = 0;
    if (id)
        snprintf(key, sizeof key, "\"id\":%ld,", id);
    if (options->openline)
        snprintf(said, sizeof said, "{\"type\":\"message\",%s\"channel\":\"bench:%d\",\"payload\":\"%s\"}", key, channel,
                 payload);
    else
        snprintf(said, sizeof said, "%d %s", channel, payload);
    return text(said);
}

long take_frame(const char *bytes, long size, struct frame *frame) {
    const unsigned char *head = (const unsigned char *)bytes;
    if (size < 2)
        return 0;
    long length = head[1] & 127, at = 2;
    if (length >= 126) {
        int wide = length == 126 ? 2 : 8;
        if (size < 2 + wide)
            return 0;
        for (length = 0; at < 2 + wide; at++)
            length = length << 8 | head[at];
    }
    if (size - at < length)
        return 0;
    *frame = (struct frame){head[0] & 15, bytes + at, length};
    return at + length;
}

int begins_with(const struct frame *frame, const char *text) {
    long size = (long)strlen(text);
    return frame->size >= size && !memcmp(frame->text, text, (size_t)size);
}

static const char *find(const struct frame *frame, const char *text) {
    return memmem(frame->text, (size_t)frame->size, text, strlen(text));
}

int contains(const struct frame *frame, const char *text) { return find(frame, text) != NULL; }

int take_value(const struct frame *frame, const char *name, char *value, int room) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"%s\":\"", name);
    const char *at = find(frame, wanted), *end = at;
    if (!at)
        return 0;
    at += strlen(wanted);
    end = memchr(at, '"', (size_t)(frame->text + frame->size - at));
    if (!end || end - at >= room)
        return 0;
    memcpy(value, at, (size_t)(end - at));
    value[end - at] = 0;
    return 1;
}

int take_message(const struct frame *frame, uint32_t *number, int64_t *at) {
    const char *mark = memchr(frame->text, '#', (size_t)frame->size);
    char *end;
    if (!mark)
        return 0;
    *number = (uint32_t)strtoul(mark + 1, &end, 10);
    *at = strtoll(end, NULL, 10);
    return 1;
}
