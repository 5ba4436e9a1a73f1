//! Incremental fetch sessions (KIP-227): what a consumer fetches is remembered, so that it sends only what changes and is
//! sent only what changed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidemill_log::Timestamp;
use tidemill_protocol::messages::fetch::{FetchPartition, FetchRequest};
use tidemill_protocol::{ErrorCode, Uuid};

/// The epoch of a request outside any session; it closes the one it names.
const FINAL_EPOCH: i32 = -1;
/// The epoch of a request that wants a new session.
const INITIAL_EPOCH: i32 = 0;

/// How many partitions all sessions together remember, each in some 150 bytes: a partition need not exist to be named.
const PARTITIONS_MAX: usize = 1_000_000;
/// How long a session is kept that nobody uses. A consumer whose session is gone begins another.
const IDLE_MS_MAX: i64 = 120_000;

/// How a request names a topic: by id from version 13 on, by name before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    Name(String),
    Id(Uuid),
}

/// One partition that is to be fetched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) topic: TopicKey,
    pub(crate) partition: FetchPartition,
    /// What the consumer was told last: high watermark and log start.
    pub(crate) told: Option<(i64, i64)>,
}

/// What a request asks for once its session is found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) session: Membership,
    pub(crate) wanted: Vec<Wanted>,
}

/// A request's part in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// Everything is answered and nothing remembered.
    None,
    /// Everything is answered, and remembered under this id.
    New(i32),
    /// Only what changed is answered.
    Incremental(i32),
}

impl Membership {
    pub(crate) fn id(self) -> i32 {
        match self {
            Membership::None => 0,
            Membership::New(id) | Membership::Incremental(id) => id,
        }
    }
}

#[derive(Debug)]
struct Session {
    /// What the next request must say.
    epoch: i32,
    by_id: bool,
    /// Those that were answered last stand at the end, so that each has its turn.
    partitions: Vec<Wanted>,
    /// When it was last used, by a counter: the one used longest ago makes room.
    used: u64,
    used_at: Timestamp,
}

#[derive(Debug, Default)]
struct Cache {
    sessions: HashMap<i32, Session>,
    // How many partitions they remember.
    partitions: usize,
    last_id: i32,
    uses: u64,
}

/// The sessions of a broker.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    // Guards the map; held only while it is read or changed.
    cache: Mutex<Cache>,
    sessions_max: usize,
    partitions_max: usize,
}

impl FetchSessions {
    pub(crate) fn new(sessions_max: usize) -> FetchSessions {
        FetchSessions {
            cache: Mutex::default(),
            sessions_max,
            partitions_max: PARTITIONS_MAX,
        }
    }

    /// Lets go of the sessions that nobody has used for a while.
    pub(crate) fn expire(&self, now: Timestamp) {
        self.lock()
            .remove_if(|session| now.since(session.used_at) > IDLE_MS_MAX);
    }

    /// What `request` asks for, after it changed its session.
    pub(crate) fn plan(
        &self,
        request: &mut FetchRequest,
        version: i16,
        now: Timestamp,
    ) -> Result<Plan, ErrorCode> {
        let by_id = version >= 13;
        let (id, epoch) = (request.session_id, request.session_epoch);
        let added = wanted(request, by_id);
        let mut cache = self.lock();
        if version < 7 || epoch == FINAL_EPOCH || epoch == INITIAL_EPOCH {
            cache.remove(id);
            let session = match epoch {
                INITIAL_EPOCH if version >= 7 => {
                    cache.open(&added, by_id, now, (self.sessions_max, self.partitions_max))
                }
                _ => Membership::None,
            };
            return Ok(Plan {
                session,
                wanted: added,
            });
        }
        cache.uses += 1;
        let uses = cache.uses;
        let session = cache
            .sessions
            .get_mut(&id)
            .ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        (session.used, session.used_at) = (uses, now);
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        let before = session.partitions.len();
        session.change(added, request, by_id);
        let wanted = session.partitions.clone();
        cache.partitions = cache.partitions - before + wanted.len();
        if cache.partitions > self.partitions_max {
            // The consumer asks for all it wants again, and is answered without a session if it is that much.
            cache.remove(id);
            return Err(ErrorCode::FetchSessionIdNotFound);
        }
        Ok(Plan {
            session: Membership::Incremental(id),
            wanted,
        })
    }

