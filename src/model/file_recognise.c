/* Telling what a file is: signatures at fixed places, the beginnings of texts, and the outermost
 * fields of protobuf's messages in both of their formats. */
#include "model/file_type.h"

#include "model/model.h"
#include "model/wire_field.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 1 << 16 }; /* bytes that are looked at */

/* The beginning of a file. */
typedef struct head {
    const uint8_t *bytes;
    size_t have;
    uint64_t size; /* of the file */
} head;

static bool stands_at(const head *h, size_t offset, const char *bytes, size_t size)
{
    return offset + size <= h->have && memcmp(h->bytes + offset, bytes, size) == 0;
}

static bool contains(const head *h, const char *text)
{
    return memmem(h->bytes, h->have, text, strlen(text)) != NULL;
}

/* ---- signatures ---- */

#define BYTES(literal) literal, sizeof(literal) - 1
static const struct {
    size_t offset;
    const char *bytes;
    size_t size;
    const char *within; /* also somewhere in the head; NULL: nothing */
    qf_file_type type;
} signatures[] = {
    {0, BYTES("\x89HDF\r\n\x1a\n"), "learned_net", QF_FILE_HDF5_STATE},
    {0, BYTES("\x89HDF\r\n\x1a\n"), "keras_version", QF_FILE_KERAS},
    {0, BYTES("\x89HDF\r\n\x1a\n"), "model_weights", QF_FILE_KERAS},
    {0, BYTES("\x89HDF\r\n\x1a\n"), NULL, QF_FILE_HDF5},
    {512, BYTES("\x89HDF\r\n\x1a\n"), NULL, QF_FILE_HDF5}, /* behind a block of the user's */
    {1024, BYTES("\x89HDF\r\n\x1a\n"), NULL, QF_FILE_HDF5},
    {2048, BYTES("\x89HDF\r\n\x1a\n"), NULL, QF_FILE_HDF5},
    {0, BYTES("\x89PNG\r\n\x1a\n"), NULL, QF_FILE_IMAGE},
    {0, BYTES("\xff\xd8\xff"), NULL, QF_FILE_IMAGE},
    {0, BYTES("GIF8"), NULL, QF_FILE_OTHER_IMAGE},
    {0, BYTES("II*\0"), NULL, QF_FILE_OTHER_IMAGE},
    {0, BYTES("MM\0*"), NULL, QF_FILE_OTHER_IMAGE},
    {8, BYTES("WEBP"), NULL, QF_FILE_OTHER_IMAGE},
    {0, BYTES("\x93NUMPY"), NULL, QF_FILE_NPY},
    {0, BYTES("PK\x03\x04"), "data.pkl", QF_FILE_PYTORCH},
    {0, BYTES("PK\x03\x04"), ".npy", QF_FILE_NPZ},
    {0, BYTES("PK\x03\x04"), NULL, QF_FILE_ZIP},
    {0, BYTES("\x1f\x8b"), NULL, QF_FILE_GZIP},
    {257, BYTES("ustar"), NULL, QF_FILE_TAR},
    {0, BYTES("BZh"), NULL, QF_FILE_ARCHIVE},
    {0,
     BYTES("\xfd"
           "7zXZ\0"),
     NULL, QF_FILE_ARCHIVE},
    {0, BYTES("\x28\xb5\x2f\xfd"), NULL, QF_FILE_ARCHIVE},
    {0, BYTES("7z\xbc\xaf\x27\x1c"), NULL, QF_FILE_ARCHIVE},
    {0, BYTES("Rar!"), NULL, QF_FILE_ARCHIVE},
    {16, BYTES("\xde\xc0\xef\xbe"), NULL, QF_FILE_LMDB_DATA},
    {4, BYTES("TFL3"), NULL, QF_FILE_TFLITE},
    {8, BYTES("{\""), NULL, QF_FILE_SAFETENSORS},
    {0, BYTES("\x80\x02"), NULL, QF_FILE_PICKLE},
    {0, BYTES("\x80\x03"), NULL, QF_FILE_PICKLE},
    {0, BYTES("\x80\x04"), NULL, QF_FILE_PICKLE},
    {0, BYTES("\x80\x05"), NULL, QF_FILE_PICKLE},
    {0,
     BYTES("\x7f"
           "ELF"),
     NULL, QF_FILE_PROGRAM},
    {0, BYTES("%PDF-"), NULL, QF_FILE_PDF},
    {0, BYTES("\0\0\x08\x01"), NULL, QF_FILE_IDX},
    {0, BYTES("\0\0\x08\x03"), NULL, QF_FILE_IDX},
    {0, BYTES("\xff\xfe"), NULL, QF_FILE_UTF16},
    {0, BYTES("\xfe\xff"), NULL, QF_FILE_UTF16},
};

