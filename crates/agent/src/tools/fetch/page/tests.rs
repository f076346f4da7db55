//! Tests with ordinary and hostile pages.

use std::sync::atomic::AtomicBool;

use super::{CUT, MAX_TEXT, text};

fn read(html: &str) -> String {
    text(html, &AtomicBool::new(false)).expect("nobody stopped it")
}

#[test]
fn pages_become_the_text_that_people_see() {
    for (html, seen) in [
        ("<h1>Tea</h1><p>Leaves &amp; water.</p><script>no()</script>", "# Tea\n\nLeaves & water."),
        ("a  b\n c<b>d</b> e", "a b cd e"),
        ("<ul><li>one<li>two</ul>after", "* one\n* two\n\nafter"),
        ("<table><tr><td>a<td>b<tr><td>c</table>", "a b\nc"),
        (
            "<a href='/x?a=1&amp;b=2'>here</a>, <A HREF=y>there</A>",
            "[here](/x?a=1&b=2), [there](y)",
        ),
        ("<a href=\"javascript:x()\">no</a> <a name=x>nor</a> <a href='#top'>up</a>", "no nor up"),
        ("<pre>a\n  b</pre>c", "a\n  b\n\nc"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<!doctype html><title>T</title><!-- <p>no --><p>yes", "T\n\nyes"),
        ("<style>p{}</style><template><p>no</template><svg><text>no</text></svg>yes", "yes"),
        ("<SCRIPT>if (a</b) {'</scripty>'}</SCRIPT >yes", "yes"),
        ("1 < 2 && 3 <4 </ no >", "1 < 2 && 3 <4"),
        ("<p title='a>b' class=\"c>d\">yes", "yes"),
        ("<img alt='a cat' src=x><img alt=''>", "a cat"),
        ("<svg/>yes<div/>more", "yes\nmore"),
        (
            "&eacute;&#233;&#xe9;&nbsp;&hellip;&unknown;&#0;&#x110000;&",
            "ééé\u{a0}…&unknown;\u{fffd}\u{fffd}&",
        ),
        ("", ""),
        ("<", "<"),
        ("<p", ""),
        ("a<p title='", "a"),
    ] {
        assert_eq!(read(html), seen, "{html}");
    }
}

#[test]
fn hostile_pages_produce_bounded_text() {
    let many = |piece: &str| piece.repeat((2 << 20) / piece.len());
    for page in [
        many("<div>"),
        many("<a"),
        many("<a "),
        many("<a href=x>"),
        many("<table><tr><td>"),
        format!("<p {}>end", many("a=1 ")),
        format!(
            "<a {} href=x>end</a>",
            (0..100_000).map(|at| format!("a{at}=\"{at}\" ")).collect::<String>()
        ),
        many("<script>"),
        many("<textarea>"),
        many("</"),
        many("<!--"),
        many("<!"),
        many("&"),
        many("&#"),
        many("<svg>"),
        many("<li>x"),
        many("<a href=x>y"),
        many("<x title='"),
        many("</script"),
        format!("<script>{}", many("</scrip")),
        many("<pre>\n"),
        many("\u{0}<\u{fffd}>"),
    ] {
        let found = read(&page);
        assert!(found.len() <= MAX_TEXT + CUT.len() + 600, "{:.20}: {}", page, found.len());
    }
    let long = read(&many("word "));
    assert!(long.ends_with(CUT) && long.len() <= MAX_TEXT + CUT.len());
}

#[test]
fn conversion_stops_at_the_flag() {
    assert_eq!(text("<p>a", &AtomicBool::new(true)), None);
}
