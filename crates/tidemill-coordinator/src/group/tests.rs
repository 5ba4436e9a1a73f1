//! Golden scripts: what clients do to one group, and under each line what comes of it. `BLESS=1 cargo test` rewrites
//! them; read the difference.
//!
//! ```text
//! join new a …     JoinGroup without a member id, `a` is the id it would get        join a …   with that id
//! sync a 1 a=x …   SyncGroup in generation 1, with assignments                       at 500     the clock, and what is due
//! hold / write / fail   appends wait from now on; the oldest is written; it failed   restart    from the log alone
//! ```

use std::collections::VecDeque;
use std::fmt::Write as _;

use bytes::Bytes;

use crate::record::Key;
use crate::reloaded::reloaded;
use crate::*;

/// Runs scripts against a coordinator with one group of interest.
struct Script {
    settings: GroupSettings,
    coordinator: Coordinator,
    now: Timestamp,
    asked: Vec<String>,
    unwritten: VecDeque<(GroupId, AppendNumber, Vec<Record>)>,
    log: Vec<Record>,
    holds: bool,
    out: String,
}

const GROUP: &str = "g";

impl Script {
    fn new() -> Self {
        let settings = GroupSettings {
            size_max: 3,
            offset_metadata_bytes_max: 8,
            ..GroupSettings::embedded()
        };
        let mut script = Self {
            coordinator: Coordinator::new(settings.clone()),
            settings,
            now: Timestamp(0),
            asked: Vec::new(),
            unwritten: VecDeque::new(),
            log: Vec::new(),
            holds: false,
            out: String::new(),
        };
        script.coordinator.loaded(script.now, &mut Vec::new());
        script
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["settings", rest @ ..] => self.configure(rest),
            ["at", time] => self.advance(time.parse().unwrap()),
            ["hold"] => self.holds = true,
            ["write"] => self.finish(None),
            ["fail", how] => self.finish(Some(match *how {
                "unavailable" => WriteFailure::Unavailable,
                "notleader" => WriteFailure::NotLeader,
                _ => WriteFailure::TooLarge,
            })),
            ["restart"] => self.restart(),
            ["describe"] => self.describe(),
            ["fetch"] => self.fetch(),
            ["list", states @ ..] => {
                let states = states.iter().map(|s| (*s).to_owned()).collect();
                let list = self.coordinator.list(&GroupFilter {
                    states,
                    types: vec!["Classic".into()],
                });
                let names: Vec<_> = list
                    .iter()
                    .map(|g| format!("{} {} {}", g.group, g.protocol_type, g.phase))
                    .collect();
                writeln!(self.out, "  {names:?}").unwrap();
            }
            words => {
                let event = event_of(words, self.ask(line));
                let mut actions = Vec::new();
                self.coordinator
                    .handle(self.now, GROUP.into(), event, &mut actions);
                self.act(actions);
            }
        }
    }

    fn ask(&mut self, line: &str) -> ReplyTo {
        let name = line
            .split_whitespace()
            .filter(|word| *word != "new")
            .take(2)
            .collect::<Vec<_>>()
            .join(" ");
        self.asked.push(name);
        ReplyTo(self.asked.len() as u64 - 1)
    }

    fn configure(&mut self, words: &[&str]) {
        for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
            match name {
                "delay" => self.settings.initial_rebalance_delay_ms = value.parse().unwrap(),
                "size" => self.settings.size_max = value.parse().unwrap(),
                "retention" => self.settings.offsets_retention_ms = value.parse().unwrap(),
                "check" => self.settings.offsets_retention_check_ms = value.parse().unwrap(),
                _ => panic!("setting {name}"),
            }
        }
        self.coordinator = Coordinator::new(self.settings.clone());
        self.coordinator.loaded(self.now, &mut Vec::new());
    }

    fn advance(&mut self, to: i64) {
        while let Some(due) = self.coordinator.next_deadline().filter(|due| due.0 <= to) {
            self.now = self.now.max(due);
            let before = self.out.len();
            let mut actions = Vec::new();
            self.coordinator.tick(self.now, &mut actions);
            self.act(actions);
            if self.out.len() > before {
                let at = format!("  at {}:\n", self.now.0);
                self.out.insert_str(before, &at);
            }
        }
        self.now = Timestamp(to);
    }

    fn finish(&mut self, failure: Option<WriteFailure>) {
        let (group, number, records) = self.unwritten.pop_front().expect("something was appended");
        let event = match failure {
            Some(failure) => Event::WriteFailed(number, failure),
            None => {
                self.log.extend(records);
                Event::Written(number)
            }
        };
        let mut actions = Vec::new();
        self.coordinator.handle(self.now, group, event, &mut actions);
        self.act(actions);
    }

    fn restart(&mut self) {
        self.unwritten.clear();
        let (coordinator, actions) = reloaded(self.settings.clone(), &self.log, self.now);
        self.coordinator = coordinator;
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Reply { to, reply } => {
                    let asked = self.asked[to.0 as usize].clone();
                    writeln!(self.out, "  {asked} -> {}", reply_text(&reply)).unwrap();
                }
                Action::Note {
                    note: note @ Note::Removed { .. },
                    ..
                } => writeln!(self.out, "  {note}").unwrap(),
                Action::Note { .. } => {}
                Action::Append {
                    group,
                    number,
                    records,
                    ..
                } => {
                    for record in &records {
                        writeln!(self.out, "  log {}", record_text(record)).unwrap();
                    }
                    self.unwritten.push_back((group, number, records));
                    if !self.holds {
                        self.finish(None);
                    }
                }
            }
        }
    }

    fn describe(&mut self) {
        match self.coordinator.describe(&GROUP.into()) {
            None => writeln!(self.out, "  no group").unwrap(),
            Some(group) => {
                let GroupDescription {
                    phase,
                    protocol_type,
                    protocol,
                    members,
                } = group;
                let members: Vec<_> = members
                    .iter()
                    .map(|m| format!("{}={}", m.member, text(&m.assignment)))
                    .collect();
                writeln!(self.out, "  {phase} {protocol_type} {protocol} {members:?}").unwrap();
            }
        }
    }

    fn fetch(&mut self) {
        for fetched in self.coordinator.fetch_offsets(&GROUP.into(), None) {
            let offset = fetched.committed.unwrap();
            writeln!(
                self.out,
                "  {}/{} = {} {:?}",
                fetched.topic, fetched.partition, offset.offset, offset.metadata
            )
            .unwrap();
        }
    }
}

