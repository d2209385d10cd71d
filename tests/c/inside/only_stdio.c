/* only_stdio [pause]: exits with 0 if descriptors 0, 1 and 2 are open and no other is, else with 9. With "pause" it then stays. */
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    (void)argv;
    for (int fd = 0; fd < 2048; fd++) {
        if ((fcntl(fd, F_GETFD) >= 0) != (fd < 3)) {
            _exit(9);
        }
    }
    while (argc > 1) {
        pause();
    }
    _exit(0);
}
