//! Requests that a browser makes ahead of a navigation, with the cookies of the real one.
//!
//! Such a request must use up neither a ticket nor a state, or the navigation that follows finds them used. It is refused
//! before anything is read, in a way that no browser keeps.
//! Sources: <https://html.spec.whatwg.org/multipage/speculative-loading.html#the-sec-purpose-header>,
//! <https://github.com/streamlit/streamlit/issues/15568>

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, header};

/// Answers a prefetch with 503 and `no-store`; passes every other request on.
pub async fn refuse_prefetch(request: Request, next: Next) -> Response {
    if is_prefetch(request.headers()) {
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::CACHE_CONTROL, "no-store")]).into_response();
    }
    next.run(request).await
}

/// Whether one of the headers by which browsers mark a prefetch, prerender or preview says so.
fn is_prefetch(headers: &HeaderMap) -> bool {
    const MARKS: [&str; 4] = ["sec-purpose", "purpose", "x-purpose", "x-moz"];
    const PURPOSES: [&str; 3] = ["prefetch", "prerender", "preview"];
    MARKS.iter().flat_map(|mark| headers.get_all(*mark)).any(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        value.split([';', ',', ' ']).any(|token| PURPOSES.contains(&token.trim()))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    // S77
    #[test]
    fn a_prefetch_is_recognised_in_every_form() {
        #[rustfmt::skip]
        let cases = [
            ("sec-purpose", "prefetch",                        true),
            ("sec-purpose", "prefetch;prerender",              true),
            ("sec-purpose", "prefetch;anonymous-client-ip",    true),
            ("sec-purpose", "Prefetch; prerender",             true),
            ("purpose",     "prefetch",                        true),
            ("x-purpose",   "preview",                         true),
            ("x-moz",       "prefetch",                        true),
            ("sec-purpose", "",                                false),
            ("purpose",     "navigation",                      false),
            ("sec-purpose", "prefetching",                     false),
            ("sec-fetch-purpose", "prefetch",                  false),
        ];
        for (name, value, expected) in cases {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            assert_eq!(is_prefetch(&headers), expected, "{name}: {value}");
        }
        assert!(!is_prefetch(&HeaderMap::new()));
    }
}
