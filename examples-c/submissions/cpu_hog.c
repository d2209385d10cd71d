/* Tries every divisor of every number: right, and far too slow for the third test. */
#include <stdio.h>

int main(void)
{
    int n;
    int count = 0;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int i = 2; i <= n; i++) {
        int divisors = 0;
        for (int j = 1; j <= i; j++)
            divisors += i % j == 0;
        count += divisors == 2;
    }
    printf("%d\n", count);
    return 0;
}
