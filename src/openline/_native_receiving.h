/* The part of _native.c that receives: what has come on many sockets, and who has come, read in one go.
 *
 * Sockets are seated: under the number of each stands who reads it. Seats are touched with the GIL only; between two
 * touches, what is read is read without it. Linux only: elsewhere these functions raise NotImplementedError.
 */
#include <Python.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __linux__
#include <netdb.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* `limit`: of the frames that are taken apart for the reader, -1 where it wants its bytes as they come. */
struct seat {
    PyObject *reader;
    Py_ssize_t limit;
    uint32_t events;
    int epoll, listens;
};

static struct seat *seats;
static int seat_count;

enum {
    MOST_EVENTS = 256,
    MOST_BYTES = 32768, /* of one socket in one turn: who floods does not keep others waiting */
    MOST_ACCEPTED = 64,
    KEPT_BYTES = 1 << 20, /* of what was read into, from turn to turn of whichever loop */
};

static const uint64_t LISTENS = (uint64_t)1 << 32; /* beside the number, in what epoll gives back */

static struct seat *seat_of(int descriptor)
{
    if (descriptor >= 0 && descriptor < seat_count && seats[descriptor].reader != NULL)
        return &seats[descriptor];
    PyErr_SetString(PyExc_LookupError, "nobody is seated there");
    return NULL;
}

static int has_seat_for(int descriptor)
{
    if (descriptor < seat_count)
        return 1;
    int count = seat_count ? seat_count : 256;
    while (count <= descriptor)
        count *= 2;
    struct seat *grown = PyMem_Realloc(seats, (size_t)count * sizeof(struct seat));
    if (grown == NULL)
        return 0;
    memset(grown + seat_count, 0, (size_t)(count - seat_count) * sizeof(struct seat));
    seats = grown;
    seat_count = count;
    return 1;
}

static int control(int epoll, int operation, int descriptor, uint32_t events, int listens)
{
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)(uint32_t)descriptor | (listens ? LISTENS : 0)};
    if (epoll_ctl(epoll, operation, descriptor, &event) == 0)
        return 1;
    PyErr_SetFromErrno(PyExc_OSError);
    return 0;
}

PyDoc_STRVAR(open_epoll_doc, "open_epoll()\n--\n\nA new epoll descriptor, for the functions here alone.");

static PyObject *open_epoll(PyObject *module, PyObject *unused)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    return epoll < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(epoll);
}

PyDoc_STRVAR(seat_doc,
             "seat(epoll, descriptor, reader, listens)\n--\n\n"
             "Read what comes at a descriptor, which has no seat yet, for reader; or accept who comes where it listens.");

static PyObject *seat(PyObject *module, PyObject *args)
{
    int epoll, descriptor, listens;
    PyObject *reader;
    if (!PyArg_ParseTuple(args, "iiOp", &epoll, &descriptor, &reader, &listens))
        return NULL;
    if (descriptor < 0 || (descriptor < seat_count && seats[descriptor].reader != NULL)) {
        PyErr_SetString(PyExc_ValueError, "no such descriptor, or it has a seat already");
        return NULL;
    }
    if (!has_seat_for(descriptor))
        return PyErr_NoMemory();
    if (!control(epoll, EPOLL_CTL_ADD, descriptor, EPOLLIN, listens))
        return NULL;
    Py_INCREF(reader);
    seats[descriptor] = (struct seat){reader, -1, EPOLLIN, epoll, listens};
    Py_RETURN_NONE;
}

PyDoc_STRVAR(unseat_doc,
             "unseat(epoll, descriptor)\n--\n\nRead a descriptor no more; comes before it is closed. Nothing where it has no seat.");

