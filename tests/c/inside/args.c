/* args ...: what exec handed over, byte for byte: a line `argc N`, then each argument and each environment
 * string as `argv LENGTH:BYTES` and `env LENGTH:BYTES`. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv, char **envp)
{
    printf("argc %d\n", argc);
    for (int i = 0; i < argc; i++) {
        printf("argv %zu:%s\n", strlen(argv[i]), argv[i]);
    }
    for (char **env = envp; *env != NULL; env++) {
        printf("env %zu:%s\n", strlen(*env), *env);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
