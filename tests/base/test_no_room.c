/* What is said, and what is left, where the disk has no room: full, a quota used up, files that may
 * not grow. Each writer of the library, and the steps that write several files. */
#include "harness/command.h"
#include "harness/fixture.h"

#include "data/stores/hdf5_writer.h"
#include "data/stores/sample_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int entries(const char *path)
{
    int count = 0;
    DIR *open = opendir(path);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(open);
    return count;
}

/* ---- a quota: the C library's functions that write, for the libraries of this process, too ----
 */

static bool quota_is_used_up;

static bool refuses(int fd)
{
    struct stat info;
    if (!quota_is_used_up || fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return false;
    errno = EDQUOT;
    return true;
}

#define REPLACES_LIBC __attribute__((visibility("default")))

REPLACES_LIBC ssize_t write(int fd, const void *bytes, size_t size)
{
    return refuses(fd) ? -1 : syscall(SYS_write, fd, bytes, size);
}

REPLACES_LIBC ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
    return refuses(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, size, at);
}

REPLACES_LIBC ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return refuses(fd) ? -1 : syscall(SYS_pwritev, fd, parts, count, at, 0);
}

REPLACES_LIBC int posix_fallocate(int fd, off_t at, off_t size)
{
    if (refuses(fd))
        return EDQUOT;
    return syscall(SYS_fallocate, fd, 0, at, size) == 0 ? 0 : errno;
}

/* ---- each writer ---- */

static qf_status write_file(void)
{
    static const char bytes[1 << 20];
    return qf_file_write(context, "out", bytes, sizeof bytes, 0644);
}

static qf_status write_hdf5(void)
{
    static const float values[1 << 18];
    qf_hdf5_writer writer;
    qf_status status = qf_hdf5_create(context, "out", &writer);
    if (status == QF_OK)
        status = qf_hdf5_put_floats(&writer, "/data/values", (int[]){1 << 18}, 1, values);
    return qf_hdf5_finish(&writer, status);
}

static qf_status write_database(qf_store_format format)
{
    static const char value[1 << 14];
    qf_sample_writer *writer;
    qf_status status = qf_sample_writer_create(context, "out", format, &writer);
    for (int i = 0; i < 200 && status == QF_OK; i++)
        status =
            qf_sample_writer_put(context, writer, (char[]){'k', (char)i, 0}, value, sizeof value);
    qf_status finished = qf_sample_writer_finish(context, writer, status == QF_OK);
    return status == QF_OK ? finished : status;
}

static qf_status write_lmdb(void)
{
    return write_database(QF_STORE_LMDB);
}

static qf_status write_leveldb(void)
{
    return write_database(QF_STORE_LEVELDB);
}

static const struct {
    const char *what;
    qf_status (*write)(void);
} writers[] = {{"a file", write_file},
               {"HDF5", write_hdf5},
               {"an LMDB", write_lmdb},
               {"a LevelDB", write_leveldb}};

enum { WRITERS = sizeof writers / sizeof *writers };

/* The whole of a process of its own, which must end by itself: 0 if all sentences have `part`. */
static int run_writers(const char *part)
{
    for (int i = 0; i < WRITERS; i++) {
        sigset_t pending;
        const qf_status status = writers[i].write();
        const char *said = qf_error_text(context);
        if (status != QF_E_IO || !strstr(said, part) || !strstr(said, "out") || entries(".") != 0) {
            fprintf(stderr, "%s: status %d, %d left, %s\n", writers[i].what, status, entries("."),
                    said);
            return 1;
        }
        if (sigpending(&pending) != 0 || sigismember(&pending, SIGXFSZ))
            return 2;
    }
    return 0;
}

/* This program with arguments, in a child whose files may have `most` bytes. */
static int ends_with(const char *part, rlim_t most, const char *quota)
{
    int how;
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {most, most};
        if (setrlimit(RLIMIT_FSIZE, &limit) == 0)
            execl("/proc/self/exe", "test_no_room", part, quota, NULL);
        _exit(3);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    if (WIFSIGNALED(how))
        fail_msg("ended by signal %d", WTERMSIG(how));
    return WEXITSTATUS(how);
}

/* SIGXFSZ has its default here, as in a host program that knows nothing of it. */
static void files_that_may_not_grow(void **state)
{
    (void)state;
    assert_int_equal(mkdir("small", 0755) + chdir("small"), 0);
    assert_int_equal(ends_with("ulimit -f", 1 << 16, NULL), 0);
    assert_int_equal(chdir("..") + rmdir("small"), 0);
}

