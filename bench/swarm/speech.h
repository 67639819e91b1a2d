/* speech: what clients say, as masked WebSocket frames whose mask is zero, and how what they hear is read. */
#ifndef SPEECH_H
#define SPEECH_H

#include "options.h"

#include <stdint.h>

enum { LONGEST_SECRET = 64, LONGEST_POSITION = 64, LONGEST_SAYING = 8192, PONG = 0x8a, TEXT = 0x81, CLOSE = 0x88 };

struct saying { char bytes[LONGEST_SAYING]; int size; };

struct frame { int opcode; const char *text; long size; };

struct saying upgrade(const struct options *options, int node);

/* A frame of this kind; the payload is shorter than LONGEST_SAYING - 16. */
struct saying framed(int kind, const char *payload, long size);

/* Takes a connection up again where there is a secret. */
struct saying greeting(const char *secret, const char *position);

struct saying subscription(const struct options *options, int channel);

/* Message `number` of a channel, of this moment (ns); it is answered where `id` is not 0. */
struct saying message(const struct options *options, int channel, uint32_t number, int64_t at, long id);

/* The first frame in these bytes: how many are its, 0 where it is not whole. */
long take_frame(const char *bytes, long size, struct frame *frame);

int begins_with(const struct frame *frame, const char *text);
int contains(const struct frame *frame, const char *text);

/* Copies the text value behind `"name":"`; 0 where there is none, or more than room. */
int take_value(const struct frame *frame, const char *name, char *value, int room);

/* The number and moment of a message; 0 where the frame has none. */
int take_message(const struct frame *frame, uint32_t *number, int64_t *at);

#endif
