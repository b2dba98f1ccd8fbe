/* The words for types of files, and what to do about one in the place of another. */
#include "model/file_type.h"

#include "model/model.h"
#include "model/onnx.pb-c.h"

static const struct {
    const char *words;
    const char *remedy; /* who takes it, or what makes it good; a pair may say better */
    bool text;
} types[QF_FILE_TYPES] = {
    [QF_FILE_NET] = {"a net (.prototxt)", "nets go to --model", true},
    [QF_FILE_SOLVER] = {"a solver (.prototxt)", "solvers go to `qaffe train --solver`", true},
    [QF_FILE_WEIGHTS] = {"a weights file (binary .caffemodel)", "weights go to --weights", false},
    [QF_FILE_WEIGHTS_TEXT] = {"a net with its weights as text",
                              "a binary .caffemodel has them in the form that is read", true},
    [QF_FILE_STATE] = {"a solver's state (.solverstate)", "states go to `qaffe train --snapshot`",
                       false},
    [QF_FILE_BLOB] = {"a blob such as a mean image (.binaryproto)",
                      "mean images go to transform_param.mean_file", false},
    [QF_FILE_RECORD] = {"a record of quantisation factors",
                        "records go to --record of `qaffe qat prepare` and `qaffe qat export`",
                        true},
    [QF_FILE_CONFIG_DEFINITION] = {"a simplified configuration (.cfg)",
                                   "such files go to --config-definition of `qaffe qat config` "
                                   "and `qaffe qat run`",
                                   true},
    [QF_FILE_CONFIG] = {"a quantisation configuration (.json)",
                        "configurations go to `qaffe qat prepare --config`", true},
    [QF_FILE_QUANT_JSON] = {"the quant.json of an exported model",
                            "it is for Ascend's comparison of dumped tensors", true},
    [QF_FILE_POST_TRAINING_CONFIG] = {"a configuration of quantisation after training (.json)",
                                      "such files go to `qaffe ptq plan --config`", true},
    [QF_FILE_LABEL_MAP] = {"a label map of SSD, which names classes",
                           "label maps go to label_map_file of SSD's layers", true},
    [QF_FILE_HDF5] = {"an HDF5 file",
                      "data go to HDF5Data by a list that names the file, weights to --weights",
                      false},
    [QF_FILE_HDF5_WEIGHTS] = {"a weights file in HDF5 (.caffemodel.h5)", "weights go to --weights",
                              false},
    [QF_FILE_HDF5_STATE] = {"a solver's state in HDF5 (.solverstate.h5)",
                            "states go to `qaffe train --snapshot`", false},
    [QF_FILE_DATABASE] = {"a folder with a database (LMDB or LevelDB)",
                          "databases go to data_param.source of a Data layer", false},
    [QF_FILE_LMDB_DATA] = {"the data.mdb of an LMDB",
                           "its folder goes to data_param.source of a Data layer", false},
    [QF_FILE_IMAGE] = {"an image (JPEG, PNG or BMP)",
                       "images go to convert_imageset or ImageData by a list that names them",
                       false},
    [QF_FILE_IMAGE_LIST] = {"a list of images and labels",
                            "such lists go to convert_imageset or image_data_param.source", true},
    [QF_FILE_HDF5_LIST] = {"a list of HDF5 files", "such lists go to hdf5_data_param.source", true},
    [QF_FILE_WINDOW_LIST] = {"a list of windows in images",
                             "such lists go to window_data_param.source", true},
    [QF_FILE_IDX] = {"one of MNIST's files", "convert_mnist_data makes a database of it", false},
    [QF_FILE_CIFAR] = {"one of CIFAR-10's binary batches",
                       "convert_cifar_data makes a database of its folder", false},
    [QF_FILE_OTHER_IMAGE] = {"an image in a format that is not read (GIF, TIFF or WebP)",
                             "convert it to PNG or JPEG", false},
    [QF_FILE_NPY] = {"a NumPy array (.npy)", "h5py writes it to an HDF5 file for HDF5Data", false},
    [QF_FILE_NPZ] = {"an archive of NumPy arrays (.npz)",
                     "h5py writes them to an HDF5 file for HDF5Data", false},
    [QF_FILE_PYTORCH] = {"a PyTorch model",
                         "export it to ONNX, of which `qaffe import-onnx` makes a Caffe net",
                         false},
    [QF_FILE_PICKLE] = {"a Python pickle (an older PyTorch model, perhaps)",
                        "convert it to Caffe first", false},
    [QF_FILE_SAFETENSORS] = {"a safetensors file", "convert it to Caffe first", false},
    [QF_FILE_ONNX] = {"an ONNX model", "`qaffe import-onnx` makes a Caffe net of it", false},
    [QF_FILE_TENSORFLOW] = {"a TensorFlow graph", "convert it to Caffe first", false},
    [QF_FILE_TENSORFLOW_FOLDER] = {"the folder of a TensorFlow model", "convert it to Caffe first",
                                   false},
    [QF_FILE_TFLITE] = {"a TensorFlow Lite model", "convert it to Caffe first", false},
    [QF_FILE_KERAS] = {"a Keras model in HDF5", "convert it to Caffe first", false},
    [QF_FILE_LEVELDB_TABLE] = {"a table of a LevelDB or a TensorFlow checkpoint",
                               "the folder of a LevelDB goes to data_param.source of a Data layer",
                               false},
    [QF_FILE_LFS_POINTER] = {"a Git LFS pointer, which only stands for the file",
                             "fetch the content with `git lfs pull`", true},
    [QF_FILE_HTML] = {"a web page (HTML), as a failed download leaves it", "fetch the file again",
                      true},
    [QF_FILE_XML] = {"an XML text, as a failed download may leave it", "fetch the file again",
                     true},
    [QF_FILE_PDF] = {"a PDF document", NULL, false},
    [QF_FILE_GZIP] = {"packed with gzip", "unpack it first (gunzip, or tar xzf)", false},
    [QF_FILE_ZIP] = {"a zip archive", "unpack it first", false},
    [QF_FILE_TAR] = {"a tar archive", "unpack it first (tar xf)", false},
    [QF_FILE_ARCHIVE] = {"a packed archive (bzip2, xz, zstd, 7z or rar)", "unpack it first", false},
    [QF_FILE_PROGRAM] = {"a program or library (ELF)", NULL, false},
    [QF_FILE_FOLDER] = {"a directory", NULL, false},
    [QF_FILE_EMPTY] = {"empty", "was a download or a copy broken off?", true},
    [QF_FILE_ZEROS] = {"filled with zero bytes", "was a download or a copy broken off?", false},
    [QF_FILE_UTF16] = {"text in UTF-16", "save it as UTF-8", true},
    [QF_FILE_JSON] = {"a JSON text", NULL, true},
    [QF_FILE_TEXT] = {"a text file", NULL, true},
};

