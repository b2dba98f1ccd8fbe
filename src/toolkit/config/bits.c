/* How many bits weights and activations have: numbers, names and conveniences. */
#include "toolkit/config/bits.h"

#include <string.h>

/* Fewer than 4 bits need other methods than these; more than 8 are no codes of int8 kernels. */
static const struct kind {
    const char *name, *expected;
    int possible[5]; /* up to 0 */
} kinds[] = {
    [QF_BITS_OF_WEIGHTS] = {"weights", "4, 6 or 8", {4, 6, 8}},
    [QF_BITS_OF_ACTIVATIONS] = {"activations", "4, 6, 8 or 16", {4, 6, 8, 16}},
};

static const struct type {
    const char *name;
    int bits;
} types[] = {
    [AMCT__DATA_TYPE__INT4] = {"INT4", 4},
    [AMCT__DATA_TYPE__INT8] = {"INT8", 8},
    [AMCT__DATA_TYPE__INT16] = {"INT16", 16},
};
enum { TYPES = sizeof types / sizeof *types };

const char *qf_bits_type_name(Amct__DataType type)
{
    return types[type].name;
}

qf_status qf_bits_check(qf_context *context, const char *where, qf_bits_of of, int64_t bits)
{
    for (const int *possible = kinds[of].possible; *possible; possible++)
        if (bits == *possible)
            return QF_OK;
    return qf_fail(context, QF_E_VALUE, "%s: %s of %lld bits are not possible; expected %s", where,
                   kinds[of].name, (long long)bits, kinds[of].expected);
}

qf_status qf_bits_take(qf_context *context, const char *where, qf_bits_of of, const char *dst_type,
                       const int64_t *num_bits, int *out)
{
    int64_t bits = 0;
    for (int i = 0; dst_type && i < TYPES; i++)
        if (strcmp(types[i].name, dst_type) == 0)
            bits = types[i].bits;
    if (dst_type && !bits)
        return qf_fail(context, QF_E_VALUE,
                       "%s: dst_type \"%.40s\" is not known; expected INT4, INT8 or INT16", where,
                       dst_type);
    if (dst_type && num_bits && *num_bits != bits)
        return qf_fail(context, QF_E_VALUE,
                       "%s: dst_type %s and num_bits %lld do not agree; leave one of them out",
                       where, dst_type, (long long)*num_bits);
    if (!dst_type && !num_bits)
        return QF_OK;
    bits = num_bits ? *num_bits : bits;
    QF_TRY(qf_bits_check(context, where, of, bits));
    *out = (int)bits;
    return QF_OK;
}

/* ---- conveniences ---- */

static void say(int bits, int *said)
{
    if (bits && !*said)
        *said = bits;
}

qf_status qf_bits_apply(qf_context *context, const qf_bits_wanted *wanted, qf_config *config)
{
    const int edge_bits = wanted->edge ? wanted->edge : 8;
    qf_layer_config *edge[2] = {NULL, NULL};
    if (wanted->weights)
        QF_TRY(qf_bits_check(context, "weight bits", QF_BITS_OF_WEIGHTS, wanted->weights));
    if (wanted->activations)
        QF_TRY(
            qf_bits_check(context, "activation bits", QF_BITS_OF_ACTIVATIONS, wanted->activations));
    QF_TRY(qf_bits_check(context, "edge bits", QF_BITS_OF_WEIGHTS, edge_bits));
    for (size_t i = 0; i < config->count; i++) {
        qf_layer_config *layer = &config->layers[i];
        if (!layer->enabled || !layer->support.has_weights)
            continue;
        edge[0] = edge[0] ? edge[0] : layer;
        edge[1] = layer;
    }
    for (int i = 0; i < 2 && edge[0]; i++) {
        say(edge_bits, &edge[i]->weight_bits);
        say(edge_bits, &edge[i]->activation_bits);
    }
    for (size_t i = 0; i < config->count; i++) {
        qf_layer_config *layer = &config->layers[i];
        if (!layer->enabled || !layer->support.has_weights)
            continue;
        say(wanted->weights, &layer->weight_bits);
        say(wanted->activations, &layer->activation_bits);
    }
    return QF_OK;
}
