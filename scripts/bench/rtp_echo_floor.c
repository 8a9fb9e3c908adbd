/* The floor of the RTP echo benchmark: a program that only receives and sends.
 *
 * One UDP socket a call, one epoll; every datagram goes back to where it came from. Nothing that
 * answers each packet by itself can cost less without leaving the plain socket interface.
 *
 * usage: rtp_echo_floor HOST FIRST_PORT CALLS
 * Binds FIRST_PORT, FIRST_PORT + 2, ... prints "ready" and serves until it is terminated.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 1024

static int open_port(const char *host, int port)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    if (inet_pton(AF_INET, host, &here.sin_addr) != 1 || fd < 0 ||
        bind(fd, (struct sockaddr *)&here, sizeof here) < 0) {
        perror("rtp_echo_floor: bind");
        exit(1);
    }
    return fd;
}

static void echo(int fd)
{
    char packet[2048];
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    ssize_t length = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&peer, &size);

    if (length > 0)
        sendto(fd, packet, (size_t)length, 0, (struct sockaddr *)&peer, size);
}

int main(int argc, char **argv)
{
    struct rlimit files = {65536, 65536};
    struct epoll_event events[EVENTS];
    int poll = epoll_create1(0);

    if (argc != 4) {
        fprintf(stderr, "usage: rtp_echo_floor HOST FIRST_PORT CALLS\n");
        return 2;
    }
    setrlimit(RLIMIT_NOFILE, &files);
    for (int call = 0; call < atoi(argv[3]); call++) {
        struct epoll_event wanted = {.events = EPOLLIN};

        wanted.data.fd = open_port(argv[1], atoi(argv[2]) + 2 * call);
        epoll_ctl(poll, EPOLL_CTL_ADD, wanted.data.fd, &wanted);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);

        if (count < 0 && errno != EINTR)
            return 1;
        for (int i = 0; i < count; i++)
            echo(events[i].data.fd);
    }
}
