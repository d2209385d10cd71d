/* Starts /bin/true in the direct and in the init shape. scripts/check-linking.sh links it in every way that
 * there is: the first shape needs the child's code, the second one the program that the library carries. */
#include <sbx.h>

#include <stdio.h>

static int start(bool init)
{
    static const char *const argv[] = {"/bin/true", NULL};
    struct sbx_error error = SBX_ERROR_INIT;
    struct sbx_launch launch = SBX_LAUNCH_INIT;
    struct sbx_status status = SBX_STATUS_INIT;
    sbx_process *process = NULL;

    sbx_runner *runner = sbx_runner_new();
    int result = runner == NULL ? -1 : sbx_set_args(runner, argv, &error);
    if (result == 0) {
        result = sbx_set_init(runner, init, &error);
    }
    if (result == 0) {
        result = sbx_start(runner, &launch, &process, &error);
    }
    if (result == 0) {
        result = sbx_process_wait(process, SBX_INFINITE, &status, &error);
    }
    if (result == 0 && sbx_process_shape(process) != (init ? SBX_SHAPE_INIT : SBX_SHAPE_DIRECT)) {
        fprintf(stderr, "start: not in the shape that was asked for\n");
        result = -1;
    }
    if (result != 0) {
        fprintf(stderr, "start: %s\n", error.message);
    }
    sbx_process_free(process);
    sbx_runner_free(runner);
    return result == 0 && status.status == 0 ? 0 : 1;
}

int main(void)
{
    return start(false) + start(true);
}
