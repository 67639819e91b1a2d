/* The optional accelerator: the inner loops of a line, each with a pure-Python twin that has the same contract.
 *
 *   send_many     openline.transports.fanout   the same bytes to many descriptors, without the GIL
 *   send_rows     openline.transports.fanout   several bytes to several such lists, one call of the system per descriptor
 *   parse_frames  openline.protocol.frames     plain WebSocket frames out of what one read brought (RFC 6455 section 5)
 *   read_head     openline.transports.whole_head  a request for a WebSocket that leaves nothing to be judged
 *   receive       openline.transports.receiver  what has come on many sockets, read in one go, without the GIL
 *   read_command  openline.protocol.json_codec  an event with a type, an id and a payload, and nothing to be judged
 *   encode_reply  openline.protocol.json_codec  the frame that answers a command
 *   is_suspect    openline.protocol.strict_json  whether JSON text may hold what not every parser can read
 *
 * Written against the stable ABI of Python 3.11. Without a compiler the package installs and works without this file.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* Where it is not known, as on older systems of Apple's, it is not needed: Python ignores SIGPIPE. */
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

#include "_native_commands.h"
#include "_native_frames.h"
#include "_native_heads.h"
#include "_native_receiving.h"
#include "_native_sending.h"

/* -- parse_frames --------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(parse_frames_doc,
             "parse_frames(data, start, limit)\n--\n\nSee openline.protocol.frames.parse_frames.");

static PyObject *parse_frames(PyObject *module, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t start, limit;
    if (!PyArg_ParseTuple(args, "y*nn", &data, &start, &limit))
        return NULL;
    PyObject *items = PyList_New(0), *result = NULL;
    if (start < 0 || limit < 0 || opcodes[TEXT] == NULL) {
        PyErr_SetString(PyExc_ValueError, "start and limit are 0 or more, and use_opcodes comes first");
        Py_CLEAR(items);
    }
    if (items != NULL && !append_plain(items, data.buf, data.len, &start, (size_t)limit))
        Py_CLEAR(items);
    if (items != NULL)
        result = Py_BuildValue("(Nn)", items, start);
    PyBuffer_Release(&data);
    return result;
}

PyDoc_STRVAR(use_opcodes_doc,
             "use_opcodes(text, binary, ping, pong)\n--\n\nSet the objects that stand for opcodes in items.");

static PyObject *use_opcodes(PyObject *module, PyObject *args)
{
    static const int places[] = {TEXT, BINARY, PING, PONG};
    PyObject *given[4];
    if (!PyArg_ParseTuple(args, "OOOO", &given[0], &given[1], &given[2], &given[3]))
        return NULL;
    for (int i = 0; i < 4; i++) {
        PyObject *old = opcodes[places[i]];
        Py_INCREF(given[i]);
        opcodes[places[i]] = given[i];
        Py_XDECREF(old);
    }
    Py_RETURN_NONE;
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

static PyObject *encode_reply(PyObject *module, PyObject *args)
{
    long long id;
    char *payload, front[64], *to;
    uint8_t header[10];
    Py_ssize_t size;
    PyObject *given, *frame;
    if (!PyArg_ParseTuple(args, "LO", &id, &given) || PyBytes_AsStringAndSize(given, &payload, &size) < 0)
        return NULL;
    Py_ssize_t front_size = PyOS_snprintf(front, sizeof front, "{\"type\":\"$reply\",\"id\":%lld,\"payload\":", id);
    Py_ssize_t header_size = write_header(header, (size_t)(front_size + size + 1));
    frame = PyBytes_FromStringAndSize(NULL, header_size + front_size + size + 1);
    if (frame == NULL)
        return NULL;
    to = PyBytes_AsString(frame);
    memcpy(to, header, (size_t)header_size);
    memcpy(to + header_size, front, (size_t)front_size);
    memcpy(to + header_size + front_size, payload, (size_t)size);
    to[header_size + front_size + size] = '}';
    return frame;
}

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

PyDoc_STRVAR(is_suspect_doc, "is_suspect(data)\n--\n\nSee openline.protocol.strict_json.is_suspect.");

static PyObject *is_suspect(PyObject *module, PyObject *data)
{
    char *text;
    Py_ssize_t length;
    if (PyBytes_AsStringAndSize(data, &text, &length) < 0)
        return NULL;
    return PyBool_FromLong(has_suspect((const uint8_t *)text, (const uint8_t *)text + length));
}

/* -- the module ----------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"send_many", send_many, METH_VARARGS, send_many_doc},
    {"send_rows", send_rows, METH_O, send_rows_doc},
    {"send_rows_between", send_rows_between, METH_VARARGS, send_rows_between_doc},
    {"parse_frames", parse_frames, METH_VARARGS, parse_frames_doc},
    {"open_epoll", open_epoll, METH_NOARGS, open_epoll_doc},
    {"seat", seat, METH_VARARGS, seat_doc},
    {"unseat", unseat, METH_VARARGS, unseat_doc},
    {"unseat_all", unseat_all, METH_O, unseat_all_doc},
    {"watch", watch, METH_VARARGS, watch_doc},
    {"expect", expect, METH_VARARGS, expect_doc},
    {"receive", receive, METH_O, receive_doc},
    {"read_head", read_head, METH_O, read_head_doc},
    {"read_command", read_command, METH_O, read_command_doc},
    {"encode_reply", encode_reply, METH_VARARGS, encode_reply_doc},
    {"is_suspect", is_suspect, METH_O, is_suspect_doc},
    {"use_opcodes", use_opcodes, METH_VARARGS, use_opcodes_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The optional accelerator of Openline.", -1, methods, NULL, NULL, NULL, NULL,
};

/* Counts the changes to what is offered here; openline.accelerator wants the number it was written for. */
enum { REVISION = 8 };

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddIntConstant(module, "REVISION", REVISION) < 0)
        Py_CLEAR(module);
    return module;
}
