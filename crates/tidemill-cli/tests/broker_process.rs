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
use tidemill_protocol::batch::{BatchBuilder, Batches};
use tidemill_protocol::compression::Compression;
use tidemill_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use tidemill_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use tidemill_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use tidemill_protocol::{Decode, Reader, Request, ResponseHeader, request_frame};

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
