/* The beaten path of the media plane, packet by packet, without the interpreter.
 *
 * Does what sipbot.media.receiving and sipbot.media.sending do with arrays, on the same arrays, for
 * packets that are exactly the expected next ones of their streams. Whatever needs a decision is
 * given back to Python. The module is optional: without it the plane does all of it with numpy.
 * tests/media run both ways.
 *
 * The arrays are bound once (see TABLES in fast.py for their order and types) and never move.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MAX_EVENTS 2048
#define HEADER_BYTES 12
#define MAX_WIDTH 480 /* samples a packet: 60 ms */
#define MARKER_BIT (1ULL << 55)
#define CAPSULE "sipbot.media._fast.Tables"

enum {
    LAST_WORD, STEP, SSRC, WIDTH, MULAW, LOOPBACK, SECURED, AUDIO_AT, FED, STANDING,
    BYTES_RECEIVED, EXTENDED_MAX, RECEIVED, TRANSIT, JITTER16,
    DUE, PERIOD, FRAME, ORIGIN, SEQUENCE, PACKETS_SENT, BYTES_SENT, FIRST_WORD, LOCAL_SSRC, MARKER,
    LATE_DEPARTURES, SEND_FDS,
    RX_HEAD, RX_TAIL, RX_OVERRUN, RX_SAMPLES, TX_HEAD, TX_TAIL, TX_OVERRUN, TX_SAMPLES,
    DECODE_A, DECODE_MU, ENCODE_A, ENCODE_MU, TABLE_COUNT
};

typedef struct {
    Py_buffer views[TABLE_COUNT];
    int64_t slots, ring; /* rows of the tables; samples of a ring */
    int64_t max_transit_step, most_echo, most_standing, samples_per_tick;
} Tables;

#define COLUMN(tables, type, name) ((type *)(tables)->views[name].buf)

static void release_tables(PyObject *capsule)
{
    Tables *tables = PyCapsule_GetPointer(capsule, CAPSULE);

    for (int i = 0; tables != NULL && i < TABLE_COUNT; i++)
        PyBuffer_Release(&tables->views[i]);
    PyMem_Free(tables);
}

PyDoc_STRVAR(bind_doc,
"bind(arrays, slots, ring, max_transit_step, most_echo, most_standing, samples_per_tick)\n"
"\n"
"Returns a handle of the arrays for the other functions. ValueError if one is too small.");

static PyObject *bind_tables(PyObject *self, PyObject *args)
{
    PyObject *arrays, *capsule;
    Tables *tables = PyMem_Calloc(1, sizeof *tables);

    (void)self;
    if (tables == NULL)
        return PyErr_NoMemory();
    if (!PyArg_ParseTuple(args, "O!LLLLLL", &PyTuple_Type, &arrays, &tables->slots, &tables->ring,
                          &tables->max_transit_step, &tables->most_echo, &tables->most_standing,
                          &tables->samples_per_tick)) {
        PyMem_Free(tables);
        return NULL;
    }
    capsule = PyCapsule_New(tables, CAPSULE, release_tables);
    if (capsule == NULL) {
        PyMem_Free(tables);
        return NULL;
    }
    for (int i = 0; i < TABLE_COUNT; i++) {
        int64_t items = i >= ENCODE_A ? 65536 : i >= DECODE_A ? 256 : tables->slots;
        PyObject *array = i < PyTuple_GET_SIZE(arrays) ? PyTuple_GET_ITEM(arrays, i) : Py_None;

        if (i == RX_SAMPLES || i == TX_SAMPLES)
            items *= tables->ring;
        if (PyObject_GetBuffer(array, &tables->views[i],
                               i >= DECODE_A ? PyBUF_ND : PyBUF_ND | PyBUF_WRITABLE) < 0) {
            Py_DECREF(capsule);
            return NULL;
        }
        if (tables->views[i].len < items * tables->views[i].itemsize) {
            PyErr_Format(PyExc_ValueError, "array %d is too small", i);
            Py_DECREF(capsule);
            return NULL;
        }
    }
    return capsule;
}

