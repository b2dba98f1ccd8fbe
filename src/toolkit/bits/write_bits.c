/* A choice of bits as a file: a simplified configuration, JSON, or a picture. */
#include "base/ending.h"
#include "base/file.h"
#include "toolkit/report/put.h"

#include <math.h>
#include <string.h>

/* ---- the configuration ---- */

static void put_definition(qf_buffer *out, const qf_bits_result *r)
{
    qf_buffer_print(out, "# Bits of weights and inputs by layer, chosen by qaffe qat bits.\n"
                         "retrain_data_quant_config { ulq_quantize { } }\n"
                         "retrain_weight_quant_config { arq_retrain { } }\n");
    for (size_t i = 0; i < r->layers; i++) {
        const int activations = r->layer[i]->activation_bits;
        if (r->layer[i]->bits == 8 && activations == 8)
            continue;
        qf_buffer_print(out, "override_layer_configs {\n  layer_name: ");
        qf_put_json_text(out, r->layer[i]->name); /* a string of the text format, too */
        qf_buffer_print(out,
                        "\n  retrain_data_quant_config { ulq_quantize { num_bits: %d } }\n"
                        "  retrain_weight_quant_config { arq_retrain { num_bits: %d } }\n}\n",
                        activations, r->layer[i]->bits);
    }
}

/* ---- JSON ---- */

static void member(qf_buffer *out, const char *key, double value)
{
    qf_buffer_print(out, ", \"%s\": ", key);
    if (isfinite(value))
        qf_put_number(out, value);
    else
        qf_buffer_print(out, "null");
}

static void put_json(qf_buffer *out, const qf_bits_result *r)
{
    qf_buffer_print(out, "{\"score\": ");
    qf_put_json_text(out, r->score_name);
    qf_buffer_print(out, ", \"better\": %d, \"batches\": %d, \"activation_bits\": %d", r->better,
                    r->batches, r->activation_bits);
    member(out, "float_score", r->float_score);
    qf_buffer_print(out, ", \"float_bytes\": %llu,\n \"layers\": [",
                    (unsigned long long)r->float_bytes);
    for (size_t i = 0; i < r->layers; i++) {
        const qf_bits_layer *layer = r->layer[i];
        qf_buffer_print(out, "%s\n  {\"name\": ", i ? "," : "");
        qf_put_json_text(out, layer->name);
        qf_buffer_print(out, ", \"type\": ");
        qf_put_json_text(out, layer->type);
        qf_buffer_print(out, ", \"weights\": %llu, \"bits\": %d",
                        (unsigned long long)layer->weights, layer->bits);
        member(out, "cost6", layer->cost6);
        member(out, "cost4", layer->cost4);
        qf_buffer_print(out, ", \"input_values\": %llu, \"activation_bits\": %d",
                        (unsigned long long)layer->input_values, layer->activation_bits);
        member(out, "activation_cost6", layer->activation_cost6);
        member(out, "activation_cost4", layer->activation_cost4);
        qf_buffer_print(out, "}");
    }
    qf_buffer_print(out, "],\n \"rows\": [");
    for (size_t i = 0; i < r->rows; i++) {
        const qf_bits_row *row = r->row[i];
        qf_buffer_print(out, "%s\n  {\"change\": ", i ? "," : "");
        qf_put_json_text(out, row->change);
        qf_buffer_print(out, ", \"bytes\": %llu, \"input_bytes\": %llu",
                        (unsigned long long)row->bytes, (unsigned long long)row->input_bytes);
        member(out, "score", row->score);
        member(out, "loss", row->loss);
        qf_buffer_print(out, ", \"pareto\": %s, \"chosen\": %s}", row->pareto ? "true" : "false",
                        row->chosen ? "true" : "false");
    }
    qf_buffer_print(out, "]}\n");
}

/* ---- the picture: size to the right, loss upwards ---- */

enum { WIDTH = 640, HEIGHT = 400, LEFT = 70, BOTTOM = 50, MARGIN = 24, TICKS = 4 };

typedef struct scale {
    double low, high;
} scale;

static void extend(scale *s, double value)
{
    if (!isfinite(value))
        return;
    s->low = value < s->low ? value : s->low;
    s->high = value > s->high ? value : s->high;
}

static double part(const scale *s, double value)
{
    return s->high > s->low ? (value - s->low) / (s->high - s->low) : 0.5;
}

