/* qaffe ptq calibrate: the passes over data that fill the record. */
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/session.h"
#include "cli/signal_thread.h"

static const option options[] = {
    MODEL_OPTION("The net that `qaffe ptq prepare` wrote as --out-model (.prototxt)."),
    REQUIRED_FILE("weights", "FILE", "Its weights, --out-weights (.caffemodel)."),
    DATA_OPTION("Images to calibrate on:"),
    INTEGER_OPTION("batches", "N", "0", 0, 1e9,
                   "How many batches to run; 0 means as many as the net's layers want: the "
                   "configuration's batch_num."),
    DATA_DETAILS,
    UNTIL_OPTION,
};

static int run(const arguments *a)
{
    session session;
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    signals_install("stop", "none");
    const qf_data_options data = chosen_data(a);
    const qf_status status =
        qf_calibrate(session.context, argument_text(a, "model"), argument_text(a, "weights"), &data,
                     argument_integer(a, "batches"), requested_action, show_progress, &session);
    const int code = session_close(&session, status);
    if (status == QF_OK)
        puts("The record has all ranges and shifts. Next: qaffe ptq export.");
    return code;
}

const command command_ptq_calibrate = {
    .name = "ptq calibrate",
    .summary = "Run the net that measures on some batches, which fills the record.",
    .details =
        "What is run is the TEST phase of the net that `qaffe ptq prepare` wrote; its record "
        "gets ranges and shifts in the last batch, and is as it was if there are too few, "
        "or one holds what is no number. The order of steps: config, plan, prepare, "
        "calibrate, export.",
    .example =
        "qaffe ptq calibrate --model calibration.prototxt --weights calibration.caffemodel \\\n"
        "    --data train_lmdb",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
