/* Takes memory as long as it gets any, up to 1 GiB, and uses it. If it comes through it prints
 * something: the verdict is about the memory it took, not about how it ended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct block {
    struct block *next;
    char bytes[1000000];
};

int main(void)
{
    struct block *all = NULL;
    for (int i = 0; i < 1000; i++) {
        struct block *block = malloc(sizeof *block);
        if (block == NULL)
            break;
        memset(block->bytes, i, sizeof block->bytes);
        block->next = all;
        all = block;
    }
    long sum = 0;
    for (const struct block *block = all; block != NULL; block = block->next)
        sum += block->bytes[0];
    printf("%ld\n", sum);
    return 0;
}
