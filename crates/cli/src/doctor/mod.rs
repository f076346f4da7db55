//! `thoughtwire doctor`.

mod remote;

use serde_json::json;
use thoughtwire_server::{Config, Finding, Health, examine};

use crate::cli::{DoctorFlags, ServeFlags};
use crate::out::{ColourMode, TextStyle};
use crate::target::server_at;
use crate::tls::install_tls;
use crate::visible::visible;
use crate::{CommandStatus, out};

pub(crate) async fn run(flags: DoctorFlags) -> anyhow::Result<CommandStatus> {
    let DoctorFlags { url, serve, output } = flags;
    install_tls();
    let findings = match url {
        Some(url) => remote::examine(&server_at(&url)?).await?,
        None => local(serve).await,
    };
    let worst = findings.iter().map(|finding| finding.health).max().unwrap_or(Health::Good);
    if output.json {
        out::json(&json!({"ok": worst != Health::Bad, "findings": findings}))?;
    } else {
        findings.iter().try_for_each(print_finding)?;
        out::line(match worst {
            Health::Good => "\nAll checks passed.",
            Health::Doubtful => "\nIt works, with warnings: see LOOK above.",
            Health::Bad => "\nSome checks failed: see BAD above.",
        })?;
    }
    Ok(if worst == Health::Bad { CommandStatus::Failed } else { CommandStatus::Done })
}

/// Checks the set-up of a server with these flags.
async fn local(serve: ServeFlags) -> Vec<Finding> {
    match Config::load(&serve.into()) {
        Ok((config, _)) => examine(&config).await,
        Err(error) => vec![Finding {
            subject: "configuration".to_owned(),
            health: Health::Bad,
            found: error.to_string(),
            mend: Some(
                "correct the setting; `thoughtwire config show` prints the source of each one"
                    .to_owned(),
            ),
        }],
    }
}

fn print_finding(finding: &Finding) -> std::io::Result<()> {
    let (mark, look) = match finding.health {
        Health::Good => ("good", TextStyle::Dim),
        Health::Doubtful => ("LOOK", TextStyle::Bold),
        Health::Bad => ("BAD ", TextStyle::Bad),
    };
    let paint = ColourMode::for_stdout();
    let (subject, found) = (visible(&finding.subject), visible(&finding.found));
    out::line(&format!("{}  {subject}: {found}", paint.apply(look, mark)))?;
    match &finding.mend {
        Some(mend) => out::line(&format!("      {}", paint.apply(TextStyle::Bold, mend))),
        None => Ok(()),
    }
}
