#define _GNU_SOURCE
#include "poll.h"

#include "frame.h"
#include "layout.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int is_poll(const struct options *options, int index) { return options->polls && index > 0; }

int write_poll(char *request, int room, const struct options *options, int index, const char *position) {
    char *path = expanded(options->polls, channel_of(options, index, 0), ""), wait[32] = "";
    if (*position && options->poll_wait)
        snprintf(wait, sizeof wait, "&wait=%d", options->poll_wait);
    int size = snprintf(request, (size_t)room, "GET %s%s%s%s HTTP/1.1\r\nHost: %s:%d\r\n%s\r\n", path,
                        *position ? "&since=" : "", position, wait, options->host,
                        options->ports[index % options->port_count], options->headers);
    free(path);
    return size;
}

/* The value of a header; NULL where there is none of this name. */
static const char *value_of(const char *head, const char *name) {
    const char *end = strstr(head, "\r\n\r\n"), *at = strcasestr(head, name);
    return at && end && at < end ? at + strlen(name) : NULL;
}

long whole_answer(const char *bytes, long size) {
    const char *end = strstr(bytes, "\r\n\r\n");
    if (!end)
        return 0;
    const char *length = value_of(bytes, "\r\ncontent-length: ");
    if (strncmp(bytes, "HTTP/1.1 200 ", 13) || !length)
        return -1;
    long whole = end + 4 - bytes + atol(length);
    return whole <= size ? whole : 0;
}

int take_position(const char *answer, char *position) {
    const char *value = value_of(answer, "\r\nopenline-position: ");
    size_t size = value ? strcspn(value, "\r") : 0;
    if (!size || size >= LONGEST_POSITION)
        return 0;
    memcpy(position, value, size);
    position[size] = 0;
    return 1;
}
