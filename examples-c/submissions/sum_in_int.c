/* The sum of the third test does not fit into an int. Unsigned, so that it wraps around by rule. */
#include <stdio.h>

int main(void)
{
    int n;
    unsigned sum = 0;
    if (scanf("%d", &n) != 1)
        return 1;
    for (int i = 0; i < n; i++) {
        int value;
        if (scanf("%d", &value) != 1)
            return 1;
        sum += (unsigned)value;
    }
    printf("%d\n%d\n", (int)sum, (int)sum / n);
    return 0;
}