#[allow(
    clippy::too_many_lines,
    reason = "one arm a command: the script's whole grammar on one page"
)]
/// `key=value` words of a command, and the bare ones before them.
fn event_of(words: &[&str], to: ReplyTo) -> Event {
    let pairs: Vec<(&str, &str)> = words.iter().filter_map(|word| word.split_once('=')).collect();
    let option = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    let instance = option("instance").map(InstanceId::from);
    let member = |at: usize| {
        MemberId::from(
            words
                .get(at)
                .copied()
                .filter(|w| !w.contains('=') && *w != "-")
                .unwrap_or(""),
        )
    };
    let generation = || words.get(2).and_then(|w| w.parse().ok()).unwrap_or(-1);
    match words[0] {
        "join" => {
            let new = words[1] == "new";
            let version: i16 = option("v").map_or(3, |v| v.parse().unwrap());
            let ms = |name, default| option(name).map_or(default, |v| v.parse().unwrap());
            let protocols = option("protocols")
                .unwrap_or("range:t")
                .split('/')
                .filter(|p| !p.is_empty());
            let request = JoinRequest {
                member: if new { MemberId::from("") } else { member(1) },
                fresh_member: member(2),
                instance,
                client_id: "client".into(),
                client_host: "/127.0.0.1".into(),
                session_timeout_ms: ms("session", 1_000),
                rebalance_timeout_ms: ms("rebalance", 500),
                protocol_type: option("type").unwrap_or("consumer").into(),
                protocols: protocols.map(protocol).collect(),
                member_id_required: version >= 4,
                skips_assignment: version >= 9,
                topics: Default::default(),
            };
            Event::Join { request, to }
        }
        "sync" => {
            let known = ["instance", "protocol", "type"];
            let assignments = pairs.iter().filter(|(name, _)| !known.contains(name));
            let request = SyncRequest {
                member: member(1),
                instance,
                generation: generation(),
                protocol_type: option("type").map(str::to_owned),
                protocol: option("protocol").map(str::to_owned),
                assignments: assignments
                    .map(|(id, a)| (MemberId::from(*id), Bytes::from((*a).to_owned())))
                    .collect(),
            };
            Event::Sync { request, to }
        }
        "beat" => Event::Heartbeat {
            request: HeartbeatRequest {
                member: member(1),
                instance,
                generation: generation(),
            },
            to,
        },
        "leave" => {
            let bare = words[1..].iter().filter(|w| !w.contains('='));
            let mut members: Vec<_> = bare
                .map(|w| LeavingMember {
                    member: MemberId::from(*w),
                    instance: instance.clone(),
                    reason: None,
                })
                .collect();
            if members.is_empty() {
                members.push(LeavingMember {
                    member: MemberId::from(""),
                    instance,
                    reason: None,
                });
            }
            Event::Leave { members, to }
        }
        "commit" => {
            let known = ["instance", "metadata", "retention"];
            let offsets = pairs
                .iter()
                .filter(|(name, _)| !known.contains(name))
                .map(|(at, offset)| {
                    let (topic, partition) = place(at);
                    let metadata = option("metadata").unwrap_or("").to_owned();
                    OffsetToCommit {
                        topic,
                        partition,
                        offset: offset.parse().unwrap(),
                        leader_epoch: None,
                        metadata,
                    }
                });
            let retention_ms = option("retention").map(|v| v.parse().unwrap());
            let (member, offsets) = (member(1), offsets.collect());
            let request = CommitRequest {
                member,
                instance,
                generation: generation(),
                retention_ms,
                transaction: None,
                knows_group_not_found: false,
                offsets,
            };
            Event::Commit { request, to }
        }
        "forget" => Event::DeleteOffsets {
            partitions: words[1..].iter().map(|at| place(at)).collect(),
            to,
        },
        "drop-topic" => Event::ForgetTopic {
            topic: words[1].into(),
        },
        "delete" => Event::Delete { to },
        other => panic!("command {other}"),
    }
}

