/*
 * Weights of a net in less time than a copy of them takes. The arrays of floats, nearly all of a
 * .caffemodel, stay in the buffer that the file was read into; protobuf-c unpacks what is left of
 * the file without them, and the blobs are then pointed at the arrays.
 */
#include "base/file.h"
#include "base/memory.h"
#include "model/file_type.h"
#include "model/model.h"

#include <string.h>

enum {
    VARINT = 0,
    FIXED64 = 1,
    BYTES = 2,
    FIXED32 = 5,
    /* numbers of fields: of NetParameter, LayerParameter, BlobProto */
    NET_LAYERS_V1 = 2,
    NET_LAYER = 100,
    LAYER_TYPE = 2,
    LAYER_BLOBS = 7,
    BLOB_DATA = 5,
    SMALLEST_ARRAY = 256, /* floats; smaller ones are unpacked like everything else */
    LENGTH_BYTES = 5,     /* a length that is filled in later, as a varint with leading zeros */
};

/* A stretch of the file, or of a message in it. */
typedef struct reader {
    uint8_t *at, *end;
} reader;

typedef struct field {
    uint32_t number;
    int type;
    uint8_t *start; /* of the tag */
    reader content; /* of BYTES */
} field;

/* The floats of one blob; count 0: they were left where they are. */
typedef struct array {
    uint8_t *bytes;
    size_t count;
} array;

typedef struct skeleton {
    qf_buffer bytes; /* the file without arrays */
    array *arrays;   /* one for each blob, in the order of the file */
    size_t count, capacity;
} skeleton;

static bool read_varint(reader *r, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (r->at == r->end)
            return false;
        *value |= (uint64_t)(*r->at & 0x7f) << shift;
        if (!(*r->at++ & 0x80))
            return true;
    }
    return false;
}

static bool read_field(reader *r, field *f)
{
    uint64_t tag, value;
    f->start = r->at;
    if (!read_varint(r, &tag) || tag >> 3 == 0 || tag >> 32)
        return false;
    f->number = (uint32_t)(tag >> 3);
    f->type = (int)(tag & 7);
    size_t size = f->type == FIXED64 ? 8 : f->type == FIXED32 ? 4 : 0;
    if (f->type == VARINT || f->type == BYTES) {
        if (!read_varint(r, &value))
            return false;
        size = f->type == BYTES ? (size_t)value : 0;
    } else if (size == 0) {
        return false; /* groups: not Caffe's */
    }
    if (size > (size_t)(r->end - r->at))
        return false;
    f->content = (reader){r->at, r->at + size};
    r->at += size;
    return true;
}

static void copy_field(skeleton *s, const field *f, const reader *after)
{
    qf_buffer_append(&s->bytes, f->start, (size_t)(after->at - f->start));
}

/* The tag of a message, and room for its length, which end_message() fills in. */
static size_t begin_message(skeleton *s, const field *f)
{
    const uint8_t room[LENGTH_BYTES] = {0};
    reader tag = {f->start, f->content.end};
    uint64_t ignored;
    read_varint(&tag, &ignored);
    qf_buffer_append(&s->bytes, f->start, (size_t)(tag.at - f->start));
    qf_buffer_append(&s->bytes, room, sizeof room);
    return s->bytes.size;
}

static void end_message(skeleton *s, size_t start)
{
    if (s->bytes.failed)
        return;
    size_t length = s->bytes.size - start;
    for (int i = 0; i < LENGTH_BYTES; i++, length >>= 7)
        s->bytes.data[start - LENGTH_BYTES + (size_t)i] =
            (char)((length & 0x7f) | (i < LENGTH_BYTES - 1 ? 0x80 : 0));
}

/* Is there one array of floats, packed, and no second one that would continue it? */
static bool find_array(reader blob, array *out)
{
    int arrays = 0;
    field f;
    while (blob.at < blob.end) {
        if (!read_field(&blob, &f))
            return false;
        if (f.number != BLOB_DATA)
            continue;
        const size_t size = f.type == BYTES ? (size_t)(f.content.end - f.content.at) : 0;
        *out = (array){f.content.at, size / sizeof(float)};
        if (size % sizeof(float) != 0 || out->count < SMALLEST_ARRAY || ++arrays > 1)
            return false;
    }
    return arrays == 1;
}

