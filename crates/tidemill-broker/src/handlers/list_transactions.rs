//! ListTransactions, API 66, v0-2: transactional ids, by state, producer, age and name.

use regex::Regex;
use tidemill_coordinator::{TransactionMetadata, TransactionPhase};
use tidemill_protocol::ErrorCode;
use tidemill_protocol::messages::list_transactions::{
    ListTransactionsRequest, ListTransactionsResponse, TransactionState,
};

use crate::clock;
use crate::shared::Context;
use crate::transactions::{Gone, Transactions};

pub(crate) async fn handle(context: Context, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let failed = |error_code| ListTransactionsResponse {
        error_code,
        ..Default::default()
    };
    let pattern = match request
        .transactional_id_pattern
        .as_deref()
        .filter(|p| !p.is_empty())
    {
        Some(pattern) => match whole(pattern) {
            Ok(pattern) => Some(pattern),
            Err(_) => return failed(ErrorCode::InvalidRegularExpression),
        },
        None => None,
    };
    let all = match Transactions::of(&context.shared).list().await {
        Ok(all) => all,
        Err(Gone) => return failed(ErrorCode::CoordinatorNotAvailable),
    };
    let known = |name: &str| TransactionPhase::ALL.iter().any(|phase| phase.as_str() == name);
    let unknown = request
        .state_filters
        .iter()
        .filter(|name| !known(name) && !NEVER_LISTED.contains(&&***name));
    let wanted = all.iter().filter(|(id, metadata)| {
        admits(&request, metadata)
            && pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(id.as_str()))
    });
    let states = wanted.map(|(id, metadata)| TransactionState {
        transactional_id: id.as_str().into(),
        producer_id: metadata.producer.id.0,
        transaction_state: metadata.phase.as_str().into(),
    });
    ListTransactionsResponse {
        unknown_state_filters: unknown.cloned().collect(),
        transaction_states: states.collect(),
        ..Default::default()
    }
}

/// States that Kafka knows and that no transactional id here is ever seen in.
const NEVER_LISTED: &[&str] = &["Dead", "PrepareEpochFence"];

/// Java's `matches`: the whole name, not a part of it. The crate's matching takes time linear in the name.
fn whole(pattern: &str) -> Result<Regex, regex::Error> {
    // On its own first: brackets that only fit together with ours are no pattern.
    Regex::new(pattern)?;
    Regex::new(&format!("^(?:{pattern})$"))
}

fn admits(request: &ListTransactionsRequest, metadata: &TransactionMetadata) -> bool {
    let phase = metadata.phase.as_str();
    let state = request.state_filters.is_empty() || request.state_filters.iter().any(|name| **name == *phase);
    let producers = &request.producer_id_filters;
    let producer = producers.is_empty() || producers.contains(&metadata.producer.id.0);
    let age = request.duration_filter < 0
        || metadata.started_at.is_some_and(|started| {
            metadata.phase == TransactionPhase::Ongoing
                && clock::now().0.saturating_sub(started.0) > request.duration_filter
        });
    state && producer && age
}