static uint64_t big_endian64(const uint8_t *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    return __builtin_bswap64(word);
}

static uint32_t big_endian32(const uint8_t *bytes)
{
    uint32_t word;

    memcpy(&word, bytes, sizeof word);
    return __builtin_bswap32(word);
}

/* --- receiving --------------------------------------------------------------------------------- */

static int is_next(const Tables *t, int64_t slot, const uint8_t *packet, ssize_t length)
{
    return !COLUMN(t, uint8_t, SECURED)[slot] &&
           length == COLUMN(t, int64_t, WIDTH)[slot] + HEADER_BYTES &&
           big_endian64(packet) ==
               COLUMN(t, uint64_t, LAST_WORD)[slot] + COLUMN(t, uint64_t, STEP)[slot] &&
           big_endian32(packet + 8) == COLUMN(t, uint32_t, SSRC)[slot];
}

/* RFC 3550 A.3 and A.8, reduced to what packets in order need. */
static void count_packet(Tables *t, int64_t slot, uint64_t word, uint32_t arrival)
{
    int64_t *jitter = &COLUMN(t, int64_t, JITTER16)[slot];
    int64_t *transit = &COLUMN(t, int64_t, TRANSIT)[slot];
    int64_t now = (int32_t)(arrival - (uint32_t)word);
    int64_t step = now > *transit ? now - *transit : *transit - now;

    COLUMN(t, int64_t, EXTENDED_MAX)[slot]++;
    COLUMN(t, int64_t, RECEIVED)[slot]++;
    COLUMN(t, int64_t, BYTES_RECEIVED)[slot] += COLUMN(t, int64_t, WIDTH)[slot];
    step -= (*jitter + 8) >> 4;
    if (step <= t->max_transit_step)
        *jitter += step;
    *transit = now;
}

/* Decode into the ring at `head_name`; what does not fit is lost and counted. */
static void push(Tables *t, int64_t slot, int head_name, const uint8_t *codes, int64_t width)
{
    const int16_t *table =
        COLUMN(t, int16_t, COLUMN(t, uint8_t, MULAW)[slot] ? DECODE_MU : DECODE_A);
    int64_t *head_place = &COLUMN(t, int64_t, head_name)[slot];
    int64_t head = *head_place;
    int64_t tail = __atomic_load_n(&COLUMN(t, int64_t, head_name + 1)[slot], __ATOMIC_ACQUIRE);
    int16_t *ring = COLUMN(t, int16_t, head_name + 3) + slot * t->ring;
    int64_t room = t->ring - (head - tail);
    int64_t count = width < room ? width : room > 0 ? room : 0;
    int64_t place = head % t->ring;

    for (int64_t i = 0; i < count; i++) {
        ring[place] = table[codes[i]];
        if (++place == t->ring)
            place = 0;
    }
    COLUMN(t, int64_t, head_name + 2)[slot] += width - count;
    /* The samples first: another process may read them as soon as the head has moved. */
    __atomic_store_n(head_place, head + count, __ATOMIC_RELEASE);
}

/* Queue what came in to go out again; whether that queue has to be shortened. */
static int echo(Tables *t, int64_t slot, const uint8_t *codes, int64_t width)
{
    int64_t before = COLUMN(t, int64_t, TX_HEAD)[slot] - COLUMN(t, int64_t, TX_TAIL)[slot];
    int64_t *standing = &COLUMN(t, int64_t, STANDING)[slot];

    push(t, slot, TX_HEAD, codes, width);
    *standing = before >= width ? *standing + 1 : 0;
    return before > t->most_echo || *standing > t->most_standing;
}

