/* What a step writes: together or not at all, through links, with the right modes and checksums.
 * Without room on the disk: test_no_room.c. */
#include "harness/command.h"
#include "harness/fixture.h"

#include "base/output.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* ---- checksums ---- */

static const char sum_of_abc[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  abc\n";

/* A checksum that is there is that of the file beside it: new, removed, or the old one. */
static void checksums_go_with_their_files(void **state)
{
    (void)state;
    put("abc", "abc");
    assert_false(qf_file_exists("abc.sha256"));
    qf_context_write_checksums(context, true);
    put("abc", "abc");
    assert_holds("abc.sha256", sum_of_abc);
    assert_int_equal(system("sha256sum -c --status abc.sha256"), 0);

    assert_int_equal(mkdir("far", 0755) + symlink("far/abc", "to") + symlink("abc", "to.sha256"),
                     0);
    put("to", "abc"); /* beside the file, not beside the link, where an old one goes */
    assert_holds("far/abc.sha256", sum_of_abc);
    assert_false(qf_file_exists("to.sha256"));
    qf_context_write_checksums(context, false);
    put("to", "other");
    assert_false(qf_file_exists("far/abc.sha256"));
    test_remove_directory("far");

    const size_t mark = qf_outputs_begin(context); /* a step that fails leaves both */
    put("abc", "other");
    put("blocked", "new");
    assert_holds("abc.sha256", sum_of_abc);
    assert_int_equal(mkdir("blocked", 0755), 0);
    assert_fails(context, qf_outputs_end(context, mark, QF_OK), "cannot write blocked");
    assert_holds("abc", "abc");
    assert_holds("abc.sha256", sum_of_abc);
    assert_int_equal(rmdir("blocked"), 0);

    qf_context_write_checksums(context, true);
    char long_name[252]; /* no room for the ending */
    memset(long_name, 'n', 251);
    long_name[251] = '\0';
    assert_fails(context, qf_file_write(context, long_name, "x", 1, 0644), "name too long");
    assert_false(qf_file_exists(long_name));
    qf_context_write_checksums(context, false);
    put("abc", "other");
    assert_false(qf_file_exists("abc.sha256"));
    assert_int_equal(unlink("abc") + unlink("to"), 0);
    assert_int_equal(entries("."), 0);
}

/* ---- what is left behind ---- */

/* What a process that was killed was writing goes when the same is written again; what another
 * process is writing stays. */
static void what_was_left_behind_goes(void **state)
{
    (void)state;
    qf_output mine;
    assert_int_equal(mkdir("db.0123abcd.partial", 0755), 0);
    put("db.0123abcd.partial/data", "x");
    put("other.0123abcd.partial", "x");
    put("db.0123abcg~.partial", "x");
    assert_ok(context, qf_output_open(context, "db", true, 0755, &mine));
    assert_false(qf_file_exists("db.0123abcd.partial"));
    const pid_t child = fork(); /* another process */
    if (child == 0)
        _exit(qf_file_write(context, "db", "x", 1, 0644) == QF_OK && qf_file_exists(mine.temporary)
                  ? 0
                  : 1);
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_int_equal(how, 0);
    assert_true(qf_file_exists(mine.temporary));
    assert_int_equal(unlink("db"), 0);
    assert_ok(context, qf_output_finish(context, &mine, QF_OK));
    assert_int_equal(entries("."), 3);
    assert_int_equal(
        rmdir("db") + unlink("other.0123abcd.partial") + unlink("db.0123abcg~.partial"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_appears_at_its_end),
        cmocka_unit_test(names_are_taken_back),
        cmocka_unit_test(modes_are_those_of_the_file_or_the_umask),
        cmocka_unit_test(links_are_followed),
        cmocka_unit_test(pipes_are_written_to),
        cmocka_unit_test(long_names),
        cmocka_unit_test(same_files),
        cmocka_unit_test(checksums_go_with_their_files),
        cmocka_unit_test(what_was_left_behind_goes),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
