//! What decoding allocates, counted: bytes from a stranger may cost us a small multiple of what he sent, whatever they say.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use proptest::prelude::*;
use tidemill_protocol::batch::Batches;
use tidemill_protocol::{ApiKey, DecodeError, Reader, RequestHeader};

use crate::apis::{Side, decode_only, every_message, schema};
use crate::random::{Making, Rng};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Adds up what each thread allocates, freed or not.
struct Counting;

#[allow(
    unsafe_code,
    reason = "an allocator is the only place where every allocation passes"
)]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocated_by<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATED.get();
    let done = work();
    (ALLOCATED.get() - before, done)
}

/// An empty string is one byte on the wire and 32 in memory; the counts of two nested arrays may each be believed once before the
/// elements turn out to be missing.
const MULTIPLE: usize = 64;
/// What errors and empty messages may cost.
const CONSTANT: usize = 512;

fn decode(key: ApiKey, side: Side, bytes: &Bytes, version: i16) -> usize {
    allocated_by(|| decode_only(key, side, bytes, version)).0
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn decoding_any_bytes_allocates_a_small_multiple_of_them(seed in any::<u64>(), len in 0u64..4_000) {
        let mut rng = Rng(seed);
        let noise = Bytes::from(rng.bytes(len));
        let zeros = Bytes::from(vec![0; len as usize]);
        let ones = Bytes::from(vec![1; len as usize]);
        for (key, side, version) in every_message() {
            for bytes in [&noise, &zeros, &ones] {
                let allocated = decode(key, side, bytes, version);
                prop_assert!(allocated <= MULTIPLE * bytes.len() + CONSTANT,
                    "{key:?} {side:?} {version}: {allocated} bytes for {}", bytes.len());
            }
        }
    }

    #[test]
    fn decoding_bent_messages_allocates_a_small_multiple_of_them(seed in any::<u64>()) {
        let mut rng = Rng(seed ^ 1);
        for (key, side, version) in every_message() {
            let made = Making { strays: true, ..Making::new(&schema(key), version, seed) }.message(side);
            for _ in 0..8 {
                let mut bent = made.bytes.clone();
                for _ in 0..=rng.below(3) {
                    let at = rng.below(bent.len().max(1) as u64) as usize;
                    let byte = [0, 0x7f, 0x80, 0xff, rng.next() as u8][rng.below(5) as usize];
                    bent.iter_mut().skip(at).take(1).for_each(|bent| *bent = byte);
                }
                let bent = Bytes::from(bent);
                let allocated = decode(key, side, &bent, version);
                prop_assert!(allocated <= MULTIPLE * bent.len() + CONSTANT,
                    "{key:?} {side:?} {version}: {allocated} bytes for {}", bent.len());
            }
        }
    }

    #[test]
    fn headers_and_batches_of_any_bytes_allocate_nothing(seed in any::<u64>(), len in 0u64..400) {
        let bytes = Bytes::from(Rng(seed).bytes(len));
        let (allocated, _) = allocated_by(|| {
            let header: Result<RequestHeader, DecodeError> = RequestHeader::decode(&mut Reader::new(&bytes));
            let batches = Batches::new(&bytes).filter(Result::is_ok).count();
            (header.is_ok(), batches)
        });
        // The frame's first slice makes its bytes shareable: one small allocation.
        prop_assert!(allocated <= 64, "{allocated}");
    }
}

#[test]
fn the_counter_counts() {
    assert!(allocated_by(|| vec![0u8; 1000]).0 >= 1000);
}
