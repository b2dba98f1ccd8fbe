/* What a step writes: together or not at all, through links, with the right modes, and with words
 * about it where the disk has no room. */
#include "harness/command.h"

#include "base/output.h"
#include "data/hdf5_writer.h"
#include "data/sample_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static qf_context *context;
static char *folder;

static int set_up(void **state)
{
    (void)state;
    context = test_context();
    folder = test_make_directory();
    assert_int_equal(chdir(folder), 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    assert_int_equal(chdir("/"), 0);
    test_remove_directory(folder);
    qf_free(folder);
    qf_context_destroy(context);
    return 0;
}

static void put(const char *path, const char *text)
{
    assert_ok(context, qf_file_write(context, path, text, strlen(text), 0644));
}

static void assert_holds(const char *path, const char *text)
{
    qf_buffer file = {0};
    assert_ok(context, qf_file_read(context, path, &file));
    assert_string_equal(qf_buffer_text(&file), text);
    qf_buffer_release(&file);
}

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

static mode_t mode_of(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return info.st_mode & 0777;
}

/* ---- steps ---- */

static void a_step_appears_at_its_end(void **state)
{
    (void)state;
    put("old", "old");
    size_t mark = qf_outputs_begin(context);
    put("old", "new");
    put("another", "another");
    assert_holds("old", "new"); /* the step sees what it wrote, */
    assert_true(test_file_has(context, "another", "another"));
    char *seen = NULL;
    size_t size = 0;
    FILE *others = fopen("old", "r"); /* the others do not */
    assert_true(others && getline(&seen, &size, others) == 3 && strcmp(seen, "old") == 0);
    fclose(others);
    free(seen);
    assert_false(qf_file_exists("another"));
    assert_ok(context, qf_outputs_end(context, mark, QF_OK));
    assert_holds("old", "new");
    assert_holds("another", "another");
    assert_int_equal(entries("."), 2);

    mark = qf_outputs_begin(context); /* a failure, and a step within a step */
    put("old", "newer");
    const size_t inner = qf_outputs_begin(context);
    put("third", "third");
    assert_ok(context, qf_outputs_end(context, inner, QF_OK));
    assert_false(qf_file_exists("third"));
    qf_context_fail(context, "the sentence");
    assert_int_equal(qf_outputs_end(context, mark, QF_E_VALUE), QF_E_VALUE);
    assert_string_equal(qf_error_text(context), "the sentence");
    assert_holds("old", "new");
    assert_int_equal(entries("."), 2);
    assert_int_equal(unlink("old") + unlink("another"), 0);
}

/* A name that cannot be given takes back those that were. */
static void names_are_taken_back(void **state)
{
    (void)state;
    put("first", "old");
    const size_t mark = qf_outputs_begin(context);
    put("first", "new");
    put("second", "new");
    put("third", "new");
    assert_int_equal(mkdir("third", 0755), 0);
    assert_fails(context, qf_outputs_end(context, mark, QF_OK), "cannot write third: ");
    assert_holds("first", "old");
    assert_false(qf_file_exists("second"));
    assert_int_equal(entries("."), 2);
    assert_int_equal(unlink("first") + rmdir("third"), 0);
}

/* ---- what is there already ---- */

static void modes_are_those_of_the_file_or_the_umask(void **state)
{
    (void)state;
    const mode_t before = umask(027);
    put("new", "x");
    assert_int_equal(mode_of("new"), 0640);
    assert_int_equal(chmod("new", 0606), 0);
    put("new", "y");
    assert_int_equal(mode_of("new"), 0606);
    umask(before);
    if (geteuid() != 0) {
        assert_int_equal(chmod("new", 0444), 0);
        assert_fails(context, qf_file_write(context, "new", "z", 1, 0644), "may not be changed");
        assert_holds("new", "y");
    }
    assert_int_equal(unlink("new"), 0);
}

static void links_are_followed(void **state)
{
    (void)state;
    assert_int_equal(mkdir("far", 0755), 0);
    put("far/file", "old");
    assert_int_equal(symlink("far/file", "to") + symlink("to", "to_it") +
                         symlink("far/absent", "dangling") + symlink("round", "round"),
                     0);
    put("to_it", "new");
    put("dangling", "made");
    assert_holds("far/file", "new");
    assert_holds("far/absent", "made");
    struct stat info;
    assert_true(lstat("to_it", &info) == 0 && S_ISLNK(info.st_mode));
    assert_true(lstat("dangling", &info) == 0 && S_ISLNK(info.st_mode));
    assert_fails(context, qf_file_write(context, "round", "x", 1, 0644), "symbolic links");

    assert_int_equal(link("far/file", "second_name"), 0); /* a second name keeps what it had */
    put("far/file", "newer");
    assert_holds("second_name", "new");
    assert_int_equal(entries("far"), 2);
    test_remove_directory("far");
    assert_int_equal(unlink("to") + unlink("to_it") + unlink("dangling") + unlink("round") +
                         unlink("second_name"),
                     0);
}

/* Devices and pipes are written to, not replaced. */
static void pipes_are_written_to(void **state)
{
    (void)state;
    char got[8] = "";
    assert_int_equal(mkfifo("pipe", 0600), 0);
    const int end = open("pipe", O_RDONLY | O_NONBLOCK);
    put("pipe", "through");
    assert_int_equal(read(end, got, sizeof got), 7);
    assert_memory_equal(got, "through", 7);
    close(end);
    struct stat info;
    assert_true(lstat("pipe", &info) == 0 && S_ISFIFO(info.st_mode));
    assert_int_equal(entries("."), 1);
    assert_int_equal(unlink("pipe"), 0);
}

static void long_names(void **state)
{
    (void)state;
    char name[301];
    memset(name, 'n', 300);
    name[300] = '\0';
    assert_fails(context, qf_file_write(context, name, "x", 1, 0644), "name too long");
    name[255] = '\0';
    put(name, "x");
    assert_holds(name, "x");
    assert_int_equal(unlink(name), 0);
}

static void same_files(void **state)
{
    (void)state;
    put("a", "a");
    assert_int_equal(symlink("a", "b"), 0);
    assert_true(qf_file_same("a", "./a"));
    assert_true(qf_file_same("a", "b"));
    assert_true(qf_file_same("absent", "./absent"));
    assert_false(qf_file_same("a", "absent"));
    assert_false(qf_file_same("absent", "other"));
    assert_int_equal(unlink("a") + unlink("b"), 0);
}

/* ---- no room ---- */

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

/* This program with an argument, in a child whose files may have `most` bytes. */
static int ends_with(const char *part, rlim_t most)
{
    int how;
    const pid_t child = fork();
    if (child == 0) {
        const struct rlimit limit = {most, most};
        if (setrlimit(RLIMIT_FSIZE, &limit) == 0)
            execl("/proc/self/exe", "test_outputs", part, NULL);
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
    assert_int_equal(ends_with("ulimit -f", 1 << 16), 0);
    assert_int_equal(chdir("..") + rmdir("small"), 0);
}

static void a_full_disk(void **state)
{
    (void)state;
    assert_int_equal(mkdir("full", 0755), 0);
    if (system("mount -t tmpfs -o size=128k none full 2>/dev/null") != 0) {
        assert_int_equal(rmdir("full"), 0);
        print_message("no file system of its own can be mounted here (needs root)\n");
        skip();
    }
    assert_int_equal(chdir("full"), 0);
    const int code = ends_with("the disk is full", RLIM_INFINITY);
    assert_int_equal(chdir(".."), 0);
    assert_int_equal(system("umount full"), 0);
    assert_int_equal(rmdir("full"), 0);
    assert_int_equal(code, 0);
}

int main(int count, char **arguments)
{
    if (count == 2) {
        context = test_context();
        const int code = run_writers(arguments[1]);
        qf_context_destroy(context);
        return code;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_appears_at_its_end),
        cmocka_unit_test(names_are_taken_back),
        cmocka_unit_test(modes_are_those_of_the_file_or_the_umask),
        cmocka_unit_test(links_are_followed),
        cmocka_unit_test(pipes_are_written_to),
        cmocka_unit_test(long_names),
        cmocka_unit_test(same_files),
        cmocka_unit_test(files_that_may_not_grow),
        cmocka_unit_test(a_full_disk),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
