/* Caffe's main program, over the same commands as qaffe's. */
#include "cli/commands.h"
#include "cli/session.h"

static int query_devices(const arguments *arguments)
{
    session session;
    if (!session_open(&session, arguments, QF_INFO))
        return EXIT_FAILED;
    const char *asked = argument_text(arguments, "gpu");
    say(&session, "Querying GPUs %s", asked ? asked : "");
    for (int i = 0; i < qf_device_count(); i++) {
        uint64_t free = 0, total = 0;
        qf_device_memory(i, &free, &total);
        say(&session, "Device id:                     %d", i);
        say(&session, "Name:                          %s", qf_device_name(i));
        say(&session, "What it is:                    %s", qf_device_description(i));
        say(&session, "Total global memory:           %llu", (unsigned long long)total);
        say(&session, "Free memory:                   %llu", (unsigned long long)free);
    }
    return session_close(&session, QF_OK);
}

const command command_device_query = {
    .name = "device_query",
    .summary = "Show the devices that there are to compute on, and their memory.",
    .example = "caffe device_query",
    .computes = true,
    .run = query_devices,
};

static const command *const actions[] = {
    &command_train, &command_test, &command_time, &command_device_query, NULL,
};

const command command_caffe = {
    .name = "caffe",
    .summary = "Caffe's program: train, test or time a net.",
    .details = "Command lines, log and exit codes are those of BVLC Caffe; the work is that of "
               "qaffe train, test and time.",
    .example = "caffe train -solver solver.prototxt -weights pretrained.caffemodel",
    .computes = true,
    .caffe_tool = true,
    .words = "<command>",
    .fewest_words = 1,
    .most_words = 1,
    .actions = actions,
};
