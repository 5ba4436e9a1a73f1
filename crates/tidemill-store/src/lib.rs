//! State stores over one `ByteStore`, the overlay, and the store in memory.
