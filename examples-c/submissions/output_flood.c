/* Prints without end. */
#include <stdio.h>

int main(void)
{
    for (;;)
        puts("The answer is on one of these lines.");
}
