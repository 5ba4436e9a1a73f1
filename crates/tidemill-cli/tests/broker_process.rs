//! `tidemill broker start` as a process: started, killed, stopped, misused.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use tidemill_client::{Outgoing, Settings, TopicPartition, TopicSpec, Writer, WriterTopic, connect};
use tidemill_data::{Headers, Timestamp};
use tidemill_protocol::batch::{BatchBuilder, Batches};
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use tidemill_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use tidemill_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use tidemill_protocol::{Decode, Reader, Request, ResponseHeader, request_frame};

mod packaging;

struct Process {
    child: Child,
    address: String,
}

impl Process {
    fn start(dir: &Path) -> Process {
        let mut child = command(dir, "PLAINTEXT://127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_string();
        Process { child, address }
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(dir: &Path, listeners: &str) -> Command {
    let file = dir.join("server.properties");
    std::fs::write(
        &file,
        format!(
            "listeners={listeners}\nlog.dirs={}/a,{}/b\n",
            dir.display(),
            dir.display()
        ),
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.env_clear();
    command
        .args(["broker", "start", "--config"])
        .arg(file)
        .args(["--override", "num.partitions=4"]);
    command.stderr(Stdio::null());
    command
}

fn call<R: Request>(stream: &mut TcpStream, request: &R, version: i16) -> R::Response {
    let frame = request_frame(request, version, 1, None).unwrap().into_bytes();
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).unwrap();
    let frame = Bytes::from(frame);
    let mut reader = Reader::new(&frame);
    ResponseHeader::decode(&mut reader, R::KEY, version).unwrap();
    R::Response::decode(&mut reader, version).unwrap()
}

fn create(stream: &mut TcpStream) -> usize {
    let topic = MetadataRequestTopic {
        name: Some("t".into()),
        ..Default::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    call(stream, &request, 9).topics[0].partitions.len()
}

fn produce(stream: &mut TcpStream, value: &str) -> i64 {
    let mut batch = BatchBuilder::new(Compression::Lz4);
    batch.push(1000, None, Some(value.as_bytes()), []);
    let data = PartitionProduceData {
        index: 3,
        records: Some(batch.build().into()),
    };
    let topic = TopicProduceData {
        name: "t".into(),
        partition_data: vec![data],
        ..Default::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![topic],
        ..Default::default()
    };
    call(stream, &request, 9).responses[0].partition_responses[0].base_offset
}

fn values(stream: &mut TcpStream) -> Vec<String> {
    let partition = FetchPartition {
        partition: 3,
        current_leader_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let topic = FetchTopic {
        topic: "t".into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = FetchRequest {
        session_epoch: -1,
        replica_id: -1,
        max_bytes: 1 << 20,
        topics: vec![topic],
        ..Default::default()
    };
    let records = call(stream, &request, 11).responses[0].partitions[0]
        .records
        .clone()
        .unwrap()
        .into_bytes();
    let mut values = Vec::new();
    for batch in Batches::new(&records) {
        let batch = batch.unwrap();
        let payload = batch.payload(1 << 20).unwrap();
        values.extend(
            batch
                .records(&payload)
                .map(|r| String::from_utf8(r.unwrap().value.unwrap().to_vec()).unwrap()),
        );
    }
    values
}

#[test]
fn a_killed_broker_comes_back_with_every_acknowledged_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..4 {
        let process = Process::start(dir.path());
        let mut stream = TcpStream::connect(&process.address).unwrap();
        assert_eq!(create(&mut stream), 4);
        assert_eq!(values(&mut stream), expected);
        for n in 0..50 {
            let value = format!("{round}-{n}");
            assert_eq!(
                produce(&mut stream, &value),
                i64::try_from(expected.len()).unwrap()
            );
            expected.push(value);
        }
        process.signal("-KILL");
    }
}

#[test]
fn sigterm_and_sigint_stop_in_good_order() {
    let dir = tempfile::tempdir().unwrap();
    for signal in ["-TERM", "-INT"] {
        let mut process = Process::start(dir.path());
        let mut stream = TcpStream::connect(&process.address).unwrap();
        create(&mut stream);
        process.signal(signal);
        assert!(process.child.wait().unwrap().success());
        assert!(dir.path().join("a/.kafka_cleanshutdown").exists());
    }
}

#[test]
fn a_taken_port_ends_the_process_with_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let other = tempfile::tempdir().unwrap();
    let mut second = command(other.path(), &format!("PLAINTEXT://{}", process.address));
    let output = second.stderr(Stdio::piped()).output().unwrap();
    assert!(!output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains(&process.address)
    );
}

#[test]
fn a_directory_in_use_is_refused_and_a_bad_override_too() {
    let dir = tempfile::tempdir().unwrap();
    let _process = Process::start(dir.path());
    let output = command(dir.path(), "PLAINTEXT://127.0.0.1:0")
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("in use"));
    let output = command(dir.path(), "PLAINTEXT://127.0.0.1:0")
        .args(["--override", "num.partition=1"])
        .stderr(Stdio::piped())
        .output();
    assert!(
        String::from_utf8(output.unwrap().stderr)
            .unwrap()
            .contains("num.partitions")
    );
}

#[test]
fn a_bad_setting_is_one_line_that_names_file_and_setting() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("server.properties");
    std::fs::write(&file, "log.retention.hours=x\n").unwrap();
    let arguments = ["broker", "start", "--config", file.to_str().unwrap()];
    let (succeeded, text) = tidemill(&arguments, &[("RUST_BACKTRACE", "1")]);
    assert!(!succeeded);
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in ["error: ", "server.properties", "log.retention.hours", "\"x\""] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn sighup_reads_the_file_again() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let mut stream = TcpStream::connect(&process.address).unwrap();
    create(&mut stream);
    assert_eq!(produce(&mut stream, "fits"), 0);
    let file = dir.path().join("server.properties");
    let before = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{before}message.max.bytes=10\n")).unwrap();
    process.signal("-HUP");
    // The signal and the request are not in order, so the last one that fits may come a little later.
    let refused = (0..100_000).find(|_| produce(&mut stream, "no longer fits") == -1);
    assert!(refused.is_some());
    std::fs::write(&file, format!("{before}message.max.bytes=much\n")).unwrap();
    process.signal("-HUP");
    assert_eq!(produce(&mut stream, "still served, and still too large"), -1);
}

fn tidemill(arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    let output = command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn data_directories_are_formatted_dumped_and_verified() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = format!("{0}/a,{0}/b", dir.path().display());
    let variables = [("KAFKA_LOG_DIRS", dirs.as_str())];
    let format = ["broker", "format", "--cluster-id", "thisIsTheClustersOwnId"];
    let (ok, text) = tidemill(&format, &variables);
    assert!(
        ok && text.contains("/b belongs to cluster thisIsTheClustersOwnId"),
        "{text}"
    );
    let (ok, text) = tidemill(&format, &variables);
    assert!(!ok && text.contains("formatted already"), "{text}");
    assert!(tidemill(&[&format[..], &["--ignore-formatted"]].concat(), &variables).0);

    let mut process = Process::start(dir.path());
    let mut stream = TcpStream::connect(&process.address).unwrap();
    create(&mut stream);
    let offsets = [0, 1, 2].map(|n| produce(&mut stream, &format!("value-{n}")));
    assert_eq!(offsets, [0, 1, 2]);
    process.signal("-TERM");
    process.child.wait().unwrap();
    let (ok, text) = tidemill(&["broker", "verify"], &variables);
    assert!(
        ok && text.contains("4 partitions, 4 segments, 3 batches, 0 faults"),
        "{text}"
    );
    let segment = ["a", "b"]
        .map(|part| dir.path().join(part).join("t-3/00000000000000000000.log"))
        .into_iter()
        .find(|path| path.exists())
        .unwrap();
    let dump = ["broker", "dump-log", "--records", segment.to_str().unwrap()];
    let (ok, text) = tidemill(&dump, &[]);
    assert!(
        ok && text.contains("offsets 2..=2") && text.contains("\"value-2\""),
        "{text}"
    );

    let mut bytes = std::fs::read(&segment).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let (ok, text) = tidemill(&["broker", "verify"], &variables);
    assert!(!ok && text.contains("CRC") && text.contains("1 faults"), "{text}");
    let (ok, text) = tidemill(&dump, &[]);
    assert!(!ok && text.contains("CRC") && text.contains("value-1"), "{text}");
}

/// Writes a letter as a program does that could not read a record.
fn write_letter(writer: &mut dyn Writer, topic: WriterTopic, exception: &str, key: &str, offset: &str) {
    let headers = Headers::new()
        .with("trace", "7")
        .with("__streams.errors.exception", exception.to_owned())
        .with("__streams.errors.message", "no\tnumber")
        .with("__streams.errors.topic", "clicks")
        .with("__streams.errors.partition", "2")
        .with("__streams.errors.offset", offset.to_owned());
    let letter = Outgoing {
        topic,
        partition: 0,
        timestamp: Timestamp::from_millis(1_795_262_400_250),
        key: Some(key.as_bytes()),
        value: Some(b"x"),
        headers: &headers,
    };
    writer.send(&[letter]).unwrap();
}

#[test]
fn dead_letters_are_listed_and_sent_back_by_exception_and_time() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let server = process.address.as_str();
    let settings = Settings::from([("bootstrap.servers".to_owned(), server.to_owned())]);
    let transport = connect(&settings).unwrap();
    transport
        .create(&[TopicSpec::new("dead", 1), TopicSpec::new("clicks", 3)])
        .unwrap();
    let mut writer = transport.writer("test").unwrap();
    let dead = writer.topic("dead").unwrap();
    for (exception, key, offset) in [
        ("DecodeError", "a", "40"),
        ("org.example.Refused", "b\n", "41"),
        ("DecodeError", "c", "42"),
    ] {
        write_letter(&mut *writer, dead, exception, key, offset);
    }
    writer.flush().unwrap();
    let run = |verb: &str, more: &[&str]| {
        let at = [
            "dead-letters",
            verb,
            "--bootstrap-server",
            server,
            "--topic",
            "dead",
        ];
        let (ok, text) = tidemill(&[&at[..], more].concat(), &[("RUST_LOG", "off")]);
        assert!(ok, "{text}");
        text
    };
    let line = |at: &str, from: &str, exception: &str, key: &str| {
        format!("dead-0@{at}\tclicks-2@{from}\t2026-11-21T12:00:00.250Z\t{exception}\t{key}\tno\\tnumber\n")
    };
    let all = [
        line("0", "40", "DecodeError", "a"),
        line("1", "41", "org.example.Refused", "b\\n"),
        line("2", "42", "DecodeError", "c"),
    ];
    assert_eq!(run("list", &[]), all.concat());
    assert_eq!(run("list", &["--exception", "Refused"]), all[1]);
    assert_eq!(
        run("list", &["--limit", "1", "--since", "2026-11-21T12:00:00Z"]),
        all[0]
    );
    assert_eq!(run("list", &["--before", "1795262400250"]), "");
    assert_eq!(run("list", &["--source-topic", "views"]), "");

    let clicks = [TopicPartition::new("clicks", 2)];
    let text = run("replay", &["--dry-run", "--source-partition", "2"]);
    assert_eq!(
        text,
        all.concat() + "3 would be written back; nothing was written or deleted\n"
    );
    assert_eq!(transport.end_offsets(&clicks).unwrap(), [0]);
    let text = run("replay", &["--exception", "DecodeError"]);
    assert!(
        text.starts_with("2 written back, 1 left\n1 of those written back are still in dead"),
        "{text}"
    );
    assert_eq!(transport.end_offsets(&clicks).unwrap(), [2]);
    assert_eq!(run("list", &[]), all[1..].concat());
    assert_eq!(run("replay", &[]), "2 written back, 0 left\n");
    assert_eq!(run("list", &[]), "");
}

#[test]
fn a_dead_letter_topic_or_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path());
    let list = [
        "dead-letters",
        "list",
        "--bootstrap-server",
        &process.address,
        "--topic",
        "no-such",
    ];
    let (ok, text) = tidemill(&list, &[]);
    assert!(!ok && text.contains("no-such-0 does not exist"), "{text}");
    let file = dir.path().join("client.properties");
    let with_file = [&list[..], &["--command-config", file.to_str().unwrap()]].concat();
    let (ok, text) = tidemill(&with_file, &[]);
    assert!(!ok && text.contains("client.properties"), "{text}");
    std::fs::write(&file, "# comment\nlinger.ms\n").unwrap();
    let (ok, text) = tidemill(&with_file, &[]);
    assert!(
        !ok && text.contains("client.properties:2: expected NAME=VALUE"),
        "{text}"
    );
    let (ok, text) = tidemill(&[&list[..], &["--since", "yesterday"]].concat(), &[]);
    assert!(!ok && text.contains("2026-01-31T12:00:00Z"), "{text}");
}
