//! `TestDriver`: a topology in virtual time, with no broker and no threads.