static bool add_blob(skeleton *s, const field *message)
{
    reader r = message->content;
    array found = {NULL, 0};
    if (!find_array(r, &found))
        found = (array){NULL, 0};
    if (!qf_grow(&s->arrays, &s->capacity, s->count + 1, sizeof *s->arrays))
        return false;
    s->arrays[s->count++] = found;
    const size_t start = begin_message(s, message);
    for (field f; r.at < r.end;) {
        if (!read_field(&r, &f))
            return false;
        if (f.number != BLOB_DATA || found.count == 0)
            copy_field(s, &f, &r);
    }
    end_message(s, start);
    return true;
}

static bool add_layer(skeleton *s, const field *message)
{
    reader r = message->content;
    const size_t start = begin_message(s, message);
    for (field f; r.at < r.end;) {
        if (!read_field(&r, &f))
            return false;
        if (f.number == LAYER_TYPE && f.type == BYTES && f.content.end - f.content.at == 2 &&
            memcmp(f.content.at, "BN", 2) == 0)
            return false; /* its blobs go to two layers */
        if (f.number == LAYER_BLOBS && f.type == BYTES) {
            if (!add_blob(s, &f))
                return false;
        } else {
            copy_field(s, &f, &r);
        }
    }
    end_message(s, start);
    return true;
}

/* False where anything is unusual: damage, old layers, no memory. The usual way then copes, or says
 * what is wrong. */
static bool make_skeleton(qf_buffer *file, skeleton *s)
{
    reader r = {(uint8_t *)file->data, (uint8_t *)file->data + file->size};
    for (field f; r.at < r.end;) {
        if (!read_field(&r, &f) || f.number == NET_LAYERS_V1)
            return false;
        if (f.number == NET_LAYER && f.type == BYTES) {
            if (!add_layer(s, &f))
                return false;
        } else {
            copy_field(s, &f, &r);
        }
    }
    return !s->bytes.failed;
}

/* Points the blobs at their arrays, which move by up to three bytes to where floats may lie: over
 * the tag and length in front of them, which nobody needs any more. */
static bool attach(qf_weights *w, const skeleton *s)
{
    size_t next = 0;
    w->borrowing = qf_alloc(s->count, sizeof *w->borrowing);
    if (!w->borrowing)
        return false;
    for (size_t l = 0; l < w->net->n_layer; l++)
        for (size_t b = 0; b < w->net->layer[l]->n_blobs; b++, next++) {
            Caffe__BlobProto *blob = w->net->layer[l]->blobs[b];
            if (next == s->count)
                return false;
            const array *a = &s->arrays[next];
            if (a->count == 0)
                continue;
            uint8_t *aligned = a->bytes - (uintptr_t)a->bytes % sizeof(float);
            memmove(aligned, a->bytes, a->count * sizeof(float));
            blob->data = (float *)(void *)aligned;
            blob->n_data = a->count;
            w->borrowing[w->borrowers++] = blob;
        }
    return next == s->count;
}

static qf_status read_usual(qf_context *context, const char *path, qf_weights *out)
{
    qf_weights_release(out);
    return qf_net_param_read_binary(context, path, &out->net);
}

qf_status qf_weights_read(qf_context *context, const char *path, qf_weights *out)
{
    skeleton s = {0};
    *out = (qf_weights){0};
    qf_status status = qf_file_read(context, path, &out->file);
    if (status == QF_OK) {
        bool done = out->file.size > 0 && make_skeleton(&out->file, &s);
        if (done)
            done = qf_net_param_parse_binary(context, path, qf_buffer_text(&s.bytes), s.bytes.size,
                                             &out->net) == QF_OK &&
                   out->net->n_layer > 0 && attach(out, &s);
        if (!done)
            status = read_usual(context, path, out);
    }
    qf_buffer_release(&s.bytes);
    qf_free(s.arrays);
    if (status != QF_OK)
        qf_weights_release(out);
    return qf_wrong_file(context, status, path, QF_FILE_WEIGHTS);
}

void qf_weights_release(qf_weights *weights)
{
    for (size_t i = 0; i < weights->borrowers; i++) {
        weights->borrowing[i]->data = NULL;
        weights->borrowing[i]->n_data = 0;
    }
    qf_message_free(weights->net);
    qf_buffer_release(&weights->file);
    qf_free(weights->borrowing);
    *weights = (qf_weights){0};
}