/* "BM", the size of the file or 0, and four reserved bytes. */
static bool is_bitmap(const head *h)
{
    return stands_at(h, 0, "BM", 2) && stands_at(h, 6, "\0\0\0\0", 4) && h->size > 26;
}

static qf_file_type by_signature(const head *h)
{
    if (is_bitmap(h))
        return QF_FILE_IMAGE;
    for (size_t i = 0; i < sizeof signatures / sizeof *signatures; i++)
        if (stands_at(h, signatures[i].offset, signatures[i].bytes, signatures[i].size) &&
            (!signatures[i].within || contains(h, signatures[i].within)))
            return signatures[i].type;
    return QF_FILE_UNKNOWN;
}

static bool is_zeros(const head *h)
{
    for (size_t i = 0; i < h->have; i++)
        if (h->bytes[i])
            return false;
    return true;
}

/* ---- texts ---- */

static bool is_text(const head *h)
{
    for (size_t i = 0; i < h->have; i++)
        if ((h->bytes[i] < ' ' && !isspace(h->bytes[i])) || h->bytes[i] == 127)
            return false;
    return true;
}

/* ASCII in UTF-16 without a mark: every other byte is zero. */
static bool is_wide(const head *h)
{
    size_t zeros[2] = {0};
    for (size_t i = 0; i < h->have; i++)
        zeros[i % 2] += !h->bytes[i];
    const size_t half = h->have / 2;
    return h->have > 8 &&
           ((zeros[0] > half * 9 / 10 && !zeros[1]) || (zeros[1] > half * 9 / 10 && !zeros[0]));
}

/* Beginnings, after blanks, in any case of letters. */
static const struct {
    const char *text, *within;
    qf_file_type type;
} beginnings[] = {
    {"version https://git-lfs", NULL, QF_FILE_LFS_POINTER},
    {"<!doctype html", NULL, QF_FILE_HTML},
    {"<html", NULL, QF_FILE_HTML},
    {"<head", NULL, QF_FILE_HTML},
    {"<?xml", "<html", QF_FILE_HTML},
    {"<?xml", NULL, QF_FILE_XML},
    {"{", "\"retrain_enable\"", QF_FILE_CONFIG},
    {"{", "\"quant_enable\"", QF_FILE_POST_TRAINING_CONFIG},
    {"{", "\"graph\"", QF_FILE_QUANT_JSON},
    {"{", "\"", QF_FILE_JSON},
    {"# 0\n", NULL, QF_FILE_WINDOW_LIST},
    {"# 0\r\n", NULL, QF_FILE_WINDOW_LIST},
};

static qf_file_type by_beginning(const head *h)
{
    static const char mark[] = "\xef\xbb\xbf";
    size_t at = stands_at(h, 0, mark, 3) ? 3 : 0;
    while (at < h->have && isspace(h->bytes[at]))
        at++;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
        const size_t length = strlen(beginnings[i].text);
        if (length <= h->have - at &&
            strncasecmp((const char *)h->bytes + at, beginnings[i].text, length) == 0 &&
            (!beginnings[i].within || contains(h, beginnings[i].within)))
            return beginnings[i].type;
    }
    /* The names in a list may begin with a bracket, but none ends the file in one. */
    size_t end = h->have;
    while (end > at && isspace(h->bytes[end - 1]))
        end--;
    return end > at + 1 && h->bytes[at] == '[' && h->bytes[end - 1] == ']' ? QF_FILE_JSON
                                                                           : QF_FILE_UNKNOWN;
}

/* ---- messages as text: which message has the outermost fields? ---- */

static const struct {
    const ProtobufCMessageDescriptor *message;
    qf_file_type type;
} texts[] = {
    {&caffe__net_parameter__descriptor, QF_FILE_NET},
    {&caffe__solver_parameter__descriptor, QF_FILE_SOLVER},
    {&amct__scale_offset_record__descriptor, QF_FILE_RECORD},
    {&amct__amctretrain_config__descriptor, QF_FILE_CONFIG_DEFINITION},
    {&caffe__label_map__descriptor, QF_FILE_LABEL_MAP},
};
enum { TEXTS = sizeof texts / sizeof *texts };

typedef struct scanner {
    const char *at, *end;
    int depth;
} scanner;