static void a_quota_that_is_used_up(void **state)
{
    (void)state;
    assert_int_equal(mkdir("quota", 0755) + chdir("quota"), 0);
    assert_int_equal(ends_with("the quota on this disk is used up", RLIM_INFINITY, "quota"), 0);
    assert_int_equal(chdir("..") + rmdir("quota"), 0);
}

/* A disk of so many KiB as the folder "full"; skips the test where there is none to be had. */
static void mount_disk(int size)
{
    char *line = test_format("mount -t tmpfs -o size=%dk none full 2>/dev/null", size);
    assert_int_equal(mkdir("full", 0755), 0);
    const int failed = system(line);
    qf_free(line);
    if (failed) {
        assert_int_equal(rmdir("full"), 0);
        print_message("no file system of its own can be mounted here (needs root)\n");
        skip();
    }
}

static void unmount_disk(void)
{
    assert_int_equal(system("umount full"), 0);
    assert_int_equal(rmdir("full"), 0);
}

static void a_full_disk(void **state)
{
    (void)state;
    mount_disk(128);
    assert_int_equal(chdir("full"), 0);
    const int code = ends_with("the disk is full", RLIM_INFINITY, NULL);
    assert_int_equal(chdir(".."), 0);
    unmount_disk();
    assert_int_equal(code, 0);
}

/* ---- steps ---- */

#define NET                                                                                        \
    "layer { name: 'd' type: 'DummyData' top: 'x' top: 'label' dummy_data_param { shape { dim: 2 " \
    "dim: 40 } shape { dim: 2 } data_filler { type: 'gaussian' } data_filler { type: 'constant' "  \
    "} } }"                                                                                        \
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'x' top: 'ip' inner_product_param { "         \
    "num_output: 200 weight_filler { type: 'xavier' } } }"                                         \
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }"

static void make_inputs(void)
{
    test_write_text(context, "net.prototxt", NET);
    test_write_text(context, "solver.prototxt",
                    "net: 'net.prototxt' base_lr: 0.01 lr_policy: 'fixed' max_iter: 1 "
                    "snapshot_prefix: 'run' random_seed: 1");
    test_command(0, "", "", "train --solver solver.prototxt");
    test_command(0, "", "",
                 "qat config --model net.prototxt --weights run_iter_1.caffemodel --out c.json");
    test_command(0, "", "",
                 "qat prepare --model net.prototxt --weights run_iter_1.caffemodel --config c.json "
                 "--out-model m.prototxt --out-weights m.caffemodel --record r.txt");
    test_command(0, "", "", "test --model m.prototxt --weights m.caffemodel --iterations 1");
}

/* Each step on disks of growing sizes, over a file of an earlier one, until there is room: before,
 * nothing has changed. */
static void steps_on_disks_of_any_size(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *earlier; /* a file that is there */
        int files;                       /* that the step leaves, with checksums */
    } steps[] = {
        {"qat export --model m.prototxt --weights m.caffemodel --record r.txt --checksum --out "
         "full/e",
         "full/e_quant.json", 10},
        {"qat prepare --model net.prototxt --weights run_iter_1.caffemodel --config c.json "
         "--out-model full/m.prototxt --out-weights full/m.caffemodel --record full/r.txt",
         "full/r.txt", 3},
    };
    enum { PAGE = 4, LARGEST = 1024 };
    make_inputs();
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int refusals = 0, size = 3 * PAGE;
        for (bool done = false; !done && size < LARGEST; size += 4 * PAGE) {
            mount_disk(size);
            test_write_text(context, steps[i].earlier, "earlier");
            char *line = test_format(QAFFE_COMMAND " %s > log 2>&1", steps[i].arguments);
            done = system(line) == 0;
            qf_free(line);
            if (!done &&
                (!test_file_has(context, "log", "the disk is full") ||
                 !test_file_has(context, steps[i].earlier, "earlier") || entries("full") != 1))
                fail_msg("%s on %d KiB: %d files", steps[i].arguments, size, entries("full"));
            if (done)
                assert_int_equal(entries("full"), steps[i].files);
            refusals += !done;
            unmount_disk();
        }
        assert_true(refusals > 1 && size < LARGEST);
    }
}

int main(int count, char **arguments)
{
    if (count > 1) {
        context = test_context();
        quota_is_used_up = count > 2;
        const int code = run_writers(arguments[1]);
        qf_context_destroy(context);
        return code;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_may_not_grow),
        cmocka_unit_test(a_quota_that_is_used_up),
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(steps_on_disks_of_any_size),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
