//! The rules that make a signed text an access token of this API: pure, the time is handed in.
//!
//! Two steps in this order: [`AccessToken::verify`] proves that the issuer signed it, with the
//! algorithm that the *key* is for, whatever the token's header wishes; [`Terms::admit`] reads the
//! claims. No claim is looked at before the signature holds. The time comes from `now` alone, which
//! is why the library's own checks of `exp` and `nbf`, made by the wall clock, are off.

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, Header, Validation, errors::ErrorKind};
use serde::Serialize;
use serde_json::{Map, Value};
use shared::{
    access::{Group, Role, Subject, TenantId},
    jwks::VerifyingKey,
};

/// How far, in seconds, the issuer's clock may be ahead of ours. The end of a token has no leeway.
const LEEWAY: i64 = 60;

/// The longest e-mail address (RFC 5321 §4.5.3.1.3), in bytes.
const LONGEST_EMAIL: usize = 254;

/// What an access token must say to be meant for this API.
pub struct Terms {
    /// The API's name at the issuer: a member of `aud`. Where the issuer writes no `aud`, as Cognito does, it is the
    /// `client_id`, or the resource server whose scopes the token has (`tokenward` in `tokenward/leases`).
    pub audience: String,
    /// The claim that names the tenant, for example `tenant` or `custom:tenant`.
    pub tenant_claim: String,
    /// The claim that lists the roles, for example `roles` or `cognito:groups`.
    pub roles_claim: String,
    /// The claim that lists the groups, for example `groups` or `cognito:groups`.
    pub groups_claim: String,
}

/// The verified identity that the gateway hands to every function, each value as text.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Context {
    tenant: String,
    sub: String,
    /// Empty when the token has no usable address.
    email: String,
    /// Separated by a space.
    roles: String,
    /// A JSON list: a group's name may hold spaces and anything else. The longest header that is read bounds it.
    groups: String,
    /// Separated by a space (RFC 6749 §3.3).
    scope: String,
    /// In seconds since the epoch.
    iat: String,
    /// In seconds since the epoch; the token is good until the second before.
    exp: String,
}

/// Why a token is not accepted; the text is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no bearer token")]
    NoBearer,
    #[error("the authorization header is too long")]
    TooLong,
    #[error("not a signed JWT with a known algorithm and a kid")]
    Malformed,
    #[error("typ is neither JWT nor at+jwt")]
    Type,
    #[error("crit names extensions that are not understood")]
    Critical,
    #[error("the issuer has no such key")]
    UnknownKey,
    #[error("the algorithm is not the key's")]
    Algorithm,
    #[error("the signature does not hold")]
    Signature,
    #[error("the claim {0} is missing or malformed")]
    Claim(&'static str),
    #[error("another issuer")]
    Issuer,
    #[error("another audience")]
    Audience,
    #[error("not an access token")]
    NotForAccess,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    NotYetValid,
    #[error("the tenant claim is missing or not a tenant id")]
    Tenant,
}

/// A token as it was presented: taken apart, nothing believed.
pub(crate) struct AccessToken<'a> {
    compact: &'a str,
    header: Header,
    /// Which of the issuer's keys it says it was signed with.
    pub(crate) kid: String,
}

impl<'a> AccessToken<'a> {
    pub(crate) fn read(compact: &'a str) -> Result<Self, Refusal> {
        let mut header = jsonwebtoken::decode_header(compact).map_err(|_| Refusal::Malformed)?;
        if header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        if !header.typ.as_deref().is_none_or(|typ| typ.eq_ignore_ascii_case("JWT") || is_rfc_9068(typ)) {
            return Err(Refusal::Type);
        }
        let kid = header.kid.take().ok_or(Refusal::Malformed)?;
        Ok(Self { compact, header, kid })
    }

    /// The claims, once the signature holds under `key` and its algorithm.
    pub(crate) fn verify(&self, key: &VerifyingKey) -> Result<Claims, Refusal> {
        let decoded = jsonwebtoken::decode(self.compact, &key.key, &signature_only(key.algorithm)).map_err(
            |error| match error.kind() {
                ErrorKind::InvalidAlgorithm => Refusal::Algorithm,
                ErrorKind::InvalidSignature => Refusal::Signature,
                _ => Refusal::Malformed,
            },
        )?;
        Ok(Claims { typed_for_access: self.header.typ.as_deref().is_some_and(is_rfc_9068), claims: decoded.claims })
    }
}

/// The media type of an access token (RFC 9068 §2.1).
fn is_rfc_9068(typ: &str) -> bool {
    typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
}

fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims = HashSet::new();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

/// Claims that the issuer signed, and whether the header already called them an access token.
pub(crate) struct Claims {
    typed_for_access: bool,
    claims: Map<String, Value>,
}

