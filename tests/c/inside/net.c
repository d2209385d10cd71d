/* Inside a sandbox: whom can this process reach? TCP ports, abstract unix sockets, other processes. */
#include "answer.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct sockaddr_in loopback_address(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static void answer_socket(int fd, long result)
{
    answer_result(fd < 0 ? fd : result);
    if (fd >= 0) {
        close(fd);
    }
}

/* A connection of this process to itself on 127.0.0.1. */
static void do_loopback(char **words)
{
    (void)words;
    struct sockaddr_in address = loopback_address(0);
    socklen_t length = sizeof address;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = server >= 0 && client >= 0 && bind(server, (struct sockaddr *)&address, length) == 0 &&
                     listen(server, 1) == 0 && getsockname(server, (struct sockaddr *)&address, &length) == 0 &&
                     connect(client, (struct sockaddr *)&address, length) == 0;
    answer_result(connected ? 0 : -1);
    close(client);
    close(server);
}

static void do_connect(char **words)
{
    struct sockaddr_in address = loopback_address(atoi(words[0]));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    answer_socket(fd, connect(fd, (struct sockaddr *)&address, sizeof address));
}

static void do_bind(char **words)
{
    struct sockaddr_in address = loopback_address(atoi(words[0]));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    answer_socket(fd, bind(fd, (struct sockaddr *)&address, sizeof address));
}

/* abstract NAME: connects to an abstract unix socket */
static void do_abstract(char **words)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(words[0]);
    memcpy(address.sun_path + 1, words[0], length);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    answer_socket(fd, connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)));
}

/* interface NAME: whether it is up */
static void do_interface(char **words)
{
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", words[0]);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &request) < 0) {
        failed();
    } else {
        ok("%s", request.ifr_flags & IFF_UP ? "up" : "down");
    }
    close(fd);
}

/* kill PID SIGNAL */
static void do_kill(char **words)
{
    answer_result(kill(atoi(words[0]), atoi(words[1])));
}

int main(int argc, char **argv)
{
    static const struct verb verbs[] = {
        {"loopback", 0, do_loopback}, {"connect", 1, do_connect},     {"bind", 1, do_bind},
        {"abstract", 1, do_abstract}, {"interface", 1, do_interface}, {"kill", 2, do_kill},
        {NULL, 0, NULL},
    };
    return answer_all(verbs, argc, argv);
}
