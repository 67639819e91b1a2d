#include "frame.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FIN_TEXT = 0x81, MASKED = 0x80, LENGTH_16 = 126, LENGTH_64 = 127, LONGEST_HEAD = 14 };

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

static uint64_t big_endian(const unsigned char *bytes, int count) {
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value = value << 8 | bytes[i];
    return value;
}

int frames_in(const char *bytes, long size) {
    const unsigned char *at = (const unsigned char *)bytes;
    int frames = 0;
    while (size > 0) {
        frames++;
        int code = size > 1 ? at[1] & 127 : 0;
        int length_bytes = code == LENGTH_16 ? 2 : code == LENGTH_64 ? 8 : 0;
        if (size < 2 + length_bytes)
            break;
        uint64_t whole = 2 + length_bytes + (length_bytes ? big_endian(at + 2, length_bytes) : (uint64_t)code);
        if (whole >= (uint64_t)size)
            break;
        at += whole;
        size -= (long)whole;
    }
    return frames;
}
