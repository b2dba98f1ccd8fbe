/* What `qaffe qat run` and `qaffe ptq run` show: the plan, layers, models, verification. */
#include "cli/run_report.h"

#include "cli/qat.h"
#include "cli/table.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

static const char *noise(double decibels)
{
    return isnan(decibels) ? "-" : isinf(decibels) ? "exact" : cell("%.1f", decibels);
}

const char *report_joint(const char *prefix)
{
    const size_t length = strlen(prefix);
    return length && prefix[length - 1] == '/' ? "" : "_";
}

/* "12.3 KiB" */
static const char *size_text(size_t bytes)
{
    return cell("%.1f KiB", (double)bytes / 1024);
}

static const char *score_text(double score)
{
    return isnan(score) ? "-" : cell(fabs(score) < 1000 ? "%.4f" : "%.6g", score);
}

/* The models of the result: where their values stand. */
static const struct {
    const char *name;
    size_t score, bytes; /* offsets; bytes 0: no file of its own */
} models[] = {
    {"float", offsetof(qf_qat_score, float_score), offsetof(qf_qat_result, float_bytes)},
    {"calibrated", offsetof(qf_qat_score, calibrated_score), 0},
    {"fake-quant", offsetof(qf_qat_score, fake_quant_score),
     offsetof(qf_qat_result, fake_quant_bytes)},
    {"deploy", offsetof(qf_qat_score, deploy_score), offsetof(qf_qat_result, deploy_bytes)},
};
enum { CALIBRATED = 1, DEPLOY = 3, MODELS = COUNT(models) };

static double score_of(const qf_qat_score *score, int model)
{
    return *(const double *)((const char *)score + models[model].score);
}

static const char *size_of(const qf_qat_result *result, int model)
{
    const size_t at = models[model].bytes;
    return at ? size_text(*(const size_t *)((const char *)result + at)) : "-";
}

/* Without training no model is calibrated only. */
static bool was_made(const qf_qat_result *r, int model)
{
    bool tested = models[model].bytes && (model != DEPLOY || r->deploy_bytes);
    for (int i = 0; i < r->scores; i++)
        tested |= !isnan(score_of(r->score[i], model));
    return tested;
}

/* A row for each model, as long as the outputs have room beside one another. */
static void print_models_in_rows(const qf_qat_result *r, int outputs)
{
    table table = {0};
    table_start_row(&table, "model");
    for (int i = 0; i < outputs; i++)
        table_add(&table, r->score[i]->name);
    table_add(&table, "weights file");
    for (int model = 0; model < MODELS; model++) {
        if (!was_made(r, model))
            continue;
        table_start_row(&table, models[model].name);
        for (int i = 0; i < outputs; i++)
            table_add(&table, score_text(score_of(r->score[i], model)));
        table_add(&table, size_of(r, model));
    }
    table_print(&table);
    table_release(&table);
}

/* A row for each output: as many as there are. */
static void print_models_in_columns(const qf_qat_result *r)
{
    table table = {0};
    table_start_row(&table, "output");
    for (int model = 0; model < MODELS; model++)
        if (was_made(r, model))
            table_add(&table, models[model].name);
    for (int i = 0; i < r->scores; i++) {
        table_start_row(&table, r->score[i]->name);
        for (int model = 0; model < MODELS; model++)
            if (was_made(r, model))
                table_add(&table, score_text(score_of(r->score[i], model)));
    }
    table_start_row(&table, "weights file");
    for (int model = 0; model < MODELS; model++)
        if (was_made(r, model))
            table_add(&table, size_of(r, model));
    table_print(&table);
    table_release(&table);
}

/* What was measured during training, and which state was taken for it. */
static void print_states(const qf_qat_result *r)
{
    table table = {0};
    if (*r->validation_name) {
        table_row(&table, 2, "state", r->validation_name);
        table_row(&table, 2, "float", score_text(r->validation_float));
        table_row(&table, 2, "calibrated", score_text(r->validation_calibrated));
        table_row(&table, 2, "best", score_text(r->validation_best));
        table_row(&table, 2, "last", score_text(r->validation_last));
        if (!isnan(r->validation_average))
            table_row(&table, 2, "average", score_text(r->validation_average));
        putchar('\n');
        table_print(&table);
        table_release(&table);
        printf("(on %llu item%s that %s neither trained nor tested on)\n",
               (unsigned long long)r->validation_items, r->validation_items == 1 ? "" : "s",
               r->validation_items == 1 ? "is" : "are");
    }
    if (*r->kept_reason)
        printf("%s\n", r->kept_reason);
}

static void print_models(const qf_qat_result *r)
{
    enum { OTHER_COLUMNS = 26, LEAST = 8, SCREEN = 79 }; /* model and weights file; a number */
    int width = OTHER_COLUMNS;
    for (int i = 0; i < r->scores; i++) {
        const int name = (int)strlen(r->score[i]->name);
        width += 2 + (name > LEAST ? name : LEAST);
    }
    if (width <= SCREEN && r->scores + 2 <= TABLE_COLUMNS)
        print_models_in_rows(r, r->scores);
    else
        print_models_in_columns(r);
    if (r->test_items)
        printf("(each tested on the whole test set: %llu item%s, each once)\n",
               (unsigned long long)r->test_items, r->test_items == 1 ? "" : "s");
    else if (r->scores)
        printf("(each tested on the same %d batch%s)\n", r->test_batches,
               r->test_batches == 1 ? "" : "es");
    if (was_made(r, CALIBRATED))
        puts("(calibrated: with fake quantisation, before retraining)");
    print_states(r);
    if (*r->remark)
        printf("\n%s\n", r->remark);
}

