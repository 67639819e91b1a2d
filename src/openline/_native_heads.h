/* The part of _native.c that reads the head of a request for a WebSocket: one that leaves nothing to be judged.
 *
 * Whatever is unusual is left to the server's own HTTP, which says what is wrong with it (RFC 9112, RFC 6455 section 4.2.1).
 */
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* A piece of the head. */
struct span {
    const char *at;
    Py_ssize_t size;
};

enum { MOST_HEADERS = 100 };

/* What must be there, each once: a bit is set when it has been seen and is good. */
enum { HOST = 1, UPGRADE = 2, CONNECTION = 4, VERSION = 8, KEY = 16, ALL = 31 };

static int is_alnum(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/* RFC 9110 section 5.6.2. */
static int is_token_char(uint8_t byte)
{
    return is_alnum(byte) || (byte && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static uint8_t lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

static int is_word(struct span span, const char *word)
{
    if (span.size != (Py_ssize_t)strlen(word))
        return 0;
    for (Py_ssize_t i = 0; i < span.size; i++)
        if (lower((uint8_t)span.at[i]) != (uint8_t)word[i])
            return 0;
    return 1;
}

static struct span trimmed(struct span span)
{
    while (span.size && (*span.at == ' ' || *span.at == '\t'))
        span = (struct span){span.at + 1, span.size - 1};
    while (span.size && (span.at[span.size - 1] == ' ' || span.at[span.size - 1] == '\t'))
        span.size--;
    return span;
}

/* Whether a word is among the elements of a list. */
static int lists(struct span span, const char *word)
{
    while (span.size) {
        const char *comma = memchr(span.at, ',', (size_t)span.size);
        Py_ssize_t size = comma == NULL ? span.size : comma - span.at;
        if (is_word(trimmed((struct span){span.at, size}), word))
            return 1;
        if (comma == NULL)
            return 0;
        span = (struct span){comma + 1, span.size - size - 1};
    }
    return 0;
}

/* Whether all of it, and something, is alphanumeric or among `others`. */
static int is_all(struct span span, const char *others)
{
    for (Py_ssize_t i = 0; i < span.size; i++) {
        uint8_t byte = (uint8_t)span.at[i];
        if (!is_alnum(byte) && (!byte || strchr(others, byte) == NULL))
            return 0;
    }
    return span.size > 0;
}

static int is_visible(struct span span)
{
    for (Py_ssize_t i = 0; i < span.size; i++)
        if (span.at[i] < 0x21 || span.at[i] > 0x7e)
            return 0;
    return span.size > 0;
}

/* Base64 of 16 bytes, as far as its letters tell. */
static int is_key(struct span span)
{
    return span.size == 24 && span.at[22] == '=' && span.at[23] == '=' && is_all((struct span){span.at, 22}, "+/");
}

/* The bit of a header that has to be there, 0 of one that does not matter, -1 of one that leaves something to judge. */
static int judge_header(struct span name, struct span value)
{
    if (is_word(name, "host"))
        return is_all(value, "._~%!$&'()*+,;=:[]-") ? HOST : -1;
    if (is_word(name, "upgrade"))
        return is_word(value, "websocket") ? UPGRADE : -1;
    if (is_word(name, "connection"))
        return lists(value, "upgrade") ? CONNECTION : -1;
    if (is_word(name, "sec-websocket-version"))
        return is_word(value, "13") ? VERSION : -1;
    if (is_word(name, "sec-websocket-key"))
        return is_key(value) ? KEY : -1;
    if (is_word(name, "origin"))
        return is_visible(value) ? 0 : -1;
    /* A body, or what may be one to a proxy in front. */
    return is_word(name, "content-length") || is_word(name, "transfer-encoding") || is_word(name, "expect") ? -1 : 0;
}

/* Adds a header under its name in lower case; 0 where it is there already, -1 with an error set. */
static int add_header(PyObject *headers, struct span name, struct span value)
{
    char lowered[64];
    if (name.size > (Py_ssize_t)sizeof lowered)
        return 0;
    for (Py_ssize_t i = 0; i < name.size; i++)
        lowered[i] = (char)lower((uint8_t)name.at[i]);
    PyObject *key = PyUnicode_DecodeLatin1(lowered, name.size, NULL);
    PyObject *text = PyUnicode_DecodeLatin1(value.at, value.size, NULL);
    int result = -1;
    if (key != NULL && text != NULL) {
        int known = PyDict_Contains(headers, key);
        result = known ? (known > 0 ? 0 : -1) : PyDict_SetItem(headers, key, text) < 0 ? -1 : 1;
    }
    Py_XDECREF(key);
    Py_XDECREF(text);
    return result;
}

/* The target of "GET target HTTP/1.1", moving `*at` behind the line; empty where it is no plain path and query. */
static struct span read_request_line(const char **at, const char *end)
{
    static const char version[] = " HTTP/1.1\r\n";
    const struct span none = {NULL, 0};
    if (end - *at < 5 || memcmp(*at, "GET /", 5) != 0 || (*at)[5] == '/')
        return none;
    struct span target = {*at + 4, 0};
    while (target.at + target.size < end && target.at[target.size] > 0x20 && target.at[target.size] < 0x7f &&
           target.at[target.size] != '#')
        target.size++;
    const char *behind = target.at + target.size;
    if (end - behind < (Py_ssize_t)sizeof version - 1 || memcmp(behind, version, sizeof version - 1) != 0)
        return none;
    *at = behind + sizeof version - 1;
    return target;
}

/* Reads one header line, moving `*at` behind it; 0 where it is none that is plain. */
static int read_header_line(const char **at, const char *end, struct span *name, struct span *value)
{
    const char *start = *at, *colon = start;
    while (colon < end && is_token_char((uint8_t)*colon))
        colon++;
    if (colon == start || colon == end || *colon != ':')
        return 0;
    const char *stop = colon + 1;
    while (stop < end && ((uint8_t)*stop >= 0x20 || *stop == '\t') && *stop != 0x7f)
        stop++;
    if (end - stop < 2 || stop[0] != '\r' || stop[1] != '\n')
        return 0;
    *name = (struct span){start, colon - start};
    *value = trimmed((struct span){colon + 1, stop - colon - 1});
    *at = stop + 2;
    return 1;
}

/* Fills `headers` up to the end of the head, to which `*at` moves; 0 where it is not plain, -1 with an error set. */
static int read_headers(PyObject *headers, const char **at, const char *end)
{
    struct span name, value;
    int seen = 0;
    for (int count = 0; count < MOST_HEADERS; count++) {
        if (end - *at >= 2 && (*at)[0] == '\r' && (*at)[1] == '\n') {
            *at += 2;
            return seen == ALL;
        }
        if (!read_header_line(at, end, &name, &value))
            return 0;
        int bit = judge_header(name, value);
        if (bit < 0)
            return 0;
        seen |= bit;
        int added = add_header(headers, name, value);
        if (added <= 0)
            return added;
    }
    return 0;
}

PyDoc_STRVAR(read_head_doc, "read_head(data)\n--\n\nSee openline.transports.whole_head.read_plain_head.");

static PyObject *read_head(PyObject *module, PyObject *data)
{
    char *first;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(data, &first, &size) < 0)
        return NULL;
    const char *at = first, *end = first + size;
    struct span target = read_request_line(&at, end);
    if (target.size == 0)
        Py_RETURN_NONE;
    PyObject *headers = PyDict_New();
    int found = headers == NULL ? -1 : read_headers(headers, &at, end);
    if (found > 0)
        return Py_BuildValue("(s#Nn)", target.at, target.size, headers, (Py_ssize_t)(at - first));
    Py_XDECREF(headers);
    if (found < 0)
        return NULL;
    Py_RETURN_NONE;
}
