/* LevelDB through its C++ interface, so that its files are read with pread(). */
#include "data/stores/leveldb_reader.h"

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <leveldb/db.h>
#include <leveldb/env.h>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

namespace
{

class table_file final : public leveldb::RandomAccessFile
{
  public:
    table_file(const std::string &name, int fd, uint64_t size)
        : name_(name.substr(name.rfind('/') + 1)), fd_(fd), size_(size)
    {
    }

    ~table_file() override
    {
        close(fd_);
    }

    leveldb::Status Read(uint64_t offset, size_t count, leveldb::Slice *result,
                         char *scratch) const override
    {
        size_t done = 0;
        ssize_t got = 1;
        while (done < count && got != 0) {
            got = pread(fd_, scratch + done, count - done, static_cast<off_t>(offset + done));
            if (got < 0 && errno != EINTR)
                return leveldb::Status::IOError(name_, strerror(errno));
            done += got > 0 ? static_cast<size_t>(got) : 0;
        }
        *result = leveldb::Slice(scratch, done);
        return done < count && offset + done < size_
                   ? leveldb::Status::IOError(
                         name_, "became shorter while it was read; write the database again, or "
                                "try again when nobody writes to it")
                   : leveldb::Status::OK();
    }

  private:
    const std::string name_;
    const int fd_;
    const uint64_t size_; /* when it was opened */
};

class reading_env final : public leveldb::EnvWrapper
{
  public:
    reading_env() : leveldb::EnvWrapper(leveldb::Env::Default())
    {
    }

    leveldb::Status NewRandomAccessFile(const std::string &name,
                                        leveldb::RandomAccessFile **result) override
    {
        struct stat info;
        *result = nullptr;
        const int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return errno == ENOENT ? leveldb::Status::NotFound(name, strerror(errno))
                                   : leveldb::Status::IOError(name, strerror(errno));
        const uint64_t size = fstat(fd, &info) == 0 ? static_cast<uint64_t>(info.st_size) : 0;
        *result = new table_file(name, fd, size);
        return leveldb::Status::OK();
    }
};

} // namespace

struct qf_leveldb_reader {
    reading_env env;
    leveldb::DB *database = nullptr;
    leveldb::Iterator *iterator = nullptr;
    bool threw = false;
};

/* The outcome that belongs to what LevelDB says. */
static qf_leveldb_outcome outcome_of(const leveldb::Status &status, char why[QF_LEVELDB_WHY])
{
    if (status.ok())
        return QF_LEVELDB_DONE;
    snprintf(why, QF_LEVELDB_WHY, "%s", status.ToString().c_str());
    return status.IsCorruption() ? QF_LEVELDB_DAMAGED : QF_LEVELDB_UNREADABLE;
}

static qf_leveldb_outcome open_database(qf_leveldb_reader *reader, const char *folder,
                                        char why[QF_LEVELDB_WHY])
{
    leveldb::Options options;
    options.env = &reader->env;
    options.paranoid_checks = true;
    options.write_buffer_size = 64 << 20;
    options.max_open_files = 100;
    const qf_leveldb_outcome outcome =
        outcome_of(leveldb::DB::Open(options, folder, &reader->database), why);
    if (outcome != QF_LEVELDB_DONE)
        return outcome;
    leveldb::ReadOptions reading;
    reading.verify_checksums = true;
    reading.fill_cache = false; /* read in order, once a turn */
    reader->iterator = reader->database->NewIterator(reading);
    return QF_LEVELDB_DONE;
}

qf_leveldb_outcome qf_leveldb_open(const char *folder, qf_leveldb_reader **out,
                                   char why[QF_LEVELDB_WHY])
{
    *out = nullptr;
    try {
        *out = new qf_leveldb_reader;
        const qf_leveldb_outcome outcome = open_database(*out, folder, why);
        if (outcome != QF_LEVELDB_DONE) {
            qf_leveldb_close(*out);
            *out = nullptr;
        }
        return outcome;
    } catch (...) {
        if (*out)
            (*out)->threw = true;
        qf_leveldb_close(*out);
        *out = nullptr;
        return QF_LEVELDB_NO_MEMORY;
    }
}

/* Where `move` takes the iterator. */
template <typename move_type>
static qf_leveldb_outcome step(qf_leveldb_reader *reader, move_type move, qf_leveldb_item *out,
                               char why[QF_LEVELDB_WHY])
{
    *out = qf_leveldb_item{};
    if (reader->threw)
        return QF_LEVELDB_NO_MEMORY;
    try {
        leveldb::Iterator *iterator = reader->iterator;
        move(iterator);
        out->found = iterator->Valid();
        const qf_leveldb_outcome outcome = outcome_of(iterator->status(), why);
        if (outcome != QF_LEVELDB_DONE || !out->found)
            return outcome;
        out->key = iterator->key().data();
        out->key_size = iterator->key().size();
        out->value = iterator->value().data();
        out->value_size = iterator->value().size();
        return QF_LEVELDB_DONE;
    } catch (...) {
        reader->threw = true;
        return QF_LEVELDB_NO_MEMORY;
    }
}

qf_leveldb_outcome qf_leveldb_next(qf_leveldb_reader *reader, bool first, qf_leveldb_item *out,
                                   char why[QF_LEVELDB_WHY])
{
    return step(
        reader,
        [first](leveldb::Iterator *iterator) {
            first ? iterator->SeekToFirst() : iterator->Next();
        },
        out, why);
}

qf_leveldb_outcome qf_leveldb_seek(qf_leveldb_reader *reader, const char *key, size_t size,
                                   qf_leveldb_item *out, char why[QF_LEVELDB_WHY])
{
    return step(
        reader,
        [key, size](leveldb::Iterator *iterator) { iterator->Seek(leveldb::Slice(key, size)); },
        out, why);
}

/* After an exception a database is not closed: LevelDB would wait for work that was announced but
 * never begun. Its memory is lost then. */
void qf_leveldb_close(qf_leveldb_reader *reader)
{
    if (!reader || reader->threw)
        return;
    delete reader->iterator;
    delete reader->database;
    delete reader;
}