impl Claims {
    fn has(&self, name: &str) -> bool {
        self.claims.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name)?.as_str()
    }

    fn scopes(&self) -> impl Iterator<Item = &str> {
        self.text("scope").unwrap_or_default().split_ascii_whitespace()
    }

    /// A `NumericDate` in whole seconds; `None` when the token does not have the claim.
    fn seconds(&self, name: &'static str) -> Result<Option<i64>, Refusal> {
        self.claims.get(name).map(|date| date.as_i64().ok_or(Refusal::Claim(name))).transpose()
    }

    /// One name or several, as an array or separated by spaces.
    fn names(&self, claim: &str) -> Vec<&str> {
        match self.claims.get(claim) {
            Some(Value::String(names)) => names.split_ascii_whitespace().collect(),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// ID tokens tell a client who signed in and open nothing. An access token says what it is by
    /// `token_use` or by its type; one that says neither must at least carry a `scope` and none of
    /// the claims that only ID tokens have (`OpenID` Connect Core §2, §3.3.2.11).
    fn are_for_access(&self) -> bool {
        match self.claims.get("token_use") {
            Some(token_use) => token_use == "access",
            None => {
                self.typed_for_access
                    || (self.has("scope") && !["nonce", "at_hash", "c_hash"].iter().any(|claim| self.has(claim)))
            }
        }
    }
}

impl Terms {
    /// Who is calling, if the claims satisfy every rule at `now`.
    pub(crate) fn admit(&self, claims: &Claims, issuer: &str, now: Timestamp) -> Result<Context, Refusal> {
        let now = now.as_second();
        if claims.text("iss") != Some(issuer) {
            return Err(Refusal::Issuer);
        }
        if !self.is_meant_for_us(claims) {
            return Err(Refusal::Audience);
        }
        if !claims.are_for_access() {
            return Err(Refusal::NotForAccess);
        }
        let exp = claims.seconds("exp")?.ok_or(Refusal::Claim("exp"))?;
        if exp <= now {
            return Err(Refusal::Expired);
        }
        let iat = claims.seconds("iat")?.ok_or(Refusal::Claim("iat"))?;
        let nbf = claims.seconds("nbf")?.unwrap_or(iat);
        if iat.max(nbf) > now.saturating_add(LEEWAY) {
            return Err(Refusal::NotYetValid);
        }
        let tenant: TenantId =
            claims.text(&self.tenant_claim).and_then(|tenant| tenant.parse().ok()).ok_or(Refusal::Tenant)?;
        let sub: Subject = claims.text("sub").and_then(|sub| sub.parse().ok()).ok_or(Refusal::Claim("sub"))?;
        let scope: Vec<&str> = claims.scopes().map(|scope| self.own(scope).unwrap_or(scope)).collect();
        let roles: Vec<&str> = self.roles(claims, &scope).into_iter().map(Role::as_str).collect();
        Ok(Context {
            tenant: tenant.into(),
            sub: sub.into(),
            email: email(claims).unwrap_or_default().to_owned(),
            roles: roles.join(" "),
            groups: Value::from_iter(self.groups(claims)).to_string(),
            scope: scope.join(" "),
            iat: iat.to_string(),
            exp: exp.to_string(),
        })
    }

    /// An `aud` that does not name us settles it (RFC 7519 §4.1.3); only without one may `client_id` or a scope of ours
    /// speak, and only in what calls itself an access token.
    fn is_meant_for_us(&self, claims: &Claims) -> bool {
        match claims.claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(audiences)) => audiences.iter().any(|audience| *audience == self.audience),
            Some(_) => false,
            None => {
                let named = claims.text("client_id") == Some(&self.audience);
                claims.text("token_use") == Some("access")
                    && (named || claims.scopes().any(|scope| self.own(scope).is_some()))
            }
        }
    }

    /// A scope of ours without the name of the resource server before it, as Cognito writes it.
    fn own<'s>(&self, scope: &'s str) -> Option<&'s str> {
        scope.strip_prefix(&self.audience)?.strip_prefix('/')
    }

    /// The known roles. A person whose token has no such claim may look; a worker has the scope
    /// `leases` instead of roles. A claim that is there and names no known role gives none.
    fn roles(&self, claims: &Claims, scope: &[&str]) -> BTreeSet<Role> {
        if claims.has(&self.roles_claim) {
            return claims.names(&self.roles_claim).into_iter().filter_map(|role| role.parse().ok()).collect();
        }
        if scope.contains(&"leases") {
            return BTreeSet::new();
        }
        BTreeSet::from([Role::Reader, Role::Analyst])
    }

    /// The groups, without those whose name cannot be one.
    fn groups(&self, claims: &Claims) -> BTreeSet<String> {
        let names = claims.names(&self.groups_claim).into_iter();
        names.filter_map(|name| Group::try_from(name.to_owned()).ok()).map(String::from).collect()
    }
}

/// The address that notices go to, unless it could not be one or would break a mail's header.
fn email(claims: &Claims) -> Option<&str> {
    claims.text("email").filter(|email| email.len() <= LONGEST_EMAIL && !email.chars().any(char::is_control))
}