static const struct {
    qf_file_type found, wanted;
    const char *remedy;
} pairs[] = {
    {QF_FILE_SOLVER, QF_FILE_NET, "give the file that the solver's field net names"},
    {QF_FILE_NET, QF_FILE_SOLVER, "give the .prototxt that has base_lr and max_iter"},
    {QF_FILE_WEIGHTS, QF_FILE_NET, "give the .prototxt that belongs to it, and this as --weights"},
    {QF_FILE_NET, QF_FILE_WEIGHTS, "give the .caffemodel that belongs to it"},
    {QF_FILE_SOLVER, QF_FILE_WEIGHTS, "give a .caffemodel"},
    {QF_FILE_STATE, QF_FILE_WEIGHTS,
     "give the .caffemodel that was written with it, or resume from it with --snapshot"},
    {QF_FILE_HDF5_STATE, QF_FILE_WEIGHTS,
     "give the .caffemodel.h5 that was written with it, or resume from it with --snapshot"},
    {QF_FILE_HDF5_STATE, QF_FILE_HDF5_WEIGHTS,
     "give the .caffemodel.h5 that was written with it, or resume from it with --snapshot"},
    {QF_FILE_WEIGHTS, QF_FILE_STATE,
     "give the .solverstate that was written with it, or start from these weights with --weights"},
    {QF_FILE_HDF5, QF_FILE_STATE,
     "give the .solverstate or .solverstate.h5 of the snapshot; if these are weights, start from "
     "them with --weights"},
    {QF_FILE_HDF5, QF_FILE_WEIGHTS,
     "save such weights in Python as a .caffemodel: caffe.Net(model, weights, phase).save(name)"},
    {QF_FILE_LMDB_DATA, QF_FILE_DATABASE, "give the folder that it is in"},
    {QF_FILE_LEVELDB_TABLE, QF_FILE_DATABASE, "give the folder that it is in"},
    {QF_FILE_IMAGE, QF_FILE_DATABASE,
     "make a database of a list of such images with convert_imageset, or read the list with a "
     "layer of type ImageData"},
    {QF_FILE_IMAGE_LIST, QF_FILE_DATABASE,
     "make a database of it with convert_imageset, or read it with a layer of type ImageData"},
    {QF_FILE_HDF5, QF_FILE_DATABASE, "a layer of type HDF5Data reads it, from a list of files"},
    {QF_FILE_HDF5_LIST, QF_FILE_DATABASE, "a layer of type HDF5Data reads it"},
    {QF_FILE_WINDOW_LIST, QF_FILE_DATABASE, "a layer of type WindowData reads it"},
    {QF_FILE_DATABASE, QF_FILE_IMAGE_LIST, "a layer of type Data reads databases"},
    {QF_FILE_DATABASE, QF_FILE_HDF5_LIST, "a layer of type Data reads databases"},
    {QF_FILE_DATABASE, QF_FILE_WINDOW_LIST, "a layer of type Data reads databases"},
    {QF_FILE_HDF5_LIST, QF_FILE_IMAGE_LIST, "a layer of type HDF5Data reads it"},
    {QF_FILE_WINDOW_LIST, QF_FILE_IMAGE_LIST, "a layer of type WindowData reads it"},
    {QF_FILE_IMAGE_LIST, QF_FILE_HDF5_LIST, "a layer of type ImageData reads it"},
    {QF_FILE_IMAGE_LIST, QF_FILE_WINDOW_LIST, "a layer of type ImageData reads it"},
    {QF_FILE_IMAGE, QF_FILE_IMAGE_LIST, "give a text file that names it"},
    {QF_FILE_IMAGE, QF_FILE_WINDOW_LIST, "give a text file that names it, and its windows"},
    {QF_FILE_HDF5, QF_FILE_HDF5_LIST, "give a text file that names it"},
    {QF_FILE_HDF5_LIST, QF_FILE_HDF5, "the list of an HDF5Data layer names HDF5 files themselves"},
    {QF_FILE_NPY, QF_FILE_BLOB,
     "caffe.io.array_to_blobproto(array).SerializeToString() gives the bytes of a .binaryproto"},
    {QF_FILE_IMAGE, QF_FILE_BLOB, "compute_image_mean makes the mean of a database"},
    {QF_FILE_DATABASE, QF_FILE_BLOB, "compute_image_mean makes the mean image of it"},
    {QF_FILE_CONFIG_DEFINITION, QF_FILE_CONFIG,
     "`qaffe qat config --config-definition` makes the .json of it"},
    {QF_FILE_CONFIG, QF_FILE_CONFIG_DEFINITION, "give it to `qaffe qat prepare` as --config"},
    {QF_FILE_POST_TRAINING_CONFIG, QF_FILE_CONFIG, "`qaffe qat config` makes one for retraining"},
    {QF_FILE_CONFIG, QF_FILE_POST_TRAINING_CONFIG,
     "`qaffe ptq config` makes one for calibration without retraining"},
    {QF_FILE_NET, QF_FILE_CONFIG, "`qaffe qat config` makes one of a net and its weights"},
    {QF_FILE_WEIGHTS, QF_FILE_CONFIG, "`qaffe qat config` makes one of a net and its weights"},
    {QF_FILE_PICKLE, QF_FILE_CIFAR,
     "these may be the batches for Python; take the binary version of CIFAR-10"},
};