static double at_x(const scale *s, double bytes)
{
    return LEFT + (WIDTH - LEFT - MARGIN) * part(s, bytes);
}

static double at_y(const scale *s, double loss)
{
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - MARGIN) * part(s, loss);
}

/* An attribute that is a place. */
static void put_place(qf_buffer *out, const char *name, double place)
{
    qf_buffer_print(out, " %s='", name);
    qf_put_fixed(out, place, 1);
    qf_buffer_print(out, "'");
}

static void put_label(qf_buffer *out, double x, double y, const char *anchor, double value)
{
    qf_buffer_print(out, "<text text-anchor='%s'", anchor);
    put_place(out, "x", x);
    put_place(out, "y", y);
    qf_buffer_print(out, ">");
    qf_put_digits(out, value, 3);
    qf_buffer_print(out, "</text>\n");
}

static void put_axes(qf_buffer *out, const qf_bits_result *r, const scale *x, const scale *y)
{
    qf_buffer_print(out,
                    "<path d='M%d %dV%dH%d' fill='none' stroke='#888'/>\n"
                    "<text x='%d' y='%d' text-anchor='middle'>KiB of weights</text>\n"
                    "<text x='%d' y='16'>%s lost by ",
                    LEFT, MARGIN, HEIGHT - BOTTOM, WIDTH - MARGIN, (WIDTH + LEFT) / 2, HEIGHT - 12,
                    LEFT, r->better > 0 ? "points" : "per cent");
    qf_put_html(out, r->score_name);
    qf_buffer_print(out, " before retraining</text>\n");
    for (int i = 0; i <= TICKS; i++) {
        const double bytes = x->low + (x->high - x->low) * i / TICKS,
                     loss = y->low + (y->high - y->low) * i / TICKS;
        put_label(out, at_x(x, bytes), HEIGHT - BOTTOM + 18, "middle", bytes / 1024);
        put_label(out, LEFT - 8, at_y(y, loss) + 4, "end", loss);
    }
}

static void put_points(qf_buffer *out, const qf_bits_result *r, const scale *x, const scale *y)
{
    for (size_t i = 0; i < r->rows; i++) {
        const qf_bits_row *row = r->row[i];
        if (!isfinite(row->loss))
            continue;
        const char *colour = row->chosen ? "#d43" : row->pareto ? "#27b" : "#bbb";
        const bool of_inputs = row->input_bytes < r->row[0]->input_bytes; /* hollow */
        qf_buffer_print(out, "<circle r='%d' fill='%s' stroke='%s'", row->chosen ? 7 : 4,
                        of_inputs && !row->chosen ? "#fff" : colour, colour);
        put_place(out, "cx", at_x(x, (double)row->bytes));
        put_place(out, "cy", at_y(y, row->loss));
        qf_buffer_print(out, "><title>");
        qf_put_html(out, *row->change ? row->change : "8 bits everywhere");
        qf_buffer_print(out, ": %llu bytes, inputs %llu, loss ", (unsigned long long)row->bytes,
                        (unsigned long long)row->input_bytes);
        qf_put_digits(out, row->loss, 4);
        qf_buffer_print(out, "</title></circle>\n");
    }
}

static void put_picture(qf_buffer *out, const qf_bits_result *r)
{
    scale x = {(double)INFINITY, 0}, y = {0, 0};
    for (size_t i = 0; i < r->rows; i++) {
        extend(&x, (double)r->row[i]->bytes);
        extend(&y, r->row[i]->loss);
    }
    qf_buffer_print(out,
                    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' width='%d' "
                    "height='%d' font-family='sans-serif' font-size='12'>\n"
                    "<rect width='100%%' height='100%%' fill='#fff'/>\n",
                    WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_axes(out, r, &x, &y);
    put_points(out, r, &x, &y);
    qf_buffer_print(out, "</svg>\n");
}

/* ---- the file ---- */

qf_status qf_bits_write(qf_context *context, const qf_bits_result *result, const char *file)
{
    qf_buffer out = {0};
    if (qf_find_ending(file, ".json"))
        put_json(&out, result);
    else if (qf_find_ending(file, ".svg"))
        put_picture(&out, result);
    else
        put_definition(&out, result);
    qf_status status = qf_buffer_whole(context, &out);
    if (status == QF_OK)
        status = qf_file_write(context, file, qf_buffer_text(&out), out.size, 0644);
    qf_buffer_release(&out);
    return status;
}
