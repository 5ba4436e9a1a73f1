//! A running application handed over between Kafka Streams and us, both ways: each program in turn is started on what
//! the other left (offsets, changelogs, repartition topic, and its own state of earlier), and stopped in the midst of
//! its work. What comes out in the end has to be what one program alone would have said.

mod expected;
mod program;
mod run;

pub use program::Program;
pub use run::{Handover, Told, run};
