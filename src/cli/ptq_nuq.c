/* qaffe ptq nuq: how many layers may keep few codes in their weights. */
#include "cli/commands.h"
#include "cli/qat.h"
#include "cli/quant_options.h"
#include "cli/session.h"
#include "cli/signal_thread.h"
#include "cli/table.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WHOLE_TEST_SET = INT_MAX }; /* batches */

static const option options[] = {
    MODEL_OPTION("The float net (.prototxt); its TEST phase needs an accuracy or a loss."),
    WEIGHTS_OPTION,
    REQUIRED_FILE("config", "FILE",
                  "The configuration that `qaffe ptq config` wrote, in which layers have "
                  "\"wts_algo\":\"nuq_quantize\"."),
    {.name = "out",
     .kind = OPTION_FILE,
     .value = "PREFIX",
     .standard = "nuq_results/model",
     .help = "Folder and beginning of the names of the models."},
    REQUIRED_FILE("record", "FILE", "The record of factors to write."),
    MAX_LOSS_OPTION(
        "How much worse the output that matters most may become: percentage points of an "
        "accuracy, per cent of anything else."),
    INTEGER_OPTION("test-iterations", "N", "0", 0, 1e9,
                   "Batches of each test; 0 means the whole test set once."),
};

typedef struct judge {
    session *session;
    double max_loss;
    int better; /* of the output that matters most, as qf_scores_better() */
} judge;

/* The output that matters most, in words, too. */
static qf_status read_scores(judge *j, qf_context *context, const qf_scores *scores, qf_metric *out)
{
    const char *name;
    out->number = qf_scores_main(scores, &name);
    j->better = 0;
    for (int i = 0; name && i < qf_scores_count(scores); i++)
        if (strcmp(qf_scores_name(scores, i), name) == 0)
            j->better = qf_scores_better(scores, i);
    if (!j->better) {
        qf_context_fail(context, "the TEST phase puts out no accuracy and no loss to judge "
                                 "models by; add an Accuracy layer");
        return QF_E_UNSUPPORTED;
    }
    snprintf(out->text, sizeof out->text, "%.100s %.6g", name, out->number);
    return QF_OK;
}

static qf_status evaluate(void *user, qf_context *context, const char *model_file,
                          const char *weights_file, int batches, qf_metric *out)
{
    judge *j = user;
    qf_net *net;
    qf_scores *scores = NULL;
    qf_status status = qf_net_create(context, model_file, QF_TEST, 0, NULL, 0, &net);
    if (status != QF_OK)
        return status;
    qf_net_keep_blobs(net, false);
    status = qf_net_load_weights(net, weights_file);
    if (status == QF_OK)
        status = qf_net_test(net, batches == WHOLE_TEST_SET ? 0 : batches, requested_action,
                             show_progress, j->session, &scores);
    if (status == QF_OK)
        status = read_scores(j, context, scores, out);
    qf_scores_destroy(scores);
    qf_net_destroy(net);
    return status;
}

static qf_status is_satisfied(void *user, qf_context *context, const qf_metric *original,
                              const qf_metric *other, bool *out)
{
    const judge *j = user;
    (void)context;
    const double loss = j->better < 0 ? (other->number - original->number) / fabs(original->number)
                                      : original->number - other->number;
    *out = 100 * loss <= j->max_loss; /* false of NaN */
    return QF_OK;
}

static void print_result(const qf_nuq_result *r, const char *prefix)
{
    table table = {.left = ALL_COLUMNS};
    table_row(&table, 3, "layer", "weights", "becomes");
    for (size_t i = 0; i < r->layers; i++)
        table_row(&table, 3, r->layer[i]->name, cell("%" PRIu64, r->layer[i]->weights),
                  r->layer[i]->non_uniform ? "few codes" : "quantised uniformly");
    table_print(&table);
    table_release(&table);
    printf("%s, after %d attempt%s\n", r->metric.text, r->attempts, r->attempts == 1 ? "" : "s");
    if (r->satisfied)
        printf("The models are in %s…; next: qaffe verify --model %s\n", prefix, prefix);
    else
        printf("Not even the uniform model, which is in %s…, is good enough; allow more with "
               "--max-loss, or retrain: qaffe qat run\n",
               prefix);
}

static int run(const arguments *a)
{
    session session;
    qf_nuq_result *result = NULL;
    if (!session_open(&session, a, QF_WARNING))
        return EXIT_FAILED;
    judge judge = {.session = &session, .max_loss = argument_number(a, "max-loss")};
    const int iterations = argument_integer(a, "test-iterations");
    const qf_nuq_evaluator evaluator = {.size = sizeof evaluator,
                                        .user = &judge,
                                        .evaluate = evaluate,
                                        .is_satisfied = is_satisfied,
                                        .evaluate_batches =
                                            iterations ? iterations : WHOLE_TEST_SET};
    signals_install("stop", "none");
    qf_status status = qf_context_open_amct_log(session.context);
    if (status == QF_OK)
        status =
            qf_auto_nuq(session.context, argument_text(a, "model"), argument_text(a, "weights"),
                        argument_text(a, "config"), argument_text(a, "record"),
                        argument_text(a, "out"), &evaluator, &result);
    const int code = session_close(&session, status);
    const bool satisfied = status == QF_OK && result->satisfied;
    if (status == QF_OK)
        print_result(result, argument_text(a, "out"));
    qf_nuq_result_destroy(result);
    return code == EXIT_DONE && !satisfied ? EXIT_FAILED : code;
}

const command command_ptq_nuq = {
    .name = "ptq nuq",
    .summary = "Quantise without training, with few codes in the weights of as many layers as may.",
    .details =
        "Layers whose wts_algo is nuq_quantize in --config keep 16 or 32 codes, which Ascend's "
        "converter compresses. Where the model is then worse by more than --max-loss, those with "
        "fewest weights are quantised uniformly, as few of them as it takes, found by halving. "
        "Ranges are measured and models tested on the data that the model names. This is AMCT's "
        "auto_nuq.\n\n"
        "The exit status is 1 where not even the uniform model, which is then written, is good "
        "enough.",
    .example = "qaffe ptq nuq --model m.prototxt --weights m.caffemodel --config config.json \\\n"
               "    --record results/m_record.txt --max-loss 0.5 --out results/m",
    OPTIONS(options),
    .computes = true,
    .run = run,
};
