//! Several values as the bytes of one: each with its length in front.
//!
//! ```text
//! for each: length (4, big-endian) | bytes
//! ```

use tidemill_data::{Data, DecodeError, EncodeError, Presence};

/// Adds one value's length and bytes.
pub(super) fn push_item<S, T: Data>(item: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    if item.encode(out)? == Presence::Null {
        return Err(EncodeError::of::<S>(
            "its values",
            "one of them is null".to_owned(),
        ));
    }
    let length = u32::try_from(out.len() - start - 4)
        .map_err(|_| EncodeError::of::<S>("its values", "one of them is longer than 4 GiB".to_owned()))?;
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

/// All values. A length beyond the bytes that are there is an error before anything is allocated for it.
pub(super) fn take_items<S, T: Data>(bytes: Option<&[u8]>) -> Result<Vec<T>, DecodeError> {
    let mut rest = bytes.ok_or_else(DecodeError::null::<S>)?;
    let cut_off = || DecodeError::of::<S>("its values", "the bytes end early");
    let mut items = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().ok_or_else(cut_off)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut_off())?;
        let (item, after) = after.split_at_checked(length).ok_or_else(cut_off)?;
        items.push(T::decode(Some(item))?);
        rest = after;
    }
    Ok(items)
}