static PyObject *unseat(PyObject *module, PyObject *args)
{
    int epoll, descriptor;
    if (!PyArg_ParseTuple(args, "ii", &epoll, &descriptor))
        return NULL;
    if (descriptor >= 0 && descriptor < seat_count && seats[descriptor].reader != NULL) {
        struct seat old = seats[descriptor];
        seats[descriptor] = (struct seat){0};
        if (old.events)
            epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, &(struct epoll_event){0});
        Py_DECREF(old.reader);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(unseat_all_doc,
             "unseat_all(epoll)\n--\n\nRead nothing more of what was seated with an epoll descriptor, which may be closed then.");

static PyObject *unseat_all(PyObject *module, PyObject *number)
{
    long epoll = PyLong_AsLong(number);
    if (epoll == -1 && PyErr_Occurred())
        return NULL;
    /* Who is released may seat others: the table is looked at anew each time. */
    for (int i = 0; i < seat_count; i++) {
        if (seats[i].reader == NULL || seats[i].epoll != epoll)
            continue;
        PyObject *reader = seats[i].reader;
        seats[i] = (struct seat){0};
        Py_DECREF(reader);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(watch_doc,
             "watch(epoll, descriptor, reading, writing)\n--\n\nSay what a seated descriptor is watched for.");

static PyObject *watch(PyObject *module, PyObject *args)
{
    int epoll, descriptor, reading, writing;
    if (!PyArg_ParseTuple(args, "iipp", &epoll, &descriptor, &reading, &writing))
        return NULL;
    struct seat *seat = seat_of(descriptor);
    if (seat == NULL)
        return NULL;
    uint32_t events = (reading ? EPOLLIN : 0) | (writing ? EPOLLOUT : 0);
    if (events == seat->events)
        Py_RETURN_NONE;
    /* Not watched for anything it leaves: a peer that is gone would show again and again. */
    int operation = !events ? EPOLL_CTL_DEL : seat->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (!control(epoll, operation, descriptor, events, seat->listens))
        return NULL;
    seat->events = events;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(expect_doc,
             "expect(descriptor, reader, limit)\n--\n\n"
             "From now on reader gets what comes at a seated descriptor: plain frames whose payload has limit bytes at\n"
             "most, and what is left; with -1 everything as it comes.");

static PyObject *expect(PyObject *module, PyObject *args)
{
    int descriptor;
    PyObject *reader;
    Py_ssize_t limit;
    if (!PyArg_ParseTuple(args, "iOn", &descriptor, &reader, &limit))
        return NULL;
    struct seat *seat = seat_of(descriptor);
    if (seat == NULL)
        return NULL;
    PyObject *old = seat->reader;
    Py_INCREF(reader);
    seat->reader = reader;
    seat->limit = limit;
    Py_DECREF(old);
    Py_RETURN_NONE;
}

/* -- what happens without the GIL */

/* What was found at one descriptor: `size` bytes at `offset`, 0 at the end, or less: minus errno. */
struct found {
    int descriptor, writable, readable;
    size_t offset;
    ssize_t size;
};

struct arrival {
    int listener, descriptor; /* the latter minus errno where nobody could be accepted */
    char host[NI_MAXHOST];
};

struct arena {
    char *bytes;
    size_t size, room;
};

struct turn {
    struct arena arena;
    struct found found[MOST_EVENTS];
    struct arrival *arrivals;
    int found_count, arrival_count, failed;
};

/* What the turn before was read into; nothing while a turn has it. Touched with the GIL only. */
static struct arena kept;

static struct arena take_arena(void)
{
    struct arena taken = kept;
    kept = (struct arena){0};
    taken.size = 0;
    return taken;
}

static void give_back(struct arena arena)
{
    if (kept.bytes != NULL || arena.room > KEPT_BYTES)
        free(arena.bytes);
    else
        kept = arena;
}

static int has_room(struct arena *arena, size_t wanted)
{
    if (arena->room - arena->size >= wanted)
        return 1;
    size_t room = arena->room ? arena->room : 4 * MOST_BYTES;
    while (room - arena->size < wanted)
        room *= 2;
    char *grown = realloc(arena->bytes, room);
    if (grown == NULL)
        return 0;
    arena->bytes = grown;
    arena->room = room;
    return 1;
}

/* Reads once; nothing is found where there was a false alarm. */
static void read_one(struct turn *turn, int descriptor, uint32_t events)
{
    struct arena *arena = &turn->arena;
    struct found *found = &turn->found[turn->found_count];
    /* An error of a socket that is not watched for reading shows where it is written to. */
    int writable = (events & EPOLLOUT) || (!(events & EPOLLIN) && (events & (EPOLLERR | EPOLLHUP)));
    *found = (struct found){descriptor, writable, 0, arena->size, 0};
    if (events & EPOLLIN) {
        if (!has_room(arena, MOST_BYTES))
            return; /* it will be there in the next turn, too */
        do {
            found->size = recv(descriptor, arena->bytes + arena->size, MOST_BYTES, MSG_DONTWAIT);
        } while (found->size < 0 && errno == EINTR);
        found->readable = !(found->size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
        if (found->size < 0)
            found->size = -errno;
        else
            arena->size += (size_t)found->size;
    }
    turn->found_count += found->readable || found->writable;
}

/* Accepts who has come; sockets do not block, and no child of ours inherits them. */
static void accept_some(struct turn *turn, int listener)
{
    if (turn->arrivals == NULL)
        turn->arrivals = malloc(MOST_ACCEPTED * sizeof(struct arrival));
    while (turn->arrivals != NULL && turn->arrival_count < MOST_ACCEPTED) {
        struct sockaddr_storage address;
        socklen_t size = sizeof address;
        int descriptor = accept4(listener, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (descriptor < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        struct arrival *arrival = &turn->arrivals[turn->arrival_count++];
        *arrival = (struct arrival){.listener = listener, .descriptor = descriptor < 0 ? -errno : descriptor};
        if (descriptor < 0)
            return;
        getnameinfo((struct sockaddr *)&address, size, arrival->host, sizeof arrival->host, NULL, 0, NI_NUMERICHOST);
    }
}

static void take_turn(struct turn *turn, int epoll)
{
    struct epoll_event events[MOST_EVENTS];
    int count = epoll_wait(epoll, events, MOST_EVENTS, 0);
    for (int i = 0; i < count; i++) {
        int descriptor = (int)(uint32_t)events[i].data.u64;
        if (events[i].data.u64 & LISTENS)
            accept_some(turn, descriptor);
        else
            read_one(turn, descriptor, events[i].events);
    }
}

/* -- what is told of it */

/* Appends (reader, what, more), stealing what and more; 0 with an error set. */
static int tell(PyObject *list, PyObject *reader, PyObject *what, PyObject *more)
{
    PyObject *entry = what == NULL || more == NULL ? NULL : PyTuple_Pack(3, reader, what, more);
    Py_XDECREF(what);
    Py_XDECREF(more);
    int good = entry != NULL && PyList_Append(list, entry) == 0;
    Py_XDECREF(entry);
    return good;
}

static PyObject *new_none(void)
{
    Py_INCREF(Py_None);
    return Py_None;
}

static int tell_bytes(PyObject *list, const struct seat *seat, const char *bytes, Py_ssize_t size)
{
    Py_ssize_t start = 0;
    PyObject *items = PyList_New(0);
    if (items != NULL && seat->limit >= 0 &&
        !append_plain(items, (const uint8_t *)bytes, size, &start, (size_t)seat->limit))
        Py_CLEAR(items);
    return tell(list, seat->reader, items, PyBytes_FromStringAndSize(bytes + start, size - start));
}

static int tell_seated(PyObject *list, const struct seat *seat, const struct found *found, const char *bytes)
{
    if (found->writable && !tell(list, seat->reader, new_none(), PyLong_FromLong(-1)))
        return 0;
    if (!found->readable)
        return 1;
    if (found->size <= 0)
        return tell(list, seat->reader, new_none(), PyLong_FromLong((long)-found->size));
    return tell_bytes(list, seat, bytes + found->offset, (Py_ssize_t)found->size);
}

/* A copy of a seat, whose reader is to be released; nobody's where it was left meanwhile. What is told is made of new
 * objects, any of which may begin a collection of garbage: what that runs, in this thread or another, may change seats. */
static struct seat held_seat(int descriptor)
{
    if (descriptor >= seat_count || seats[descriptor].reader == NULL)
        return (struct seat){0};
    Py_INCREF(seats[descriptor].reader);
    return seats[descriptor];
}

static int tell_found(PyObject *list, const struct found *found, const char *bytes)
{
    struct seat seat = held_seat(found->descriptor);
    int good = seat.reader == NULL || tell_seated(list, &seat, found, bytes);
    Py_XDECREF(seat.reader);
    return good;
}

static int tell_arrival(PyObject *list, const struct arrival *arrival)
{
    struct seat seat = held_seat(arrival->listener);
    if (seat.reader == NULL) {
        if (arrival->descriptor >= 0)
            close(arrival->descriptor);
        return 1;
    }
    int good = tell(list, seat.reader, PyLong_FromLong(arrival->descriptor), PyUnicode_FromString(arrival->host));
    Py_DECREF(seat.reader);
    return good;
}

PyDoc_STRVAR(receive_doc, "receive(epoll)\n--\n\nSee openline.transports.receiver.Receiver.");

static PyObject *receive(PyObject *module, PyObject *number)
{
    long epoll = PyLong_AsLong(number);
    if (epoll == -1 && PyErr_Occurred())
        return NULL;
    struct turn turn;
    turn.arrivals = NULL;
    turn.found_count = turn.arrival_count = 0;
    turn.arena = take_arena();
    Py_BEGIN_ALLOW_THREADS
    take_turn(&turn, (int)epoll);
    Py_END_ALLOW_THREADS
    PyObject *list = PyList_New(0);
    int good = list != NULL;
    for (int i = 0; good && i < turn.found_count; i++)
        good = tell_found(list, &turn.found[i], turn.arena.bytes);
    for (int i = 0; good && i < turn.arrival_count; i++)
        good = tell_arrival(list, &turn.arrivals[i]);
    free(turn.arrivals);
    give_back(turn.arena);
    if (!good)
        Py_CLEAR(list);
    return list;
}

#else

#define NOT_HERE(name)                                                                                                 \
    PyDoc_STRVAR(name##_doc, "Only on Linux.");                                                                        \
    static PyObject *name(PyObject *module, PyObject *args)                                                            \
    {                                                                                                                  \
        PyErr_SetString(PyExc_NotImplementedError, "only on Linux");                                                   \
        return NULL;                                                                                                   \
    }

NOT_HERE(open_epoll)
NOT_HERE(seat)
NOT_HERE(unseat)
NOT_HERE(unseat_all)
NOT_HERE(watch)
NOT_HERE(expect)
NOT_HERE(receive)

#endif
