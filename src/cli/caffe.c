/* Caffe's main program, over the same commands as qaffe's. */
#include "cli/commands.h"
#include "cli/session.h"

static int query_devices(const arguments *arguments)
{
    session session;
    if (!session_open(&session, arguments, QF_INFO))
        return EXIT_FAILED;
    say(&session, "Querying GPUs ");
    return session_close(&session, QF_OK);
}

const command command_device_query = {
    .name = "device_query",
    .summary = "Show the GPUs that there are.",
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
