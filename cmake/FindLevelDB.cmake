# LevelDB as the target LevelDB::leveldb. Its own package file asks for the headers of snappy, which only a
# static LevelDB needs.
find_path(LevelDB_INCLUDE_DIR leveldb/c.h)
find_library(LevelDB_LIBRARY leveldb)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LevelDB REQUIRED_VARS LevelDB_LIBRARY LevelDB_INCLUDE_DIR)
if(LevelDB_FOUND AND NOT TARGET LevelDB::leveldb)
  add_library(LevelDB::leveldb UNKNOWN IMPORTED)
  set_target_properties(LevelDB::leveldb PROPERTIES IMPORTED_LOCATION ${LevelDB_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${LevelDB_INCLUDE_DIR})
endif()
