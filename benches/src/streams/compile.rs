//! How long a program with a topology of 100 operators takes to compile in debug, when everything below it is built.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::here;
use crate::table::{Table, median};

const OPERATORS: usize = 100;
const ROUNDS: usize = 3;

pub(super) fn measure(table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_package(folder.path())?;
    // The first build is that of the crates below.
    build(folder.path())?;
    let mut seconds = Vec::new();
    for round in 0..ROUNDS {
        // Another number in each closure, so that nothing of the last round is of use.
        std::fs::write(folder.path().join("src/main.rs"), program(round))?;
        let begin = Instant::now();
        build(folder.path())?;
        seconds.push(begin.elapsed().as_secs_f64());
    }
    table.limited("debug build of 100 operators", median(seconds), "s", 2.0);
    Ok(())
}

fn write_package(folder: &Path) -> Result<()> {
    let streams = here().join("../crates/tidemill-streams");
    let data = here().join("../crates/tidemill-data");
    let manifest = format!(
        "[package]\nname = \"hundred\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         tidemill-streams = {{ path = {streams:?} }}\ntidemill-data = {{ path = {data:?} }}\n"
    );
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    // The versions that are known to be here.
    std::fs::copy(here().join("../Cargo.lock"), folder.join("Cargo.lock"))?;
    std::fs::create_dir(folder.join("src"))?;
    std::fs::write(folder.join("src/main.rs"), program(ROUNDS))?;
    Ok(())
}

fn build(folder: &Path) -> Result<()> {
    let built = Command::new("cargo")
        .args(["build", "--offline", "--quiet", "--target-dir"])
        .arg(folder.join("target"))
        .current_dir(folder)
        .output()?;
    ensure!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(())
}

/// A chain of operators that each have a closure of their own.
fn program(round: usize) -> String {
    let mut text = String::from(
        "use tidemill_data::Topic;\nuse tidemill_streams::App;\n\
         const IN: Topic<String, i64> = Topic::new(\"in\");\nconst OUT: Topic<String, i64> = Topic::new(\"out\");\n\
         fn main() {\n    let app = App::new(\"hundred\");\n    app.stream(&IN)\n",
    );
    for number in 0..OPERATORS {
        let operator = match number % 4 {
            0 => format!(".filter(|_, value| *value != {number} + {round})"),
            1 => format!(".map_values(|value| value + {number} + {round})"),
            2 => format!(".peek(|_, value| assert!(*value != {number} + {round}))"),
            _ => format!(".map(|key, value| (key, value - {number} - {round}))"),
        };
        writeln!(text, "        {operator}").expect("a string takes every text");
    }
    text.push_str("        .to(&OUT);\n    println!(\"{}\", app.describe().unwrap());\n}\n");
    text
}
