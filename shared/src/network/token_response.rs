//! The successful response of a token endpoint (RFC 6749 §5.1), read credentials first.
//!
//! - A credential in the response is kept, whatever the type, range or presence of any other field. A rotating refresh
//!   token that is dropped here is lost for good.
//! - A field that cannot be read is treated as absent: the caller then uses what the network documents.

use std::{borrow::Cow, fmt};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::{Answer, Failure};

/// Credentials, and what is stated about them.
pub(super) struct TokenResponse {
    pub(super) access_token: SecretString,
    pub(super) refresh_token: Option<SecretString>,
    /// Lifetime of the access token.
    pub(super) expires_in: Option<SignedDuration>,
    /// Lifetime of the refresh token, as Google states it.
    pub(super) refresh_token_expires_in: Option<SignedDuration>,
    /// Granted scopes; empty where none are stated. Instagram calls them permissions.
    pub(super) scopes: Vec<String>,
}

/// The fields of a JSON object, each as it is written. The last of several with one name counts, except that there must
/// be one access token.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.get())
    }

    fn last(&self, name: &str) -> Option<&'a str> {
        self.all(name).next_back()
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl TokenResponse {
    /// Reads a response whose object is the body itself or, as at Instagram, the first of its `data`.
    ///
    /// Fails with [`Failure::Unreadable`] only where there is no access token.
    pub(super) fn read(answer: &Answer, of: &'static str) -> Result<Self, Failure> {
        let unreadable = Failure::Unreadable(of);
        let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
        let text = Zeroizing::new(String::from_utf8_lossy(body).into_owned());
        let mut fields: Fields<'_> = read(&text).ok_or(unreadable)?;
        if fields.last("access_token").is_none()
            && let Some(wrapped) = fields.last("data")
        {
            let wrapped: Vec<&RawValue> = read(wrapped).ok_or(unreadable)?;
            fields = wrapped.first().and_then(|first| read(first.get())).ok_or(unreadable)?;
        }
        if fields.all("access_token").count() > 1 {
            return Err(unreadable);
        }
        Ok(Self {
            access_token: credential(&fields, "access_token").ok_or(unreadable)?,
            refresh_token: credential(&fields, "refresh_token"),
            expires_in: lifetime(&fields, "expires_in"),
            refresh_token_expires_in: lifetime(&fields, "refresh_token_expires_in"),
            scopes: scopes(&fields, "scope").or_else(|| scopes(&fields, "permissions")).unwrap_or_default(),
        })
    }

    /// When the access token ends: as stated, else after the lifetime that the network documents.
    pub(super) fn access_expires_at(&self, now: Timestamp, documented: SignedDuration) -> Option<Timestamp> {
        let stated = self.expires_in.and_then(|lifetime| now.checked_add(lifetime).ok());
        stated.or_else(|| now.checked_add(documented).ok())
    }
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    serde_json::from_str(json).ok()
}

/// A credential that is text, and was not damaged on the way.
fn credential(fields: &Fields<'_>, name: &str) -> Option<SecretString> {
    let credential: SecretString = read(fields.last(name)?)?;
    let text = credential.expose_secret();
    (!text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER)).then_some(credential)
}

/// A lifetime in seconds, as a number or as text.
fn lifetime(fields: &Fields<'_>, name: &str) -> Option<SignedDuration> {
    let written = fields.last(name)?;
    let text = read::<Cow<'_, str>>(written).unwrap_or(Cow::Borrowed(written));
    let seconds: f64 = text.trim().parse().ok()?;
    SignedDuration::try_from_secs_f64(seconds.trunc()).ok().filter(|lifetime| !lifetime.is_negative())
}

