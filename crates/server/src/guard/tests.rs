use super::*;

fn guard() -> Guard {
    Guard {
        auth: Auth::None,
        listen: vec!["127.0.0.1:8282".parse().unwrap()],
        allow_origin: vec!["https://app.example".into(), "null".into()],
        allow_host: vec!["box.lan".into(), "port.lan:8282".into()],
        trust_proxy: false,
        token: "secret".into(),
    }
}

fn request(headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

#[test]
fn without_keys_only_this_machine_comes_in() {
    const LOCAL: (&str, &str) = ("host", "localhost");
    let rows: [(&[(&str, &str)], bool); 45] = [
        (&[("host", "localhost:8282")], true),
        (&[("host", "LOCALHOST:8282")], true),
        (&[("host", "127.0.0.1:8282")], true),
        (&[("host", "[::1]:8282")], true),
        (&[("host", "a.localhost")], true),
        (&[("host", "box.lan:8282")], true),
        (&[("host", "port.lan:8282")], true),
        (&[("host", "port.lan")], false),
        (&[("host", "evil.example")], false),
        (&[("host", "localhost.evil.example")], false),
        (&[("host", "[::1].evil.example")], false),
        (&[("host", "localhost:1@evil.example")], false),
        (&[("host", "localhost.")], false),
        (&[("host", "localhost:0")], false),
        (&[("host", "localhost:65536")], false),
        (&[("host", "[::1%25lo]")], false),
        (&[("host", "10.0.0.1")], false),
        (&[("host", "")], false),
        (&[], false),
        (&[LOCAL, ("host", "evil.example")], false),
        (&[LOCAL, LOCAL], false),
        (&[LOCAL, ("origin", "http://localhost:5173")], true),
        (&[LOCAL, ("origin", "https://127.0.0.1")], true),
        (&[("host", "box.lan"), ("origin", "http://box.lan")], true),
        (&[LOCAL, ("origin", "https://app.example")], true),
        (&[LOCAL, ("origin", "null")], false),
        (&[LOCAL, ("origin", "")], false),
        (&[LOCAL, ("origin", "https://evil.example")], false),
        (&[LOCAL, ("origin", "https://app.example.evil.example")], false),
        (&[LOCAL, ("origin", "http://[::1].evil.example")], false),
        (&[LOCAL, ("origin", "http://localhost:1@evil.example")], false),
        (&[LOCAL, ("origin", "http://localhost.")], false),
        (&[LOCAL, ("origin", "http://localhost:65536")], false),
        (&[LOCAL, ("origin", "file://localhost")], false),
        (&[LOCAL, ("origin", "http://localhost"), ("origin", "https://evil.example")], false),
        (&[LOCAL, ("x-forwarded-for", "1.2.3.4")], false),
        (&[LOCAL, ("forwarded", "for=1.2.3.4")], false),
        (&[LOCAL, ("X-Forwarded-Anything", "")], false),
        (&[LOCAL, ("x-real-ip", "1.2.3.4")], false),
        (&[LOCAL, ("via", "1.1 squid")], false),
        (&[LOCAL, ("CF-Ray", "1")], false),
        (&[LOCAL, ("true-client-ip", "1.2.3.4")], false),
        (&[LOCAL, ("x-original-host", "evil.example")], false),
        (&[LOCAL, ("tailscale-user-login", "ada")], false),
        (&[LOCAL, ("x-client-ip", "1.2.3.4")], false),
    ];
    for (headers, admitted) in rows {
        let outcome = guard().admit(&request(headers), Surface::Api);
        assert_eq!(outcome.is_ok(), admitted, "{headers:?}: {outcome:?}");
    }
}

#[test]
fn a_proxy_shows_and_may_be_trusted() {
    let mut old = request(&[("host", "localhost")]);
    *old.version_mut() = Version::HTTP_10;
    let refused = guard().admit(&old, Surface::Api).unwrap_err();
    for part in ["HTTP/1.0", "--trust-proxy", "thoughtwire keys add"] {
        assert!(refused.reason.contains(part), "{refused}");
    }
    let trusting = Guard { trust_proxy: true, ..guard() };
    assert!(trusting.admit(&old, Surface::Api).is_ok());
    let keyed = Guard { auth: Auth::Keys, ..guard() };
    assert!(keyed.admit(&old, Surface::Api).is_ok());
}

#[test]
fn a_target_in_absolute_form_names_the_same_host() {
    for (target, admitted) in [
        ("http://localhost:8282/v1/agents", true),
        ("http://evil.example/v1/agents", false),
        ("http://localhost/v1/agents", false),
    ] {
        let mut asked = request(&[("host", "localhost:8282")]);
        *asked.uri_mut() = target.parse().unwrap();
        assert_eq!(guard().admit(&asked, Surface::Api).is_ok(), admitted, "{target}");
    }
}

#[test]
fn what_a_browser_asks_for_another_page_is_refused() {
    const HOST: (&str, &str) = ("host", "localhost:8282");
    const CROSS: (&str, &str) = ("sec-fetch-site", "cross-site");
    const SAME_SITE: (&str, &str) = ("sec-fetch-site", "same-site");
    const LINK: [(&str, &str); 2] =
        [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    /// Headers, and whether the page and REST may be asked so without keys and with them.
    type Row = (&'static [(&'static str, &'static str)], [bool; 4]);
    const ROWS: [Row; 14] = [
        (&[HOST], [true; 4]),
        (&[HOST, ("sec-fetch-site", "same-origin")], [true; 4]),
        (&[HOST, ("sec-fetch-site", "none")], [true; 4]),
        (&[HOST, CROSS], [false; 4]),
        (&[HOST, CROSS, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], [false; 4]),
        (&[HOST, SAME_SITE, ("sec-fetch-mode", "no-cors")], [false; 4]),
        (&[HOST, ("sec-fetch-site", "none"), CROSS], [false; 4]),
        (&[HOST, ("sec-fetch-site", "Cross-Site")], [false; 4]),
        (&[HOST, CROSS, LINK[0], LINK[1]], [true, false, true, false]),
        (&[HOST, SAME_SITE, LINK[0], LINK[1]], [true, false, true, false]),
        (&[HOST, CROSS, LINK[0], ("sec-fetch-dest", "iframe")], [false; 4]),
        (&[HOST, CROSS, ("origin", "https://app.example")], [true; 4]),
        (&[HOST, CROSS, ("origin", "https://evil.example")], [false; 4]),
        // Another page of this machine is let in where everybody on it is.
        (&[HOST, SAME_SITE, ("origin", "http://localhost:5173")], [true, true, false, false]),
    ];
    for (headers, expected) in ROWS {
        let asked = request(headers);
        let mut outcomes = Vec::new();
        for auth in [Auth::None, Auth::Keys] {
            let guard = Guard { auth, ..guard() };
            for surface in [Surface::Page, Surface::Api] {
                outcomes.push(guard.admit(&asked, surface).is_ok());
            }
        }
        assert_eq!(outcomes, expected, "{headers:?}");
    }
    let mut posted = request(&[HOST, CROSS, LINK[0], LINK[1]]);
    *posted.method_mut() = Method::POST;
    assert!(guard().admit(&posted, Surface::Page).is_err());
    // With keys a page of elsewhere may open a WebSocket: it has to bring a key.
    let socket = [HOST, CROSS, ("sec-fetch-mode", "websocket"), ("origin", "https://a.example")];
    assert!(Guard { auth: Auth::Keys, ..guard() }.admit(&request(&socket), Surface::Api).is_ok());
    assert!(guard().admit(&request(&socket), Surface::Api).is_err());
}

#[test]
fn a_login_is_used_by_pages_of_its_own_origin() {
    let guard = Guard { auth: Auth::Keys, ..guard() };
    assert!(guard.is_owner("secret") && !guard.is_owner("secret "));
    for (headers, passes) in [
        (&[][..], true),
        (&[("origin", "https://box.lan:8282")], true),
        (&[("origin", "https://app.example")], true),
        (&[("origin", "http://localhost:5173")], false),
        (&[("origin", "https://box.lan")], false),
        (&[("origin", "null")], false),
        (&[("origin", "https://box.lan:8282"), ("origin", "https://evil.example")], false),
        // Through a proxy that writes another `Host`.
        (&[("origin", "https://home.example"), ("sec-fetch-site", "same-origin")], true),
        (&[("origin", "https://home.example"), ("sec-fetch-site", "same-site")], false),
    ] {
        let mut asked = request(headers);
        asked.headers_mut().insert(HOST, "box.lan:8282".parse().unwrap());
        assert_eq!(guard.same_origin(asked.headers()).is_ok(), passes, "{headers:?}");
    }
}

#[test]
fn answers_are_readable_by_allowed_origins_alone() {
    for (headers, readable) in [
        (&[][..], false),
        (&[("origin", "https://app.example")], true),
        (&[("origin", "https://evil.example")], false),
        (&[("origin", "http://localhost:8282")], false),
        (&[("origin", "null")], false),
        (&[("origin", "https://app.example"), ("origin", "https://evil.example")], false),
    ] {
        let asked = request(headers);
        assert_eq!(guard().allowed_origin(asked.headers()).is_some(), readable, "{headers:?}");
    }
}
