/* The part of _native.c that sends: the same bytes to many descriptors, and several bytes to several such lists.
 *
 * Memory is got and given back with the GIL; between the two, what is sent is sent without it.
 */
#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* -- send_many ------------------------------------------------------------------------------------------------ */

struct shortfall {
    Py_ssize_t index;
    Py_ssize_t taken; /* -1: the peer is gone */
};

/* What one send took; -1 where the peer is gone, 0 where the descriptor takes nothing now. */
static Py_ssize_t send_once(int descriptor, const char *data, size_t size)
{
    ssize_t taken;
    do {
        taken = send(descriptor, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (taken < 0 && errno == EINTR);
    if (taken < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    return taken;
}

/* Sends from `*next` on until `shorts` is full or all is sent up to `stop`; returns how many fell short. Runs without the GIL. */
static Py_ssize_t send_run(const int *descriptors, Py_ssize_t stop, const char *data, Py_ssize_t size,
                           struct shortfall *shorts, Py_ssize_t room, Py_ssize_t *next)
{
    Py_ssize_t count = 0, index = *next;
    for (; index < stop && count < room; index++) {
        if (descriptors[index] < 0)
            continue;
        Py_ssize_t taken = send_once(descriptors[index], data, (size_t)size);
        if (taken != size)
            shorts[count++] = (struct shortfall){index, taken};
    }
    *next = index;
    return count;
}

static int append_shortfalls(PyObject *list, const struct shortfall *shorts, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *pair = Py_BuildValue("(nn)", shorts[i].index, shorts[i].taken);
        if (pair == NULL)
            return -1;
        int failed = PyList_Append(list, pair);
        Py_DECREF(pair);
        if (failed)
            return -1;
    }
    return 0;
}

PyDoc_STRVAR(send_many_doc,
             "send_many(descriptors, start, stop, data)\n--\n\n"
             "See openline.transports.fanout.send_many; descriptors is an array('i').");

static PyObject *send_many(PyObject *module, PyObject *args)
{
    Py_buffer descriptors, data;
    Py_ssize_t start, stop;
    if (!PyArg_ParseTuple(args, "y*nny*", &descriptors, &start, &stop, &data))
        return NULL;
    PyObject *list = NULL;
    if (start < 0 || stop > descriptors.len / (Py_ssize_t)sizeof(int)) {
        PyErr_SetString(PyExc_ValueError, "start and stop lie beyond the descriptors");
        goto done;
    }
    list = PyList_New(0);
    struct shortfall shorts[64];
    for (Py_ssize_t next = start; list != NULL && next < stop;) {
        Py_ssize_t count;
        Py_BEGIN_ALLOW_THREADS
        count = send_run(descriptors.buf, stop, data.buf, data.len, shorts, 64, &next);
        Py_END_ALLOW_THREADS
        if (append_shortfalls(list, shorts, count) < 0)
            Py_CLEAR(list);
    }
done:
    PyBuffer_Release(&descriptors);
    PyBuffer_Release(&data);
    return list;
}

/* -- send_rows ------------------------------------------------------------------------------------------------ */

/* One of the rows: bytes, and the descriptors that they go to. */
struct row {
    Py_buffer descriptors, data;
    int alone; /* where there is one descriptor and no array */
    const int *first;
    Py_ssize_t count;
};

/* One thing to send to one descriptor; `next` is the one behind it, -1 at the end. */
struct piece {
    int row, next;
};

/* All that one descriptor is to get, and where it stands in the first row that has it. */
struct member {
    int descriptor, first, last;
    Py_ssize_t place;
    Py_ssize_t taken; /* as of a shortfall */
    int fell_short;
};

struct batch {
    struct row *rows;
    struct piece *pieces;
    struct member *members;
    int row_count, piece_count, member_count;
    int start, stop; /* descriptors from the one to the other count */
    int following;   /* the least one from `stop` on; -1 */
};

/* Which member has a descriptor, as its index and one; 0 for none. Touched with the GIL only, and all 0 in between. */
static int *member_of;
static int member_of_size;

static int has_room_for(int descriptor)
{
    if (descriptor < member_of_size)
        return 1;
    int size = member_of_size ? member_of_size : 1024;
    while (size <= descriptor)
        size *= 2;
    int *grown = PyMem_Realloc(member_of, (size_t)size * sizeof(int));
    if (grown == NULL)
        return 0;
    memset(grown + member_of_size, 0, (size_t)(size - member_of_size) * sizeof(int));
    member_of = grown;
    member_of_size = size;
    return 1;
}

/* Puts a piece behind those that the descriptor has; 0 where there is no memory. */
static int add_piece(struct batch *batch, int row, Py_ssize_t place, int descriptor)
{
    if (!has_room_for(descriptor))
        return 0;
    int index = batch->piece_count++;
    batch->pieces[index] = (struct piece){row, -1};
    int known = member_of[descriptor];
    if (known) {
        struct member *member = &batch->members[known - 1];
        batch->pieces[member->last].next = index;
        member->last = index;
    } else {
        batch->members[batch->member_count++] = (struct member){descriptor, index, index, place, 0, 0};
        member_of[descriptor] = batch->member_count;
    }
    return 1;
}

static int sort_by_member(struct batch *batch)
{
    int good = 1;
    for (int row = 0; good && row < batch->row_count; row++) {
        const struct row *from = &batch->rows[row];
        for (Py_ssize_t place = 0; good && place < from->count; place++) {
            int descriptor = from->first[place];
            if (descriptor >= batch->stop)
                batch->following = batch->following < 0 || descriptor < batch->following ? descriptor : batch->following;
            else if (descriptor >= batch->start)
                good = add_piece(batch, row, place, descriptor);
        }
    }
    for (int i = 0; i < batch->member_count; i++)
        member_of[batch->members[i].descriptor] = 0;
    return good;
}

enum { MOST_AT_ONCE = 64 };

/* Sends up to MOST_AT_ONCE pieces from `*at` on, which moves behind them; what was taken, or as send_once. */
static Py_ssize_t send_some(const struct batch *batch, int descriptor, int *at, size_t *wanted)
{
    struct iovec parts[MOST_AT_ONCE];
    size_t count = 0;
    *wanted = 0;
    for (; *at >= 0 && count < MOST_AT_ONCE; *at = batch->pieces[*at].next) {
        const Py_buffer *data = &batch->rows[batch->pieces[*at].row].data;
        parts[count++] = (struct iovec){data->buf, (size_t)data->len};
        *wanted += (size_t)data->len;
    }
    if (count == 1)
        return send_once(descriptor, parts[0].iov_base, parts[0].iov_len);
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t taken;
    do {
        taken = sendmsg(descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (taken < 0 && errno == EINTR);
    if (taken < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    return taken;
}

enum { MOST_JOINED = 1 << 14 };

/* What members that get the same rows share: small pieces leave faster as one than as many. */
struct joined {
    int first; /* of the pieces that are joined here; -1 */
    size_t size;
    char data[MOST_JOINED];
};

/* Whether the pieces from one on, and those from another one on, are of the same rows. */
static int same_rows(const struct batch *batch, int one, int other)
{
    while (one >= 0 && other >= 0 && batch->pieces[one].row == batch->pieces[other].row) {
        one = batch->pieces[one].next;
        other = batch->pieces[other].next;
    }
    return one < 0 && other < 0;
}

/* Joins the pieces from `first` on, unless they are there already; 0 where they are too many bytes. */
static int join(const struct batch *batch, int first, struct joined *joined)
{
    if (joined->first >= 0 && same_rows(batch, joined->first, first))
        return 1;
    joined->first = -1;
    joined->size = 0;
    for (int at = first; at >= 0; at = batch->pieces[at].next) {
        const Py_buffer *data = &batch->rows[batch->pieces[at].row].data;
        if ((size_t)data->len > MOST_JOINED - joined->size)
            return 0;
        memcpy(joined->data + joined->size, data->buf, (size_t)data->len);
        joined->size += (size_t)data->len;
    }
    joined->first = first;
    return 1;
}

static void send_to_member(const struct batch *batch, struct member *member, struct joined *joined)
{
    if (batch->pieces[member->first].next >= 0 && join(batch, member->first, joined)) {
        member->taken = send_once(member->descriptor, joined->data, joined->size);
        member->fell_short = member->taken != (Py_ssize_t)joined->size;
        return;
    }
    size_t wanted;
    for (int at = member->first; at >= 0;) {
        Py_ssize_t taken = send_some(batch, member->descriptor, &at, &wanted);
        if (taken < 0 && member->taken == 0)
            member->taken = -1;
        else if (taken > 0)
            member->taken += taken;
        if (taken != (Py_ssize_t)wanted) {
            member->fell_short = 1;
            return;
        }
    }
}

/* A new (row, place, taken, rows): the first row that has the member, and all of them. */
static PyObject *shortfall_of(const struct batch *batch, const struct member *member)
{
    PyObject *rows = PyList_New(0);
    for (int at = member->first; rows != NULL && at >= 0; at = batch->pieces[at].next) {
        PyObject *row = PyLong_FromLong(batch->pieces[at].row);
        if (row == NULL || PyList_Append(rows, row) < 0)
            Py_CLEAR(rows);
        Py_XDECREF(row);
    }
    if (rows == NULL)
        return NULL;
    return Py_BuildValue("(innN)", batch->pieces[member->first].row, member->place, member->taken, rows);
}

static PyObject *shortfalls_of(const struct batch *batch)
{
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && i < batch->member_count; i++) {
        if (!batch->members[i].fell_short)
            continue;
        PyObject *shortfall = shortfall_of(batch, &batch->members[i]);
        if (shortfall == NULL || PyList_Append(list, shortfall) < 0)
            Py_CLEAR(list);
        Py_XDECREF(shortfall);
    }
    return list;
}

/* Takes hold of what a (descriptors or descriptor, count, data) names; 0 with an error set where it is no such row. */
static int read_row(PyObject *from, struct row *row)
{
    PyObject *target, *data;
    if (!PyTuple_Check(from))
        return PyErr_Format(PyExc_TypeError, "a row is a tuple, not %R", Py_TYPE(from)) != NULL;
    if (!PyArg_ParseTuple(from, "OnO", &target, &row->count, &data))
        return 0;
    int lone = PyLong_Check(target);
    if (lone)
        row->alone = (int)PyLong_AsLong(target);
    if (lone ? PyErr_Occurred() != NULL : PyObject_GetBuffer(target, &row->descriptors, PyBUF_SIMPLE) < 0)
        return 0;
    row->first = lone ? &row->alone : row->descriptors.buf;
    Py_ssize_t most = lone ? 1 : row->descriptors.len / (Py_ssize_t)sizeof(int);
    if (row->count < 0 || row->count > most) {
        PyErr_SetString(PyExc_ValueError, "a row ends beyond its descriptors");
        return 0;
    }
    return PyObject_GetBuffer(data, &row->data, PyBUF_SIMPLE) == 0;
}

static void release(struct batch *batch)
{
    for (int i = 0; i < batch->row_count; i++) {
        if (batch->rows[i].descriptors.obj != NULL)
            PyBuffer_Release(&batch->rows[i].descriptors);
        if (batch->rows[i].data.obj != NULL)
            PyBuffer_Release(&batch->rows[i].data);
    }
    PyMem_Free(batch->rows);
    PyMem_Free(batch->pieces);
    PyMem_Free(batch->members);
}

/* Reads all rows and makes room for what they need; 0 with an error set. */
static int prepare(struct batch *batch, PyObject *rows)
{
    if (!PyList_Check(rows))
        return PyErr_Format(PyExc_TypeError, "rows are a list, not %R", Py_TYPE(rows)) != NULL;
    Py_ssize_t count = PyList_Size(rows), pieces = 0;
    batch->rows = PyMem_Calloc((size_t)count + 1, sizeof(struct row));
    for (; batch->rows != NULL && batch->row_count < count; batch->row_count++) {
        struct row *row = &batch->rows[batch->row_count];
        if (!read_row(PyList_GetItem(rows, batch->row_count), row)) {
            batch->row_count++;
            return 0;
        }
        pieces += row->count;
    }
    batch->pieces = PyMem_Malloc(((size_t)pieces + 1) * sizeof(struct piece));
    batch->members = PyMem_Malloc(((size_t)pieces + 1) * sizeof(struct member));
    if (batch->rows == NULL || batch->pieces == NULL || batch->members == NULL || pieces > INT32_MAX ||
        !sort_by_member(batch)) {
        PyErr_NoMemory();
        return 0;
    }
    return 1;
}

/* A new list of what fell short, and in `following` the least descriptor from `stop` on; NULL with an error set. */
static PyObject *send_batch(PyObject *rows, int start, int stop, int *following)
{
    struct batch batch = {.start = start, .stop = stop, .following = -1};
    PyObject *list = NULL;
    if (prepare(&batch, rows)) {
        struct joined joined;
        joined.first = -1;
        Py_BEGIN_ALLOW_THREADS
        for (int i = 0; i < batch.member_count; i++)
            send_to_member(&batch, &batch.members[i], &joined);
        Py_END_ALLOW_THREADS
        list = shortfalls_of(&batch);
    }
    *following = batch.following;
    release(&batch);
    return list;
}

PyDoc_STRVAR(send_rows_doc, "send_rows(rows)\n--\n\nSee openline.transports.fanout.send_rows.");

static PyObject *send_rows(PyObject *module, PyObject *rows)
{
    int following;
    return send_batch(rows, 0, INT_MAX, &following);
}

PyDoc_STRVAR(send_rows_between_doc,
             "send_rows_between(rows, start, stop)\n--\n\nSee openline.transports.fanout.send_rows_between.");

static PyObject *send_rows_between(PyObject *module, PyObject *args)
{
    PyObject *rows;
    int start, stop, following;
    if (!PyArg_ParseTuple(args, "Oii", &rows, &start, &stop))
        return NULL;
    if (start < 0) {
        PyErr_SetString(PyExc_ValueError, "start is below 0");
        return NULL;
    }
    PyObject *list = send_batch(rows, start, stop, &following);
    return list == NULL ? NULL : Py_BuildValue("(Ni)", list, following);
}
