//! `backroom tokens`: who may call the server.

use std::time::Duration;

use backroom::{NewToken, QueuePattern, Scope, Timestamp, Token, TokenId};
use clap::{Args, Subcommand};

use crate::settings::{Need, Settings};
use crate::target::Target;
use crate::terminal::{
    Problem, out,
    parse::span,
    table::{self, Column, cell},
    words,
};
use crate::views::NewTokenView;

/// Make, list and revoke the tokens that programs call the server with
///
/// A token is a secret with scopes (enqueue, work, read, operate, admin), patterns of queues, and an expiry. The store has
/// its hash only, so the secret is printed once. A server without any token answers programs of its own machine only.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  backroom tokens
  backroom tokens create --scope enqueue --queue 'mail*' --expires 90d web-shop
  backroom tokens create --scope operate --scope enqueue ops
  backroom tokens revoke web-shop
  backroom tokens --json | jq '.tokens[] | select(.last_used_at == null) | .name'

With --json: {\"tokens\": [{\"id\", \"name\", \"scopes\", \"queues\", \"created_at\", \"expires_at\", \"revoked_at\",
\"last_used_at\"}]}; create answers with the token and its \"secret\", revoke with the token."
)]
pub(crate) struct TokensArgs {
    #[command(subcommand)]
    command: Option<TokensCommand>,
}

/// What can be done to tokens.
#[derive(Debug, Subcommand)]
enum TokensCommand {
    Create(CreateArgs),
    /// List the tokens; those that ended stay in the list for 90 days
    List,
    /// Refuse a token from now on
    Revoke {
        /// Its name, or its id
        #[arg(value_name = "NAME|ID")]
        token: String,
    },
}

/// Make a token and print its secret, once
#[derive(Debug, Args)]
struct CreateArgs {
    /// What people call it
    #[arg(value_name = "NAME")]
    name: String,

    /// What it permits: enqueue, work, read, operate (with read) or admin (everything); repeat for several
    #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',')]
    scope: Vec<Scope>,

    /// On which queues; `*` stands for any text; repeat for several [default: every queue]
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    queue: Vec<QueuePattern>,

    /// For how long, like 90d [default: for ever]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    expires: Option<Duration>,
}

fn pattern(text: &str) -> Result<QueuePattern, String> {
    QueuePattern::new(text).map_err(|invalid| invalid.to_string())
}

pub(crate) async fn run(args: TokensArgs, settings: &Settings) -> Result<(), Problem> {
    match args.command {
        None | Some(TokensCommand::List) => {
            settings.with_target(Need::Read, async |target| list(target, settings).await).await
        }
        // A token can be made before the first job: the server creates the store as well.
        Some(TokensCommand::Create(args)) => {
            settings.with_target(Need::Create, async |target| create(target, args, settings).await).await
        }
        Some(TokensCommand::Revoke { token }) => {
            settings.with_target(Need::Change, async |target| revoke(target, &token, settings).await).await
        }
    }
}

async fn create(target: &Target, args: CreateArgs, settings: &Settings) -> Result<(), Problem> {
    let CreateArgs { name, scope, queue, expires } = args;
    let new = NewToken { name, scopes: scope, queues: queue, expires_in: expires };
    let made = target.create_token(new).await?;
    if settings.json {
        return out::json(&made, settings.terminal);
    }
    let NewTokenView { token, secret } = made;
    out::note(format_args!(
        "token {} permits {} on {}; its secret is not shown again:",
        token.name,
        joined(&token.scopes),
        queues(&token)
    ));
    out::line(secret)
}

async fn list(target: &Target, settings: &Settings) -> Result<(), Problem> {
    let list = target.tokens().await?;
    if settings.json {
        return out::json(&list, settings.terminal);
    }
    let tokens = list.tokens;
    if tokens.is_empty() {
        return out::line("no tokens; `backroom tokens create` makes one");
    }
    let columns = ["NAME", "SCOPES", "QUEUES", "STATE", "LAST USED", "ID"].map(Column::Text);
    let mut rows = table::table(settings.style(), &columns);
    let now = target.now();
    for token in &tokens {
        let used = token.last_used_at.map_or("never".into(), |at| words::from_now(at, now));
        rows.add_row(vec![
            cell(token.name.clone()),
            cell(joined(&token.scopes)),
            cell(queues(token)),
            cell(state(token, now)),
            cell(used),
            cell(token.id.to_string()),
        ]);
    }
    table::show(&rows)
}

fn state(token: &Token, now: Timestamp) -> String {
    match (token.revoked_at, token.expires_at) {
        (Some(at), _) => format!("revoked {}", words::from_now(at, now)),
        (None, Some(at)) if at <= now => format!("expired {}", words::from_now(at, now)),
        (None, Some(at)) => format!("expires {}", words::from_now(at, now)),
        (None, None) => "valid".into(),
    }
}

fn joined(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
}

fn queues(token: &Token) -> String {
    if token.queues.is_empty() {
        return "every queue".into();
    }
    token.queues.iter().map(QueuePattern::as_str).collect::<Vec<_>>().join(", ")
}

async fn revoke(target: &Target, wanted: &str, settings: &Settings) -> Result<(), Problem> {
    let id = match wanted.parse::<TokenId>() {
        Ok(id) => id,
        Err(_) => by_name(target.tokens().await?.tokens, wanted)?,
    };
    target.revoke_token(id).await?;
    let token = target.tokens().await?.tokens.into_iter().find(|token| token.id == id);
    let token =
        token.ok_or_else(|| Problem::new(format_args!("find token {id}"), &"it is no longer listed"))?;
    if settings.json {
        return out::json(&token, settings.terminal);
    }
    out::line(format_args!("revoked token {} ({})", token.name, token.id))
}

/// The one token of this name that is not revoked.
fn by_name(mut found: Vec<Token>, name: &str) -> Result<TokenId, Problem> {
    found.retain(|token| token.name == name && token.revoked_at.is_none());
    match found.as_slice() {
        [token] => Ok(token.id),
        [] => Err(Problem::new(
            format_args!("find token {name:?}"),
            &"no token that is not revoked has this name",
        )
        .hint("`backroom tokens` lists the tokens")),
        several => {
            let why = format!("{} tokens have this name", several.len());
            Err(Problem::new(format_args!("find token {name:?}"), &why)
                .hint("name it by its id, which `backroom tokens` shows"))
        }
    }
}
