/* The optional accelerator: the inner loops of a line, each with a pure-Python twin that has the same contract.
 *
 *   send_many     openline.transports.fanout   the same bytes to many descriptors, without the GIL
 *   send_rows     openline.transports.fanout   several bytes to several such lists, one call of the system per descriptor
 *   parse_frames  openline.protocol.frames     plain WebSocket frames out of what one read brought (RFC 6455 section 5)
 *   is_suspect    openline.protocol.strict_json  whether JSON text may hold what not every parser can read
 *
 * Written against the stable ABI of Python 3.11. Without a compiler the package installs and works without this file.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#include "_native_sending.h"

/* -- parse_frames --------------------------------------------------------------------------------------------- */

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

PyDoc_STRVAR(parse_frames_doc,
             "parse_frames(data, start, limit)\n--\n\nSee openline.protocol.frames.parse_frames.");

static PyObject *parse_frames(PyObject *module, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t start, limit;
    if (!PyArg_ParseTuple(args, "y*nn", &data, &start, &limit))
        return NULL;
    PyObject *items = PyList_New(0), *result = NULL;
    const uint8_t *first = data.buf, *end = first + data.len;
    struct frame frame;
    if (start < 0 || limit < 0 || opcodes[TEXT] == NULL) {
        PyErr_SetString(PyExc_ValueError, "start and limit are 0 or more, and use_opcodes comes first");
        Py_CLEAR(items);
    }
    while (items != NULL && start <= data.len && read_plain(first + start, end, (size_t)limit, &frame)) {
        PyObject *item = item_of(&frame);
        if (item == NULL) {
            if (PyErr_Occurred())
                Py_CLEAR(items);
            break;
        }
        if (PyList_Append(items, item) < 0)
            Py_CLEAR(items);
        Py_DECREF(item);
        start = frame.body + frame.length - first;
    }
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
    {"is_suspect", is_suspect, METH_O, is_suspect_doc},
    {"use_opcodes", use_opcodes, METH_VARARGS, use_opcodes_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The optional accelerator of Openline.", -1, methods, NULL, NULL, NULL, NULL,
};

/* Counts the changes to what is offered here; openline.accelerator wants the number it was written for. */
enum { REVISION = 4 };

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddIntConstant(module, "REVISION", REVISION) < 0)
        Py_CLEAR(module);
    return module;
}
