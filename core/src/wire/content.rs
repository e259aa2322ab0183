//! Reading and writing what is said about content (PROTOCOL.md §7).

use serde::Deserialize;

use super::decode::WireError;
use super::encode::{number, string};
use crate::id::PeerId;
use crate::key::Key;
use crate::message::{
    Availability, ByteRange, Description, Interest, MAX_BITMAP, MAX_BYTES, MAX_HASHES, MAX_NEWS, News,
    RawAnswer,
};
use crate::pieces::{Md5, Root};

/// A byte of a content that every JSON library reads exactly (RFC 8259 §6).
const MAX_OFFSET: u64 = (1 << 53) - 1;

#[derive(Deserialize)]
pub(super) struct HashesBody {
    key: Key,
    first: Option<u32>,
}

impl HashesBody {
    pub(super) fn check(self) -> (Key, u32) {
        (self.key, self.first.unwrap_or(0))
    }
}

#[derive(Deserialize)]
pub(super) struct InterestBody {
    key: Key,
    files: Option<bool>,
    id: Option<PeerId>,
    port: Option<u16>,
}

impl InterestBody {
    pub(super) fn check(self) -> Result<Interest, WireError> {
        if self.port == Some(0) {
            return Err(WireError::Bad("a port is a number from 1 to 65535".into()));
        }
        Ok(Interest { key: self.key, files: self.files.unwrap_or(false), id: self.id, port: self.port })
    }
}

#[derive(Deserialize)]
pub(super) struct NewsBody {
    key: Key,
    files: Option<bool>,
    pieces: Vec<u32>,
}

impl NewsBody {
    pub(super) fn check(self) -> Result<News, WireError> {
        if self.pieces.len() > MAX_NEWS {
            return Err(WireError::Bad(format!("N names at most {MAX_NEWS} pieces")));
        }
        Ok(News { key: self.key, files: self.files.unwrap_or(false), pieces: self.pieces })
    }
}

#[derive(Deserialize)]
pub(super) struct RangeBody {
    pub(super) key: Key,
    from: u64,
    length: u64,
    any: Option<bool>,
}

impl RangeBody {
    pub(super) fn check(self) -> Result<(ByteRange, bool), WireError> {
        let range = check_range(self.key, self.from, self.length)?;
        Ok((range, self.any.unwrap_or(false)))
    }
}

pub(super) fn check_range(key: Key, from: u64, length: u64) -> Result<ByteRange, WireError> {
    if !(1..=MAX_BYTES).contains(&length) {
        return Err(WireError::Bad(format!("a length is 1 to {MAX_BYTES}")));
    }
    if from > MAX_OFFSET {
        return Err(WireError::Bad(format!("a first byte is 0 to {MAX_OFFSET}")));
    }
    Ok(ByteRange { key, from, length })
}

#[derive(Deserialize)]
pub(super) struct DescriptionBody {
    blake3: String,
    size: u64,
    md5: Option<String>,
    collection: Option<bool>,
    sparse: Option<bool>,
}

impl DescriptionBody {
    pub(super) fn check(self) -> Result<Description, WireError> {
        let bad = |error: crate::pieces::InvalidHash| WireError::Bad(error.to_string());
        Ok(Description {
            root: self.blake3.parse::<Root>().map_err(bad)?,
            size: self.size,
            md5: self.md5.map(|md5| md5.parse::<Md5>()).transpose().map_err(bad)?,
            collection: self.collection.unwrap_or(false),
            sparse: self.sparse.unwrap_or(false),
        })
    }
}

pub(super) fn check_hashes(count: u32) -> Result<RawAnswer, WireError> {
    if count > MAX_HASHES {
        return Err(WireError::Bad(format!("at most {MAX_HASHES} hashes come at once")));
    }
    Ok(RawAnswer::Hashes(count))
}

pub(super) fn check_bitmap(bytes: u32) -> Result<RawAnswer, WireError> {
    if bytes > MAX_BITMAP {
        return Err(WireError::Bad(format!("a bitmap has at most {MAX_BITMAP} bytes")));
    }
    Ok(RawAnswer::Pieces(Availability::Bitmap(bytes)))
}

pub(super) fn encode_interest(interest: &Interest, out: &mut Vec<u8>) {
    out.extend_from_slice(b"I {\"key\":");
    string(out, interest.key.as_str());
    about_files(interest.files, out);
    if let Some(id) = interest.id {
        out.extend_from_slice(b",\"id\":");
        number(out, id.as_u64());
    }
    if let Some(port) = interest.port {
        out.extend_from_slice(b",\"port\":");
        number(out, u64::from(port));
    }
    out.push(b'}');
}

fn about_files(files: bool, out: &mut Vec<u8>) {
    if files {
        out.extend_from_slice(b",\"files\":true");
    }
}

pub(super) fn encode_hashes(key: &Key, first: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"H {\"key\":");
    string(out, key.as_str());
    if first > 0 {
        out.extend_from_slice(b",\"first\":");
        number(out, u64::from(first));
    }
    out.push(b'}');
}

pub(super) fn encode_news(news: &News, out: &mut Vec<u8>) {
    out.extend_from_slice(b"N {\"key\":");
    string(out, news.key.as_str());
    about_files(news.files, out);
    out.extend_from_slice(b",\"pieces\":[");
    for (i, piece) in news.pieces.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        number(out, u64::from(*piece));
    }
    out.extend_from_slice(b"]}");
}

/// The fields of a range, without the brackets.
pub(super) fn encode_range(range: &ByteRange, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"key\":");
    string(out, range.key.as_str());
    out.extend_from_slice(b",\"from\":");
    number(out, range.from);
    out.extend_from_slice(b",\"length\":");
    number(out, range.length);
}

pub(super) fn encode_description(content: &Description, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"content\":{\"blake3\":");
    string(out, &content.root.to_string());
    out.extend_from_slice(b",\"size\":");
    number(out, content.size);
    if let Some(md5) = content.md5 {
        out.extend_from_slice(b",\"md5\":");
        string(out, &md5.to_string());
    }
    if content.collection {
        out.extend_from_slice(b",\"collection\":true");
    }
    if content.sparse {
        out.extend_from_slice(b",\"sparse\":true");
    }
    out.push(b'}');
}

pub(super) fn encode_raw(answer: &RawAnswer, out: &mut Vec<u8>) {
    match answer {
        RawAnswer::Hashes(count) => {
            out.extend_from_slice(b"\"hashes\":");
            number(out, u64::from(*count));
        }
        RawAnswer::Pieces(Availability::All) => out.extend_from_slice(b"\"pieces\":\"all\""),
        RawAnswer::Pieces(Availability::Bitmap(bytes)) => {
            out.extend_from_slice(b"\"bitmap\":");
            number(out, u64::from(*bytes));
        }
        RawAnswer::Bytes(range) => encode_range(range, out),
    }
}
