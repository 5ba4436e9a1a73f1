//! The article-recommendation pipeline.

fn main() {}
