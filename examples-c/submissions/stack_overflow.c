/* Recurses once for each number and keeps 64 KiB in each frame: too deep for the third test. */
#include <stdio.h>
#include <string.h>

static long long sum_of(int n)
{
    char line[65536];
    memset(line, 0, sizeof line);
    if (n == 0 || scanf("%65535s", line) != 1)
        return 0;
    long long value = 0;
    sscanf(line, "%lld", &value);
    return sum_of(n - 1) + value;
}

int main(void)
{
    int n;
    if (scanf("%d", &n) != 1)
        return 1;
    const long long sum = sum_of(n);
    printf("%lld\n%lld\n", sum, sum / n);
    return 0;
}
