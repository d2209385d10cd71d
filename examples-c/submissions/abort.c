/* Its assertion does not hold for the second test. */
#include <assert.h>
#include <stdio.h>

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
        assert(value >= 0);
        sum += value;
    }
    printf("%lld\n%lld\n", sum, sum / n);
    return 0;
}
