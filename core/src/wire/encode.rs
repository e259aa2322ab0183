//! Writing messages. By hand rather than through serde, because a tracker under load spends
//! most of its own time on writing lists of contacts.

use std::net::IpAddr;

use super::content;
use crate::id::Contact;
use crate::key::Key;
use crate::message::{Answer, ErrorAnswer, HaveAnswer, MAX_PAGE, Message, Page, Register, Request};

/// Appends `message` to `out` as one line.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::Version(version) => number_object(out, "V", "version", u64::from(*version)),
        Message::Request(request) => encode_request(request, out),
        Message::Answer(answer) => encode_answer(answer, out),
        Message::Error(error) => encode_error(error, out),
        Message::Start => out.extend_from_slice(b"S"),
        Message::Go(time) => number_object(out, "T", "time", u64::from(*time)),
        Message::Complete(time) => number_object(out, "C", "time", u64::from(*time)),
        Message::Finish => out.extend_from_slice(b"F {}"),
        Message::News(news) => content::encode_news(news, out),
        Message::Cancel(range) => {
            out.extend_from_slice(b"X {");
            content::encode_range(range, out);
            out.push(b'}');
        }
    }
    out.push(b'\n');
}

fn encode_request(request: &Request, out: &mut Vec<u8>) {
    match request {
        Request::Register(register) => encode_register(register, out),
        Request::Unregister { id, token } => {
            out.extend_from_slice(b"U {\"id\":");
            number(out, id.as_u64());
            if let Some(token) = token {
                out.extend_from_slice(b",\"token\":");
                string(out, token);
            }
            out.push(b'}');
        }
        Request::List(page) => encode_page("L", page, out),
        Request::WhereIs(id) => number_object(out, "W", "id", id.as_u64()),
        Request::Have(key) => key_object(out, "Q", key),
        Request::Known(page) => encode_page("O", page, out),
        Request::Contents(page) => encode_page("M", page, out),
        Request::Describe(key) => key_object(out, "D", key),
        Request::Hashes { key, first } => content::encode_hashes(key, *first, out),
        Request::Interest(interest) => content::encode_interest(interest, out),
        Request::Get { range, any } => {
            out.extend_from_slice(b"G {");
            content::encode_range(range, out);
            out.extend_from_slice(if *any { b",\"any\":true}" } else { b"}" });
        }
    }
}

fn encode_register(register: &Register, out: &mut Vec<u8>) {
    out.extend_from_slice(b"R {\"id\":");
    number(out, register.id.as_u64());
    if let Some(address) = register.ip {
        out.extend_from_slice(b",\"ip\":\"");
        ip(out, address);
        out.push(b'"');
    }
    out.extend_from_slice(b",\"port\":");
    number(out, u64::from(register.port));
    if let Some(token) = &register.token {
        out.extend_from_slice(b",\"token\":");
        string(out, token);
    }
    if let Some(list) = register.list {
        out.extend_from_slice(b",\"list\":");
        number(out, list as u64);
    }
    if let Some(end) = register.script_end {
        out.extend_from_slice(b",\"script_end\":");
        number(out, u64::from(end));
    }
    out.push(b'}');
}

fn encode_page(verb: &str, page: &Page, out: &mut Vec<u8>) {
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(b" {");
    if let Some(after) = page.after {
        out.extend_from_slice(b"\"after\":");
        number(out, after);
    }
    if page.limit != MAX_PAGE {
        if page.after.is_some() {
            out.push(b',');
        }
        out.extend_from_slice(b"\"limit\":");
        number(out, page.limit as u64);
    }
    out.push(b'}');
}

fn encode_answer(answer: &Answer, out: &mut Vec<u8>) {
    out.extend_from_slice(b"A {");
    match answer {
        Answer::Registered { contact: peer, lease_s, peers } => {
            out.extend_from_slice(b"\"registered\":");
            contact(out, peer);
            if let Some(seconds) = lease_s {
                out.extend_from_slice(b",\"lease_s\":");
                number(out, u64::from(*seconds));
            }
            if let Some(peers) = peers {
                out.push(b',');
                contacts(out, peers);
            }
        }
        Answer::Unregistered(id) => {
            out.extend_from_slice(b"\"unregistered\":");
            number(out, id.as_u64());
        }
        Answer::Peers { peers, next } => {
            contacts(out, peers);
            next_page(out, *next);
        }
        Answer::Peer(peer) => {
            out.extend_from_slice(b"\"peer\":");
            contact(out, peer);
        }
        Answer::Have(HaveAnswer::Have) => out.extend_from_slice(b"\"have\":true"),
        Answer::Content(description) => content::encode_description(description, out),
        Answer::Raw(raw) => content::encode_raw(raw, out),
        Answer::Have(HaveAnswer::Fetching(hint)) => {
            out.extend_from_slice(b"\"have\":false,\"fetching\":true");
            if let Some(peer) = hint {
                out.extend_from_slice(b",\"hint\":");
                contact(out, peer);
            }
        }
        Answer::Have(HaveAnswer::No) => out.extend_from_slice(b"\"have\":false"),
        Answer::Have(HaveAnswer::Hint(peer)) => {
            out.extend_from_slice(b"\"have\":false,\"hint\":");
            contact(out, peer);
        }
        Answer::Keys { keys, next } => {
            out.extend_from_slice(b"\"keys\":[");
            for (i, key) in keys.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                string(out, key.as_str());
            }
            out.push(b']');
            next_page(out, *next);
        }
    }
    out.push(b'}');
}

fn encode_error(error: &ErrorAnswer, out: &mut Vec<u8>) {
    out.extend_from_slice(b"E {\"code\":");
    string(out, error.code.as_str());
    out.extend_from_slice(b",\"text\":");
    string(out, &error.text);
    out.extend_from_slice(b",\"definite\":");
    out.extend_from_slice(if error.code.is_definite() { b"true}" } else { b"false}" });
}

fn key_object(out: &mut Vec<u8>, verb: &str, key: &Key) {
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(b" {\"key\":");
    string(out, key.as_str());
    out.push(b'}');
}

fn number_object(out: &mut Vec<u8>, verb: &str, field: &str, value: u64) {
    out.extend_from_slice(verb.as_bytes());
    out.extend_from_slice(b" {\"");
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b"\":");
    number(out, value);
    out.push(b'}');
}

fn next_page(out: &mut Vec<u8>, next: Option<u64>) {
    if let Some(next) = next {
        out.extend_from_slice(b",\"next\":");
        number(out, next);
    }
}

/// About as long as most contacts are as text.
const CONTACT_BYTES: usize = 40;

fn contacts(out: &mut Vec<u8>, peers: &[Contact]) {
    out.reserve(peers.len() * CONTACT_BYTES);
    out.extend_from_slice(b"\"peers\":[");
    for (i, peer) in peers.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        contact(out, peer);
    }
    out.push(b']');
}

fn contact(out: &mut Vec<u8>, contact: &Contact) {
    out.push(b'[');
    number(out, contact.id.as_u64());
    out.extend_from_slice(b",\"");
    ip(out, contact.ip);
    out.extend_from_slice(b"\",");
    number(out, u64::from(contact.port));
    out.push(b']');
}

fn ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(v4) => {
            for (i, octet) in v4.octets().into_iter().enumerate() {
                if i > 0 {
                    out.push(b'.');
                }
                number(out, u64::from(octet));
            }
        }
        IpAddr::V6(v6) => out.extend_from_slice(v6.to_string().as_bytes()),
    }
}

pub(super) fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to a Vec cannot fail, and a str is always valid JSON text.
    serde_json::to_writer(out, text).expect("a string is JSON");
}
