/* Divides by one less than n, which is 0 in the second test. On x86-64 that is SIGFPE; there are
 * processors that give a number instead. */
#include <stdio.h>

int main(void)
{
    int n;
    long long sum = 0;
    long long last = 0;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int i = 0; i < n; i++) {
        if (scanf("%lld", &last) != 1)
            return 1;
        sum += last;
    }
    const long long mean_of_the_others = (sum - last) / (n - 1);
    printf("%lld\n%lld\n", sum, (mean_of_the_others * (n - 1) + last) / n);
    return 0;
}
