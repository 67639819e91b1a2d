/* The part of _native.c that says things: whether JSON may be passed on, the frames of replies and publications, and all of
 * the way of plain events.
 *
 * A plain event is read, its handler called, and what that returns put into a frame. Whatever is unusual on the way is
 * left to the ordinary way of every command (openline.hub.dispatch), which is the twin.
 */
#include <Python.h>

#include <stdint.h>
#include <string.h>

/* -- is_suspect ----------------------------------------------------------------------------------------------- */

enum { MOST_BRACKETS = 64, LONG_NUMBER = 16 };

static int is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* Whether an exponent of three digits begins at `at`: a letter, perhaps a sign, digits. */
static int is_long_exponent(const uint8_t *at, const uint8_t *end)
{
    at++;
    if (at < end && (*at == '+' || *at == '-'))
        at++;
    return end - at >= 3 && is_digit(at[0]) && is_digit(at[1]) && is_digit(at[2]);
}

static int is_surrogate_escape(const uint8_t *at, const uint8_t *end)
{
    return end - at >= 3 && at[1] == 'u' && (at[2] == 'd' || at[2] == 'D');
}

/* Which bytes are looked at: digits, brackets that open, the letter of an exponent, a backslash. */
static const uint8_t is_looked_at[256] = {
    ['0'] = 1, ['1'] = 1, ['2'] = 1, ['3'] = 1, ['4'] = 1, ['5'] = 1, ['6'] = 1, ['7'] = 1,
    ['8'] = 1, ['9'] = 1, ['['] = 1, ['{'] = 1, ['e'] = 1, ['E'] = 1, ['\\'] = 1,
};

static int has_suspect(const uint8_t *at, const uint8_t *end)
{
    int brackets = 0, digits = 0;
    for (; at < end; at++) {
        if (!is_looked_at[*at]) {
            digits = 0;
            while (end - at > 4 && !(is_looked_at[at[1]] | is_looked_at[at[2]] | is_looked_at[at[3]] | is_looked_at[at[4]]))
                at += 4;
            continue;
        }
        if (is_digit(*at)) {
            if (++digits == LONG_NUMBER)
                return 1;
            continue;
        }
        digits = 0;
        switch (*at) {
        case '[':
        case '{':
            if (++brackets > MOST_BRACKETS)
                return 1;
            break;
        case 'e':
        case 'E':
            if (is_long_exponent(at, end))
                return 1;
            break;
        case '\\':
            if (is_surrogate_escape(at, end))
                return 1;
            break;
        }
    }
    return 0;
}

static int has_null(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 4; at++)
        if (at[0] == 'n' && at[1] == 'u' && at[2] == 'l' && at[3] == 'l')
            return 1;
    return 0;
}

PyDoc_STRVAR(is_suspect_doc, "is_suspect(data)\n--\n\nSee openline.protocol.strict_json.is_suspect.");

static PyObject *is_suspect(PyObject *module, PyObject *data)
{
    char *text;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(data, &text, &length) < 0)
        return NULL;
    return PyBool_FromLong(has_suspect((const uint8_t *)text, (const uint8_t *)text + length));
}

