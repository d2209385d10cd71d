/* Gives up on the first test. */
int main(void)
{
    return 3;
}