/* Take the expected next packet of a stream; whether its echo has to be shortened. */
static int take(Tables *t, int64_t slot, const uint8_t *packet, double now, uint32_t arrival)
{
    uint64_t word = big_endian64(packet);
    int64_t width = COLUMN(t, int64_t, WIDTH)[slot];

    COLUMN(t, uint64_t, LAST_WORD)[slot] = word;
    COLUMN(t, double, AUDIO_AT)[slot] = now;
    COLUMN(t, int64_t, FED)[slot] = 0;
    count_packet(t, slot, word, arrival);
    if (COLUMN(t, uint8_t, LOOPBACK)[slot])
        return echo(t, slot, packet + HEADER_BYTES, width);
    push(t, slot, RX_HEAD, packet + HEADER_BYTES, width);
    return 0;
}

static PyObject *list_of(const int *numbers, int count)
{
    PyObject *list = PyList_New(count);

    for (int i = 0; list != NULL && i < count; i++) {
        PyObject *number = PyLong_FromLong(numbers[i]);

        if (number == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, i, number);
    }
    return list;
}

PyDoc_STRVAR(receive_doc,
"receive(tables, epoll_fd, now, arrival, arena, row_bytes, first, lengths, fds, connected,\n"
"        slot_of_fd, gave, again, moved) -> (rows, taken, others, trims, errors)\n"
"\n"
"Read at most one datagram of each socket that has one. Of connected sockets (`connected[fd]`) the\n"
"expected next packet is taken at once: counted, decoded and put into its ring, and `moved[slot]`\n"
"set; other packets fill rows of `arena` from `first` on, with `lengths` and `fds`. Sockets that\n"
"are not connected are left for Python: `others`. With `again` only those are read that gave a\n"
"packet the last time (`gave`, by descriptor, which is updated unless `again`). `rows` is one more\n"
"than the last row, `taken` counts packets, `trims` are slots whose echo is too long, `errors`\n"
"counts failed reads. `now` is in seconds, `arrival` the same in RTP time stamp units.");

static PyObject *receive(PyObject *self, PyObject *args)
{
    PyObject *capsule, *others, *shorten, *result = NULL;
    Tables *t;
    int epoll_fd, again, count, found = 0, errors = 0, trims = 0;
    uint8_t *giver;
    double now;
    unsigned int arrival;
    Py_ssize_t row_bytes, first, row, rows, taken = 0;
    Py_buffer arena, lengths, fds, connected, slot_of_fd, gave, moved;
    struct epoll_event events[MAX_EVENTS];
    int other[MAX_EVENTS], trim[MAX_EVENTS];

    (void)self;
    if (!PyArg_ParseTuple(args, "OidIw*nnw*w*y*y*w*pw*", &capsule, &epoll_fd, &now, &arrival,
                          &arena, &row_bytes, &first, &lengths, &fds, &connected, &slot_of_fd,
                          &gave, &again, &moved))
        return NULL;
    t = PyCapsule_GetPointer(capsule, CAPSULE);
    rows = row_bytes > 0 ? arena.len / row_bytes : 0;
    if (t == NULL || first < 0 || row_bytes < HEADER_BYTES || moved.len < t->slots ||
        lengths.len / 8 < rows || fds.len / 8 < rows || slot_of_fd.len / 8 < connected.len ||
        gave.len < connected.len) {
        if (t != NULL)
            PyErr_SetString(PyExc_ValueError, "the buffers do not fit");
        goto release;
    }
    row = first;
    giver = gave.buf;
    /* The interpreter lock is kept: to get it back could take longer than all of this. */
    count = epoll_wait(epoll_fd, events, MAX_EVENTS, 0);
    if (!again)
        memset(giver, 0, (size_t)gave.len);
    for (int i = 0; i < count && row < rows; i++) {
        int fd = events[i].data.fd;
        uint8_t *packet = (uint8_t *)arena.buf + row * row_bytes;
        ssize_t length;
        int64_t slot;

        if (fd >= connected.len || (again && !giver[fd]))
            continue;
        if (!((const uint8_t *)connected.buf)[fd]) {
            other[found++] = fd;
            continue;
        }
        length = recv(fd, packet, (size_t)row_bytes, MSG_DONTWAIT);
        if (length < 0) {
            errors += errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
            continue;
        }
        giver[fd] = 1;
        slot = ((const int64_t *)slot_of_fd.buf)[fd];
        if (slot >= 0 && slot < t->slots && is_next(t, slot, packet, length)) {
            if (take(t, slot, packet, now, arrival))
                trim[trims++] = (int)slot;
            ((uint8_t *)moved.buf)[slot] = 1;
            taken++;
            continue;
        }
        ((int64_t *)lengths.buf)[row] = length;
        ((int64_t *)fds.buf)[row] = fd;
        row++;
    }
    others = list_of(other, found);
    shorten = list_of(trim, trims);
    if (others != NULL && shorten != NULL)
        result = Py_BuildValue("nnNNi", row, taken, others, shorten, errors);
release:
    PyBuffer_Release(&arena);
    PyBuffer_Release(&lengths);
    PyBuffer_Release(&fds);
    PyBuffer_Release(&connected);
    PyBuffer_Release(&slot_of_fd);
    PyBuffer_Release(&gave);
    PyBuffer_Release(&moved);
    return result;
}

