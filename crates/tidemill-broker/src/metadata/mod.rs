//! What the broker knows besides records: topics, their ids and settings, and which producer ids were given out.
//!
//! Changes are appended to one file, [`file`], in the form of [`change`]; replayed in order they give the [`image`].

mod change;
mod file;
mod image;

#[cfg(test)]
mod tests;

pub use file::MetadataError;

pub(crate) use change::Change;
pub(crate) use file::{Durability, MetadataFile};
pub(crate) use image::Image;