static void skip_string(scanner *s)
{
    const char quote = *s->at++;
    while (s->at < s->end && *s->at != quote && *s->at != '\n')
        s->at += *s->at == '\\' && s->at + 1 < s->end ? 2 : 1;
    s->at += s->at < s->end;
}

/* The next name of a field: a word before ':', '{' or '<'. False at the end. */
static bool next_name(scanner *s, char *name, size_t size)
{
    while (s->at < s->end) {
        const char c = *s->at;
        if (c == '#') {
            while (s->at < s->end && *s->at != '\n')
                s->at++;
        } else if (c == '"' || c == '\'') {
            skip_string(s);
        } else if (isalpha((unsigned char)c) || c == '_') {
            const char *start = s->at;
            while (s->at < s->end && (isalnum((unsigned char)*s->at) || *s->at == '_'))
                s->at++;
            snprintf(name, size, "%.*s", (int)(s->at - start < 64 ? s->at - start : 64), start);
            while (s->at < s->end && (*s->at == ' ' || *s->at == '\t'))
                s->at++;
            if (s->at < s->end && strchr(":{<", *s->at))
                return true;
        } else {
            s->depth += (c == '{' || c == '<') - (c == '}' || c == '>');
            s->at++;
        }
    }
    return false;
}

static qf_file_type by_fields(const head *h)
{
    int known[TEXTS] = {0}, best = 0, names = 0;
    bool blobs = false;
    char name[80];
    const char *text = (const char *)h->bytes;
    for (scanner s = {text, text + h->have, 0}; next_name(&s, name, sizeof name);) {
        blobs |= s.depth == 1 && strcmp(name, "blobs") == 0;
        names += s.depth == 0;
        for (int i = 0; i < TEXTS && s.depth == 0; i++)
            known[i] +=
                protobuf_c_message_descriptor_get_field_by_name(texts[i].message, name) != NULL;
    }
    for (int i = 1; i < TEXTS; i++)
        best = known[i] > known[best] ? i : best;
    if (2 * known[best] <= names) /* most words are of no message */
        return QF_FILE_UNKNOWN;
    return blobs && texts[best].type == QF_FILE_NET ? QF_FILE_WEIGHTS_TEXT : texts[best].type;
}

/* ---- lists: what the first lines have in common ---- */

static bool ends_in_number(const char *line, size_t length, size_t *path)
{
    size_t at = length;
    while (at > 0 && (isdigit((unsigned char)line[at - 1]) || strchr("+-.", line[at - 1])))
        at--;
    *path = at;
    return at < length && at > 1 && (line[at - 1] == ' ' || line[at - 1] == '\t');
}

static bool ends_in(const char *line, size_t length, const char *ending)
{
    const size_t size = strlen(ending);
    return length > size && strncasecmp(line + length - size, ending, size) == 0;
}

static qf_file_type by_lines(const head *h)
{
    enum { LINES = 20 };
    const char *at = (const char *)h->bytes, *end = at + h->have;
    int lines = 0, images = 0, arrays = 0;
    while (at < end && lines < LINES) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at), path;
        while (length && isspace((unsigned char)at[length - 1]))
            length--;
        lines += length > 0;
        images += ends_in_number(at, length, &path) && memchr(at, '.', path);
        arrays += ends_in(at, length, ".h5") || ends_in(at, length, ".hdf5");
        at = stop ? stop + 1 : end;
    }
    return lines && images == lines   ? QF_FILE_IMAGE_LIST
           : lines && arrays == lines ? QF_FILE_HDF5_LIST
                                      : QF_FILE_UNKNOWN;
}

/* ---- messages in wire format ---- */

/* The outermost fields of a message, as "number type" with b: bytes, v: varint; those that must be
 * there; and whether the first may come once only. */
static const struct {
    const char *fields, *must;
    bool many_first, one_first;
    qf_file_type type;
} messages[] = {
    {" 1v 2b 3b 4b 5v 6b 7b 8b 14b 20b 25b ", " 7b 8b ", false, true, QF_FILE_ONNX},
    {" 1b 2b 3v 4b ", " 1b ", true, false, QF_FILE_TENSORFLOW},
    {" 1v 2b 3b 4v 1000b ", " 1v ", false, true, QF_FILE_STATE},
    {" 1b 2b 3b 4v 4b 5v 6b 7v 8b 100b ", " 100b ", false, true, QF_FILE_WEIGHTS},
    {" 1b 2b 3b 4v 4b 5v 6b 7v 8b 100b ", " 2b ", false, true, QF_FILE_WEIGHTS},
    {" 1v 2v 3v 4v 5b 6b 7b 8b 9b 10b 11b 12b ", " 5b ", false, true, QF_FILE_BLOB},
    {" 1v 2v 3v 4v 5b 6b 7b 8b 9b 10b 11b 12b ", " 8b ", false, true, QF_FILE_BLOB},
};
enum { MESSAGES = sizeof messages / sizeof *messages, FIELDS_MAX = 4096 };

