/* qaffe time: what `caffe time` does, with a table of the costliest layers at the end. */
#include "cli/commands.h"
#include "cli/net_options.h"
#include "cli/table.h"

#include <stdlib.h>
#include <time.h>

static const option options[] = {
    REQUIRED_FILE("model", "FILE", "The net (.prototxt)."),
    FILE_OPTION("weights", "FILE",
                "Its weights (.caffemodel); without them it runs on the fillers' values."),
    INTEGER_OPTION("iterations", "N", "50", 1, 1e9, "How many passes to measure."),
    CHOICE("phase", NULL, "TRAIN|TEST", "TRAIN",
           "The phase to build the net for. TEST measures the forward pass alone."),
    NET_STATE_OPTIONS,
    UNTIL_OPTION,
};

typedef struct timing {
    double forward, backward; /* milliseconds, summed over the iterations */
} timing;

static double milliseconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static qf_status run_pass(qf_net *net, bool backward)
{
    qf_status status = qf_net_forward(net, NULL);
    return status == QF_OK && backward ? qf_net_backward(net) : status;
}

static qf_status warm_up(session *session, qf_net *net, bool backward)
{
    float loss;
    say(session, "Performing Forward");
    qf_status status = qf_net_forward(net, &loss);
    if (status != QF_OK)
        return status;
    say(session, "Initial loss: %g", (double)loss);
    if (!backward)
        return QF_OK;
    say(session, "Performing Backward");
    return qf_net_backward(net);
}

static void read_timing(const qf_net *net, timing *layers)
{
    for (int l = 0; l < qf_net_layer_count(net); l++)
        layers[l] = (timing){1e3 * qf_net_layer_seconds(net, l, false),
                             1e3 * qf_net_layer_seconds(net, l, true)};
}

static void report(session *session, const qf_net *net, const timing *layers, int iterations,
                   double elapsed)
{
    int count = qf_net_layer_count(net);
    double forward = 0, backward = 0;
    say(session, "Average time per layer: ");
    for (int l = 0; l < count; l++) {
        const char *name = qf_net_layer_name(net, l);
        const int until = qf_net_layer_ran_until(net, l);
        if (until > l)
            say(session,
                "%10s\truns as one with the layers up to %s; the time of all is given here.", name,
                qf_net_layer_name(net, until));
        say(session, "%10s\tforward: %g ms.", name, layers[l].forward / iterations);
        say(session, "%10s\tbackward: %g ms.", name, layers[l].backward / iterations);
        forward += layers[l].forward;
        backward += layers[l].backward;
    }
    say(session, "Average Forward pass: %g ms.", forward / iterations);
    say(session, "Average Backward pass: %g ms.", backward / iterations);
    say(session, "Average Forward-Backward: %g ms.", elapsed / iterations);
    say(session, "Total Time: %g ms.", elapsed);
    say(session, "*** Benchmark ends ***");
}

static int compare_by_cost(const void *left, const void *right, void *user)
{
    const timing *layers = user;
    const timing *a = &layers[*(const int *)left], *b = &layers[*(const int *)right];
    double difference = b->forward + b->backward - a->forward - a->backward;
    return (difference > 0) - (difference < 0);
}

static void print_costliest(const qf_net *net, timing *layers, int iterations)
{
    enum { ROWS = 12 };
    int count = qf_net_layer_count(net), *order = malloc((size_t)count * sizeof *order);
    if (!order) {
        table_print(&(const table){.failed = true});
        return;
    }
    double total = 0;
    for (int l = 0; l < count; l++) {
        order[l] = l;
        total += layers[l].forward + layers[l].backward;
    }
    qsort_r(order, (size_t)count, sizeof *order, compare_by_cost, layers);
    table table = {0};
    table_row(&table, 5, "layer", "type", "forward ms", "backward ms", "share");
    for (int i = 0; i < count && i < ROWS; i++) {
        const timing *layer = &layers[order[i]];
        table_row(&table, 5, qf_net_layer_name(net, order[i]), qf_net_layer_type(net, order[i]),
                  cell("%.3f", layer->forward / iterations),
                  cell("%.3f", layer->backward / iterations),
                  cell("%.1f%%", total > 0 ? 100 * (layer->forward + layer->backward) / total : 0));
    }
    table_print(&table);
    if (count > ROWS)
        printf("and %d layers that take less time\n", count - ROWS);
    table_release(&table);
    free(order);
}

