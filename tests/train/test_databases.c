/* LMDB and LevelDB as sources of samples: what was written comes back, also while others remove or
 * cut the files; what is damaged is refused with a sentence. */
#include "harness/fixture.h"
#include "harness/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* An LMDB that others remove or cut off while it is read: the one goes on, the other ends in a
 * sentence, not in a bus error. */
static void databases_that_change_under_way(void **state)
{
    (void)state;
    qf_sample_store *store;
    qf_sample sample;
    test_write_store("going", QF_STORE_LMDB, 3000);
    assert_ok(context, qf_sample_store_open(context, "going", &store));
    assert_ok(context, qf_sample_store_next(context, store, &sample));
    test_remove_directory("going");
    for (int i = 0; i < 3000; i++)
        assert_ok(context, qf_sample_store_next(context, store, &sample));
    qf_sample_store_close(store);

    test_write_store("cut", QF_STORE_LMDB, 3000);
    assert_ok(context, qf_sample_store_open(context, "cut", &store));
    assert_int_equal(truncate("cut/data.mdb", 3 * 4096), 0);
    qf_status status = QF_OK;
    for (int i = 0; i < 3000 && status == QF_OK; i++)
        status = qf_sample_store_next(context, store, &sample);
    assert_fails(context, status, "data.mdb became shorter while it was read");
    qf_sample_store_close(store);
}

static void cut_tables(const char *path)
{
    int tables = 0;
    DIR *open = opendir(path);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));)
        if (strstr(entry->d_name, ".ldb")) {
            char *file = test_format("%s/%s", path, entry->d_name);
            assert_int_equal(truncate(file, 100), 0);
            qf_free(file);
            tables++;
        }
    closedir(open);
    assert_true(tables > 0);
}

/* The same with a LevelDB: what is open is read to its end, but no further than it goes. */
static void leveldbs_that_change_under_way(void **state)
{
    (void)state;
    enum { ITEMS = 20000 }; /* many blocks */
    qf_sample_store *store;
    qf_sample sample;
    test_write_store("level", QF_STORE_LEVELDB, ITEMS);
    assert_ok(context, qf_sample_store_open(context, "level", &store));
    assert_ok(context, qf_sample_store_next(context, store, &sample));
    test_remove_directory("level");
    for (int i = 1; i < ITEMS; i++)
        assert_ok(context, qf_sample_store_next(context, store, &sample));
    qf_sample_store_close(store);

    test_write_store("level", QF_STORE_LEVELDB, ITEMS);
    assert_ok(context, qf_sample_store_open(context, "level", &store));
    cut_tables("level");
    qf_status status = QF_OK;
    for (int i = 0; i < ITEMS && status == QF_OK; i++)
        status = qf_sample_store_next(context, store, &sample);
    assert_fails(context, status, "ldb: became shorter while it was read");
    assert_fails(context, status, "the LevelDB 'level'");
    qf_sample_store_close(store);
    test_remove_directory("level");
}

/* A reader without a place in the lock file would not be seen by writers: no way to go on where
 * only files are lacking. */
static void databases_without_files_left(void **state)
{
    (void)state;
    struct rlimit limit;
    qf_sample_store *store = NULL;
    int failures = 0;
    test_write_store("few", QF_STORE_LMDB, 3);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    for (rlim_t more = 0; more < 16; more++) { /* one more each time, until there are enough */
        const int next = open("/dev/null", O_RDONLY);
        const struct rlimit few = {(rlim_t)next + more, limit.rlim_max};
        close(next);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        const qf_status status = qf_sample_store_open(context, "few", &store);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (status == QF_OK)
            break;
        assert_fails(context, status, "Too many open files");
        failures++;
    }
    assert_non_null(store);
    assert_true(failures > 1); /* data.mdb, then the lock file */
    qf_sample_store_close(store);
}

static void databases_come_back(void **state)
{
    (void)state;
    for (int format = 0; format < QF_STORE_FORMATS; format++) {
        char *path = test_format("db_%s", qf_store_format_name((qf_store_format)format));
        qf_sample_store *store, *second;
        qf_sample sample;
        uint64_t count;
        test_write_store(path, (qf_store_format)format, 7);
        assert_ok(context, qf_sample_store_open(context, path, &store));
        assert_ok(context, qf_sample_store_open(context, path, &second)); /* at the same time */
        assert_int_equal(qf_sample_store_format(store), format);
        for (int i = 0; i < 9; i++) { /* round and round */
            char key[16];
            snprintf(key, sizeof key, "%08d", i % 7);
            assert_ok(context, qf_sample_store_next(context, store, &sample));
            assert_int_equal(sample.key_size, 8);
            assert_memory_equal(sample.key, key, 8);
        }
        assert_ok(context, qf_sample_store_count(context, store, &count));
        assert_int_equal(count, 7);
        assert_int_equal(qf_sample_store_position(store), 2);
        assert_ok(context, qf_sample_store_seek(context, second, 7 * 3 + 5));
        assert_ok(context, qf_sample_store_next(context, second, &sample));
        assert_memory_equal(sample.key, "00000005", 8);
        qf_sample_store_close(store);
        qf_sample_store_close(second);
        qf_free(path);
    }
}

static void damaged_databases_fail(void **state)
{
    (void)state;
    qf_sample_store *store;
    qf_buffer file = {0};
    test_write_store("good", QF_STORE_LMDB, 3);
    assert_ok(context, qf_file_read(context, "good/data.mdb", &file));
    /* the main database's root, in both meta pages (lmdb_pages.c), points to nowhere */
    for (size_t page = 0; page < 2; page++)
        memset(file.data + page * 4096 + 128, 0x55, 8);
    assert_ok(context, qf_file_write(context, "bad/data.mdb", file.data, file.size, 0644));
    assert_fails(context, qf_sample_store_open(context, "bad", &store), "outside of the file");
    assert_ok(context, qf_file_write(context, "cut/data.mdb", file.data, 5000, 0644));
    assert_fails(context, qf_sample_store_open(context, "cut", &store), "cut");
    qf_buffer_release(&file);
    test_write_store("level", QF_STORE_LEVELDB, 3);
    assert_int_equal(system("for f in level/*.ldb; do head -c -3 $f > x && mv x $f; done"), 0);
    assert_fails(context, qf_sample_store_open(context, "level", &store), "damaged, cut off");
    assert_fails(context, qf_sample_store_open(context, ".", &store), "no database");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(databases_come_back),
        cmocka_unit_test(databases_that_change_under_way),
        cmocka_unit_test(leveldbs_that_change_under_way),
        cmocka_unit_test(databases_without_files_left),
        cmocka_unit_test(damaged_databases_fail),
    };
    return cmocka_run_group_tests(tests, test_start_in_folder, test_stop_in_folder);
}
