/* Uses no CPU time and never answers: only the wall clock ends it. */
#include <unistd.h>

int main(void)
{
    for (;;)
        sleep(1000);
}
