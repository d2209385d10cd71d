/* Answers `sum` rightly, and leaves a daemon behind that keeps stdout open: the verdict comes at
 * once, and the daemon is gone with it. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
    int n;
    long long sum = 0;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int i = 0; i < n; i++) {
        long long value;
        if (scanf("%lld", &value) != 1)
            return 1;
        sum += value;
    }
    if (fork() == 0) {
        setsid();
        if (fork() == 0)
            for (;;)
                pause();
        _exit(0);
    }
    printf("%lld\n%lld\n", sum, sum / n);
    return 0;
}
