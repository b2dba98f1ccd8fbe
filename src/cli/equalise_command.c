/* qaffe equalise: cross-layer equalisation of a float net's weights by itself. */
#include "cli/commands.h"
#include "cli/net_options.h"
#include "cli/qat.h"
#include "cli/session.h"
#include "cli/table.h"

#include <string.h>

static const option options[] = {
    MODEL_OPTION("The float net (.prototxt)."),
    WEIGHTS_OPTION,
    FILE_OPTION("out", "FILE",
                "The equalised weights to write (.caffemodel); without it channels are only "
                "looked at."),
    UNTIL_OPTION,
};

qf_equalise chosen_equalise(const arguments *arguments)
{
    const char *chosen = argument_text(arguments, "equalise");
    return same_word(chosen, "on")     ? QF_EQUALISE_ON
           : same_word(chosen, "auto") ? QF_EQUALISE_AUTO
                                       : QF_EQUALISE_OFF;
}

static void print(const qf_equalisation *found, bool done)
{
    table table = {.left = 1u << 1, .optional = 1u << 2};
    if (!found->rows) {
        puts("No channels of this net can be equalised: nothing passes them on from one layer's "
             "weights to another's.");
        return;
    }
    table_row(&table, done ? 6 : 4, "written by", "read by", "channels", "spread", "rescaled",
              "then");
    for (size_t i = 0; i < found->rows; i++) {
        const qf_equalised_row *row = found->row[i];
        table_start_row(&table, row->writers);
        table_add(&table, row->readers);
        table_add(&table, cell("%d", row->channels));
        table_add(&table, cell("2^%.1f", row->spread_before));
        if (!done)
            continue;
        table_add(&table, cell("%d", row->rescaled));
        table_add(&table, cell("2^%.1f", row->spread_after));
    }
    table_print(&table);
    table_release(&table);
    puts("(spread: of how loudly channels are written and softly read, from one channel to "
         "another)");
}

static qf_status equalise(session *session, const arguments *a)
{
    qf_equalisation *found;
    const char *out = argument_text(a, "out");
    const qf_status status = qf_equalise_weights(session->context, argument_text(a, "model"),
                                                 argument_text(a, "weights"), out, &found);
    if (status != QF_OK)
        return status;
    print(found, out);
    if (out)
        printf("The weights are in %s. Next: quantise the same model with them.\n", out);
    qf_equalisation_destroy(found);
    return QF_OK;
}

static int run(const arguments *a)
{
    return session_run(a, QF_WARNING, equalise);
}

const command command_equalise = {
    .name = "equalise",
    .summary = "Bring the ranges of a float net's channels together, before it is quantised.",
    .details = "All channels of a layer's input share a range, so soft ones get few codes. Where "
               "weights stand before and behind ReLU, Pooling, sums and the like, a factor can go "
               "from one to the other for each channel; the net computes the same bits, since all "
               "factors are powers of two. `qaffe ptq run` and `qaffe qat run` do it by themselves "
               "where the spread is above 2^5.",
    .example = "qaffe equalise --model m.prototxt --weights m.caffemodel --out "
               "equalised.caffemodel",
    OPTIONS(options),
    .run = run,
};