    /// Remembers what the consumer was told, and puts those that got records behind the others.
    pub(crate) fn answered(&self, session: Membership, told: &[(Wanted, bool)]) {
        let mut cache = self.lock();
        let Some(session) = cache.sessions.get_mut(&session.id()) else {
            return;
        };
        let news: HashMap<(TopicKey, i32), &(Wanted, bool)> = told
            .iter()
            .map(|told| ((told.0.topic.clone(), told.0.partition.partition), told))
            .collect();
        let (mut waiting, mut served) = (Vec::new(), Vec::new());
        for mut cached in session.partitions.drain(..) {
            match news.get(&(cached.topic.clone(), cached.partition.partition)) {
                Some((wanted, got_records)) => {
                    cached.told = wanted.told;
                    if *got_records {
                        served.push(cached)
                    } else {
                        waiting.push(cached)
                    }
                }
                None => waiting.push(cached),
            }
        }
        waiting.append(&mut served);
        session.partitions = waiting;
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn open(
        &mut self,
        wanted: &[Wanted],
        by_id: bool,
        now: Timestamp,
        (sessions_max, partitions_max): (usize, usize),
    ) -> Membership {
        if sessions_max == 0 || wanted.is_empty() || wanted.len() > partitions_max {
            return Membership::None;
        }
        while self.sessions.len() >= sessions_max || self.partitions + wanted.len() > partitions_max {
            let oldest = self.sessions.iter().min_by_key(|(_, session)| session.used);
            match oldest.map(|(id, _)| *id) {
                Some(id) => self.remove(id),
                None => break,
            }
        }
        self.uses += 1;
        loop {
            self.last_id = if self.last_id == i32::MAX {
                1
            } else {
                self.last_id + 1
            };
            if !self.sessions.contains_key(&self.last_id) {
                break;
            }
        }
        let session = Session {
            epoch: 1,
            by_id,
            partitions: wanted.to_vec(),
            used: self.uses,
            used_at: now,
        };
        self.partitions += wanted.len();
        self.sessions.insert(self.last_id, session);
        Membership::New(self.last_id)
    }

    fn remove(&mut self, id: i32) {
        if let Some(gone) = self.sessions.remove(&id) {
            self.partitions -= gone.partitions.len();
        }
    }

    fn remove_if(&mut self, is_gone: impl Fn(&Session) -> bool) {
        self.sessions.retain(|_, session| !is_gone(session));
        self.partitions = self
            .sessions
            .values()
            .map(|session| session.partitions.len())
            .sum();
    }
}

impl Session {
    fn change(&mut self, added: Vec<Wanted>, request: &FetchRequest, by_id: bool) {
        for forgotten in &request.forgotten_topics_data {
            let key = key(&forgotten.topic, forgotten.topic_id, by_id);
            self.partitions.retain(|cached| {
                cached.topic != key || !forgotten.partitions.contains(&cached.partition.partition)
            });
        }
        let places: HashMap<(TopicKey, i32), usize> = self
            .partitions
            .iter()
            .enumerate()
            .map(|(place, cached)| ((cached.topic.clone(), cached.partition.partition), place))
            .collect();
        for wanted in added {
            let place = places.get(&(wanted.topic.clone(), wanted.partition.partition));
            match place.and_then(|place| self.partitions.get_mut(*place)) {
                Some(cached) => cached.partition = wanted.partition,
                None => self.partitions.push(wanted),
            }
        }
    }
}

fn wanted(request: &mut FetchRequest, by_id: bool) -> Vec<Wanted> {
    let mut all = Vec::new();
    for topic in std::mem::take(&mut request.topics) {
        let key = key(&topic.topic, topic.topic_id, by_id);
        all.extend(topic.partitions.into_iter().map(|partition| Wanted {
            topic: key.clone(),
            partition,
            told: None,
        }));
    }
    all
}

fn key(name: &str, id: Uuid, by_id: bool) -> TopicKey {
    if by_id {
        TopicKey::Id(id)
    } else {
        TopicKey::Name(name.to_string())
    }
}

#[cfg(test)]
mod tests {
    use tidemill_protocol::messages::fetch::{FetchTopic, ForgottenTopic};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn request(session: (i32, i32), partitions: &[i32]) -> FetchRequest {
        let partitions = partitions
            .iter()
            .map(|p| FetchPartition {
                partition: *p,
                ..Default::default()
            })
            .collect::<Vec<_>>();
        let topics = vec![FetchTopic {
            topic: "t".into(),
            partitions,
            ..Default::default()
        }];
        FetchRequest {
            session_id: session.0,
            session_epoch: session.1,
            topics,
            ..Default::default()
        }
    }

    fn indexes(plan: &Plan) -> Vec<i32> {
        plan.wanted
            .iter()
            .map(|wanted| wanted.partition.partition)
            .collect()
    }

    #[test]
    fn a_session_remembers_adds_and_forgets() {
        let sessions = FetchSessions::new(10);
        let first = sessions.plan(&mut request((0, 0), &[0, 1]), 12, NOW).unwrap();
        assert_eq!((first.session, indexes(&first)), (Membership::New(1), vec![0, 1]));
        let second = sessions.plan(&mut request((1, 1), &[2]), 12, NOW).unwrap();
        assert_eq!(
            (second.session, indexes(&second)),
            (Membership::Incremental(1), vec![0, 1, 2])
        );
        let mut forget = request((1, 2), &[]);
        forget.forgotten_topics_data = vec![ForgottenTopic {
            topic: "t".into(),
            partitions: vec![1],
            ..Default::default()
        }];
        assert_eq!(indexes(&sessions.plan(&mut forget, 12, NOW).unwrap()), [0, 2]);
    }