/* What went to the device and back; nothing is said of the host itself, where nothing goes. */
static void print_transfers(const qf_net *net, int iterations)
{
    uint64_t up[2] = {0}, down[2] = {0}; /* forward, backward */
    table table = {0};
    table_row(&table, 6, "layer", "type", "forward in", "forward out", "backward in",
              "backward out");
    for (int l = 0; l < qf_net_layer_count(net); l++) {
        uint64_t bytes[4], sum = 0;
        for (int pass = 0; pass < 2; pass++) {
            bytes[2 * pass] = qf_net_layer_uploaded(net, l, pass) / (uint64_t)iterations;
            bytes[2 * pass + 1] = qf_net_layer_downloaded(net, l, pass) / (uint64_t)iterations;
            up[pass] += bytes[2 * pass];
            down[pass] += bytes[2 * pass + 1];
            sum += bytes[2 * pass] + bytes[2 * pass + 1];
        }
        if (sum)
            table_row(&table, 6, qf_net_layer_name(net, l), qf_net_layer_type(net, l),
                      cell("%llu", (unsigned long long)bytes[0]),
                      cell("%llu", (unsigned long long)bytes[1]),
                      cell("%llu", (unsigned long long)bytes[2]),
                      cell("%llu", (unsigned long long)bytes[3]));
    }
    table_row(&table, 6, "all", "", cell("%llu", (unsigned long long)up[0]),
              cell("%llu", (unsigned long long)down[0]), cell("%llu", (unsigned long long)up[1]),
              cell("%llu", (unsigned long long)down[1]));
    if (up[0] + down[0] + up[1] + down[1]) {
        printf("bytes to the device and back, an iteration:\n");
        table_print(&table);
    }
    table_release(&table);
}

static qf_status time_net(session *session, const arguments *arguments)
{
    int iterations = argument_integer(arguments, "iterations");
    bool backward = same_word(argument_text(arguments, "phase"), "TRAIN");
    qf_net *net;
    qf_status status = open_net(session, arguments, backward ? QF_TRAIN : QF_TEST, &net);
    if (status != QF_OK)
        return status;
    qf_net_keep_blobs(net, false);
    timing *layers = calloc((size_t)qf_net_layer_count(net) + 1, sizeof *layers);
    status = layers ? warm_up(session, net, backward) : QF_E_MEMORY;
    say(session, "*** Benchmark begins ***");
    say(session, "Testing for %d iterations.", iterations);
    qf_net_set_timing(net, true);
    double start = milliseconds_now();
    for (int i = 0; i < iterations && status == QF_OK; i++) {
        double pass = milliseconds_now();
        status = run_pass(net, backward);
        say(session, "Iteration: %d forward-backward time: %g ms.", i + 1,
            milliseconds_now() - pass);
    }
    if (status == QF_OK) {
        const double elapsed = milliseconds_now() - start;
        read_timing(net, layers);
        report(session, net, layers, iterations, elapsed);
        if (!arguments->caffe)
            print_costliest(net, layers, iterations);
        if (!arguments->caffe)
            print_transfers(net, iterations);
    }
    free(layers);
    qf_net_destroy(net);
    return status;
}

static int run(const arguments *arguments)
{
    return session_run(arguments, QF_INFO, time_net);
}

const command command_time = {
    .name = "time",
    .summary = "Measure a net layer by layer, as `caffe time` does.",
    .details = "Caffe's lines go to stderr; a table of the costliest layers goes to stdout. Layers "
               "that run as one are named; QAFFE_FUSION=0 in the environment makes each run by "
               "itself.",
    .example = "qaffe time --model train_test.prototxt --iterations 20",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
