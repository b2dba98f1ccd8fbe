/* qaffe train: what `caffe train` does. */
#include "cli/commands.h"
#include "cli/net_options.h"
#include "cli/signal_thread.h"

static const option options[] = {
    REQUIRED_FILE("solver", "FILE", "The solver's definition (.prototxt); it names the net."),
    FILE_OPTION(
        "weights", "FILES",
        "Start from these weights (.caffemodel, .caffemodel.h5; several separated by commas); "
        "layers are "
        "matched by name. Not together with --snapshot."),
    FILE_OPTION("snapshot", "FILE",
                "Go on from this state (.solverstate, .solverstate.h5), written here or by Caffe."),
    INTEGER_OPTION(
        "freeze-bn-after", "N", "-1", -1, 1e9,
        "Iteration from which BatchNorm uses and keeps its statistics; 0 freezes them from the "
        "start, -1 leaves it to the net."),
    DIVERGENCE_OPTION,
    CHOICE("sigint-effect", NULL, "stop|snapshot|none", "stop",
           "What Ctrl-C does. Stopping also writes a snapshot, unless the solver says "
           "snapshot_after_train: false. Ctrl-C once more ends the program at once."),
    CHOICE("sighup-effect", NULL, "stop|snapshot|none", "snapshot", "What a hang-up signal does."),
    NET_STATE_OPTIONS,
};

static qf_status train(session *session, const arguments *arguments)
{
    const char *weights = argument_text(arguments, "weights");
    const char *snapshot = argument_text(arguments, "snapshot");
    qf_solver *solver;
    stages stages;
    if (!stages_split(argument_text(arguments, "stage"), &stages))
        return QF_E_MEMORY;
    say(session, "Use CPU.");
    const qf_solver_options wanted = {
        .size = sizeof wanted,
        /* A snapshot brings its own; weights given here replace those that the solver names. */
        .weights = snapshot ? "" : weights,
        .set_state = true,
        .level = argument_integer(arguments, "level"),
        .stages = stages.names,
        .stage_count = stages.count,
    };
    qf_status status = qf_solver_create_with(session->context, argument_text(arguments, "solver"),
                                             &wanted, &solver);
    stages_release(&stages);
    if (status != QF_OK)
        return status;
    qf_solver_keep_blobs(solver, false);
    qf_solver_set_callbacks(solver, requested_action, show_progress, session);
    qf_solver_freeze_batch_norm(solver, argument_integer(arguments, "freeze-bn-after"));
    qf_solver_on_divergence(solver, chosen_divergence(arguments));
    if (snapshot) {
        say(session, "Resuming from %s", snapshot);
        status = qf_solver_restore(solver, snapshot);
    }
    if (status == QF_OK) {
        signals_install(argument_text(arguments, "sigint-effect"),
                        argument_text(arguments, "sighup-effect"));
        say(session, "Starting Optimization");
        status = qf_solver_solve(solver);
    }
    if (status == QF_OK)
        say(session, "Optimization Done.");
    qf_solver_destroy(solver);
    return status;
}

static int run(const arguments *arguments)
{
    if (argument_given(arguments, "weights") && argument_given(arguments, "snapshot"))
        return usage_error(arguments->command,
                           "--weights and --snapshot exclude each other: a .solverstate names the "
                           "weights that belong to it; leave --weights out");
    return session_run(arguments, QF_INFO, train);
}

const command command_train = {
    .name = "train",
    .summary = "Train a net with a solver, as `caffe train` does.",
    .details =
        "The log goes to stderr in the form of Caffe's, so scripts like parse_log.py read it. On a "
        "terminal a line under the log shows iteration, loss, learning rate, images per second, "
        "the share of time spent waiting for data, and the time left.",
    .example = "qaffe train --solver solver.prototxt 2>&1 | tee train.log\n"
               "qaffe train --solver solver.prototxt --snapshot lenet_iter_5000.solverstate",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
