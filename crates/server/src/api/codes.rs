//! The one table of what can go wrong: each code with its status, its title, what it means and what to do.
//!
//! A code never changes its meaning and is never removed, because clients match on it. The pages under `/problems/` and
//! `docs/problems.md` are made from this table.

use axum::http::StatusCode;

/// Declares the codes: `Variant "code" status "title" "meaning" "remedy"`.
macro_rules! codes {
    ($($variant:ident $code:literal $status:ident $title:literal $meaning:literal $remedy:literal),+ $(,)?) => {
        /// What went wrong, for programs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Code {
            $(#[doc = $meaning] $variant),+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the member `code`, and the end of the member `type`.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code),+ }
            }

            /// The status of an answer with this code.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status),+ }
            }

            /// A short summary that does not change from one occurrence to the next.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title),+ }
            }

            /// What it means.
            pub(crate) const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),+ }
            }

            /// What a caller can do about it.
            pub(crate) const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),+ }
            }
        }
    };
}

codes! {
    Malformed "malformed" BAD_REQUEST
        "The request cannot be read"
        "The request is not what HTTP, JSON or the route's parameters allow."
        "Correct the request at the place that `detail` names. A repeat without a change fails again.",
    Unauthenticated "unauthenticated" UNAUTHORIZED
        "No valid token"
        "The request has no token, or its token is unknown, revoked or expired."
        "Send `Authorization: Bearer brm_…` with a valid token. `backroom tokens create` makes one.",
    Forbidden "forbidden" FORBIDDEN
        "The token does not permit this"
        "The token is valid, but it lacks the scope or the queue that the route needs."
        "Use a token with the scope and queue that `detail` names.",
    NotFound "not-found" NOT_FOUND
        "There is no such thing"
        "There is no such job, queue, schedule or token. A job that was there has been deleted or pruned since."
        "Check the id or the name.",
    NoSuchRoute "no-such-route" NOT_FOUND
        "There is no such route"
        "The API has no route with this path."
        "`/docs` and `/openapi.json` list the routes.",
    MethodNotAllowed "method-not-allowed" METHOD_NOT_ALLOWED
        "The route does not have this method"
        "The path exists, but not with this method. The header `Allow` names the methods that it has."
        "Use one of the methods that the header `Allow` names.",
    RequestTimeout "request-timeout" REQUEST_TIMEOUT
        "The request took too long to arrive"
        "The body did not arrive within the time that the server allows. Nothing of it took effect."
        "Send the request again, over a faster connection or in smaller parts.",
    Refused "refused" CONFLICT
        "The state of the job does not allow this"
        "The job exists, but its state does not allow the change."
        "Read the job again and decide again.",
    KeyHeld "key-held" CONFLICT
        "Another job holds the unique key"
        "A live job with the same unique key exists. The member `holder` is its id."
        "Use that job, or wait until it ends.",
    InFlight "in-flight" CONFLICT
        "A request with this key is being carried out"
        "Another request with the same `Idempotency-Key` has begun and is not answered yet."
        "Repeat the request after the time in `Retry-After`; it then gets the answer of the other one.",
    PreconditionFailed "precondition-failed" PRECONDITION_FAILED
        "The condition of the request does not hold"
        "The request names a version in `If-Match`, or asks for something new by `If-None-Match: *`, and that is not what is there."
        "Read it again and decide again. `ETag` names its version.",
    Unsuccessful "unsuccessful" CONFLICT
        "The job ended without an output"
        "The job was cancelled or discarded, so there is no output."
        "Read the job to see why it ended so.",
    BodyTooLarge "body-too-large" PAYLOAD_TOO_LARGE
        "The body is too large"
        "The body has more bytes, or more rows, than the server accepts. Nothing of it took effect."
        "Send smaller parts. `detail` names the limit.",
    UnsupportedMediaType "unsupported-media-type" UNSUPPORTED_MEDIA_TYPE
        "The body has a type that the route does not read"
        "The header `Content-Type` is missing or names a type that the route does not read."
        "Send the body as the type that `detail` names.",
    Misdirected "misdirected" MISDIRECTED_REQUEST
        "The host is not one of this server's"
        "The header `Host` names a host that this server does not answer for. A browser may have been led here by another site."
        "Use a local name such as `127.0.0.1`, or add the name to the setting `allowed_hosts`.",
    Invalid "invalid" UNPROCESSABLE_ENTITY
        "The input breaks a rule or a bound"
        "The request could be read, but a value in it breaks a rule or a bound. Nothing of it took effect."
        "Correct the value that `detail` names. A repeat without a change fails again.",
    KeyReused "key-reused" UNPROCESSABLE_ENTITY
        "The key was used for another request"
        "The `Idempotency-Key` was used within the last 24 hours, on the same route, for a request with another body."
        "Use a new key for each request. A repeat must have the same body, byte for byte.",
    QueueFull "queue-full" TOO_MANY_REQUESTS
        "The queue is full"
        "So many jobs wait in the queue that it takes no more. Nothing of the request took effect. The members `depth` and `limit` have the numbers."
        "Repeat the request after the time in `Retry-After`, or add workers.",
    HeadersTooLarge "headers-too-large" REQUEST_HEADER_FIELDS_TOO_LARGE
        "The header is too large"
        "The request line and headers together have more bytes than the server accepts."
        "Send fewer or shorter headers.",
    Internal "internal" INTERNAL_SERVER_ERROR
        "The server failed"
        "A bug in Backroom. The server has logged it with the id of the request."
        "Report it with the id in `instance`.",
    Unusable "store-unusable" INTERNAL_SERVER_ERROR
        "The store cannot be used"
        "The store is damaged, is newer than this server, or its files were replaced. An operator must attend to it."
        "Read the server's log and run `backroom doctor`.",
    Unavailable "unavailable" SERVICE_UNAVAILABLE
        "The store does not answer"
        "The store cannot be reached or is busy. A job of an enqueue may be stored or not."
        "Repeat the request after the time in `Retry-After`, with the same `Idempotency-Key`.",
    Draining "draining" SERVICE_UNAVAILABLE
        "The server is stopping"
        "The server finishes what it has begun and accepts nothing more."
        "Repeat the request after the time in `Retry-After`; another server or the next one answers.",
    NoSpace "no-space" INSUFFICIENT_STORAGE
        "The disk is full"
        "The store cannot write, because its disk is full or not writable. Nothing acknowledged is lost."
        "An operator frees space; then repeat the request.",
}
