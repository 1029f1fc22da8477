//! Which URLs a callback may have, and what is made of them.

use backroom_core::http_url::{Host, HttpUrl, URL_BYTES_MAX};
use proptest::prelude::*;

#[test]
fn urls_are_read_into_their_parts_and_have_one_spelling() {
    for (text, spelling) in [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/a?b=c%20d", "https://example.com/a?b=c%20d"),
        ("http://example.com.:80?q", "http://example.com/?q"),
        ("http://example.com:8080/", "http://example.com:8080/"),
        ("http://127.0.0.1/x", "http://127.0.0.1/x"),
        ("http://[::1]:9000/x", "http://[::1]:9000/x"),
        ("http://[0:0::7f00:1]/", "http://[::7f00:1]/"),
        ("https://xn--bcher-kva.example/@:~$&'()*+,;=%41", "https://xn--bcher-kva.example/@:~$&'()*+,;=%41"),
        ("http://my_service/hook", "http://my_service/hook"),
    ] {
        let url = HttpUrl::parse(text).unwrap();
        assert_eq!(url.to_string(), spelling);
        assert_eq!(HttpUrl::parse(spelling).unwrap(), url, "{text}");
    }
    let url = HttpUrl::parse("https://example.com:8443/a").unwrap();
    assert_eq!((url.is_https, url.port), (true, 8443));
    assert_eq!(url.host, Host::Name("example.com".into()));
    assert_eq!(
        (url.authority().as_str(), url.origin().as_str()),
        ("example.com:8443", "https://example.com:8443")
    );
}

#[test]
fn urls_that_two_readers_might_understand_differently_are_refused() {
    for text in [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https:///path",
        "https://",
        "https://?q",
        "http://:80/",
        "https:/example.com",
        "https:example.com",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://@example.com/",
        "https://example.com#@evil.example/",
        "https://example.com/#fragment",
        r"https://example.com\@evil.example/",
        r"https:\\example.com",
        "https://example.com/a b",
        " https://example.com",
        "https://example.com/\n",
        "https://example.com/\r\nHost: evil",
        "https://exa\u{0}mple.com",
        "https://bücher.example/",
        "https://example.com/ü",
        "https://%65xample.com/",
        "https://example..com/",
        "https://.example.com/",
        "https://-a.example/",
        "https://a-.example/",
        "https://example.com:/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:+1/",
        "https://example.com:8a/",
        "https://example.com:1:2/",
        "http://[::1/",
        "http://::1/",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]/",
        "http://[127.0.0.1]/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1.1/",
        "http://256.0.0.1/",
        "http://1.2.3/",
        "http://example.1/",
        "http://example.com/{id}",
        "http://exam ple.com",
    ] {
        assert!(HttpUrl::parse(text).is_err(), "{text:?} is accepted");
    }
    let longest = format!("https://example.com/{}", "a".repeat(URL_BYTES_MAX - "https://example.com/".len()));
    assert!(HttpUrl::parse(&longest).is_ok());
    assert!(HttpUrl::parse(&format!("{longest}a")).unwrap_err().to_string().contains("2049 bytes"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_has_one_spelling(text in "(https?://)?[\\PC]{0,60}") {
        if let Ok(url) = HttpUrl::parse(&text) {
            let spelling = url.to_string();
            prop_assert_eq!(HttpUrl::parse(&spelling).unwrap(), url);
            prop_assert!(spelling.is_ascii());
        }
    }
}
