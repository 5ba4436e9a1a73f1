//! `ByteStore` on RocksDB and its memory budget.
