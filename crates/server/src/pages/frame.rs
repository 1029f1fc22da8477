//! What every page has around it: the head, the navigation, the notice of what was done, and the headers of the answer.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use backroom::Scope;
use maud::{DOCTYPE, Markup, html};

use super::{Fields, Visitor, assets, kit, trouble::IsPage};

/// What a page may load and do. Styles and scripts come from this server alone, and none stands in the page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A part of the dashboard, as the navigation names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Jobs,
    Batches,
    Queues,
    Workers,
    Schedules,
    #[cfg(feature = "triggers")]
    Triggers,
    Callbacks,
    Replies,
    Tokens,
    Audit,
    Settings,
    /// None of them.
    None,
}

/// The navigation: each part with its path and the scope that it needs, and whether it needs it for every queue.
const SECTIONS: &[(Section, &str, &str, Scope, bool)] = &[
    (Section::Overview, "/", "Overview", Scope::Read, false),
    (Section::Jobs, "/jobs", "Jobs", Scope::Read, false),
    (Section::Batches, "/batches", "Batches", Scope::Read, true),
    (Section::Queues, "/queues", "Queues", Scope::Read, false),
    (Section::Workers, "/workers", "Workers", Scope::Read, true),
    (Section::Schedules, "/schedules", "Schedules", Scope::Read, false),
    #[cfg(feature = "triggers")]
    (Section::Triggers, "/triggers", "Triggers", Scope::Read, true),
    (Section::Callbacks, "/callbacks", "Callbacks", Scope::Read, true),
    (Section::Replies, "/replies", "Replies", Scope::Work, false),
    (Section::Tokens, "/tokens", "Tokens", Scope::Admin, true),
    (Section::Audit, "/audit", "Audit log", Scope::Admin, true),
    (Section::Settings, "/settings", "Settings", Scope::Admin, true),
];

/// A page.
pub(super) struct Page {
    title: String,
    section: Section,
    visitor: Option<Visitor>,
    said: Option<&'static str>,
    live: Option<String>,
    /// Whether a page without a visitor leads to the others.
    has_links: bool,
    body: Markup,
}

impl Page {
    pub(super) fn new(title: impl Into<String>, section: Section, visitor: &Visitor, body: Markup) -> Self {
        let visitor = Some(visitor.clone());
        Self { title: title.into(), section, visitor, said: None, live: None, has_links: false, body }
    }

    /// A page for any visitor, without navigation.
    pub(super) fn bare(title: impl Into<String>, body: Markup) -> Self {
        Self {
            title: title.into(),
            section: Section::None,
            visitor: None,
            said: None,
            live: None,
            has_links: false,
            body,
        }
    }

    /// The same with links to the pages that most visitors may see. Each says itself who may see it.
    #[must_use]
    pub(super) fn with_links(mut self) -> Self {
        self.has_links = true;
        self
    }

    /// The same with the notice of what was done before it.
    #[must_use]
    pub(super) fn said(mut self, query: &Fields) -> Self {
        self.said = query.get("said").and_then(kit::said);
        self
    }

    /// The same, refreshed by the script: what `/live` answers of this path replaces the sections of the same id.
    #[must_use]
    pub(super) fn live(mut self, path: impl Into<String>) -> Self {
        self.live = Some(path.into());
        self
    }

    fn markup(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Backroom" }
                    link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                    link rel="stylesheet" href=(assets::style_path());
                    script src=(assets::script_path()) defer {}
                }
                body data-live=[self.live.as_deref()] data-at=[self.visitor.as_ref().map(|visitor| visitor.now)] {
                    a.skip href="#main" { "Skip to the content" }
                    header.top {
                        a.brand href="/" { "Backroom" }
                        @if let Some(visitor) = &self.visitor { (self.navigation(visitor)) }
                        @else if self.has_links { (links()) }
                    }
                    main #main tabindex="-1" {
                        h1 { (self.title) }
                        @if let Some(said) = self.said { p.notice.good role="status" { (said) } }
                        (self.body)
                    }
                    footer.foot {
                        span #live-status role="status" {}
                        @if let Some(visitor) = &self.visitor {
                            span { "You are " strong { (visitor.name()) } }
                            @if visitor.is_signed_in() {
                                form method="post" action="/logout" {
                                    (kit::key(visitor))
                                    button.link type="submit" { "Sign out" }
                                }
                            }
                        }
                        a href="/docs" { "API" }
                    }
                }
            }
        }
    }

    fn navigation(&self, visitor: &Visitor) -> Markup {
        html! {
            nav aria-label="Pages" {
                ul {
                    @for (section, path, name, scope, is_everywhere) in SECTIONS {
                        @if (*scope == Scope::Read && visitor.require_read().is_ok() && !is_everywhere)
                            || (*is_everywhere && visitor.may_everywhere(*scope))
                            || (!is_everywhere && visitor.may(*scope)) {
                            li { a href=(path) aria-current=[(*section == self.section).then_some("page")] { (name) } }
                        }
                    }
                }
            }
        }
    }
}

/// The navigation where the visitor is not known.
fn links() -> Markup {
    html! {
        nav aria-label="Pages" {
            ul {
                @for (_, path, name, scope, _) in SECTIONS {
                    @if *scope == Scope::Read { li { a href=(path) { (name) } } }
                }
            }
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        of_html(self.markup().into_string())
    }
}

/// An answer that is HTML.
fn of_html(html: String) -> Response {
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // Without a referrer, browsers send forms with the origin `null`.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response.extensions_mut().insert(IsPage);
    response
}

/// Leads the browser to a path of this server, with GET.
pub(super) fn redirect(path: &str) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let path = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, path);
    response.extensions_mut().insert(IsPage);
    response
}

/// Leads back to a page after an act, with the notice of what was done.
pub(super) fn done(path: &str, said: &str) -> Response {
    let joint = if path.contains('?') { '&' } else { '?' };
    redirect(&format!("{path}{joint}said={said}"))
}
