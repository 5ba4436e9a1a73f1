//! Whoever traces a program sees its batches and commits as spans.

use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

use tracing::Level;
use tracing_subscriber::fmt::format::FmtSpan;

use super::*;

thread_local! {
    /// What was traced on this thread, if somebody wants to know.
    static TRACED: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        TRACED.with_borrow_mut(|traced| {
            if let Some(traced) = traced {
                traced.extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What is traced while `work` is done. The subscriber is that of all threads: a span whose place in the code another thread
/// came to first, and which nobody wanted there, would be off for this thread too.
fn traced(work: impl FnOnce()) -> String {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(|| Lines)
            .init();
    });
    TRACED.set(Some(Vec::new()));
    work();
    String::from_utf8(TRACED.take().unwrap()).unwrap()
}

#[test]
fn every_batch_is_a_span_that_names_its_task_and_every_commit_one_that_names_its_thread() {
    let (mut world, app, state) = (World::new(), counting(), tempfile::tempdir().unwrap());
    let mut node = world.join("a", state.path(), &app);
    world.click_all();
    let text = traced(|| world.run(&mut [&mut node]));
    for partition in 0..PARTITIONS {
        assert!(
            text.contains(&format!("batch{{task=0_{partition} ready=")),
            "{text}"
        );
    }
    assert!(text.contains("commit{thread=\"a\"}"), "{text}");
}
