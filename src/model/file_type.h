/*
 * What a file is, whatever its name, told from its first bytes. Readers ask when they could not
 * read a file: people give a solver for a net, a web page that a download left for weights, and the
 * sentence has to say so. Asked after reading only, so that a guess keeps no good file out.
 */
#ifndef QF_MODEL_FILE_TYPE_H
#define QF_MODEL_FILE_TYPE_H

#include "base/context.h"

#include <protobuf-c/protobuf-c.h>

typedef enum qf_file_type {
    QF_FILE_UNKNOWN,
    /* What is read here. */
    QF_FILE_NET,
    QF_FILE_SOLVER,
    QF_FILE_WEIGHTS,
    QF_FILE_WEIGHTS_TEXT,
    QF_FILE_STATE,
    QF_FILE_BLOB,
    QF_FILE_RECORD,
    QF_FILE_CONFIG_DEFINITION,
    QF_FILE_CONFIG,
    QF_FILE_QUANT_JSON,
    QF_FILE_HDF5,
    QF_FILE_HDF5_WEIGHTS, /* wanted only: any HDF5 file may be it */
    QF_FILE_HDF5_STATE,
    QF_FILE_DATABASE, /* a folder with an LMDB or a LevelDB */
    QF_FILE_LMDB_DATA,
    QF_FILE_IMAGE,
    QF_FILE_IMAGE_LIST,
    QF_FILE_HDF5_LIST,
    QF_FILE_WINDOW_LIST,
    QF_FILE_IDX,
    QF_FILE_CIFAR, /* wanted only: bytes without a mark */
    QF_FILE_POST_TRAINING_CONFIG,
    /* What is not. */
    QF_FILE_LABEL_MAP, /* of SSD: names of classes */
    QF_FILE_OTHER_IMAGE,
    QF_FILE_NPY,
    QF_FILE_NPZ,
    QF_FILE_PYTORCH,
    QF_FILE_PICKLE,
    QF_FILE_SAFETENSORS,
    QF_FILE_ONNX,
    QF_FILE_TENSORFLOW,
    QF_FILE_TENSORFLOW_FOLDER,
    QF_FILE_TFLITE,
    QF_FILE_KERAS,
    QF_FILE_LEVELDB_TABLE,
    QF_FILE_LFS_POINTER,
    QF_FILE_HTML,
    QF_FILE_XML,
    QF_FILE_PDF,
    QF_FILE_GZIP,
    QF_FILE_ZIP,
    QF_FILE_TAR,
    QF_FILE_ARCHIVE, /* of another kind */
    QF_FILE_PROGRAM,
    QF_FILE_FOLDER,
    QF_FILE_EMPTY,
    QF_FILE_ZEROS,
    QF_FILE_UTF16,
    QF_FILE_JSON,
    QF_FILE_TEXT,
    QF_FILE_TYPES
} qf_file_type;

/* UNKNOWN, too, where nothing is there or it is neither a file nor a folder (a pipe is not read).
 */
qf_file_type qf_file_type_of(const char *path);
/* Of a file of `size` bytes that begins with these `have`. */
qf_file_type qf_file_type_of_bytes(const uint8_t *bytes, size_t have, uint64_t size);
/* What files with one message of this type are; UNKNOWN: any. */
qf_file_type qf_file_type_of_message(const ProtobufCMessageDescriptor *message, bool text);

/* Is it surely no file of the type that is wanted? */
bool qf_file_is_other(const char *path, qf_file_type wanted);
/* Call with how reading `path` ended. Where it failed and the file is of another type than
 * `wanted`, the sentence becomes "<path> is <what it is>, but <what is wanted> is expected;
 * <remedy>" (QF_E_FORMAT); else it stays. Returns the status. */
qf_status qf_wrong_file(qf_context *context, qf_status status, const char *path,
                        qf_file_type wanted);

#endif