/// `name:topic,topic`, with the topics as a real subscription.
fn protocol(text: &str) -> Protocol {
    let (name, topics) = text.split_once(':').unwrap_or((text, ""));
    let topics: Vec<&str> = topics.split(',').filter(|topic| !topic.is_empty()).collect();
    let mut metadata = vec![0, 1, 0, 0, 0, topics.len() as u8];
    for topic in topics {
        metadata.extend([0, topic.len() as u8]);
        metadata.extend(topic.as_bytes());
    }
    Protocol::new(name, metadata)
}

fn place(at: &str) -> (TopicName, i32) {
    let (topic, partition) = at.split_once('/').unwrap();
    (topic.into(), partition.parse().unwrap())
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn result_text<T>(result: &Result<T, GroupError>) -> String {
    result
        .as_ref()
        .map_or_else(|error| format!("{error:?}"), |_| "ok".to_owned())
}

fn answers_text(answers: &Result<CommitAnswers, GroupError>) -> String {
    match answers {
        Err(error) => format!("{error:?}"),
        Ok(answers) => {
            let one = |(topic, partition, result): &(TopicName, i32, Result<(), GroupError>)| {
                format!("{topic}/{partition} {}", result_text(result))
            };
            answers.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}

fn reply_text(reply: &Reply) -> String {
    match reply {
        Reply::Join(Err(refused)) => format!("{:?} member={}", refused.error, refused.member),
        Reply::Join(Ok(joined)) => {
            let Joined {
                generation,
                protocol,
                leader,
                member,
                skip_assignment,
                members,
                ..
            } = joined;
            let members: Vec<_> = members.iter().map(|m| m.member.as_str()).collect();
            let skip = if *skip_assignment { " skip" } else { "" };
            let protocol = protocol.as_deref().unwrap_or("-");
            format!(
                "generation {generation} {protocol} member={member} leader={leader} members={members:?}{skip}"
            )
        }
        Reply::Sync(Ok(assigned)) => format!("assigned {:?}", text(&assigned.assignment)),
        Reply::Sync(Err(error)) => format!("{error:?}"),
        Reply::Heartbeat(result) | Reply::Delete(result) => result_text(result),
        Reply::Leave(Err(error)) => format!("{error:?}"),
        Reply::Leave(Ok(answers)) => answers
            .iter()
            .map(|a| format!("{} {}", a.member, result_text(&a.result)))
            .collect::<Vec<_>>()
            .join(", "),
        Reply::ConsumerHeartbeat(answer) => format!("{answer:?}"),
        Reply::Commit(answers) | Reply::DeleteOffsets(answers) => answers_text(answers),
    }
}

fn record_text(record: &Record) -> String {
    match (Key::decode(&record.key).unwrap(), &record.value) {
        (Key::Offset(_, topic, partition), None) => format!("{topic}/{partition} tombstone"),
        (Key::Consumers(key), value) => format!("{key:?} {}", value.is_some()),
        (Key::Group(_), None) => "group tombstone".to_owned(),
        (Key::Offset(_, topic, partition), Some(value)) => {
            let offset = CommittedOffset::decode(value).unwrap();
            let expires = offset
                .expires_at
                .map(|at| format!(" expires {}", at.0))
                .unwrap_or_default();
            format!("{topic}/{partition} = {}{expires}", offset.offset)
        }
        (Key::Group(_), Some(value)) => {
            let group = GroupMetadata::decode(value).unwrap();
            let members: Vec<_> = group
                .members
                .iter()
                .map(|m| format!("{}={}", m.member, text(&m.assignment)))
                .collect();
            let leader = group.leader.as_ref().map_or("-", MemberId::as_str);
            format!(
                "group {} generation {} leader={leader} {members:?}",
                group.protocol_type, group.generation
            )
        }
    }
}

fn check(name: &str, golden: &str) {
    let mut script = Script::new();
    for line in golden.lines().filter(|line| !line.starts_with("  ")) {
        script.out.push_str(line);
        script.out.push('\n');
        if !line.is_empty() && !line.starts_with('#') {
            script.line(line);
        }
    }
    if std::env::var_os("BLESS").is_some() {
        let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        bless(&path, &script.out);
        return;
    }
    assert_eq!(script.out, golden, "{name}");
}

#[allow(
    clippy::disallowed_methods,
    reason = "only when somebody blesses the scripts by hand"
)]
fn bless(path: &str, text: &str) {
    std::fs::write(path, text).unwrap();
}

macro_rules! golden {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), include_str!(concat!("../../tests/golden/", stringify!($name), ".txt")));
        }
    )*};
}

golden! {
    first_member initial_delay two_members member_id_required leave_in_each_phase dies_in_each_phase
    static_restart static_fencing cooperative protocol_votes wrong_requests late_sync leader_rejoins
    failed_appends full_group offsets offset_expiry deletion restart connect static_while_rebalancing
}
