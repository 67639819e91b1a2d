#include "frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIN_TEXT = 0x81, MASKED = 0x80, CONTROL = 0x08, LENGTH_16 = 126, LENGTH_64 = 127, LONGEST_HEAD = 14 };

static int write_head(char *head, uint64_t size) {
    int at = 0, length_bytes = size < LENGTH_16 ? 0 : size < 65536 ? 2 : 8;
    head[at++] = (char)FIN_TEXT;
    head[at++] = (char)(MASKED | (length_bytes == 0 ? (int)size : length_bytes == 2 ? LENGTH_16 : LENGTH_64));
    for (int i = length_bytes - 1; i >= 0; i--)
        head[at++] = (char)(size >> (8 * i));
    memset(head + at, 0, 4);
    return at + 4;
}

struct frame text_frame(const char *text) {
    size_t size = strlen(text);
    char *bytes = malloc(size + LONGEST_HEAD);
    int head = write_head(bytes, size);
    memcpy(bytes + head, text, size);
    return (struct frame){bytes, head + (int)size};
}

static char *replaced(const char *text, const char *hole, const char *by) {
    const char *at = strstr(text, hole);
    char *whole = malloc(strlen(text) + strlen(by) + 1);
    if (at)
        sprintf(whole, "%.*s%s%s", (int)(at - text), text, by, at + strlen(hole));
    else
        strcpy(whole, text);
    return whole;
}

char *expanded(const char *template, int channel, const char *payload) {
    char number[16];
    snprintf(number, sizeof number, "%d", channel);
    char *once = replaced(template, "%c", number), *twice = replaced(once, "%c", number);
    char *whole = replaced(twice, "%s", payload);
    free(once);
    free(twice);
    return whole;
}

/* Bytes of a head whose first two are there. */
static int head_size(const unsigned char *head) {
    int code = head[1] & 127;
    return code == LENGTH_16 ? 4 : code == LENGTH_64 ? 10 : 2;
}

static uint64_t payload_size(const unsigned char *head) {
    int size = head_size(head);
    uint64_t value = 0;
    if (size == 2)
        return head[1] & 127;
    for (int i = 2; i < size; i++)
        value = value << 8 | head[i];
    return value;
}

int frames_ended(struct frame_reader *reader, const char *bytes, long size) {
    int ended = 0;
    for (const char *at = bytes, *end = bytes + size; at < end;) {
        if (reader->left) {
            uint64_t here = (uint64_t)(end - at), taken = reader->left < here ? reader->left : here;
            at += taken;
            reader->left -= taken;
        } else {
            reader->head[reader->held++] = (unsigned char)*at++;
            if (reader->held < 2 || reader->held < head_size(reader->head))
                continue;
            reader->left = payload_size(reader->head);
            reader->held = 0;
        }
        ended += !reader->left && !(reader->head[0] & CONTROL);
    }
    return ended;
}
