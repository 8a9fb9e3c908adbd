/* The load generator of the RTP echo benchmark.
 *
 * Plays peers of 20 ms PCMA each: one UDP socket a call, sends spread evenly over the 20 ms and
 * paced by the monotonic clock, those of the same 200 us together (so up to 100 calls one by one). Each payload carries a magic number, the call, the packet's number
 * and the time of sending, all of which survive A-law to linear and back; what comes back is found
 * by them wherever in a payload it starts, so that a device that re-frames the audio is measured
 * as well as one that returns packets.
 *
 * usage: rtp_load HOST SECONDS WARMUP_SECONDS PID PORT...
 * PID is the device under test (CPU from /proc/PID/stat, 0: none), one PORT a call. Packets sent
 * during warm-up do not count, nor does CPU used then. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PACKET_NS 20000000LL
#define STEP_NS 200000LL /* a finer pace would make this program spin */
#define PAYLOAD 160
#define HEADER 12
#define EVENTS 512
#define TAIL_NS 500000000LL /* what comes later than this after the last packet is lost */
#define LATE_NS 30000000LL

static const unsigned char magic[4] = {0x5a, 0x69, 0x71, 0x47};

struct call {
    int fd;
    uint32_t ssrc, next;      /* next packet number to send */
    uint16_t sequence;
    unsigned char *seen;      /* by packet number */
    int64_t arrived;          /* of the last packet back, for spacing */
};

struct tag {
    unsigned char magic[4];
    uint32_t call, number;
    int64_t sent;
} __attribute__((packed));

