//! What the build needs besides Rust, and how to get it.
//!
//! RocksDB wants a C++ compiler and libclang (for its bindings); librdkafka wants make and the headers
//! of OpenSSL and zlib. What is missing is installed with the system's package manager where that is
//! allowed; else the exact command is named.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::command;

/// One thing the build cannot do without, with its package under each package manager.
struct Need {
    what: &'static str,
    is_there: fn() -> bool,
    apt: &'static str,
    dnf: &'static str,
    pacman: &'static str,
    apk: &'static str,
}

const NEEDS: [Need; 5] = [
    Need {
        what: "a C++ compiler",
        is_there: || {
            ["c++", "g++", "clang++"]
                .iter()
                .any(|name| command::exists(name, "--version"))
        },
        apt: "g++",
        dnf: "gcc-c++",
        pacman: "gcc",
        apk: "g++",
    },
    Need {
        what: "make",
        is_there: || command::exists("make", "--version"),
        apt: "make",
        dnf: "make",
        pacman: "make",
        apk: "make",
    },
    Need {
        what: "libclang",
        is_there: has_libclang,
        apt: "libclang-dev",
        dnf: "clang-devel",
        pacman: "clang",
        apk: "clang-dev",
    },
    Need {
        what: "OpenSSL's headers",
        is_there: || has_header("openssl/ssl.h"),
        apt: "libssl-dev",
        dnf: "openssl-devel",
        pacman: "openssl",
        apk: "openssl-dev",
    },
    Need {
        what: "pkg-config",
        is_there: || command::exists("pkg-config", "--version"),
        apt: "pkg-config",
        dnf: "pkgconf-pkg-config",
        pacman: "pkgconf",
        apk: "pkgconf",
    },
];

/// Looks for what the build needs and installs what is missing, or says how.
pub(crate) fn ensure() -> Result<()> {
    let missing: Vec<&Need> = NEEDS.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing
        .iter()
        .map(|need| need.what)
        .collect::<Vec<_>>()
        .join(", ");
    let Some(install) = install_command(&missing) else {
        bail!("the build needs {names}: install them with your system's package manager");
    };
    let line = install.join(" ");
    if !is_root() {
        bail!("the build needs {names}; run this, then try again:\n  sudo {line}");
    }
    eprintln!("the build needs {names}");
    if install.first().is_some_and(|manager| manager == "apt-get") {
        command::run("apt-get", &["update", "-qq"])?;
    }
    let (program, arguments) = install.split_first().expect("the command has words");
    command::run(program, &arguments.iter().map(String::as_str).collect::<Vec<_>>())?;
    match missing.iter().find(|need| !(need.is_there)()) {
        Some(need) => bail!("{} is still missing after `{line}`", need.what),
        None => Ok(()),
    }
}

fn install_command(missing: &[&Need]) -> Option<Vec<String>> {
    type Package = fn(&Need) -> &'static str;
    let managers: [(&str, &[&str], Package); 4] = [
        ("apt-get", &["install", "-y", "-qq"], |need| need.apt),
        ("dnf", &["install", "-y", "-q"], |need| need.dnf),
        ("pacman", &["-S", "--noconfirm"], |need| need.pacman),
        ("apk", &["add"], |need| need.apk),
    ];
    let (manager, flags, package) = managers
        .into_iter()
        .find(|(manager, ..)| command::exists(manager, "--version"))?;
    let mut words = vec![manager.to_owned()];
    words.extend(flags.iter().map(|flag| (*flag).to_owned()));
    words.extend(missing.iter().map(|need| package(need).to_owned()));
    Some(words)
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn has_header(name: &str) -> bool {
    let machine = format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH);
    let places = [
        "/usr/include",
        "/usr/local/include",
        "/opt/homebrew/include",
        machine.as_str(),
    ];
    places.iter().any(|place| Path::new(place).join(name).exists())
        || command::exists("pkg-config", "--version")
            && Command::new("pkg-config")
                .args(["--exists", "openssl"])
                .status()
                .is_ok_and(|s| s.success())
}

/// The same places that the bindings' generator looks into.
fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let machine = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let mut places = vec![
        "/usr/lib".into(),
        "/usr/lib64".into(),
        "/usr/local/lib".into(),
        machine.into(),
    ];
    if let Ok(entries) = std::fs::read_dir("/usr/lib") {
        places.extend(entries.flatten().map(|entry| entry.path().join("lib")));
    }
    places
        .iter()
        .any(|place: &std::path::PathBuf| holds_libclang(place))
}

fn holds_libclang(place: &Path) -> bool {
    std::fs::read_dir(place).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            (name.starts_with("libclang.so") || name.starts_with("libclang-")) && name.contains(".so")
        })
    })
}
