//! Searches whatever came out of the product for secrets, in whatever form they may have come out.

use std::fmt::Write as _;

use aho_corasick::AhoCorasick;
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// Something that must hold no secret, and what to call it when it does.
pub(super) struct Place {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

impl Place {
    pub(super) fn new(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), content: content.into() }
    }
}

/// Where a secret was found and in which form; empty when all is well. Half a secret is one too:
/// logs like to cut things short.
pub(super) fn search<'a>(secrets: &[String], places: impl IntoIterator<Item = &'a Place>) -> Vec<String> {
    let halves = secrets.iter().flat_map(|secret| {
        let (first, second) = secret.as_bytes().split_at(secret.len() / 2);
        [first, second]
    });
    let (forms, needles): (Vec<_>, Vec<_>) = halves.flat_map(written).unzip();
    let searcher = AhoCorasick::new(&needles).unwrap();
    let found = places.into_iter().filter_map(|place| {
        let hit = searcher.find(&place.content)?;
        let around = hit.start().saturating_sub(120)..(hit.end() + 20).min(place.content.len());
        let around = String::from_utf8_lossy(&place.content[around]);
        Some(format!("{} holds a secret in {}: …{around}…", place.name, forms[hit.pattern()]))
    });
    found.collect()
}

/// The forms in which `secret` may be written.
fn written(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut percent = String::new();
    for byte in secret {
        write!(percent, "%{byte:02X}").unwrap();
    }
    let decimal = secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![
        ("the clear", secret.to_vec()),
        ("hex", hex::encode(secret).into_bytes()),
        ("hex", hex::encode_upper(secret).into_bytes()),
        ("percent encoding", percent_encode(secret, NON_ALPHANUMERIC).to_string().into_bytes()),
        ("percent encoding", percent.to_lowercase().into_bytes()),
        ("percent encoding", percent.into_bytes()),
        ("a list of bytes", decimal.into_bytes()),
    ];
    for before in 0..3 {
        let shifted = [&[0; 2][..before], secret].concat();
        // what depends on the neighbours is cut off at both ends
        let certain = (before * 8).div_ceil(6)..shifted.len() * 8 / 6;
        for encoding in [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD] {
            forms.push(("base64", encoding.encode(&shifted).as_bytes()[certain.clone()].to_vec()));
        }
    }
    forms
}

#[test]
fn a_planted_secret_is_found_in_every_form_and_a_hash_is_none() {
    let secret = "s3cr3t/+~canary-0123456789";
    let found = |content: &str| search(&[secret.to_owned()], [&Place::new("here", content)]).len();
    assert_eq!(found("nothing to be seen, not even s3cr3t or canary"), 0);
    assert_eq!(
        found(&BASE64_URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes()))),
        0
    );
    for planted in [
        secret.to_owned(),
        secret[..13].to_owned(),
        secret[13..].to_owned(),
        format!("{{\"access_token\":\"{secret}\"}}"),
        hex::encode(secret),
        hex::encode_upper(secret),
        percent_encode(secret.as_bytes(), NON_ALPHANUMERIC).to_string(),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        format!("{:?}", format!("before {secret} after").as_bytes()),
        BASE64_STANDARD_NO_PAD.encode(secret),
        BASE64_STANDARD_NO_PAD.encode(format!("client:{secret}")),
        BASE64_STANDARD_NO_PAD.encode(format!("a client:{secret}:")),
        BASE64_URL_SAFE_NO_PAD.encode(format!("that client:{secret}")),
        BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"s\":\"{secret}\"}}")),
    ] {
        assert!(found(&format!("line 1\nline 2 {planted} and more")) > 0, "{planted}");
    }
}