    #[test]
    fn a_wrong_epoch_an_unknown_session_and_a_change_to_ids_are_refused() {
        let sessions = FetchSessions::new(10);
        sessions.plan(&mut request((0, 0), &[0]), 12, NOW).unwrap();
        let refused = |session, version| {
            sessions
                .plan(&mut request(session, &[]), version, NOW)
                .unwrap_err()
        };
        assert_eq!(refused((1, 5), 12), ErrorCode::InvalidFetchSessionEpoch);
        assert_eq!(refused((9, 1), 12), ErrorCode::FetchSessionIdNotFound);
        assert_eq!(refused((1, 1), 13), ErrorCode::FetchSessionTopicIdError);
        assert_eq!(
            sessions
                .plan(&mut request((1, -1), &[0]), 12, NOW)
                .unwrap()
                .session,
            Membership::None
        );
        assert_eq!(refused((1, 1), 12), ErrorCode::FetchSessionIdNotFound);
    }

    #[test]
    fn the_session_used_longest_ago_makes_room() {
        let sessions = FetchSessions::new(2);
        sessions.plan(&mut request((0, 0), &[0]), 12, NOW).unwrap();
        sessions.plan(&mut request((0, 0), &[0]), 12, NOW).unwrap();
        sessions.plan(&mut request((1, 1), &[]), 12, NOW).unwrap();
        sessions.plan(&mut request((0, 0), &[0]), 12, NOW).unwrap();
        assert!(sessions.plan(&mut request((1, 2), &[]), 12, NOW).is_ok());
        assert_eq!(
            sessions.plan(&mut request((2, 1), &[]), 12, NOW),
            Err(ErrorCode::FetchSessionIdNotFound)
        );
    }

    #[test]
    fn partitions_that_got_records_go_behind_the_others() {
        let sessions = FetchSessions::new(1);
        let plan = sessions.plan(&mut request((0, 0), &[0, 1, 2]), 12, NOW).unwrap();
        let mut told = plan.wanted[0].clone();
        told.told = Some((5, 0));
        sessions.answered(plan.session, &[(told, true)]);
        let next = sessions.plan(&mut request((1, 1), &[]), 12, NOW).unwrap();
        assert_eq!(indexes(&next), [1, 2, 0]);
        assert_eq!(next.wanted[2].told, Some((5, 0)));
    }

    #[test]
    fn sessions_are_forgotten_when_nobody_uses_them() {
        let sessions = FetchSessions::new(10);
        sessions.plan(&mut request((0, 0), &[0]), 12, NOW).unwrap();
        sessions.plan(&mut request((0, 0), &[0]), 12, NOW).unwrap();
        let later = Timestamp(NOW.0 + IDLE_MS_MAX);
        sessions.plan(&mut request((2, 1), &[]), 12, later).unwrap();
        sessions.expire(later);
        sessions.expire(Timestamp(later.0 + 1));
        let go_on = |id, epoch| sessions.plan(&mut request((id, epoch), &[]), 12, later);
        assert_eq!(go_on(1, 1), Err(ErrorCode::FetchSessionIdNotFound));
        assert!(go_on(2, 2).is_ok());
    }

    #[test]
    fn what_all_sessions_remember_is_bounded() {
        let sessions = FetchSessions {
            partitions_max: 5,
            ..FetchSessions::new(10)
        };
        let plan = |session, partitions: &[i32]| {
            let plan = sessions.plan(&mut request(session, partitions), 12, NOW);
            plan.map(|plan| (plan.session, plan.wanted.len()))
        };
        assert_eq!(plan((0, 0), &[0, 1, 2]), Ok((Membership::New(1), 3)));
        assert_eq!(plan((0, 0), &[0, 1]), Ok((Membership::New(2), 2)));
        // A third makes room for itself, and one that wants more than there is gets none.
        assert_eq!(plan((0, 0), &[0, 1, 2]), Ok((Membership::New(3), 3)));
        assert_eq!(plan((1, 1), &[]), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(plan((0, 0), &[0, 1, 2, 3, 4, 5]), Ok((Membership::None, 6)));
        // One that grows beyond it begins again.
        assert_eq!(plan((3, 1), &[5, 6]), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(plan((2, 1), &[]), Ok((Membership::Incremental(2), 2)));
        assert_eq!(plan((0, 0), &[0, 1, 2]), Ok((Membership::New(4), 3)));
    }
}