/// Scopes as text, separated by spaces or commas, or as a list.
fn scopes(fields: &Fields<'_>, name: &str) -> Option<Vec<String>> {
    let written = fields.last(name)?;
    let listed = || {
        let items: Vec<&RawValue> = read(written)?;
        Some(items.into_iter().filter_map(|item| read::<String>(item.get())).collect::<Vec<_>>())
    };
    let texts = read::<String>(written).map(|text| vec![text]).or_else(listed)?;
    let separated = texts.iter().flat_map(|text| text.split([',', ' ', '\n', '\t']));
    Some(separated.filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn parse(body: impl Into<Vec<u8>>) -> Result<TokenResponse, Failure> {
        let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into().into() };
        TokenResponse::read(&answer, "token")
    }

    #[test]
    fn a_lifetime_is_read_in_every_form_or_is_absent() {
        #[rustfmt::skip]
        let cases = [
            ("7200",       Some(7200)),
            ("7200.0",     Some(7200)),
            ("7.2e3",      Some(7200)),
            ("\"7200\"",   Some(7200)),
            ("\" 7200 \"", Some(7200)),
            ("4294967296", Some(4_294_967_296)),
            ("0",          Some(0)),
            ("-1",         None),
            ("1e400",      None),
            ("\"soon\"",   None),
            ("null",       None),
            ("true",       None),
            ("[7200]",     None),
            ("{}",         None),
        ];
        for (written, seconds) in cases {
            let response =
                parse(format!(r#"{{"access_token":"a","refresh_token":"r","expires_in":{written}}}"#)).unwrap();
            assert_eq!(response.expires_in.map(|lifetime| lifetime.as_secs()), seconds, "{written}");
            assert!(response.refresh_token.is_some(), "{written}");
        }
    }

    #[test]
    fn scopes_are_read_in_every_form_or_are_absent() {
        let cases: [(&str, &[&str]); 9] = [
            (r#""a b""#, &["a", "b"]),
            (r#""a,b""#, &["a", "b"]),
            (r#"["a","b"]"#, &["a", "b"]),
            (r#"["a b", 1, null]"#, &["a", "b"]),
            (r#""""#, &[]),
            ("null", &[]),
            ("1", &[]),
            ("{}", &[]),
            ("[[]]", &[]),
        ];
        for (written, expected) in cases {
            for name in ["scope", "permissions"] {
                let response = parse(format!(r#"{{"access_token":"a","{name}":{written}}}"#)).unwrap();
                assert_eq!(response.scopes, expected, "{name}: {written}");
            }
        }
    }

    #[test]
    fn a_response_without_an_access_token_is_unreadable() {
        for body in
            ["", "{}", "[]", "null", "garbage", r#"{"access_token":""}"#, r#"{"access_token":1}"#, r#"{"data":[]}"#]
        {
            assert_eq!(parse(body).err(), Some(Failure::Unreadable("token")), "{body}");
        }
    }

    // S79
    #[test]
    fn credentials_are_found_behind_a_byte_order_mark_in_an_envelope_and_beside_duplicates() {
        for body in [
            "\u{feff}{\"access_token\":\"access\",\"refresh_token\":\"refresh\"}",
            r#"{"data":[{"access_token":"access","refresh_token":"refresh"}]}"#,
            r#"{"access_token":"access","scope":"a","scope":[],"refresh_token":"refresh"}"#,
            "{\"access_token\":\"access\",\"refresh_token\":\"refresh\"}\n\n",
        ] {
            let response = parse(body).unwrap();
            assert_eq!(response.access_token.expose_secret(), "access", "{body}");
            assert_eq!(response.refresh_token.unwrap().expose_secret(), "refresh", "{body}");
        }
        let invalid_utf8 = b"{\"access_token\":\"access\",\"scope\":\"\xff\",\"refresh_token\":\"refresh\"}";
        let refresh_token = parse(*invalid_utf8).unwrap().refresh_token.unwrap();
        assert_eq!(refresh_token.expose_secret(), "refresh");
    }

    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(inner, 0..4).prop_map(|items| {
                    let members: Vec<_> =
                        items.iter().enumerate().map(|(index, item)| format!("\"m{index}\":{item}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        // S79
        #[test]
        fn no_other_field_costs_a_credential(
            expires_in in any_json(),
            refresh_token_expires_in in any_json(),
            scope in any_json(),
            permissions in any_json(),
            other in any_json(),
            marked in any::<bool>(),
        ) {
            let mark = if marked { "\u{feff}" } else { "" };
            let body = format!(
                "{mark}{{\"token_type\":{other},\"expires_in\":{expires_in},\"access_token\":\"access\",\"scope\":{scope},\
                 \"refresh_token_expires_in\":{refresh_token_expires_in},\"permissions\":{permissions},\
                 \"refresh_token\":\"refresh\",\"data\":{other}}}"
            );
            let response = parse(body).unwrap();
            prop_assert_eq!(response.access_token.expose_secret(), "access");
            let refresh_token = response.refresh_token.unwrap();
            prop_assert_eq!(refresh_token.expose_secret(), "refresh");
        }
    }
}
