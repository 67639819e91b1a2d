/* The part of _native.c that reads WebSocket frames: plain ones, out of what one read brought (RFC 6455 section 5). */
#include <Python.h>

#include <stdint.h>
#include <string.h>

enum { TEXT = 1, BINARY = 2, PING = 9, PONG = 10 };

/* The members of openline.protocol.frames.Opcode, which items carry; set once by use_opcodes. */
static PyObject *opcodes[16];

/* Takes the mask off (section 5.3), eight bytes at a time. */
static void unmask(uint8_t *to, const uint8_t *from, size_t length, const uint8_t key[4])
{
    uint8_t twice[8];
    uint64_t wide;
    memcpy(twice, key, 4);
    memcpy(twice + 4, key, 4);
    memcpy(&wide, twice, 8);
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        uint64_t word;
        memcpy(&word, from + i, 8);
        word ^= wide;
        memcpy(to + i, &word, 8);
    }
    for (; i < length; i++)
        to[i] = from[i] ^ key[i & 3];
}

static int continues(const uint8_t *at, const uint8_t *end, int count)
{
    if (end - at < count)
        return 0;
    for (int i = 0; i < count; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return 1;
}

/* The length of the well-formed sequence at `at`, 0 where there is none (RFC 3629 section 4). */
static int sequence(const uint8_t *at, const uint8_t *end)
{
    uint8_t lead = at[0];
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return continues(at + 1, end, 1) ? 2 : 0;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (!continues(at + 1, end, 2) || (lead == 0xE0 && at[1] < 0xA0) || (lead == 0xED && at[1] > 0x9F))
            return 0;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (!continues(at + 1, end, 3) || (lead == 0xF0 && at[1] < 0x90) || (lead == 0xF4 && at[1] > 0x8F))
            return 0;
        return 4;
    }
    return 0;
}

static int is_utf8(const uint8_t *at, size_t length)
{
    const uint8_t *end = at + length;
    while (at < end) {
        uint64_t word;
        if (end - at >= 8 && (memcpy(&word, at, 8), (word & 0x8080808080808080u) == 0)) {
            at += 8;
            continue;
        }
        int step = sequence(at, end);
        if (step == 0)
            return 0;
        at += step;
    }
    return 1;
}

struct frame {
    int opcode;
    const uint8_t *key;
    const uint8_t *body;
    size_t length;
};

/* Reads the header of a plain frame at `at`; 0 where there is none that is whole. */
static int read_plain(const uint8_t *at, const uint8_t *end, size_t limit, struct frame *frame)
{
    if (end - at < 6)
        return 0;
    frame->opcode = at[0] & 0x0F;
    int control = frame->opcode == PING || frame->opcode == PONG;
    if ((at[0] & 0xF0) != 0x80 || !(control || frame->opcode == TEXT || frame->opcode == BINARY) || !(at[1] & 0x80))
        return 0;
    frame->length = at[1] & 0x7F;
    frame->key = at + 2;
    if (frame->length == 127 || (control && frame->length > 125))
        return 0;
    if (frame->length == 126) {
        frame->length = (size_t)at[2] << 8 | at[3];
        frame->key = at + 4;
        if (frame->length < 126)
            return 0;
    }
    frame->body = frame->key + 4;
    return frame->length <= limit && frame->body <= end && (size_t)(end - frame->body) >= frame->length;
}

/* A new (opcode, payload); NULL without an error where the text is no UTF-8. */
static PyObject *item_of(const struct frame *frame)
{
    PyObject *payload = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)frame->length);
    if (payload == NULL)
        return NULL;
    uint8_t *to = (uint8_t *)PyBytes_AsString(payload);
    unmask(to, frame->body, frame->length, frame->key);
    PyObject *item = NULL;
    if (frame->opcode != TEXT || is_utf8(to, frame->length))
        item = PyTuple_Pack(2, opcodes[frame->opcode], payload);
    Py_DECREF(payload);
    return item;
}

/* Appends the plain frames from `*start` on to `items`, moving `*start` behind them; 0 with an error set for want of memory. */
static int append_plain(PyObject *items, const uint8_t *first, Py_ssize_t size, Py_ssize_t *start, size_t limit)
{
    struct frame frame;
    while (*start <= size && read_plain(first + *start, first + size, limit, &frame)) {
        PyObject *item = item_of(&frame);
        if (item == NULL)
            return !PyErr_Occurred();
        int failed = PyList_Append(items, item);
        Py_DECREF(item);
        if (failed)
            return 0;
        *start = frame.body + frame.length - first;
    }
    return 1;
}
