//! Drives topologies: threads, poll, commit, restore, queries.
