//! `cargo xtask codegen`: from the schemas in `crates/tidemill-protocol/schemas` to the Rust that is checked in beside them.

mod emit;
mod schema;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use schema::Api;

/// Writes every generated file anew and removes those whose schema is gone; with `--check` it only says which are not current.
pub(crate) fn run(words: &[String]) -> Result<()> {
    let generated = generate()?;
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => write(&generated),
        ["--check"] => check(&generated),
        other => bail!("codegen takes --check or nothing, not {other:?}"),
    }
}

fn check(generated: &BTreeMap<PathBuf, String>) -> Result<()> {
    for (path, code) in generated {
        let checked_in = std::fs::read_to_string(path).unwrap_or_default();
        ensure!(
            checked_in == *code,
            "{} is not current: run `cargo xtask codegen`",
            path.display()
        );
    }
    let orphan = present()?.into_iter().find(|path| !generated.contains_key(path));
    ensure!(
        orphan.is_none(),
        "{} has no schema",
        orphan.unwrap_or_default().display()
    );
    Ok(())
}

fn write(generated: &BTreeMap<PathBuf, String>) -> Result<()> {
    for path in present()? {
        if !generated.contains_key(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    for (path, code) in generated {
        if std::fs::read_to_string(path).ok().as_ref() != Some(code) {
            std::fs::write(path, code).with_context(|| path.display().to_string())?;
            println!("wrote {}", path.display());
        }
    }
    Ok(())
}

fn protocol_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tidemill-protocol")
}

/// The generated message files that are there now.
fn present() -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(protocol_crate().join("src/messages"))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Every generated file's path and content.
fn generate() -> Result<BTreeMap<PathBuf, String>> {
    let root = protocol_crate();
    let mut apis = Vec::new();
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(root.join("schemas"))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let context = || path.display().to_string();
        let module = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .with_context(context)?
            .to_owned();
        let api = Api::parse(&std::fs::read_to_string(&path)?).with_context(context)?;
        let code = emit::module(&api).with_context(context)?;
        files.insert(root.join(format!("src/messages/{module}.rs")), rustfmt(&code)?);
        apis.push((module, api));
    }
    apis.sort_by_key(|(_, api)| api.key);
    files.insert(root.join("src/messages.rs"), rustfmt(&emit::modules(&apis))?);
    files.insert(root.join("src/api_key.rs"), rustfmt(&emit::api_keys(&apis))?);
    Ok(files)
}

fn rustfmt(code: &str) -> Result<String> {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--config-path"])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("rustfmt is part of the toolchain that rust-toolchain.toml names")?;
    let mut stdin = child.stdin.take().context("stdin was piped")?;
    // rustfmt reads all of its input before it writes.
    stdin.write_all(code.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "rustfmt refused the generated code:\n{code}"
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_code_is_current() {
        check(&generate().unwrap()).unwrap();
    }

    #[test]
    fn schemas_that_make_no_sense_name_the_line() {
        let broken = |text: &str| format!("{:#}", Api::parse(text).unwrap_err());
        let head = "api Echo 99\nversions 1-3\nrequest\n";
        assert!(broken(&format!("{head}  text strin")).contains("line 4"));
        assert!(broken(&format!("{head}  text string 4+")).contains("not within 1..=3"));
        assert!(broken(&format!("{head}      text string")).contains("indented by 6"));
        assert!(broken(&format!("{head}  text string = ")).contains("nothing after"));
        assert!(broken("versions 1-3").contains("no `api NAME KEY`"));
    }
}
