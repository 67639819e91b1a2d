/* The part of _native.c that reads a plain command: an event, perhaps into a channel, and nothing in it to be judged.
 *
 * Whatever is unusual is left to the twin, which knows all fields and says what is wrong (RFC 8259, spec/protocol.md).
 */
#include <Python.h>

#include <stdint.h>
#include <string.h>

struct text {
    const uint8_t *at, *end;
};

enum { MOST_DEEP = 32, MOST_DIGITS = 15, MOST_TYPE = 128, MOST_CHANNEL = 255, MOST_KEY = 64 };

static int next_is(const struct text *text, uint8_t byte)
{
    return text->at < text->end && *text->at == byte;
}

static int take(struct text *text, uint8_t byte)
{
    if (!next_is(text, byte))
        return 0;
    text->at++;
    return 1;
}

static void skip_space(struct text *text)
{
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\t' || *text->at == '\n' || *text->at == '\r'))
        text->at++;
}

static int is_hex(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

/* Behind a backslash; one that may be half of a surrogate pair is not plain. */
static int skip_escape(struct text *text)
{
    if (text->at == text->end)
        return 0;
    uint8_t letter = *text->at++;
    if (letter != 'u')
        return letter != 0 && strchr("\"\\/bfnrt", letter) != NULL;
    if (text->end - text->at < 4 || *text->at == 'd' || *text->at == 'D')
        return 0;
    for (int i = 0; i < 4; i++)
        if (!is_hex(*text->at++))
            return 0;
    return 1;
}

static int skip_string(struct text *text)
{
    if (!take(text, '"'))
        return 0;
    while (text->at < text->end) {
        uint8_t byte = *text->at++;
        if (byte == '"')
            return 1;
        if (byte < 0x20 || (byte == '\\' && !skip_escape(text)))
            return 0;
    }
    return 0;
}

/* Digits, fifteen at most, which every parser reads alike; how many. */
static int skip_digits(struct text *text)
{
    int count = 0;
    while (text->at < text->end && *text->at >= '0' && *text->at <= '9' && count <= MOST_DIGITS) {
        text->at++;
        count++;
    }
    return count <= MOST_DIGITS ? count : 0;
}

/* A number without an exponent. */
static int skip_number(struct text *text)
{
    take(text, '-');
    int zero = next_is(text, '0'), digits = skip_digits(text);
    if (digits == 0 || (zero && digits > 1) || (take(text, '.') && skip_digits(text) == 0))
        return 0;
    return text->at == text->end || (*text->at != 'e' && *text->at != 'E' && !(*text->at >= '0' && *text->at <= '9'));
}

static int skip_word(struct text *text, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(text->end - text->at) < size || memcmp(text->at, word, size) != 0)
        return 0;
    text->at += size;
    return 1;
}

static int skip_value(struct text *text, int depth);

/* The elements of an array, or the members of an object, behind what opens it. */
static int skip_elements(struct text *text, uint8_t closing, int depth)
{
    skip_space(text);
    if (take(text, closing))
        return 1;
    do {
        skip_space(text);
        if (closing == '}') {
            if (!skip_string(text))
                return 0;
            skip_space(text);
            if (!take(text, ':'))
                return 0;
            skip_space(text);
        }
        if (!skip_value(text, depth))
            return 0;
        skip_space(text);
    } while (take(text, ','));
    return take(text, closing);
}

static int skip_value(struct text *text, int depth)
{
    if (text->at == text->end || depth > MOST_DEEP)
        return 0;
    switch (*text->at) {
    case '"':
        return skip_string(text);
    case '[':
        text->at++;
        return skip_elements(text, ']', depth + 1);
    case '{':
        text->at++;
        return skip_elements(text, '}', depth + 1);
    case 't':
        return skip_word(text, "true");
    case 'f':
        return skip_word(text, "false");
    case 'n':
        return skip_word(text, "null");
    default:
        return skip_number(text);
    }
}

/* Its fields, each where it begins and ends; at is NULL of one that is not there. */
struct command {
    struct text type, id, channel, payload, key;
    int bare; /* a channel and a key are not read: whoever brings one is not wanted */
};

static int is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

/* A word: printable ASCII without escapes, not too much of it, and not one of ours, which begin with "$". */
static int read_word(struct text *text, struct text *word, int most)
{
    if (word->at != NULL || !take(text, '"'))
        return 0;
    word->at = text->at;
    while (text->at < text->end && is_plain(*text->at))
        text->at++;
    word->end = text->at;
    return take(text, '"') && word->end > word->at && word->end - word->at <= most && *word->at != '$';
}

static int read_number_id(struct text *text, struct text *id)
{
    id->at = text->at;
    int digits = skip_digits(text);
    id->end = text->at;
    return digits > 0 && (digits == 1 || *id->at != '0');
}

/* One field, whose name is the next thing; each may stand once. */
static int read_field(struct text *text, struct command *command)
{
    if (skip_word(text, "\"type\":"))
        return (skip_space(text), read_word(text, &command->type, MOST_TYPE));
    if (!command->bare && skip_word(text, "\"channel\":"))
        return (skip_space(text), read_word(text, &command->channel, MOST_CHANNEL));
    if (!command->bare && skip_word(text, "\"key\":"))
        return (skip_space(text), read_word(text, &command->key, MOST_KEY));
    if (skip_word(text, "\"id\":"))
        return command->id.at == NULL && (skip_space(text), read_number_id(text, &command->id));
    if (!skip_word(text, "\"payload\":") || command->payload.at != NULL)
        return 0;
    skip_space(text);
    command->payload.at = text->at;
    int good = skip_value(text, 0);
    command->payload.end = text->at;
    return good;
}

static int read_fields(struct text *text, struct command *command)
{
    if (!take(text, '{'))
        return 0;
    do {
        skip_space(text);
        if (!read_field(text, command))
            return 0;
        skip_space(text);
    } while (take(text, ','));
    return take(text, '}') && text->at == text->end && command->type.at != NULL && command->payload.at != NULL;
}

static Py_ssize_t length_of(const struct text *text)
{
    return text->at == NULL ? 0 : text->end - text->at;
}

static long long number_of(const struct text *id)
{
    long long number = 0;
    for (const uint8_t *at = id->at; at < id->end; at++)
        number = number * 10 + (*at - '0');
    return number;
}

static PyObject *id_of(const struct text *id)
{
    if (id->at != NULL)
        return PyLong_FromLongLong(number_of(id));
    Py_INCREF(Py_None);
    return Py_None;
}

/* Whether a message is a plain command, and nothing else; a `bare` one has neither a channel nor a key. */
static int read_plain_command(const char *first, Py_ssize_t size, int bare, struct command *command)
{
    struct text text = {(const uint8_t *)first, (const uint8_t *)first + size};
    memset(command, 0, sizeof *command);
    command->bare = bare;
    return read_fields(&text, command);
}

PyDoc_STRVAR(read_command_doc, "read_command(data)\n--\n\nSee openline.protocol.json_codec.decode_command.");

static PyObject *read_command(PyObject *module, PyObject *data)
{
    char *first;
    Py_ssize_t size;
    struct command command;
    if (PyBytes_AsStringAndSize(data, &first, &size) < 0)
        return NULL;
    if (!read_plain_command(first, size, 0, &command))
        Py_RETURN_NONE;
    return Py_BuildValue("(s#Nz#y#z#)", command.type.at, length_of(&command.type), id_of(&command.id),
                         command.channel.at, length_of(&command.channel), command.payload.at,
                         length_of(&command.payload), command.key.at, length_of(&command.key));
}
