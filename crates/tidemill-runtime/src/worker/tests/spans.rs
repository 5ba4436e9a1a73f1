//! Whoever traces a program sees its batches and commits as spans.

use std::io::Write;

use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn every_batch_is_a_span_that_names_its_task_and_every_commit_one_that_names_its_thread() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::DEBUG)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let (mut world, app, state) = (World::new(), counting(), tempfile::tempdir().unwrap());
    let mut node = world.join("a", state.path(), &app);
    world.click_all();
    tracing::subscriber::with_default(subscriber, || world.run(&mut [&mut node]));
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for partition in 0..PARTITIONS {
        assert!(
            text.contains(&format!("batch{{task=0_{partition} ready=")),
            "{text}"
        );
    }
    assert!(text.contains("commit{thread=\"a\"}"), "{text}");
}