/* --- sending ----------------------------------------------------------------------------------- */

/* Plan the departure after this one; returns this one's RTP time stamp. */
static int64_t schedule(Tables *t, int64_t slot, int64_t tick)
{
    int64_t planned = COLUMN(t, int64_t, DUE)[slot], period = COLUMN(t, int64_t, PERIOD)[slot];
    int64_t behind = tick - planned;

    if (behind > 0) {
        int64_t missed = behind / period;

        COLUMN(t, int64_t, LATE_DEPARTURES)[slot] += behind > 1;
        planned += missed * period;
        if (missed > 0)
            COLUMN(t, uint8_t, MARKER)[slot] = 1; /* RFC 3551 section 4.1: a new talkspurt */
    }
    COLUMN(t, int64_t, DUE)[slot] = planned + period;
    return COLUMN(t, int64_t, ORIGIN)[slot] + planned * t->samples_per_tick;
}

/* Header and payload of the next packet; whether the ring gave anything. */
static int build(Tables *t, int64_t slot, int64_t timestamp, uint8_t *packet)
{
    const uint8_t *table =
        COLUMN(t, uint8_t, COLUMN(t, uint8_t, MULAW)[slot] ? ENCODE_MU : ENCODE_A);
    const int16_t *ring = COLUMN(t, int16_t, TX_SAMPLES) + slot * t->ring;
    int64_t frame = COLUMN(t, int64_t, FRAME)[slot];
    int64_t head = __atomic_load_n(&COLUMN(t, int64_t, TX_HEAD)[slot], __ATOMIC_ACQUIRE);
    int64_t tail = COLUMN(t, int64_t, TX_TAIL)[slot];
    int64_t given = head - tail < frame ? head - tail : frame;
    int64_t place = tail % t->ring;
    uint64_t word = COLUMN(t, uint64_t, FIRST_WORD)[slot];
    uint32_t ssrc = __builtin_bswap32(COLUMN(t, uint32_t, LOCAL_SSRC)[slot]);

    for (int64_t i = 0; i < given; i++) {
        packet[HEADER_BYTES + i] = table[(uint16_t)ring[place]];
        if (++place == t->ring)
            place = 0;
    }
    memset(packet + HEADER_BYTES + given, table[0], (size_t)(frame - given));
    __atomic_store_n(&COLUMN(t, int64_t, TX_TAIL)[slot], tail + given, __ATOMIC_RELEASE);
    word |= (uint64_t)(COLUMN(t, int64_t, SEQUENCE)[slot]++ & 0xFFFF) << 32;
    word |= (uint64_t)timestamp & 0xFFFFFFFF;
    if (COLUMN(t, uint8_t, MARKER)[slot])
        word |= MARKER_BIT;
    COLUMN(t, uint8_t, MARKER)[slot] = 0;
    COLUMN(t, int64_t, PACKETS_SENT)[slot]++;
    COLUMN(t, int64_t, BYTES_SENT)[slot] += frame;
    word = __builtin_bswap64(word);
    memcpy(packet, &word, sizeof word);
    memcpy(packet + 8, &ssrc, sizeof ssrc);
    return given > 0;
}