static bool has_all(const char *must, const char *seen)
{
    char field[8];
    for (; *must == ' ' && must[1]; must += strlen(field) - 1) {
        snprintf(field, sizeof field, "%.*s", (int)(strcspn(must + 1, " ") + 2), must);
        if (!strstr(seen, field))
            return false;
    }
    return true;
}

static qf_file_type by_wire(const head *h)
{
    char seen[256] = " ", field_text[16];
    int firsts = 0, count = 0;
    bool possible[MESSAGES];
    qf_wire_field field = {0};
    memset(possible, true, sizeof possible);
    for (; field.end < h->have && count < FIELDS_MAX; count++) {
        if (!qf_wire_field_read(h->bytes, h->have, h->size, field.end, &field))
            break;
        const char type = field.type == QF_WIRE_BYTES    ? 'b'
                          : field.type == QF_WIRE_VARINT ? 'v'
                                                         : 'f';
        snprintf(field_text, sizeof field_text, " %u%c ", (unsigned)(field.number % 100000), type);
        firsts += field.number == 1;
        for (int i = 0; i < MESSAGES; i++)
            possible[i] &= strstr(messages[i].fields, field_text) != NULL;
        if (!strstr(seen, field_text) && strlen(seen) + sizeof field_text < sizeof seen)
            strcat(seen, field_text + 1);
    }
    for (int i = 0; i < MESSAGES && count; i++)
        if (possible[i] && has_all(messages[i].must, seen) &&
            (!messages[i].many_first || firsts > 1) && (!messages[i].one_first || firsts <= 1))
            return messages[i].type;
    return QF_FILE_UNKNOWN;
}

/* ---- all of it ---- */

qf_file_type qf_file_type_of_bytes(const uint8_t *bytes, size_t have, uint64_t size)
{
    const head h = {bytes, have, size};
    if (!size)
        return QF_FILE_EMPTY;
    if (is_zeros(&h))
        return QF_FILE_ZEROS;
    qf_file_type type = by_signature(&h);
    if (type != QF_FILE_UNKNOWN)
        return type;
    if (is_wide(&h))
        return QF_FILE_UTF16;
    if (!is_text(&h))
        return by_wire(&h);
    qf_file_type (*const ways[])(const head *) = {by_beginning, by_fields, by_lines};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if ((type = ways[i](&h)) != QF_FILE_UNKNOWN)
            return type;
    return QF_FILE_TEXT;
}

static bool has_file(const char *folder, const char *name)
{
    char path[4096];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path &&
           access(path, F_OK) == 0;
}

static qf_file_type of_folder(const char *path)
{
    return has_file(path, "data.mdb") || has_file(path, "CURRENT") ? QF_FILE_DATABASE
           : has_file(path, "saved_model.pb")                      ? QF_FILE_TENSORFLOW_FOLDER
                                                                   : QF_FILE_FOLDER;
}

qf_file_type qf_file_type_of(const char *path)
{
    static const char table_end[] = "\x57\xfb\x80\x8b\x24\x75\x47\xdb";
    struct stat info;
    qf_file_type type = QF_FILE_UNKNOWN;
    if (stat(path, &info) != 0)
        return type;
    if (S_ISDIR(info.st_mode))
        return of_folder(path);
    int fd = S_ISREG(info.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return type;
    uint8_t tail[8], bytes[HEAD]; /* no file is unknown because memory is short */
    const ssize_t got = pread(fd, bytes, HEAD, 0);
    if (got >= 0 && (got > 0 || info.st_size == 0))
        type = qf_file_type_of_bytes(bytes, (size_t)got, (uint64_t)info.st_size);
    if (type == QF_FILE_UNKNOWN && info.st_size > 48 &&
        pread(fd, tail, sizeof tail, info.st_size - (off_t)sizeof tail) == sizeof tail &&
        memcmp(tail, table_end, sizeof tail) == 0)
        type = QF_FILE_LEVELDB_TABLE;
    close(fd);
    return type;
}