/* May a file of the one type be read as the other? Then the reader's own sentence says more. */
static bool fits(qf_file_type found, qf_file_type wanted)
{
    return found == wanted || (found == QF_FILE_WEIGHTS_TEXT && wanted == QF_FILE_NET) ||
           (found == QF_FILE_JSON &&
            (wanted == QF_FILE_CONFIG || wanted == QF_FILE_POST_TRAINING_CONFIG)) ||
           (found == QF_FILE_TEXT && types[wanted].text) ||
           (found == QF_FILE_KERAS && wanted == QF_FILE_HDF5) ||
           (found == QF_FILE_HDF5_STATE && wanted == QF_FILE_HDF5) ||
           (found == QF_FILE_HDF5 && wanted == QF_FILE_HDF5_WEIGHTS) ||
           (found == QF_FILE_GZIP && wanted == QF_FILE_IDX);
}

bool qf_file_is_other(const char *path, qf_file_type wanted)
{
    const qf_file_type found =
        !path || wanted == QF_FILE_UNKNOWN ? QF_FILE_UNKNOWN : qf_file_type_of(path);
    return found != QF_FILE_UNKNOWN && !fits(found, wanted);
}

static const char *remedy_for(qf_file_type found, qf_file_type wanted)
{
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i].found == found && pairs[i].wanted == wanted)
            return pairs[i].remedy;
    return types[found].remedy;
}