/* -- encode_reply --------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(encode_reply_doc, "encode_reply(id, payload)\n--\n\nSee openline.protocol.json_codec.encode_reply.");

/* Writes the header of a text frame that a server sends (RFC 6455 section 5.2) to `to`, ten bytes at most. */
static Py_ssize_t write_header(uint8_t *to, size_t length)
{
    to[0] = 0x80 | TEXT;
    if (length <= 125) {
        to[1] = (uint8_t)length;
        return 2;
    }
    int bytes = length <= 0xFFFF ? 2 : 8;
    to[1] = bytes == 2 ? 126 : 127;
    for (int i = 0; i < bytes; i++)
        to[2 + i] = (uint8_t)((uint64_t)length >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

/* The frame that answers the command `id` with `size` bytes of JSON. */
static PyObject *reply_frame(long long id, const char *payload, Py_ssize_t size)
{
    char front[64], *to;
    uint8_t header[10];
    Py_ssize_t front_size = PyOS_snprintf(front, sizeof front, "{\"type\":\"$reply\",\"id\":%lld,\"payload\":", id);
    Py_ssize_t header_size = write_header(header, (size_t)(front_size + size + 1));
    PyObject *frame = PyBytes_FromStringAndSize(NULL, header_size + front_size + size + 1);
    if (frame == NULL)
        return NULL;
    to = PyBytes_AsString(frame);
    memcpy(to, header, (size_t)header_size);
    memcpy(to + header_size, front, (size_t)front_size);
    memcpy(to + header_size + front_size, payload, (size_t)size);
    to[header_size + front_size + size] = '}';
    return frame;
}

static PyObject *encode_reply(PyObject *module, PyObject *args)
{
    long long id;
    char *payload;
    Py_ssize_t size;
    PyObject *given;
    if (!PyArg_ParseTuple(args, "LO", &id, &given) || PyBytes_AsStringAndSize(given, &payload, &size) < 0)
        return NULL;
    return reply_frame(id, payload, size);
}

/* -- encode_push ---------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(encode_push_doc,
             "encode_push(type, channel, payload, epoch, stamp, sender)\n--\n\n"
             "See openline.protocol.json_codec.encode_push; None where a name is one that has to be spelled out.");

struct given {
    const char *text;
    Py_ssize_t size;
};

static int take_text(PyObject *from, struct given *given)
{
    given->text = PyUnicode_AsUTF8AndSize(from, &given->size);
    return given->text != NULL;
}

static int take_bytes(PyObject *from, struct given *given)
{
    return PyBytes_AsStringAndSize(from, (char **)&given->text, &given->size) == 0;
}

static int is_plain_name(const struct given *name)
{
    Py_ssize_t i = 0;
    while (i < name->size && is_plain((uint8_t)name->text[i]))
        i++;
    return i > 0 && i == name->size && name->text[0] != '$';
}

static char *put(char *to, const char *text, Py_ssize_t size)
{
    memcpy(to, text, (size_t)size);
    return to + size;
}

#define PUT(to, text) put(to, text, sizeof(text) - 1)

static PyObject *encode_push(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    struct given type, channel, payload, epoch, sender = {NULL, 0};
    if (count != 6) {
        PyErr_SetString(PyExc_TypeError, "encode_push takes a type, a channel, a payload, an epoch, a stamp and a sender");
        return NULL;
    }
    long long stamp = PyLong_AsLongLong(args[4]);
    if ((stamp == -1 && PyErr_Occurred()) || !take_text(args[0], &type) || !take_text(args[1], &channel) ||
        !take_bytes(args[2], &payload) || !take_text(args[3], &epoch) ||
        (args[5] != Py_None && !take_bytes(args[5], &sender)))
        return NULL;
    if (!is_plain_name(&type) || !is_plain_name(&channel))
        Py_RETURN_NONE;
    char place[32];
    Py_ssize_t digits = PyOS_snprintf(place, sizeof place, ".%lld\"", stamp);
    Py_ssize_t size = 35 + type.size + channel.size + payload.size;
    if (stamp)
        size += 13 + epoch.size + digits;
    if (sender.text != NULL)
        size += 8 + sender.size;
    uint8_t header[10];
    Py_ssize_t header_size = write_header(header, (size_t)size);
    PyObject *frame = PyBytes_FromStringAndSize(NULL, header_size + size);
    if (frame == NULL)
        return NULL;
    char *to = put(PyBytes_AsString(frame), (const char *)header, header_size);
    to = put(PUT(to, "{\"type\":\""), type.text, type.size);
    to = put(PUT(to, "\",\"channel\":\""), channel.text, channel.size);
    to = put(PUT(to, "\",\"payload\":"), payload.text, payload.size);
    if (stamp)
        to = put(put(PUT(to, ",\"position\":\""), epoch.text, epoch.size), place, digits);
    if (sender.text != NULL)
        to = put(PUT(to, ",\"from\":"), sender.text, sender.size);
    PUT(to, "}");
    return frame;
}

/* -- answer_event --------------------------------------------------------------------------------------------- */

/* What a handler may answer; see openline.hub.payload. */
enum { MOST_ANSWER = 262144 };

/* What a handler returned, as JSON that need not be looked at again; NULL, without an exception, for anything else. */
static PyObject *plainly_encoded(PyObject *encode, PyObject *result)
{
    PyTypeObject *type = Py_TYPE(result);
    int simple = type == &PyUnicode_Type || type == &PyLong_Type || type == &PyBool_Type || result == Py_None;
    if (!simple && type != &PyDict_Type && type != &PyList_Type && type != &PyTuple_Type && type != &PyFloat_Type)
        return NULL;
    PyObject *answer = PyObject_CallFunctionObjArgs(encode, result, NULL);
    char *text;
    Py_ssize_t size;
    if (answer == NULL || PyBytes_AsStringAndSize(answer, &text, &size) < 0) {
        PyErr_Clear();
        Py_XDECREF(answer);
        return NULL;
    }
    const uint8_t *first = (const uint8_t *)text, *end = first + size;
    /* What is no number in JSON was written as null. */
    if (size > MOST_ANSWER || has_suspect(first, end) || (!simple && has_null(first, end))) {
        Py_DECREF(answer);
        return NULL;
    }
    return answer;
}

/* What the handler's function and decoder are, for events of this type, new references; 0 without an exception. */
static int find_handler(PyObject *events, PyObject *type, PyObject **function, PyObject **decode)
{
    PyObject *found = PyDict_GetItemWithError(events, type);
    if (found == NULL || !PyTuple_Check(found) || PyTuple_Size(found) != 2)
        return 0;
    *function = PyTuple_GetItem(found, 0);
    *decode = PyTuple_GetItem(found, 1);
    /* A handler may be taken out of the table while it runs. */
    Py_INCREF(*function);
    Py_INCREF(*decode);
    return 1;
}

/* The payload as the handler wants it; NULL, without an exception, where only the ordinary way can tell. */
static PyObject *decoded(PyObject *decode, const struct text *payload)
{
    Py_ssize_t size = length_of(payload);
    if (size == 4 && *payload->at == 'n')
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize((const char *)payload->at, size);
    PyObject *argument = bytes == NULL ? NULL : PyObject_CallFunctionObjArgs(decode, bytes, NULL);
    Py_XDECREF(bytes);
    if (argument == NULL)
        PyErr_Clear();
    return argument;
}

/* (type, id, what was returned, what was raised): the rest is up to the caller. Steals `result`, which may be NULL. */
static PyObject *left_over(PyObject *type, const struct text *id, PyObject *result)
{
    PyObject *error_type = NULL, *error = NULL, *trace = NULL;
    if (result == NULL) {
        PyErr_Fetch(&error_type, &error, &trace);
        PyErr_NormalizeException(&error_type, &error, &trace);
        if (trace != NULL)
            PyException_SetTraceback(error, trace);
    }
    PyObject *number = id_of(id);
    PyObject *left = number == NULL ? NULL : Py_BuildValue("(OOOO)", type, number, result ? result : Py_None,
                                                           error ? error : Py_None);
    Py_XDECREF(number);
    Py_XDECREF(result);
    Py_XDECREF(error_type);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    return left;
}

static PyObject *answered(const struct command *command, PyObject *type, PyObject *encode, PyObject *result)
{
    PyObject *answer = result == NULL ? NULL : plainly_encoded(encode, result), *frame;
    if (answer == NULL)
        return left_over(type, &command->id, result);
    Py_DECREF(result);
    if (command->id.at == NULL)
        frame = PyBytes_FromStringAndSize(NULL, 0);
    else
        frame = reply_frame(number_of(&command->id), PyBytes_AsString(answer), PyBytes_Size(answer));
    Py_DECREF(answer);
    return frame;
}

PyDoc_STRVAR(answer_event_doc,
             "answer_event(events, encode, data, connection)\n--\n\n"
             "Read data, a text message, and call the handler of its event with connection and the decoded payload.\n\n"
             "events has (function, decode) by type. Returns the frame of the reply, b\"\" where none is wanted; (type, id,\n"
             "result, error) of a handler that was called, but has returned something that is no plain JSON, or raised error;\n"
             "None where nothing was called.");

static PyObject *answer_event(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    char *first;
    Py_ssize_t size;
    struct command command;
    if (count != 4 || !PyDict_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "answer_event takes a dict, a function, bytes and a connection");
        return NULL;
    }
    if (PyBytes_AsStringAndSize(args[2], &first, &size) < 0)
        return NULL;
    if (!read_plain_command(first, size, 1, &command))
        Py_RETURN_NONE;
    PyObject *type = PyUnicode_FromStringAndSize((const char *)command.type.at, length_of(&command.type));
    PyObject *function, *decode, *argument = NULL, *outcome = NULL;
    if (type == NULL)
        return NULL;
    if (find_handler(args[0], type, &function, &decode)) {
        argument = decoded(decode, &command.payload);
        if (argument != NULL)
            outcome = answered(&command, type, args[1], PyObject_CallFunctionObjArgs(function, args[3], argument, NULL));
        Py_XDECREF(argument);
        Py_DECREF(function);
        Py_DECREF(decode);
    }
    Py_DECREF(type);
    if (argument == NULL)
        Py_RETURN_NONE;
    return outcome;
}