static void print_layers(const qf_qat_result *r)
{
    table table = {.optional = 1u << 1};
    table_row(&table, 8, "layer", "type", "bits", "scale_d", "offset_d", "shift N", "weights dB",
              "input dB");
    for (int i = 0; i < r->rows; i++) {
        const qf_qat_row *row = r->row[i];
        const char *shift = row->shift_max == 0 ? "-"
                            : row->shift_min == row->shift_max
                                ? cell("%d", row->shift_min)
                                : cell("%d-%d", row->shift_min, row->shift_max);
        table_row(&table, 8, row->name, row->type,
                  row->weight_bits ? cell("%d, %d", row->weight_bits, row->activation_bits)
                                   : cell("-, %d", row->activation_bits),
                  cell("%.6g", (double)row->scale_d), cell("%d", row->offset_d), shift,
                  noise(row->weight_sqnr), noise(row->activation_sqnr));
    }
    table_print(&table);
    table_release(&table);
}

/* ---- before the work ---- */

enum { PLAN_ROWS = 24 }; /* longer plans are summed up on the screen */

static bool is_alike(const qf_plan_row *a, const qf_plan_row *b)
{
    return strcmp(a->type, b->type) == 0 && strcmp(a->treatment, b->treatment) == 0;
}

/* Layers of one type and treatment, with the reason of the first. */
static void print_short_plan(const qf_plan *plan)
{
    table table = {.left = ALL_COLUMNS};
    table_row(&table, 4, "layers", "type", "treatment", "how, or why (the first of them)");
    for (size_t i = 0; i < plan->rows; i++) {
        int alike = 0;
        bool seen = false;
        for (size_t k = 0; k < plan->rows; k++) {
            alike += is_alike(plan->row[k], plan->row[i]);
            seen |= k < i && is_alike(plan->row[k], plan->row[i]);
        }
        if (!seen)
            table_row(&table, 4, cell("%d", alike), plan->row[i]->type, plan->row[i]->treatment,
                      plan->row[i]->detail);
    }
    table_print(&table);
    table_release(&table);
    putchar('\n');
}

void report_plan(void *user, const qf_plan *plan)
{
    session *session = user;
    for (size_t i = 0; i < plan->rows; i++)
        say(session, "Plan: %s (%s) %s: %s", plan->row[i]->layer, plan->row[i]->type,
            plan->row[i]->treatment, plan->row[i]->detail);
    session_begin_log(session);
    if (plan->rows > PLAN_ROWS)
        print_short_plan(plan);
    else
        print_plan(plan);
    fflush(stdout); /* the rest, until the result, comes on another stream */
    fprintf(stderr, "Log: %s\n\n", session->run_log.path);
}

/* Losses of the steps of each decade together: single ones are of single batches. */
static void print_rates(const qf_qat_training *training)
{
    puts("learning rate    loss  without training\n---------------------------------------");
    for (size_t i = 0, count; i < training->steps; i += count) {
        const double first = training->step[i].rate;
        double loss = 0, start = 0;
        for (count = 0; i + count < training->steps &&
                        (!count || training->step[i + count].rate < 9.99 * first);
             count++) {
            loss += training->step[i + count].loss;
            start += training->step[i + count].start_loss;
        }
        printf("from %8.2g  %6.4g  %16.4g\n", first, loss / (double)count, start / (double)count);
    }
    putchar('\n');
}

void report_training(void *user, const qf_qat_training *training)
{
    (void)user;
    if (training->steps)
        print_rates(training);
    printf("Training: %d iterations of %d images", training->iterations, training->batch_size);
    if (training->items)
        printf(" (%.3g times all %llu)",
               (double)training->iterations * training->batch_size / (double)training->items,
               (unsigned long long)training->items);
    printf(" with %s, momentum %g, weight decay %g\n", training->type, training->momentum,
           training->weight_decay);
    printf("Learning rate: %g%s%s\n\n", training->base_lr, *training->reason ? ", " : "",
           training->reason);
    fflush(stdout);
}

/* ---- after it ---- */

void report_log(session *session, const char *prefix, char *path, size_t size)
{
    snprintf(path, size, "%s%srun.log", prefix, report_joint(prefix));
    session_keep_log(session, path);
}

static void print_next(const qf_qat_result *result, const char *prefix, const char *next)
{
    const char *joint = report_joint(prefix);
    if (!result->deploy_bytes) {
        printf("There is no deploy model: an input has 16 bits, codes of deploy models have 8.\n"
               "For float arithmetic:\n"
               "                 %s%sfake_quant_model.prototxt\n"
               "                 %s%sfake_quant_weights.caffemodel\n",
               prefix, joint, prefix, joint);
        return;
    }
    printf("For the device:  %s%sdeploy_model.prototxt\n"
           "                 %s%sdeploy_weights.caffemodel\n"
           "The same in float arithmetic, on int8 values:\n"
           "                 %s%sfake_quant_model.prototxt\n"
           "                 %s%sfake_quant_weights.caffemodel\n"
           "Next:            %s\n",
           prefix, joint, prefix, joint, prefix, joint, prefix, joint, next);
}

void report_result(const qf_qat_result *result, const char *prefix, const char *next)
{
    print_layers(result);
    puts("(bits of weights and input; dB: signal to quantisation noise; input: over one batch)\n");
    print_models(result);
    putchar('\n');
    if (result->deploy_bytes) {
        print_verification(result->verification);
        putchar('\n');
    }
    print_next(result, prefix, next);
}
