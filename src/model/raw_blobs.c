/* NVIDIA's raw blobs, turned into Caffe's. */
#include "model/raw_blobs.h"

#include "model/wire_field.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    VARINT = 0,
    BYTES = 2,
    /* numbers of fields: layers of NetParameter, blobs of both kinds of layers */
    NET_LAYERS_V1 = 2,
    NET_LAYER = 100,
    LAYER_BLOBS_V1 = 6,
    LAYER_BLOBS = 7,
    /* NVIDIA's, of BlobProto */
    RAW_DATA_TYPE = 10,
    RAW_DIFF_TYPE = 11,
    RAW_DATA = 12,
    RAW_DIFF = 13,
    /* Caffe's and ours: all below 16, so that a tag is one byte as well */
    DATA = 5,
    DOUBLE_DATA = 8,
    HALF_DATA = 14,
    NOBODY = 15,
};

/* By NVIDIA's numbers of types; 0: nothing that weights are made of. */
static const uint8_t arrays[] = {DOUBLE_DATA, DATA, HALF_DATA};
enum { TYPES = sizeof arrays / sizeof *arrays };

static void rename_field(uint8_t *tag, int number)
{
    *tag = (uint8_t)(number << 3 | (*tag & 7));
}

/* The field that the array becomes; 0: this is no raw blob. */
static int array_of(const uint8_t *blob, size_t size)
{
    qf_wire_field field = {0};
    while (field.end < size && qf_wire_field_read(blob, size, size, field.end, &field))
        if (field.number == RAW_DATA_TYPE && field.type == VARINT && blob[field.end - 1] < TYPES)
            return arrays[blob[field.end - 1]];
    return 0;
}

static bool translate_blob(uint8_t *blob, size_t size)
{
    const int array = array_of(blob, size);
    qf_wire_field field = {0};
    if (!array)
        return false;
    while (field.end < size && qf_wire_field_read(blob, size, size, field.end, &field)) {
        if (field.number == RAW_DATA && field.type == BYTES)
            rename_field(blob + field.start, array);
        else if (field.number >= RAW_DATA_TYPE && field.number <= RAW_DIFF)
            rename_field(blob + field.start, NOBODY);
    }
    return true;
}

size_t qf_raw_blobs_translate(uint8_t *net, size_t size)
{
    size_t count = 0;
    qf_wire_field layer = {0};
    while (layer.end < size && qf_wire_field_read(net, size, size, layer.end, &layer)) {
        const unsigned blobs = layer.number == NET_LAYER       ? LAYER_BLOBS
                               : layer.number == NET_LAYERS_V1 ? LAYER_BLOBS_V1
                                                               : 0;
        uint8_t *bytes = net + layer.value;
        const size_t end = layer.end - layer.value;
        qf_wire_field blob = {0};
        while (blobs && layer.type == BYTES && blob.end < end &&
               qf_wire_field_read(bytes, end, end, blob.end, &blob))
            if (blob.number == blobs && blob.type == BYTES)
                count += translate_blob(bytes + blob.value, blob.end - blob.value);
    }
    return count;
}

float qf_float_of_half(unsigned half)
{
    const unsigned exponent = half >> 10 & 31, mantissa = half & 1023;
    const float size = exponent == 31  ? (mantissa ? NAN : INFINITY)
                       : exponent == 0 ? ldexpf((float)mantissa, -24)
                                       : ldexpf((float)(mantissa + 1024), (int)exponent - 25);
    return half & 0x8000 ? -size : size;
}

static qf_status widen(qf_context *context, Caffe__BlobProto *blob)
{
    if (!blob->has_half_data)
        return QF_OK;
    const size_t count = blob->half_data.len / 2;
    float *values = malloc((count + 1) * sizeof *values);
    if (!values)
        return qf_fail(context, QF_E_MEMORY, "no memory for %zu weights", count);
    for (size_t i = 0; i < count; i++)
        values[i] = qf_float_of_half(blob->half_data.data[2 * i] | blob->half_data.data[2 * i + 1] << 8);
    free(blob->data);
    blob->data = values;
    blob->n_data = count;
    free(blob->half_data.data);
    blob->half_data = (ProtobufCBinaryData){0, NULL};
    blob->has_half_data = false;
    return QF_OK;
}

qf_status qf_raw_blobs_widen(qf_context *context, Caffe__NetParameter *net)
{
    for (size_t i = 0; i < net->n_layer; i++)
        for (size_t b = 0; b < net->layer[i]->n_blobs; b++)
            QF_TRY(widen(context, net->layer[i]->blobs[b]));
    for (size_t i = 0; i < net->n_layers; i++)
        for (size_t b = 0; b < net->layers[i]->n_blobs; b++)
            QF_TRY(widen(context, net->layers[i]->blobs[b]));
    return QF_OK;
}
