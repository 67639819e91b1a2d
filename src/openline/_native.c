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
 *   answer_event  openline.hub.dispatch  a plain event from its message to the frame that answers it
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
#include "_native_answers.h"
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
    {"answer_event", (PyCFunction)(void (*)(void))answer_event, METH_FASTCALL, answer_event_doc},
    {"use_opcodes", use_opcodes, METH_VARARGS, use_opcodes_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The optional accelerator of Openline.", -1, methods, NULL, NULL, NULL, NULL,
};

/* Counts the changes to what is offered here; openline.accelerator wants the number it was written for. */
enum { REVISION = 9 };

PyMODINIT_FUNC PyInit__native(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module != NULL && PyModule_AddIntConstant(module, "REVISION", REVISION) < 0)
        Py_CLEAR(module);
    return module;
}
