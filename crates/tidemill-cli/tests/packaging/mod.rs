//! The systemd unit and the container file: what they name is there, and what they run starts a broker.

use super::*;

/// The broker that a command starts, once it listens.
fn started(command: &mut Command) -> Process {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().to_string();
    Process { child, address }
}

/// The value of a key of the systemd unit.
fn unit(key: &str) -> &'static str {
    let unit = include_str!("../../../../packaging/tidemill.service");
    unit.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("the unit has no {key}"))
}

#[test]
fn the_systemd_unit_starts_reloads_and_stops_the_broker() {
    assert_eq!(unit("Restart"), "on-failure");
    assert!(unit("After").contains("network"));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    let properties = format!(
        "listeners=PLAINTEXT://127.0.0.1:0\nlog.dirs={}/a\n",
        dir.path().display()
    );
    std::fs::write(&file, &properties).unwrap();
    let mut words = unit("ExecStart").split(' ');
    assert_eq!(words.next(), Some("/usr/bin/tidemill"));
    let arguments = words.map(|word| match word {
        "/etc/tidemill/server.properties" => file.to_str().unwrap(),
        other => other,
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.env_clear().args(arguments).stderr(Stdio::null());
    let mut process = started(&mut command);
    let mut stream = TcpStream::connect(&process.address).unwrap();
    assert_eq!(create(&mut stream), 1);
    // The main process is told both by signals, as `/bin/kill -NAME $MAINPID`.
    let signal = |key| {
        let mut words = unit(key).split(' ');
        assert_eq!(
            (words.next(), words.next_back()),
            (Some("/bin/kill"), Some("$MAINPID"))
        );
        words.next().unwrap()
    };
    process.signal(signal("ExecReload"));
    assert_eq!(create(&mut stream), 1, "a reload does not end it");
    process.signal(signal("ExecStop"));
    assert!(process.child.wait().unwrap().success());
    assert!(dir.path().join("a/.kafka_cleanshutdown").exists());
}

/// What follows an instruction of the container file, each time it is there.
fn instructions(name: &str) -> Vec<&'static str> {
    let file = include_str!("../../../../packaging/Containerfile");
    let found = file
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.collect()
}

#[test]
fn the_container_file_copies_what_is_there_and_what_its_build_makes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let build = instructions("RUN")
        .into_iter()
        .find(|run| run.starts_with("cargo "));
    let build: Vec<_> = build.unwrap().split(' ').collect();
    assert_eq!(
        build,
        [
            "cargo",
            "build",
            "--release",
            "--locked",
            "-p",
            env!("CARGO_PKG_NAME")
        ]
    );
    for needed in ["Cargo.lock", "rust-toolchain.toml"] {
        assert!(root.join(needed).exists(), "{needed} is what it builds with");
    }
    let [workdir] = instructions("WORKDIR")[..] else {
        panic!("one folder to build in");
    };
    let program = Path::new(env!("CARGO_BIN_EXE_tidemill")).file_name().unwrap();
    let built = format!("{workdir}/target/release/{}", program.to_str().unwrap());
    let entry = entry_point();
    for copy in instructions("COPY") {
        match copy.strip_prefix("--from=build ") {
            Some(rest) => assert_eq!(rest, format!("{built} {}", entry[0])),
            None => {
                let sources: Vec<_> = copy.split(' ').collect();
                for source in &sources[..sources.len() - 1] {
                    assert!(root.join(source).exists(), "{source}");
                }
            }
        }
    }
    // A build of this machine must not be sent along.
    let ignored = include_str!("../../../../.dockerignore");
    assert!(ignored.lines().any(|line| line == "target"));
}

/// The words of the container's command.
fn entry_point() -> Vec<String> {
    let [entry] = instructions("ENTRYPOINT")[..] else {
        panic!("one command");
    };
    let words = entry.trim_start_matches('[').trim_end_matches(']').split(", ");
    words.map(|word| word.trim_matches('"').to_string()).collect()
}

#[test]
fn the_command_of_the_container_starts_a_broker_and_stops_at_its_signal() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command
        .env_clear()
        .args(&entry_point()[1..])
        .stderr(Stdio::null());
    let home = instructions("VOLUME")[0];
    for variable in instructions("ENV") {
        let (name, value) = variable.split_once('=').unwrap();
        let value = value.replace(home, dir.path().to_str().unwrap());
        command.env(name, value);
    }
    // A port that is free here.
    command.env("KAFKA_LISTENERS", "PLAINTEXT://127.0.0.1:0");
    let mut process = started(&mut command);
    let mut stream = TcpStream::connect(&process.address).unwrap();
    assert_eq!(create(&mut stream), 1);
    let signal = instructions("STOPSIGNAL")[0].replace("SIG", "-");
    process.signal(&signal);
    assert!(process.child.wait().unwrap().success());
    assert!(
        dir.path().join("data/.kafka_cleanshutdown").exists(),
        "it keeps its data in the volume"
    );
}
