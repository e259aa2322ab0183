//! What entries of logs are made of: words, lists, clients in lists.

use askaround_core::id::PeerId;

/// Why there is one right port for each client.
pub(super) const PORT_RULE: &str =
    "the port of a client follows from its id (the assignment's 5.8: random ports by seed)";

/// `Client 3: 4a, 4b`: whose keys these are, and the keys. None of a list of clients, and of an empty
/// list, which may be either.
pub(super) fn keys(text: &str) -> Option<(PeerId, &str)> {
    let (of, list) = text.strip_prefix("Client ")?.split_once(": ")?;
    let is_client = |item: &str| item.split(", ").count() == 3 && peer_id(item).is_some();
    let of_clients = list.strip_prefix('<').and_then(|list| list.strip_suffix('>'));
    let of_clients = of_clients.is_some_and(|list| list.split(">, <").all(is_client));
    (!of_clients && !list.is_empty()).then_some((of.parse().ok()?, list))
}

/// Letters and digits only, in lower case.
fn squeeze(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether two texts differ in nothing but case, spaces and punctuation. In a list these part one item
/// from the next.
pub(super) fn is_spelt_otherwise(one: &str, other: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).map(squeeze).filter(|word| !word.is_empty()).collect()
    };
    let list = |text: &str| text.split_once(':').map(|(_, list)| words(list));
    words(one) == words(other) || squeeze(one) == squeeze(other) && list(one) == list(other)
}

/// The entries of a list.
pub(super) fn items(text: &str) -> Vec<String> {
    let separator = if text.contains('<') { ">, " } else { ", " };
    let items = text.split(separator).map(|item| item.trim_matches(['<', '>', ' ']).to_owned());
    items.filter(|item| !item.is_empty()).collect()
}

/// The same clients on other ports.
pub(super) fn other_ports(wanted: &[String], listed: &[String]) -> Option<String> {
    let ids = |items: &[String]| items.iter().map(|item| peer_id(item)).collect::<Option<Vec<_>>>();
    let (of_wanted, of_listed) = (ids(wanted)?, ids(listed)?);
    let id = of_wanted.first().filter(|_| of_wanted == of_listed)?;
    let port = |items: &[String]| items[0].rsplit(", ").next().unwrap_or_default().to_owned();
    Some(format!(
        "client {id} is listed with port {} and should have port {}: {PORT_RULE}",
        port(listed),
        port(wanted)
    ))
}

/// `4, 127.0.0.1, 9241`: the id.
pub(super) fn peer_id(item: &str) -> Option<PeerId> {
    item.split_once(',')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_keys_is_told_from_one_of_clients() {
        for list in ["4a", "4a, 4b", "<", "<a>", "a<1, <2", "<4, 127.0.0.1, 9241", "<x, y, z>"] {
            let text = format!("Client 3: {list}");
            assert_eq!(keys(&text).map(|(of, keys)| (of.as_u64(), keys)), Some((3, list)));
        }
        for other in
            ["Client 3: ", "Client 3: <4, 127.0.0.1, 9241>", "Client ID 3 registered", "Bootstrapper: a"]
        {
            assert_eq!(keys(other), None, "{other}");
        }
        assert_eq!(keys("Client 3: <4, 127.0.0.1, 9241>, <2, ::1, 9978>"), None);
    }
}