static int append(PyObject *list, PyObject *item)
{
    int failed = item == NULL || PyList_Append(list, item) < 0;

    Py_XDECREF(item);
    return failed;
}

PyDoc_STRVAR(send_doc,
"send(tables, tick, used, busy, moved) -> (sent, left, failed)\n"
"\n"
"Send what is due in `tick` of slots below `used`, and set `moved[slot]` where a ring gave audio.\n"
"Slots with `busy[slot]`, with SRTP, or without a connected socket are left to Python, their next\n"
"departure planned: `left` holds (slot, RTP time stamp). `failed` holds (slot, errno, packet).");

static PyObject *send_due(PyObject *self, PyObject *args)
{
    PyObject *capsule, *left = NULL, *failed = NULL, *result = NULL;
    Tables *t;
    long long tick, used, sent = 0;
    Py_buffer busy, moved;
    uint8_t packet[HEADER_BYTES + MAX_WIDTH];
    int broken = 0;

    (void)self;
    if (!PyArg_ParseTuple(args, "OLLy*w*", &capsule, &tick, &used, &busy, &moved))
        return NULL;
    t = PyCapsule_GetPointer(capsule, CAPSULE);
    if (t == NULL || used > t->slots || busy.len < used || moved.len < used) {
        if (t != NULL)
            PyErr_SetString(PyExc_ValueError, "the buffers do not fit");
        goto release;
    }
    left = PyList_New(0);
    failed = PyList_New(0);
    broken = left == NULL || failed == NULL;
    for (int64_t slot = 0; slot < used && !broken; slot++) {
        int64_t timestamp, frame = COLUMN(t, int64_t, FRAME)[slot];
        int fd = (int)COLUMN(t, int64_t, SEND_FDS)[slot];

        if (COLUMN(t, int64_t, DUE)[slot] > tick)
            continue;
        timestamp = schedule(t, slot, tick);
        if (fd < 0 || ((const uint8_t *)busy.buf)[slot] || COLUMN(t, uint8_t, SECURED)[slot] ||
            frame < 1 || frame > MAX_WIDTH) {
            broken = append(left, Py_BuildValue("LL", (long long)slot, (long long)timestamp));
            continue;
        }
        if (build(t, slot, timestamp, packet))
            ((uint8_t *)moved.buf)[slot] = 1;
        sent++;
        if (send(fd, packet, (size_t)(HEADER_BYTES + frame), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
            broken = append(failed, Py_BuildValue("Liy#", (long long)slot, errno, packet,
                                                  (Py_ssize_t)(HEADER_BYTES + frame)));
    }
    if (!broken)
        result = Py_BuildValue("LOO", sent, left, failed);
release:
    Py_XDECREF(left);
    Py_XDECREF(failed);
    PyBuffer_Release(&busy);
    PyBuffer_Release(&moved);
    return result;
}

static PyMethodDef methods[] = {
    {"bind", bind_tables, METH_VARARGS, bind_doc},
    {"receive", receive, METH_VARARGS, receive_doc},
    {"send", send_due, METH_VARARGS, send_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_fast",
    .m_doc = "The beaten path of the media plane, see sipbot.media.fast.",
    .m_size = 0,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__fast(void)
{
    return PyModule_Create(&module);
}
