//! The few MessagePack types that frames are made of, written and read without copying bodies.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::FrameError;

/// Writes an array's header; frames have at most 15 fields.
pub fn put_array(out: &mut BytesMut, fields: u8) {
    out.put_u8(0x90 | (fields & 0x0f));
}

/// Writes a number in its shortest form.
pub fn put_uint(out: &mut BytesMut, value: u64) {
    match value {
        0..=0x7f => out.put_u8(value.to_le_bytes()[0]),
        0x80..=0xff => out.put_uint((0xcc << 8) | value, 2),
        0x100..=0xffff => out.put_uint((0xcd << 16) | value, 3),
        0x1_0000..=0xffff_ffff => out.put_uint((0xce << 32) | value, 5),
        _ => {
            out.put_u8(0xcf);
            out.put_u64(value);
        }
    }
}

/// Writes text of less than 4 GiB.
pub fn put_text(out: &mut BytesMut, text: &str) {
    match text.len() as u64 {
        length @ 0..=31 => out.put_uint(0xa0 | length, 1),
        length @ 32..=0xff => out.put_uint((0xd9 << 8) | length, 2),
        length @ 0x100..=0xffff => out.put_uint((0xda << 16) | length, 3),
        length => out.put_uint((0xdb << 32) | length, 5),
    }
    out.put_slice(text.as_bytes());
}

/// Writes bytes of less than 4 GiB.
pub fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    match bytes.len() as u64 {
        length @ 0..=0xff => out.put_uint((0xc4 << 8) | length, 2),
        length @ 0x100..=0xffff => out.put_uint((0xc5 << 16) | length, 3),
        length => out.put_uint((0xc6 << 32) | length, 5),
    }
    out.put_slice(bytes);
}

/// Reads an array's header.
pub fn array(input: &mut Bytes) -> Result<u64, FrameError> {
    match input.try_get_u8()? {
        head @ 0x90..=0x9f => Ok(u64::from(head & 0x0f)),
        0xdc => Ok(u64::from(input.try_get_u16()?)),
        0xdd => Ok(u64::from(input.try_get_u32()?)),
        _ => Err(FrameError::Malformed("not an array")),
    }
}

/// Reads a number.
pub fn uint(input: &mut Bytes) -> Result<u64, FrameError> {
    match input.try_get_u8()? {
        small @ 0..=0x7f => Ok(u64::from(small)),
        0xcc => Ok(u64::from(input.try_get_u8()?)),
        0xcd => Ok(u64::from(input.try_get_u16()?)),
        0xce => Ok(u64::from(input.try_get_u32()?)),
        0xcf => Ok(input.try_get_u64()?),
        _ => Err(FrameError::Malformed("not a number")),
    }
}

/// Reads a number that fits `T`.
pub fn small<T: TryFrom<u64>>(input: &mut Bytes) -> Result<T, FrameError> {
    T::try_from(uint(input)?).map_err(|_| FrameError::Malformed("a number is too large"))
}

/// Reads text of at most `limit` bytes and hands it to `take`.
pub fn text<T>(input: &mut Bytes, limit: usize, take: impl FnOnce(&str) -> T) -> Result<T, FrameError> {
    let length = match input.try_get_u8()? {
        head @ 0xa0..=0xbf => u32::from(head & 0x1f),
        0xd9 => u32::from(input.try_get_u8()?),
        0xda => u32::from(input.try_get_u16()?),
        0xdb => input.try_get_u32()?,
        _ => return Err(FrameError::Malformed("not text")),
    };
    let bytes = split(input, length)?;
    if bytes.len() > limit {
        return Err(FrameError::Malformed("a text is too long"));
    }
    std::str::from_utf8(&bytes).map(take).map_err(|_| FrameError::Malformed("a text is not UTF-8"))
}

/// Reads bytes: a part of the input, not a copy.
pub fn bytes(input: &mut Bytes) -> Result<Bytes, FrameError> {
    let length = match input.try_get_u8()? {
        0xc4 => u32::from(input.try_get_u8()?),
        0xc5 => u32::from(input.try_get_u16()?),
        0xc6 => input.try_get_u32()?,
        _ => return Err(FrameError::Malformed("not bytes")),
    };
    split(input, length)
}

fn split(input: &mut Bytes, length: u32) -> Result<Bytes, FrameError> {
    let length = length as usize;
    if length > input.len() {
        return Err(FrameError::Malformed("a field ends beyond its frame"));
    }
    Ok(input.split_to(length))
}
