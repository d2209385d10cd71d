/* Small source, program of 1 GiB: the compiler's sandbox has limits, too. */
char table[1 << 30] = {1};

int main(void)
{
    return table[0] - 1;
}
