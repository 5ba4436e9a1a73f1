//! `cargo xtask watch PROGRAM [ARGS]`: runs a test program, and kills it when it hangs. `cargo xtask test` names it to
//! cargo as what runs each test program, so that one that hangs costs minutes, and the others still run.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// A test program says each test that ended, and each that lasts more than a minute: silence of this length is a hang.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// How many of the last lines of a program are said again when it was killed.
const LAST_LINES: usize = 8;

/// How long the last lines of a program that ended are waited for.
const AFTER_END_MAX: Duration = Duration::from_secs(5);

/// What becomes of a program that is watched.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It ended, with this code; one that a signal ended has none.
    Ended(Option<i32>),
    /// It printed nothing for too long and was killed, with all that it started. These were its last lines.
    Silent(VecDeque<String>),
}

/// Runs a program, with its own code at the end unless it has to be killed.
pub(crate) fn run(words: &[String]) -> Result<ExitCode> {
    let Some((program, arguments)) = words.split_first() else {
        bail!("`cargo xtask watch` takes a program");
    };
    let mut command = Command::new(program);
    // What rustdoc tells a program of examples when it starts it itself: else all examples run in one process.
    command.env("RUSTDOC_DOCTEST_BIN_PATH", program);
    match watch(command.args(arguments), SILENCE_MAX, &mut std::io::stdout())? {
        Outcome::Ended(Some(code)) => Ok(u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from)),
        Outcome::Ended(None) => bail!("{program} was ended by a signal"),
        Outcome::Silent(last) => {
            let last: Vec<&str> = last.iter().map(String::as_str).collect();
            bail!(
                "{program} printed nothing for {} seconds and was killed; its last lines:\n  {}",
                SILENCE_MAX.as_secs(),
                last.join("\n  ")
            )
        }
    }
}

/// Runs a program with its output copied to `to`, as long as it goes on printing.
fn watch(command: &mut Command, silence_max: Duration, to: &mut impl Write) -> Result<Outcome> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?} could not be started"))?;
    let id = child.id();
    let events = events(child.stdout.take().expect("the output is piped"), child);
    let mut last = VecDeque::with_capacity(LAST_LINES);
    let mut copy = |line: Vec<u8>| -> Result<()> {
        to.write_all(&line)?;
        to.flush()?;
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
        Ok(())
    };
    let code = loop {
        match events.recv_timeout(silence_max) {
            Ok(Event::Line(line)) => copy(line)?,
            Ok(Event::Ended(code)) => break Some(code?),
            Err(_) => break None,
        }
    };
    if code.is_none() {
        kill(&with_descendants(id))?;
    }
    // What it printed last may come after its end; a process that it left behind may hold the output open for ever.
    while let Ok(event) = events.recv_timeout(AFTER_END_MAX) {
        if let Event::Line(line) = event {
            copy(line)?;
        }
    }
    Ok(code.map_or(Outcome::Silent(last), Outcome::Ended))
}

/// What comes from a program that runs.
enum Event {
    /// A line as it was printed, with its end.
    Line(Vec<u8>),
    /// It ended with this code.
    Ended(std::io::Result<Option<i32>>),
}

/// The events of a program as they come. They end when it has ended and nothing holds its output open.
fn events(output: ChildStdout, mut child: Child) -> mpsc::Receiver<Event> {
    let (said, heard) = mpsc::channel();
    let ended = said.clone();
    std::thread::spawn(move || {
        let code = child.wait().map(|status| status.code());
        // Nobody listens any more once the program was given up.
        let _ = ended.send(Event::Ended(code));
    });
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while output.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            if said.send(Event::Line(std::mem::take(&mut line))).is_err() {
                return;
            }
        }
    });
    heard
}

/// A process and all that come from it, as the system's list of processes has them. A process group of its own would find
/// them more easily, but then Ctrl-C would reach none of them.
fn with_descendants(id: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            // "id (name) state parent …", and a name may hold anything.
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((id, parent))
        })
        .collect();
    let mut found = vec![id];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| *id));
        next += 1;
    }
    found
}

/// Kills processes. One that ended by itself meanwhile is no error.
fn kill(ids: &[u32]) -> Result<()> {
    // The shell's own `kill`: the program of that name is not on every machine.
    let mut command = Command::new("sh");
    command.args(["-c", "kill -KILL \"$@\" 2> /dev/null || true", "sh"]);
    command.args(ids.iter().map(u32::to_string)).status()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough for a shell to start on a busy machine.
    const SILENCE: Duration = Duration::from_secs(5);

    fn shell(script: &str, silence_max: Duration) -> (Outcome, String) {
        let mut out = Vec::new();
        let outcome = watch(Command::new("sh").args(["-c", script]), silence_max, &mut out).unwrap();
        (outcome, String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_program_that_ends_keeps_its_output_and_its_code() {
        let (outcome, out) = shell("echo one; printf two; exit 3", SILENCE_MAX);
        assert_eq!(outcome, Outcome::Ended(Some(3)));
        assert_eq!(out, "one\ntwo");
    }

    #[test]
    fn a_program_that_a_signal_ends_has_no_code() {
        let (outcome, _) = shell("kill -KILL $$", SILENCE_MAX);
        assert_eq!(outcome, Outcome::Ended(None));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_what_it_started() {
        let (outcome, out) = shell("sh -c 'echo $$; kill -STOP $$' & wait", SILENCE);
        let Outcome::Silent(last) = outcome else {
            panic!("{outcome:?}");
        };
        let started = out.trim_end();
        assert_eq!(last, [started]);
        // Its end was sent before `watch` came back; how soon the system carries it out is the system's.
        while is_alive(started) {
            std::thread::yield_now();
        }
    }

    /// Whether a process still runs or stands: one that was killed may stay in the list until somebody asks for its code.
    fn is_alive(id: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    }

    #[test]
    fn the_last_lines_of_a_program_that_hangs_are_kept() {
        let script = "for n in 1 2 3 4 5 6 7 8 9; do echo $n; done; kill -STOP $$";
        let (outcome, out) = shell(script, SILENCE);
        let Outcome::Silent(last) = outcome else {
            panic!("{outcome:?}");
        };
        let printed: Vec<&str> = out.lines().collect();
        let kept = printed.len().saturating_sub(LAST_LINES);
        assert_eq!(last, &printed[kept..]);
    }
}
