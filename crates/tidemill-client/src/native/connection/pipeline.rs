//! Which answer belongs to which request. A broker answers a connection's requests in their order. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

/// The broker broke the order of answers; nothing that follows on the connection can be believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutOfStep {
    #[error("an answer of {0} bytes")]
    TooShort(usize),
    #[error("an answer to request {got}, expected one to {expected:?}")]
    Correlation { got: i32, expected: Option<i32> },
}

/// Requests on their way, oldest first, each with whatever its answer is handed to.
#[derive(Debug)]
pub(crate) struct Pipeline<T> {
    next: i32,
    waiting: VecDeque<(i32, T)>,
}

impl<T> Pipeline<T> {
    pub(crate) fn new() -> Self {
        Self {
            next: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Numbers a request that waits for no answer.
    pub(crate) fn number(&mut self) -> i32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }

    /// Numbers a request and keeps its ticket.
    pub(crate) fn add(&mut self, ticket: T) -> i32 {
        let number = self.number();
        self.waiting.push_back((number, ticket));
        number
    }

    /// Takes the newest request back: it was not sent.
    pub(crate) fn withdraw(&mut self) {
        self.waiting.pop_back();
    }

    /// Whose answer this is.
    pub(crate) fn take(&mut self, answer: &Bytes) -> Result<T, OutOfStep> {
        let prefix = answer.first_chunk().ok_or(OutOfStep::TooShort(answer.len()))?;
        let got = i32::from_be_bytes(*prefix);
        match self.waiting.pop_front() {
            Some((number, ticket)) if number == got => Ok(ticket),
            other => Err(OutOfStep::Correlation {
                got,
                expected: other.map(|(number, _)| number),
            }),
        }
    }

    /// Gives up on all of them.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(to: i32) -> Bytes {
        Bytes::copy_from_slice(&to.to_be_bytes())
    }

    #[test]
    fn answers_find_their_requests_in_order() {
        let mut pipeline = Pipeline::new();
        let (a, b) = (pipeline.add("a"), pipeline.add("b"));
        assert_eq!(pipeline.take(&answer(a)), Ok("a"));
        assert_eq!(pipeline.take(&answer(b)), Ok("b"));
    }

    #[test]
    fn an_answer_out_of_order_unasked_or_too_short_is_refused() {
        let mut pipeline = Pipeline::new();
        let (_, b) = (pipeline.add("a"), pipeline.add("b"));
        assert_eq!(
            pipeline.take(&answer(b)),
            Err(OutOfStep::Correlation {
                got: b,
                expected: Some(0)
            })
        );
        pipeline.clear();
        assert_eq!(
            pipeline.take(&answer(9)),
            Err(OutOfStep::Correlation {
                got: 9,
                expected: None
            })
        );
        assert_eq!(
            pipeline.take(&Bytes::from_static(b"abc")),
            Err(OutOfStep::TooShort(3))
        );
    }
}