static struct call *calls;
static int call_count;
static uint32_t first_counted, packet_limit;
static uint32_t *delays_us;
static size_t delay_count, delay_room;
static unsigned long received, duplicates, strange, late, send_errors, wide_gaps;
static int64_t max_spacing, max_lag; /* of what comes back; of our own sending */

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* User and system CPU time of a process in seconds; 0 if there is none. */
static double cpu_seconds(int pid)
{
    char path[64], text[1024], *fields;
    unsigned long user = 0, system = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = pid ? fopen(path, "r") : NULL;
    if (!file)
        return 0.0;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    fields = strrchr(text, ')');
    if (fields)
        sscanf(fields + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void open_call(struct call *call, const char *host, int port, int poll, int number)
{
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = (uint32_t)number};
    int room = 1 << 20;

    call->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    call->seen = calloc(packet_limit, 1);
    call->ssrc = 0x10000000u + (uint32_t)number;
    if (inet_pton(AF_INET, host, &there.sin_addr) != 1 || call->fd < 0 || !call->seen ||
        connect(call->fd, (struct sockaddr *)&there, sizeof there) < 0) {
        perror("rtp_load: open");
        exit(1);
    }
    setsockopt(call->fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    epoll_ctl(poll, EPOLL_CTL_ADD, call->fd, &wanted);
}

static void send_one(struct call *call)
{
    unsigned char packet[HEADER + PAYLOAD];
    struct tag tag = {.call = call->ssrc, .number = call->next};
    uint32_t timestamp = htonl(call->next * PAYLOAD), ssrc = htonl(call->ssrc);
    uint16_t sequence = htons(call->sequence);

    packet[0] = 0x80;
    packet[1] = 8;
    memcpy(packet + 2, &sequence, 2);
    memcpy(packet + 4, &timestamp, 4);
    memcpy(packet + 8, &ssrc, 4);
    memset(packet + HEADER, 0xd5, PAYLOAD);
    memcpy(tag.magic, magic, sizeof magic);
    tag.sent = now_ns();
    memcpy(packet + HEADER, &tag, sizeof tag);
    if (send(call->fd, packet, sizeof packet, 0) < 0)
        send_errors++;
    call->sequence++;
    call->next++;
}

static void take_tag(struct call *call, const struct tag *tag, int64_t now)
{
    int64_t delay = now - tag->sent;

    if (tag->call != call->ssrc || tag->number >= packet_limit) {
        strange++;
        return;
    }
    if (tag->number < first_counted)
        return;
    if (call->seen[tag->number]++) {
        duplicates++;
        return;
    }
    received++;
    late += delay > LATE_NS;
    if (delay_count < delay_room)
        delays_us[delay_count++] = (uint32_t)(delay / 1000);
}

static void receive_all(struct call *call)
{
    unsigned char packet[2048];

    for (;;) {
        ssize_t length = recv(call->fd, packet, sizeof packet, 0);
        unsigned char *at = packet + HEADER;
        int64_t now = now_ns();

        if (length < 0)
            return;
        if (call->arrived && call->next > first_counted) {
            int64_t spacing = now - call->arrived;

            wide_gaps += spacing > 40000000LL;
            if (spacing > max_spacing)
                max_spacing = spacing;
        }
        call->arrived = now;
        while (length - (at - packet) >= (ssize_t)sizeof(struct tag)) {
            struct tag tag;

            at = memmem(at, (size_t)(length - (at - packet)), magic, sizeof magic);
            if (!at || length - (at - packet) < (ssize_t)sizeof tag)
                break;
            memcpy(&tag, at, sizeof tag);
            take_tag(call, &tag, now);
            at += sizeof tag;
        }
    }
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

static double delay_ms(double share)
{
    return delay_count ? delays_us[(size_t)(share * (double)(delay_count - 1))] / 1000.0 : -1.0;
}

static void poll_for(int poll, int64_t until)
{
    struct epoll_event events[EVENTS];

    for (;;) {
        int64_t left = until - now_ns();
        struct timespec wait = {left > 0 ? left / 1000000000LL : 0,
                                left > 0 ? left % 1000000000LL : 0};
        int count = epoll_pwait2(poll, events, EVENTS, &wait, NULL);

        for (int i = 0; i < count; i++)
            receive_all(&calls[events[i].data.u32]);
        if (left <= 0)
            return;
    }
}

int main(int argc, char **argv)
{
    struct rlimit files = {65536, 65536};
    int poll = epoll_create1(0), pid, measuring = 0;
    int64_t start, end, warm;
    double cpu_before = 0, cpu_after, seconds, warmup;
    int64_t measured_from = 0, polled_at = 0;
    unsigned long expected;

    if (argc < 6) {
        fprintf(stderr, "usage: rtp_load HOST SECONDS WARMUP_SECONDS PID PORT...\n");
        return 2;
    }
    setrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_SET_TIMERSLACK, 1);
    seconds = atof(argv[2]), warmup = atof(argv[3]), pid = atoi(argv[4]);
    call_count = argc - 5;
    first_counted = (uint32_t)(warmup * 50);
    packet_limit = first_counted + (uint32_t)(seconds * 50);
    calls = calloc((size_t)call_count, sizeof *calls);
    delay_room = (size_t)call_count * (packet_limit - first_counted);
    delays_us = malloc(delay_room * sizeof *delays_us);
    for (int i = 0; i < call_count; i++)
        open_call(&calls[i], argv[1], atoi(argv[5 + i]), poll, i);
    start = now_ns() + 10000000;
    warm = start + (int64_t)first_counted * PACKET_NS;
    end = start + (int64_t)packet_limit * PACKET_NS;
    /* Each call sends at its own moment of the 20 ms, as peers that know nothing of each other. */
    for (int64_t turn = 0;; turn++) {
        int64_t at = start + turn * PACKET_NS / call_count;

        if (at >= end)
            break;
        at = start + (at - start) / STEP_NS * STEP_NS;
        if (at != polled_at)
            poll_for(poll, polled_at = at);
        if (!measuring && at >= warm) {
            measuring = 1;
            cpu_before = cpu_seconds(pid);
            measured_from = now_ns();
        }
        if (measuring && now_ns() - at > max_lag)
            max_lag = now_ns() - at;
        send_one(&calls[turn % call_count]);
    }
    cpu_after = cpu_seconds(pid);
    seconds = (double)(now_ns() - measured_from) / 1e9;
    poll_for(poll, now_ns() + TAIL_NS);
    expected = (unsigned long)call_count * (packet_limit - first_counted);
    qsort(delays_us, delay_count, sizeof *delays_us, compare);
    printf("{\"calls\": %d, \"seconds\": %.3f, \"sent\": %lu, \"received\": %lu, \"lost\": %ld, "
           "\"late\": %lu, \"duplicates\": %lu, \"strange\": %lu, \"send_errors\": %lu, "
           "\"wide_gaps\": %lu, \"max_spacing_ms\": %.3f, \"max_lag_ms\": %.3f, \"cpu_s\": %.3f, "
           "\"delay_p50_ms\": %.3f, \"delay_p99_ms\": %.3f, \"delay_max_ms\": %.3f}\n",
           call_count, seconds, expected, received, (long)expected - (long)received, late,
           duplicates, strange, send_errors, wide_gaps, (double)max_spacing / 1e6, (double)max_lag / 1e6,
           cpu_after - cpu_before, delay_ms(0.5), delay_ms(0.99), delay_ms(1.0));
    return 0;
}