qf_file_type qf_file_type_of_message(const ProtobufCMessageDescriptor *message, bool text)
{
    static const struct {
        const ProtobufCMessageDescriptor *message;
        qf_file_type text, binary;
    } readers[] = {
        {&caffe__net_parameter__descriptor, QF_FILE_NET, QF_FILE_WEIGHTS},
        {&caffe__solver_parameter__descriptor, QF_FILE_SOLVER, QF_FILE_UNKNOWN},
        {&caffe__solver_state__descriptor, QF_FILE_UNKNOWN, QF_FILE_STATE},
        {&caffe__blob_proto__descriptor, QF_FILE_UNKNOWN, QF_FILE_BLOB},
        {&amct__scale_offset_record__descriptor, QF_FILE_RECORD, QF_FILE_UNKNOWN},
        {&amct__amctretrain_config__descriptor, QF_FILE_CONFIG_DEFINITION, QF_FILE_UNKNOWN},
        {&onnx__model__descriptor, QF_FILE_UNKNOWN, QF_FILE_ONNX},
    };
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (readers[i].message == message)
            return text ? readers[i].text : readers[i].binary;
    return QF_FILE_UNKNOWN;
}

qf_status qf_wrong_file(qf_context *context, qf_status status, const char *path,
                        qf_file_type wanted)
{
    if (status == QF_OK || status == QF_E_MEMORY || wanted == QF_FILE_UNKNOWN)
        return status;
    const qf_file_type found = qf_file_type_of(path);
    if (found == QF_FILE_UNKNOWN || fits(found, wanted))
        return status;
    const char *remedy = remedy_for(found, wanted);
    return qf_fail(context, QF_E_FORMAT, "%s is %s, but %s is expected%s%s", path,
                   types[found].words, types[wanted].words, remedy ? "; " : "",
                   remedy ? remedy : "");
}
